"""Requests to an Ed-Fi ODS / API: how it describes itself, its addresses, pages, counts and versions of changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import NotUnderstoodError, json_of, number_of, secret_of
from connectors.edfi.config import EdFiConfig
from connectors.http import Web
from connectors.members import Objects, member, text
from connectors.oauth2 import ClientCredentials
from connectors.protocol import ConnectorError, Intent, SourceContext

SECRET = "secret"
#: Since this version pages are told by tokens, which nothing can move.
_TOKENS_SINCE = (7, 3)
_CONTACTS_SINCE = 5
_BYTES_PER_ROW, _LEAST_BYTES = 32 << 10, 8 << 20
_PLACE = re.compile(r"\{[^{}]*\}")
_USE_SNAPSHOT = "Use-Snapshot"


@dataclass(frozen=True)
class Anonymous:
    """Says not who it is: an API describes itself to everybody."""

    renewable: bool = False

    async def headers(self, _method: str, _url: URL) -> Mapping[str, str]:
        """None."""
        return {}

    def forget(self, refused: Mapping[str, str]) -> None:
        """There is no token."""


@dataclass(frozen=True, slots=True)
class Described:
    """What an API says of itself. ``version``: of the software; ``model``: of the Ed-Fi data standard."""

    data: URL
    changes: URL | None
    oauth: URL
    version: tuple[int, ...]
    model: tuple[int, ...]
    mode: str

    @property
    def by_tokens(self) -> bool:
        """Whether pages may be told by tokens."""
        return self.version >= _TOKENS_SINCE

    @property
    def has_contacts(self) -> bool:
        """Whether people around a student are called contacts; they were parents before."""
        return not self.model or self.model[0] >= _CONTACTS_SINCE


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``token``: of the page behind it, where pages have tokens. ``size``: in bytes.

    ``kept``: an earlier attempt of the pull read it.
    """

    objects: Objects = field(repr=False)
    token: str | None
    size: int = 0
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of changes that the host can tell of."""

    oldest: int
    newest: int


@dataclass
class Client(Asking):
    """Asks one API. ``by_tokens``: whether pages have tokens."""

    config: EdFiConfig = field(kw_only=True)
    described: Described = field(kw_only=True)
    by_tokens: bool = False

    @classmethod
    async def of(cls, context: SourceContext, config: EdFiConfig, web: Web, tries: int | None = None) -> Client:
        """The client of one pull, once the API has described itself. Raises ConnectorError (``no_secret``)."""
        secret = secret_of(context, SECRET)
        nobody = Asking(context, web, Anonymous(), config.headers)
        nobody.tries = tries or nobody.tries
        described = await _described(nobody, config)
        login = ClientCredentials(
            web, context.now, str(described.oauth), config.key, secret, "", config.client_auth, config.headers
        )
        client = cls(context, web, login, dict(config.headers), config=config, described=described)
        client.tries, client.by_tokens, client.started = nobody.tries, described.by_tokens, nobody.started
        return client

    def resource(self, name: str, part: str = "") -> URL:
        """The address of a resource, or of its deletes or keyChanges."""
        found = self.described.data / "ed-fi" / name
        return found / part if part else found

    async def page(self, url: URL, name: str) -> Page:
        """One page of the resource ``name``. Raises as ``ask`` does, and ConnectorError (``not_edfi``)."""

        def read(answer: Answer) -> Page:
            token = answer.headers.get("Next-Page-Token") or None
            return Page(_objects(answer, name), token, len(answer.body), answer.kept)

        most = max(_LEAST_BYTES, self.config.page_rows * _BYTES_PER_ROW)
        return await self.ask(url, name, read, most_bytes=most)

    async def count(self, url: URL, name: str) -> int:
        """How many rows there are behind an address. Raises as ``ask`` does, and ConnectorError (``not_edfi``)."""

        def read(answer: Answer) -> int:
            found = number_of(answer.headers.get("Total-Count"))
            if found is None:
                text = f"The system does not say how many {name} there are (no Total-Count)."
                raise ConnectorError("not_edfi", text, intent=Intent.RETRY)
            return found

        return await self.ask(url.update_query(limit="0", totalCount="true"), name, read)

    async def versions(self) -> Versions | None:
        """The versions of changes; None where change queries are switched off at the host."""
        if self.described.changes is None:
            return None

        def read(answer: Answer) -> Versions:
            told = json_of(answer, "versions of changes", "not_edfi")
            low, high = (
                next((told[n] for n in (name, name[0].upper() + name[1:]) if n in told), None)
                if isinstance(told, dict) else None
                for name in ("oldestChangeVersion", "newestChangeVersion")
            )  # fmt: skip
            if type(low) is not int or type(high) is not int:
                text = "The system's answer has no versions of changes."
                raise ConnectorError("not_edfi", text, intent=Intent.RETRY)
            return Versions(low, high)

        try:
            return await self.ask(self.described.changes / "availableChangeVersions", "versions of changes", read)
        except NotUnderstoodError:
            return None
        except ConnectorError as error:
            if error.code in {"not_found", "not_permitted"}:
                return None
            raise

    async def use_snapshot(self) -> bool:
        """Reads the host's snapshot from now on, where it has one; whether it has."""
        before, self.headers = self.headers, {**self.headers, _USE_SNAPSHOT: "true"}
        if await self.versions() is not None:
            return True
        self.headers = before
        return False


_NO_API = "This address does not describe an Ed-Fi API. Enter the base address, without /data/v3 or /docs."


async def _described(asking: Asking, config: EdFiConfig) -> Described:
    """What the API says of itself. Raises ConnectorError (``not_edfi``, ``moved``, ``no_school_year``)."""

    def read(answer: Answer) -> Mapping[str, Any]:
        told = json_of(answer, "the API's description", "not_edfi")
        if not isinstance(member(told, "urls"), Mapping) or not text(member(told, "urls", "dataManagementApi")):
            raise ConnectorError("not_edfi", _NO_API, intent=Intent.ASK_HUMAN)
        return dict(told)

    base = URL(config.url)
    try:
        told = await asking.ask(base, "the API's description", read)
    except NotUnderstoodError:
        found = "The system does not understand a request for its description (HTTP 400). Check the address."
        raise ConnectorError("not_edfi", found, intent=Intent.ASK_HUMAN) from None
    except ConnectorError as error:
        if error.code == "not_found":
            raise ConnectorError("not_edfi", _NO_API, intent=Intent.ASK_HUMAN) from None
        raise
    urls, mode = told["urls"], text(told.get("apiMode")) or ""
    model = next((text(member(one, "version")) for one in told.get("dataModels") or () if
                  str(member(one, "name")).lower() == "ed-fi"), None)  # fmt: skip
    changes = text(urls.get("changeQueries"))
    data = _routed(_at(base, text(urls["dataManagementApi"]) or ""), config, mode)
    # Hosts before 7 do not tell the address of change queries.
    beside = str(data).replace("/data/v3", "/changeQueries/v1", 1)
    return Described(
        data, _routed(_at(base, changes), config, mode) if changes else URL(beside),
        _at(base, text(urls.get("oauth")) or f"{base}/oauth/token", config), _numbers(text(told.get("version"))),
        _numbers(model), mode,
    )  # fmt: skip


def _at(base: URL, link: str, config: EdFiConfig | None = None) -> URL:
    """An address that the description names, at the server that was asked. Raises ConnectorError (``moved``)."""
    filled = _filled(link, config) if config else link
    found = URL(filled)
    if found.host not in {None, base.host}:
        told = "The API's description names another server, which the key is not for. Enter that server's address."
        raise ConnectorError("moved", told, intent=Intent.ASK_HUMAN)
    return base.origin().with_path(found.path.rstrip("/") or "/")


def _filled(link: str, config: EdFiConfig) -> str:
    """An address without placeholders. Raises ConnectorError (``no_school_year``)."""
    values = {"year": config.school_year, "instance": config.instance, "tenant": config.tenant}

    def value(place: re.Match[str]) -> str:
        found = next((given for name, given in values.items() if name in place[0].lower()), None)
        if found is None:
            told = f"The host's addresses need {place[0]}. State school_year, instance or tenant of the source."
            raise ConnectorError("no_school_year", told, intent=Intent.ASK_HUMAN)
        return str(found)

    return _PLACE.sub(value, link)


def _routed(url: URL, config: EdFiConfig, mode: str) -> URL:
    """The address for one instance and year, where the host has several. Raises ConnectorError (``no_school_year``)."""
    path = URL(_filled(url.human_repr(), config)).path.rstrip("/")
    last = path.rsplit("/", 1)[-1]
    folded = re.sub(r"[^a-z]", "", mode.lower())
    if last not in {str(config.school_year), config.instance}:
        if "instance" in folded and config.instance is not None and f"/{config.instance}/" not in path:
            path += f"/{config.instance}"
        if "yearspecific" in folded:
            if config.school_year is None:
                told = "The host keeps each school year apart. State the school_year of the source."
                raise ConnectorError("no_school_year", told, intent=Intent.ASK_HUMAN)
            if f"/{config.school_year}" not in path:
                path += f"/{config.school_year}"
    return url.with_path(path)


def _numbers(version: str | None) -> tuple[int, ...]:
    """The numbers of a version; nothing of what is none."""
    return tuple(int(part) for part in re.findall(r"\d+", (version or "").partition("-")[0])[:3])


def _objects(answer: Answer, name: str) -> Objects:
    """The objects in a body. Raises ConnectorError (``not_edfi``)."""
    found = json_of(answer, name, "not_edfi")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        told = f"The system's answer has no list of {name}."
        raise ConnectorError("not_edfi", told, intent=Intent.RETRY)
    return found
