"""Requests to a district's system: patient with one that is busy, and plain about what a person must mend.

``Retry-After`` is honoured; waits double, with chance. What fails in a way that may pass is tried again a few times
here, and then by the hub. Every connector that speaks HTTP asks through this.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

import orjson
from yarl import URL

from connectors.answer import Answer
from connectors.http import Web
from connectors.protocol import ConnectorError, Intent, SourceContext

TRIES = 4
FIRST_WAIT_SECONDS = 1.0
#: Longer waits are the hub's: the run goes back to the queue.
LONGEST_WAIT_SECONDS = 120.0
MOST_BYTES = 48 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_GOOD = frozenset({200})
_CHANCE = random.SystemRandom()
T = TypeVar("T")


class NotUnderstoodError(Exception):
    """The system refused the query (HTTP 400): it may not know a part of it."""


class Login(Protocol):
    """How a connector says who it is."""

    @property
    def renewable(self) -> bool:
        """Whether a refused request may be tried again with a new token."""

    async def headers(self, method: str, url: URL) -> Mapping[str, str]:
        """The headers of one request. Raises ConnectorError."""

    def forget(self, refused: Mapping[str, str]) -> None:
        """Drops the token of a request with the headers ``refused``, unless another took its place meanwhile."""


def secret_of(context: SourceContext, name: str) -> str:
    """A secret that the source cannot do without. Raises ConnectorError (``no_secret``)."""
    found = context.secrets.get(name, "")
    if not found:
        text = f"The source has no {name}. Enter it among the source's secrets."
        raise ConnectorError("no_secret", text, intent=Intent.ASK_HUMAN)
    return found


def as_it_is(answer: Answer) -> Answer:
    """Reads nothing."""
    return answer


@dataclass
class Client:
    """Asks one system. ``headers``: those of all requests. ``started``: the system's clock when it answered first.

    ``tries``: how often one request is made before its failure is the pull's.
    """

    context: SourceContext
    web: Web
    login: Login
    headers: Mapping[str, str] = field(default_factory=dict)
    started: datetime | None = None
    tries: int = TRIES

    async def ask(
        self, url: URL, what: str, read: Callable[[Answer], T], *, method: str = "GET", body: bytes | None = None,
        most_bytes: int = MOST_BYTES, kept: bool = True, good: frozenset[int] = _GOOD,
    ) -> T:  # fmt: skip
        """What ``read`` makes, in a thread, of the answer with a ``good`` status. ``what``: people's word for it.

        ``kept``: whether an earlier attempt's answer will do, and this one is kept for a later attempt; not for what
        must be true now. What ``read`` refuses with an intent to retry is asked for again. Raises NotUnderstoodError,
        and ConnectorError as ``Web.send``, ``Login.headers`` and ``read`` do and besides (``not_found``,
        ``not_permitted``, ``login_refused``, ``moved``, ``busy``, ``server_failed``).
        """
        journal = self.context.journal if kept else None
        asked = (method, url, self.headers, body)

        async def once() -> T:
            earlier = await asyncio.to_thread(journal.answered, *asked) if journal is not None else None
            answer = earlier or await self._answer(method, url, body, most_bytes)
            self.started = self.started or answer.at
            if answer.status not in good:
                raise refusal(answer, what, self.context.now())
            found = await asyncio.to_thread(read, answer)
            if journal is not None and earlier is None:
                await asyncio.to_thread(journal.keep, *asked, answer)
            return found

        return await patiently(self.context, once, self.tries)

    async def _answer(self, method: str, url: URL, body: bytes | None, most_bytes: int) -> Answer:
        """The answer; a token that is refused is fetched anew once."""
        for last in (not self.login.renewable, True):
            login = await self.login.headers(method, url)
            headers = {"Accept": "application/json", **self.headers, **login}
            if body is not None:
                headers.setdefault("Content-Type", "application/json")
            answer = await self.web.send(method, url, headers=headers, body=body, most_bytes=most_bytes)
            if answer.status != 401 or last:
                return answer
            self.login.forget(login)
        raise AssertionError("the second answer is returned")


async def patiently(context: SourceContext, once: Callable[[], Awaitable[T]], tries: int) -> T:
    """What ``once`` gives, which is called up to ``tries`` times. Raises its ConnectorError where waiting is no use."""
    for attempt in range(1, tries + 1):
        try:
            return await once()
        except ConnectorError as error:
            if error.intent is not Intent.RETRY or attempt == tries:
                raise
            wait = error.wait_seconds
            if wait is None:
                wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * _CHANCE.uniform(0.5, 1)
            if wait > LONGEST_WAIT_SECONDS:
                raise
            await context.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def refusal(answer: Answer, what: str, now: datetime) -> ConnectorError:
    """What an answer without the data means. Raises NotUnderstoodError."""
    status, ask = answer.status, Intent.ASK_HUMAN
    if status == 400:
        raise NotUnderstoodError
    if status == 401:
        text = "The system does not accept the login for this address (HTTP 401). Check credentials and scopes."
        return ConnectorError("login_refused", text, intent=ask)
    if status == 403:
        text = f"The credentials may not read {what} (HTTP 403). Permit it in the system, or take it out of the "
        return ConnectorError("not_permitted", text + "source's entities.", intent=ask)
    if status in {404, 405, 410, 501}:
        text = f"The system has no {what} at this address (HTTP {status}). Check address and version, or take it "
        return ConnectorError("not_found", text + "out of the source's entities.", intent=ask)
    if 300 <= status < 400:
        text = "The system sends its callers to another address. Enter that address, if it is the vendor's."
        return ConnectorError("moved", text, intent=ask)
    if status in _PASSING or status > 500:
        busy = status in {429, 503}
        text = "The system is busy and asked us to come back later." if busy else "The system failed."
        wait = answer.retry_after(now)
        code = "busy" if busy else "server_failed"
        return ConnectorError(code, f"{text} (HTTP {status}, {what})", intent=Intent.RETRY, wait_seconds=wait)
    return ConnectorError("server_failed", f"The system refused to give {what} (HTTP {status}).", intent=ask)


def json_of(answer: Answer, what: str, code: str = "not_json") -> Any:
    """The JSON value in a body. Raises ConnectorError with ``code``: a web page, say, may be gone the next time."""
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        web_page = answer.body.lstrip()[:1] == b"<"
        text = "a web page, a login form perhaps" if web_page else "something that is no JSON, or cut off"
        text = f"The system answered with {text} where {what} should be."
        raise ConnectorError(code, text, intent=Intent.RETRY) from None


def number_of(value: str | None) -> int | None:
    """A count in a header; None for what is none."""
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
