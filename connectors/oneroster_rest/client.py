"""Requests for pages: patient with a server that is busy, and plain about what a person must mend.

One request is under way at a time, whatever the vendor would allow. ``Retry-After`` is honoured; waits double, with
chance. What fails in a way that may pass is tried again a few times here, and then by the hub.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from yarl import URL

from connectors.http import Answer, Web
from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.login import SECRET, Login
from connectors.protocol import ConnectorError, Intent, SourceContext

TRIES = 4
FIRST_WAIT_SECONDS = 1.0
#: Longer waits are the hub's: the run goes back to the queue.
LONGEST_WAIT_SECONDS = 120.0
#: A row of JSON is seldom larger; an answer with so much for each row that was asked for is cut off.
_BYTES_PER_ROW, _LEAST_BYTES = 8 << 10, 4 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CHANCE = random.SystemRandom()


class NotUnderstoodError(Exception):
    """The server refused the query (HTTP 400): it may not know ``filter`` or ``fields``."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``total``: what ``X-Total-Count`` says. ``following``: the address in ``Link``."""

    objects: Sequence[Mapping[str, Any]] = field(repr=False)
    total: int | None
    following: URL | None
    at: datetime | None


@dataclass
class Client:
    """Asks one server. ``started``: its clock when it answered first."""

    context: SourceContext
    config: OneRosterRestConfig
    web: Web
    login: Login
    started: datetime | None = None
    tries: int = TRIES

    @classmethod
    def of(cls, context: SourceContext, config: OneRosterRestConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``)."""
        secret = context.secrets.get(SECRET, "")
        if not secret:
            text = "The source has no client_secret. Enter it among the source's secrets."
            raise ConnectorError("no_secret", text, intent=Intent.ASK_HUMAN)
        return cls(context, config, web, Login(config, secret, web, context.now))

    async def page(self, url: URL, name: str, rows: int) -> Page:
        """One page of the collection ``name``.

        Raises NotUnderstoodError, and ConnectorError as ``Web.send`` and ``Login.header`` do, and besides
        (``not_found``, ``not_permitted``, ``login_refused``, ``moved``, ``busy``, ``server_failed``,
        ``not_oneroster``).
        """
        for attempt in range(1, self.tries + 1):
            try:
                return await self._page(url, name, rows)
            except ConnectorError as error:
                if error.intent is not Intent.RETRY or attempt == self.tries:
                    raise
                wait = error.wait_seconds
                if wait is None:
                    wait = FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * _CHANCE.uniform(0.5, 1)
                if wait > LONGEST_WAIT_SECONDS:
                    raise
                await self.context.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    async def _page(self, url: URL, name: str, rows: int) -> Page:
        answer = await self._answer(url, rows)
        if answer.status != 200:
            raise self._refusal(answer, name)
        objects = await asyncio.to_thread(_objects, answer.body, name)
        return Page(objects, _count(answer.headers.get("X-Total-Count")), answer.following, answer.at)

    async def _answer(self, url: URL, rows: int) -> Answer:
        """The answer; a token that is refused is fetched anew once."""
        most = max(_LEAST_BYTES, rows * _BYTES_PER_ROW)
        for last in (not self.login.renewable, True):
            headers = {
                **self.config.vendor.headers, **self.config.headers, "Accept": "application/json",
                "Authorization": await self.login.header("GET", url),
            }  # fmt: skip
            answer = await self.web.send("GET", url, headers=headers, most_bytes=most)
            self.started = self.started or answer.at
            if answer.status != 401 or last:
                return answer
            self.login.forget()
        raise AssertionError("the second answer is returned")

    def _refusal(self, answer: Answer, name: str) -> ConnectorError:
        """What an answer without a page means. Raises NotUnderstoodError."""
        status, ask = answer.status, Intent.ASK_HUMAN
        if status == 400:
            raise NotUnderstoodError
        if status == 401:
            text = "The system does not accept the login for this address (HTTP 401). Check credentials and scopes."
            return ConnectorError("login_refused", text, intent=ask)
        if status == 403:
            text = f"The credentials may not read {name} (HTTP 403). Permit it in the system, or take it out of the "
            return ConnectorError("not_permitted", text + "source's entities.", intent=ask)
        if status in {404, 405, 410, 501}:
            text = f"The system has no {name} at this address (HTTP {status}). Check address and version, or take it "
            return ConnectorError("not_found", text + "out of the source's entities.", intent=ask)
        if 300 <= status < 400:
            text = "The system sends its callers to another address. Enter that address, if it is the vendor's."
            return ConnectorError("moved", text, intent=ask)
        if status in _PASSING or status > 500:
            busy = status in {429, 503}
            text = "The system is busy and asked us to come back later." if busy else "The system failed."
            wait = answer.retry_after(self.context.now())
            code = "busy" if busy else "server_failed"
            return ConnectorError(code, f"{text} (HTTP {status}, {name})", intent=Intent.RETRY, wait_seconds=wait)
        text = f"The system refused to give {name} (HTTP {status})."
        return ConnectorError("server_failed", text, intent=ask)


def _objects(body: bytes, name: str) -> Sequence[Mapping[str, Any]]:
    """The objects in a body. Raises ConnectorError (``not_oneroster``).

    The collection may stand under its name in other letters, or be the body itself; a body that reports an error with
    status 200 has no collection.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        web_page = body.lstrip()[:1] == b"<"
        text = "a web page, a login form perhaps" if web_page else "something that is no JSON, or cut off"
        text = f"The system answered with {text} where {name} should be."
        raise ConnectorError("not_oneroster", text, intent=Intent.RETRY) from None
    found = parsed if isinstance(parsed, list) else None
    if isinstance(parsed, dict):
        found = parsed.get(name)
        if found is None:
            found = next((value for key, value in parsed.items() if key.lower() == name.lower()), None)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        text = f"The system's answer has no list of {name}."
        raise ConnectorError("not_oneroster", text, intent=Intent.RETRY)
    return found


def _count(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
