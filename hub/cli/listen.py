"""``hub listen``: follows what changes in an app's view, on a laptop: no public address, no database, no settings.

It asks the hub as the app does, by long polls, and prints. With ``--forward`` it also posts each answer as a webhook to
a receiver that is being written, signed, and goes on only after that took it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from hub.errors import Code, HubError, Intent

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from hub.cli.forward import Forwarder

#: Seconds for which the hub holds a request where nothing is new.
WAIT = 50
_LIMIT = 500
_LONGEST_PAUSE = 30.0
_FIRST_ERROR = 400
_BUSY = frozenset({429, 502, 503, 504})
_OK, _UNAUTHORIZED, _GONE = 200, 401, 410


@click.command()
@click.option("--base-url", envvar="HUB_URL", default="http://127.0.0.1:8080", show_default=True,
              help="Address of the hub (HUB_URL).")  # fmt: skip
@click.option("--district", type=click.UUID, help="The district's id; without it all that grant the app something.")
@click.option(
    "--client-id",
    envvar="HUB_CLIENT_ID",
    help="The app's client id (HUB_CLIENT_ID); its secret is in HUB_CLIENT_SECRET, or asked for.",
)
@click.option("--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file with the client's secret.")  # fmt: skip
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file with an access token, instead of a client; read again when that is over.")  # fmt: skip
@click.option("--after", help="Where to go on: a step, or a position that was printed. Without it: from now on.")
@click.option("--since", help="Instead of --after: from a time on, such as 2026-09-01T00:00:00Z.")
@click.option("--types", help="Types and patterns with commas between, such as users.*,*.deleted.")
@click.option("--mode", help="What is told of a change; the hub's default is refs.")
@click.option("--forward", metavar="URL", help="Post each batch to this receiver as a webhook, until it answers 2xx.")
@click.option("--signing-secret", envvar="HUB_SIGNING_SECRET",
              help="The secret (whsec_…) that signs (HUB_SIGNING_SECRET); a new one without it.")  # fmt: skip
@click.option("--once", is_flag=True, help="End when nothing more is there, instead of waiting for it.")
@click.option("--json", "as_json", is_flag=True, help="Print each answer as one line of JSON.")
def listen(**given: Any) -> None:
    """Print what changes in an app's view, as it happens, until Ctrl-C.

    It asks as the app, with the app's own credentials. Positions are printed: one that is given as --after goes on
    there. Network faults are waited out. Exits 2 when the hub refuses.
    """
    options = Options(**given)
    asyncio.run(_listen(options, Login.of(options)))


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    base_url: str
    district: UUID | None
    client_id: str | None
    secret_file: Path | None
    token_file: Path | None
    after: str | None
    since: str | None
    types: str | None
    mode: str | None
    forward: str | None
    signing_secret: str | None = field(repr=False)
    once: bool
    as_json: bool

    @property
    def url(self) -> str:
        """Where changes are told."""
        root = self.base_url.rstrip("/")
        return f"{root}/changes" if self.district is None else f"{root}/d/{self.district}/changes"

    @property
    def query(self) -> dict[str, str]:
        """The parameters of all requests."""
        found = {"limit": str(_LIMIT), "types": self.types, "mode": self.mode}
        return {name: value for name, value in found.items() if value is not None}


def say(text: str) -> None:
    """Tells the person; what is piped elsewhere stays clean."""
    click.echo(text, err=True)


async def _listen(options: Options, login: Login) -> None:
    """Follows until it is interrupted."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=WAIT + 20)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        follower = Follower(options, http, login)
        if options.forward is not None:
            follower.forwarder = _forwarder(options, http)
        task = asyncio.create_task(follower.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            say("")
        finally:
            if follower.moved:
                say(f"Go on with: --after {follower.after}")


def _forwarder(options: Options, http: ClientSession) -> Forwarder:
    from hub.cli.forward import Forwarder
    from hub.webhooks import sign

    secret = options.signing_secret or sign.new_secret()
    try:
        sign.secret_bytes(secret)
    except ValueError:
        raise HubError(
            Code.INVALID_REQUEST, "A signing secret is whsec_ and base64. Leave it out for a new one."
        ) from None
    say(f"Forwarding to {options.forward}, signed with {'yours' if options.signing_secret else secret}")
    return Forwarder(http, str(options.forward), secret, say)


@dataclass
class Login:
    """How to get an access token: from a file, or for a client."""

    url: str
    token_file: Path | None
    client: tuple[str, str] | None = field(repr=False)

    @classmethod
    def of(cls, options: Options) -> Login:
        """Asks for a secret that nobody gave. Raises HubError(INVALID_REQUEST)."""
        url = options.base_url.rstrip("/") + "/oauth/token"
        if options.token_file is not None:
            return cls(url, options.token_file, None)
        if options.client_id is None:
            raise HubError(Code.INVALID_REQUEST, "Say who asks: --client-id with the client's secret, or --token-file.")
        secret = os.environ.get("HUB_CLIENT_SECRET")
        if options.secret_file is not None:
            secret = options.secret_file.read_text(encoding="utf-8").strip()
        if not secret:
            secret = click.prompt(f"Secret of {options.client_id}", hide_input=True, err=True)
        return cls(url, None, (options.client_id, str(secret)))

    async def token(self, http: ClientSession) -> str:
        """A token. Raises HubError with the hub's own words when it refuses."""
        from aiohttp import BasicAuth

        if self.token_file is not None:
            return (await asyncio.to_thread(self.token_file.read_text, encoding="utf-8")).strip()
        assert self.client is not None
        grant = {"grant_type": "client_credentials"}
        async with http.post(self.url, data=grant, auth=BasicAuth(*self.client)) as response:
            if response.status in _BUSY:
                raise BusyError(_retry_after(response))
            body = await _json(response)
            if response.status != _OK:
                raise HubError(Code.UNAUTHORIZED, body.get("error_description") or body.get("error") or "No token.")
            return str(body["access_token"])


class BusyError(Exception):
    """The hub asks to come again. ``seconds``: when; None where it did not say."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("busy")
        self.seconds = seconds


@dataclass
class Follower:
    """Asks, prints, forwards, goes on. ``after``: the position behind what was dealt with."""

    options: Options
    http: ClientSession
    login: Login
    forwarder: Forwarder | None = None
    after: str | None = None
    _token: str | None = field(default=None, repr=False)
    _refused: bool = False

    @property
    def moved(self) -> bool:
        """Whether there is a position that nobody gave."""
        return self.after not in {None, self.options.after}

    async def run(self) -> None:
        """Until it is cancelled; with ``--once`` until nothing more is there. Raises HubError for a refusal."""
        self.after = self.options.after
        while True:
            body = await patiently(self._ask, say)
            if body is None:
                continue
            if self.after is None:
                say(f"Following from {body['next']}")
            show(body, as_json=self.options.as_json)
            if self.forwarder is not None:
                await self.forwarder.take(body)
            self.after = body["next"]
            if self.options.once and not body["more"]:
                return

    async def _ask(self) -> dict[str, Any] | None:
        """The next answer; None where a new token is needed first."""
        if self._token is None:
            self._token = await self.login.token(self.http)
        query = dict(self.options.query)
        if self.after is not None:
            query["after"] = self.after
        elif self.options.since is not None:
            query["since"] = self.options.since
        if not self.options.once:
            query["wait"] = str(WAIT)
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self.http.get(self.options.url, params=query, headers=headers) as response:
            if response.status == _UNAUTHORIZED and not self._refused:
                self._token, self._refused = None, True
                return None
            if response.status in _BUSY:
                raise BusyError(_retry_after(response))
            body = await _json(response)
            if response.status == _OK:
                self._refused = False
                return body
            raise _refusal(response.status, body)


async def patiently(
    act: Callable[[], Awaitable[dict[str, Any] | None]], tell: Callable[[str], None]
) -> dict[str, Any] | None:  # fmt: skip
    """What ``act`` gives, tried until there are neither faults of the network nor a busy hub."""
    import aiohttp

    pause = 1.0
    while True:
        try:
            return await act()
        except BusyError as busy:
            wait, why = busy.seconds or pause, "is busy"
        except (aiohttp.ClientError, TimeoutError) as error:
            wait, why = pause, f"does not answer ({type(error).__name__})"
        tell(f"The hub {why}; again in {wait:g} s")
        await asyncio.sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)


def show(body: dict[str, Any], *, as_json: bool) -> None:
    """Prints an answer: a line for each change, or all as one line of JSON."""
    import orjson

    if as_json:
        sys.stdout.write(orjson.dumps(body).decode() + "\n")
    else:
        for one in body.get("districts", ()):
            if one["state"] != "followed":
                say(f"{one['district']}: {one['state']}" + _resync(one.get("resync")))
        if "to" in body and body["changes"]:
            sys.stdout.write(f"{body['from']} to {body['to']}, next {body['next']}\n")
        for change in body["changes"]:
            sys.stdout.write(line(change) + "\n")
    sys.stdout.flush()


def _resync(resync: dict[str, Any] | None) -> str:
    return "" if resync is None else f" ({resync['reason']}): read everything again from {resync['oneroster']}"


def line(change: dict[str, Any]) -> str:
    """One change as a person reads it: its step, its type, and the record or the counts."""
    if "counts" in change:
        counts = change["counts"].items()
        what = "  ".join(f"{name} +{c['created']} ~{c['updated']} -{c['deleted']}" for name, c in counts)
    else:
        what = change["sourcedId"]
    where = f"  {change['district']}" if "district" in change else ""
    return f"{change['version']:>8}  {change['type']:<28}{what}{where}"


def _retry_after(response: ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "")
    return float(value[:4]) if value.isascii() and value.isdigit() else None


async def _json(response: ClientResponse) -> dict[str, Any]:
    if not response.content_type.endswith("json"):
        return {}
    found: dict[str, Any] = await response.json(content_type=None)
    return found


def _refusal(status: int, body: dict[str, Any]) -> HubError:
    words = body.get("detail") or f"The server answered {status}. Is this the hub?"
    code = Code(body["code"]) if body.get("code") in {code.value for code in Code} else Code.CONFLICT
    if status == _GONE and "resync" in body:
        words += f" That is {body['resync']['after']}."
    return HubError(code, words, intent=Intent.GIVE_UP)
