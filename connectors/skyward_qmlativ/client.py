"""Requests to Qmlativ's API: its two logins, tokens that end with any status, lists of fields, and pages."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from yarl import URL

from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import Login, NotUnderstoodError, json_of, secret_of
from connectors.http import Web
from connectors.oauth2 import ClientCredentials
from connectors.protocol import ConnectorError, Intent, SourceContext
from connectors.skyward_qmlativ.config import BasicLogin, QmlativConfig
from connectors.skyward_qmlativ.objects import NO_FIELDS, Kind

SECRET = "secret"
T = TypeVar("T")
#: What Qmlativ says of a token that ended; it has been seen with HTTP 403 instead of 401.
_ENDED, _LONGEST_ERROR = b"token has expired", 4_096
ACCESS = (
    "Look at the Integration Access in Qmlativ: it must be active, between its effective and its expiry date, of the "
    "type that the source's login states (Basic or Bearer), and list the district's entity."
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``following``: the next one."""

    objects: Sequence[Mapping[str, Any]] = field(repr=False)
    following: URL | None


@dataclass(frozen=True)
class Basic:
    """Key and secret with each request. One refusal is not believed."""

    pair: str = field(repr=False)
    renewable: bool = True

    async def headers(self, _method: str, _url: URL) -> Mapping[str, str]:
        """``Authorization``."""
        return {"Authorization": "Basic " + base64.b64encode(self.pair.encode()).decode()}

    def forget(self, refused: Mapping[str, str]) -> None:
        """There is no other one."""


@dataclass
class Client(Asking):
    """Asks Qmlativ for one district."""

    config: QmlativConfig = field(kw_only=True)

    @classmethod
    def of(cls, context: SourceContext, config: QmlativConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``)."""
        secret, given = secret_of(context, SECRET), config.login
        login: Login
        if isinstance(given, BasicLogin):
            login = Basic(f"{given.key}:{secret}")
        else:
            login = ClientCredentials(
                web, context.now, config.tokens, given.key, secret, client_auth=given.client_auth,
                headers_besides=config.headers,
            )  # fmt: skip
        return cls(context, web, login, config.headers, config=config)

    def path(self, kind: Kind, *more: object) -> URL:
        """The address of a kind of objects, or of something of it."""
        parts = "/".join(str(one) for one in ("Generic", self.config.entity, kind.path, *more))
        return self.config.address(parts)

    async def fields(self, kind: Kind) -> frozenset[str]:
        """The fields that objects of a kind have. Raises ConnectorError (``not_qmlativ``, ``no_object``)."""

        def read(answer: Answer) -> frozenset[str]:
            parsed = json_of(answer, f"fields of {kind.path}", "not_qmlativ")
            found = parsed if isinstance(parsed, dict) else {}
            if not any(isinstance(found.get(name), dict) for name in kind.needed):
                text = f"The answer has no list of the fields of {kind.path}."
                raise ConnectorError("not_qmlativ", text, intent=Intent.RETRY)
            return frozenset(found) - NO_FIELDS

        return await self._read(kind, self.path(kind), read)

    async def page(self, kind: Kind, url: URL, fields: Sequence[str], condition: Mapping[str, Any] | None) -> Page:
        """One page, of objects that meet a condition.

        Raises ConnectorError as ``ask`` does and besides (``not_qmlativ``, ``moved``, ``no_object``).
        """

        def read(answer: Answer) -> Page:
            parsed = json_of(answer, kind.path, "not_qmlativ")
            given = parsed.get("Objects") if isinstance(parsed, dict) else None
            if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
                text = f"The answer has no list of {kind.path}."
                raise ConnectorError("not_qmlativ", text, intent=Intent.RETRY)
            short = [{name: one.get(name) for name in fields} for one in given]
            return Page(short, self._following(kind, parsed.get("Paging"), url))

        body = None if condition is None else orjson.dumps({"SearchCondition": {"LongSearchCondition": condition}})
        return await self._read(kind, url, read, body)

    async def _read(self, kind: Kind, url: URL, read: Callable[[Answer], T], body: bytes | None = None) -> T:
        try:
            return await self.ask(url, kind.path, read, method="GET" if body is None else "POST", body=body)
        except NotUnderstoodError:
            text = f"Qmlativ does not understand the request for {kind.path} (HTTP 400). Check entity and school year."
            raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
        except ConnectorError as error:
            if error.code == "login_refused":
                raise ConnectorError(error.code, f"{error.message} {ACCESS}", intent=error.intent) from None
            if error.code == "not_permitted":
                text = f"The access may not read {kind.path} (HTTP 403). {ACCESS} See leave_out in the settings."
                raise ConnectorError(error.code, text, intent=error.intent) from None
            if error.code == "not_found":
                text = f"Qmlativ has no {kind.path} for entity {self.config.entity} (HTTP 404). Check url and entity."
                raise ConnectorError("no_object", text, intent=error.intent) from None
            raise

    def _following(self, kind: Kind, paging: Any, asked: URL) -> URL | None:
        """The next page's address: below the API's root, with the query of this one. Raises ConnectorError."""
        given = paging.get("Next") if isinstance(paging, dict) else None
        if not isinstance(given, str) or not given.strip():
            return None
        link, root = URL(given.strip(), encoded=True), URL(self.config.url, encoded=True)
        path = link.path if link.is_absolute() or link.path.startswith(root.path.rstrip("/") + "/Generic/") else (
            f"{root.path.rstrip('/')}/{link.path.lstrip('/')}"
        )  # fmt: skip
        begins = self.path(kind).path + "/"
        elsewhere = link.is_absolute() and link.host != root.host
        if elsewhere or not path.startswith(begins):
            text = "Qmlativ's link to the next page leads somewhere else, which the login is not for."
            raise ConnectorError("moved", text, intent=Intent.ASK_HUMAN)
        return asked.with_path(path).with_query(asked.query)

    async def _answer(self, method: str, url: URL, body: bytes | None, most_bytes: int) -> Answer:
        """The answer; a token that Qmlativ says has ended, whatever the status, is fetched anew once."""
        answer = await super()._answer(method, url, body, most_bytes)
        if not self.login.renewable or not _ended(answer):
            return answer
        self.login.forget(await self.login.headers(method, url))
        return await super()._answer(method, url, body, most_bytes)


def _ended(answer: Answer) -> bool:
    return len(answer.body) <= _LONGEST_ERROR and _ENDED in answer.body.lower()
