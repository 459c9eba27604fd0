"""Requests to Clever's Data API: the district's token, pages, and the rate that Clever allows."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote_plus

from yarl import URL

from connectors.answer import Answer
from connectors.clever.config import Application, CleverConfig
from connectors.client import Client as Asking
from connectors.client import Login, json_of, number_of, refusal, secret_of
from connectors.http import Web
from connectors.members import Objects
from connectors.oauth2 import Bearer, Fetched
from connectors.protocol import ConnectorError, Intent, SourceContext

SECRET = "secret"
#: So many requests of a minute are left to the district's other readers of the same token.
_RESERVE = 5
_LONGEST_TOKEN, _TOKEN_BYTES = 4_000, 1 << 20
#: Sections name all their students; an answer with more than so much for each row is cut off.
_BYTES_PER_ROW, _LEAST_BYTES, _MOST_BYTES = 32 << 10, 4 << 20, 48 << 20


class PageTooLargeError(Exception):
    """Clever takes no page of so many rows (HTTP 413, or HTTP 400 for the query)."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``total``: how many objects there are, where the answer says so. ``following``: the next page.

    ``size``: in bytes.
    """

    objects: Objects = field(repr=False)
    total: int | None
    following: URL | None
    size: int = 0


@dataclass
class DistrictTokens(Fetched):
    """The token of one district, fetched with an application's credentials."""

    web: Web
    context: SourceContext
    config: CleverConfig
    login: Application
    secret: str = field(repr=False)

    async def fetch(self) -> tuple[str, float]:
        """Asks Clever. Raises ConnectorError (``login_refused``, ``login_failed``, ``no_district``)."""
        pair = f"{quote_plus(self.login.client_id)}:{quote_plus(self.secret)}"
        headers = {
            "Accept": "application/json", "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
        }  # fmt: skip
        url = URL(self.config.token_url).with_query({"owner_type": "district", "district": str(self.config.district)})
        answer = await self.web.send("GET", url, headers=headers, most_bytes=_TOKEN_BYTES)
        if answer.status in {400, 401, 403}:
            text = f"Clever refused the application's credentials (HTTP {answer.status}). Check client id and secret."
            raise ConnectorError("login_refused", text, intent=Intent.ASK_HUMAN)
        if answer.status != 200:
            found = refusal(answer, "the district's token", self.context.now())
            raise ConnectorError("login_failed", found.message, intent=found.intent, wait_seconds=found.wait_seconds)
        for one in _inner(json_of(answer, "the district's token", "not_clever"), "tokens"):
            owner, token = one.get("owner"), one.get("access_token")
            known = isinstance(owner, dict) and owner.get("id") == self.config.district
            if known and isinstance(token, str) and 0 < len(token) <= _LONGEST_TOKEN and token.isascii():
                return token, float("inf")
        text = (
            "Clever has no token of this district for the application. Check the district's id; the district must "
            "have accepted the application and share data with it."
        )
        raise ConnectorError("no_district", text, intent=Intent.ASK_HUMAN)


@dataclass
class Client(Asking):
    """Asks Clever, and waits before the allowed rate is used up.

    ``_pause_until``: Unix time of Clever's clock at which the rate is new; ``_offset``: that clock less ours.
    """

    config: CleverConfig = field(kw_only=True)
    _pause_until: float | None = None
    _offset: float = 0.0

    @classmethod
    def of(cls, context: SourceContext, config: CleverConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``)."""
        secret = secret_of(context, SECRET)
        login: Login = Bearer(secret)
        if isinstance(config.login, Application):
            login = DistrictTokens(web, context, config, config.login, secret)
        return cls(context, web, login, config=config)

    async def page(self, url: URL, name: str, rows: int, *, kept: bool = True) -> Page:
        """One page of the collection ``name``; ``kept``: as ``ask`` has it.

        Raises as ``ask`` does, and PageTooLargeError, ConnectorError (``not_clever``, ``moved``).
        """

        def read(answer: Answer) -> Page:
            parsed = json_of(answer, name, "not_clever")
            objects = _inner(parsed, name)
            return Page(objects, _total(parsed), self._following(parsed, url), len(answer.body))

        most = min(max(_LEAST_BYTES, rows * _BYTES_PER_ROW), _MOST_BYTES)
        return await self.ask(url, name, read, most_bytes=most, kept=kept)

    async def _answer(self, method: str, url: URL, body: bytes | None, most_bytes: int) -> Answer:
        await self._rest()
        answer = await super()._answer(method, url, body, most_bytes)
        if answer.status == 413:
            raise PageTooLargeError
        return self._noted(answer)

    async def _rest(self) -> None:
        """Waits until Clever's rate is new where it is used up. Raises ConnectorError (``busy``) for a long wait."""
        until, self._pause_until = self._pause_until, None
        if until is None:
            return
        wait = until - (self.context.now().timestamp() + self._offset)
        if wait > 120:
            text = "The allowed number of requests is used up. The source is pulled when there are new ones."
            raise ConnectorError("busy", text, intent=Intent.RETRY, wait_seconds=wait)
        if wait > 0:
            await self.context.sleep(wait)

    def _noted(self, answer: Answer) -> Answer:
        """The answer, a refusal for the rate with the time to wait; remembers what is left of the rate."""
        left, reset = (number_of(answer.headers.get(f"X-RateLimit-{name}")) for name in ("Remaining", "Reset"))
        if reset is None:
            return answer
        now = self.context.now()
        self._offset = ((answer.at or now) - now).total_seconds()
        if answer.status == 429 and answer.retry_after(now) is None:
            wait = max(1.0, reset - (answer.at or now).timestamp())
            return replace(answer, headers={**answer.headers, "Retry-After": str(round(wait))})
        limit = number_of(answer.headers.get("X-RateLimit-Limit"))
        if left is not None and left <= min(_RESERVE, (limit or _RESERVE) // 10):
            self._pause_until = float(reset)
        return answer

    def _following(self, parsed: Any, asked: URL) -> URL | None:
        """The next page's address, at the server that was asked. Raises ConnectorError where it leads elsewhere."""
        links = parsed.get("links") if isinstance(parsed, dict) else None
        given = [one.get("uri") for one in links or () if isinstance(one, dict) and one.get("rel") == "next"]
        if not given or not isinstance(given[0], str):
            return None
        link = asked.join(URL(given[0], encoded=True))
        if link.host != asked.host or link.path != asked.path or not link.raw_query_string:
            text = "Clever's link to the next page leads somewhere else, which the token is not for."
            raise ConnectorError("moved", text, intent=Intent.ASK_HUMAN)
        return URL(f"{asked.with_query(None)}?{link.raw_query_string}", encoded=True)


def _inner(parsed: Any, name: str) -> Objects:
    """The objects in ``data``, taken out of their envelopes. Raises ConnectorError (``not_clever``)."""
    given = parsed.get("data") if isinstance(parsed, dict) else None
    found = [
        one["data"] if isinstance(one, dict) and isinstance(one.get("data"), dict) and "id" in one["data"] else one
        for one in (given if isinstance(given, list) else ())
    ]
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in found):
        text = f"The answer has no list of {name}."
        raise ConnectorError("not_clever", text, intent=Intent.RETRY)
    return found


def _total(parsed: Any) -> int | None:
    """How many objects there are: ``count`` of the answer, or of ``paging`` in it."""
    places = (parsed, parsed.get("paging")) if isinstance(parsed, dict) else ()
    for place in places:
        count = place.get("count") if isinstance(place, dict) else None
        if type(count) is int and count >= 0:
            return count
    return None
