"""Asking the admin API from a command: who asks, and how a refusal comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hub.errors import Code, HubError, Intent

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

ADDRESS = "http://127.0.0.1:8080/admin/v1"
_FIRST_ERROR = 400
Command = TypeVar("Command", bound=Callable[..., Any])


class _Told(click.Option):
    """An option that may stand in the environment: whoever leaves it out hears of both."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """``--token (or HUB_ADMIN_TOKEN)``."""
        return f"{super().get_error_hint(ctx)} (or {self.envvar})"


of_district = click.option(
    "--district", cls=_Told, envvar="HUB_DISTRICT", type=click.UUID, required=True,
    help="The district's id (HUB_DISTRICT).",
)  # fmt: skip
with_token = click.option(
    "--token", cls=_Told, envvar="HUB_ADMIN_TOKEN", required=True,
    help="A token of the operator or the district; better as HUB_ADMIN_TOKEN than here.",
)  # fmt: skip


def reaching(command: Command) -> Command:
    """The options by which a command reaches a district."""
    for option in (
        with_token,
        click.option("--url", envvar="HUB_ADMIN_URL", default=ADDRESS, show_default=True,
                     help="Address of the admin API (HUB_ADMIN_URL)."),
        of_district,
    ):  # fmt: skip
        command = option(command)
    return command


def of_source(command: Command) -> Command:
    """The options of ``reaching``, and the one that says which source is meant."""
    option = click.option("--source", "source_id", type=click.UUID, required=True, help="The id of the source.")
    return reaching(option(command))


class RefusedError(HubError):
    """A refusal of the hub with the fields that it is about: the path of each, and what is wrong with it."""

    def __init__(self, code: Code, message: str, fields: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{field}: {text}" if field else text for field, text in fields)
        super().__init__(code, f"{message} {told}".strip())
        self.fields = fields


@asynccontextmanager
async def asking(url: str, token: str) -> AsyncIterator[ClientSession]:
    """A session that shows the token. Raises HubError(UNAVAILABLE) for a hub that does not answer."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
    try:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as http:
            yield http
    except (aiohttp.ClientError, TimeoutError) as error:
        raise HubError(
            Code.UNAVAILABLE, f"The hub at {url} does not answer ({type(error).__name__}). Does `hub serve` run there?",
            intent=Intent.RETRY,
        ) from error  # fmt: skip


async def answer(response: ClientResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises RefusedError with the hub's own code and words when it refuses."""
    async with response:
        is_json = response.content_type.endswith("json")
        body: dict[str, Any] = await response.json(content_type=None) if is_json else {}
    if response.status < _FIRST_ERROR:
        return body
    known = body.get("code") in {code.value for code in Code}
    code = Code(body["code"]) if known else Code.UNAVAILABLE
    text = body.get("detail") or f"The server answered {response.status}. Is this the admin API?"
    raise RefusedError(code, text, [(one["field"], one["message"]) for one in body.get("errors") or ()])


async def call(url: str, token: str, method: str, path: str, **options: Any) -> dict[str, Any]:
    """The JSON of one request. Raises HubError as ``asking`` and ``answer`` do."""
    url = url.rstrip("/")
    async with asking(url, token) as http:
        return await answer(await http.request(method, url + path, **options))
