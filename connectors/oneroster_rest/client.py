"""Requests for pages of a OneRoster server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from yarl import URL

from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import json_of, number_of
from connectors.http import Web
from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.login import connected
from connectors.protocol import ConnectorError, Intent, SourceContext
from transforms.catalogue import Entity

_REVISION = "x-perm-rev"
#: A row of JSON is seldom larger; an answer with so much for each row that was asked for is cut off.
_BYTES_PER_ROW, _LEAST_BYTES = 8 << 10, 4 << 20


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``total``: what ``X-Total-Count`` says. ``following``: the address in ``Link``. ``size``: in bytes.

    ``kept``: an earlier attempt of the pull read it.
    """

    url: URL
    objects: Sequence[Mapping[str, Any]] = field(repr=False)
    total: int | None
    following: URL | None
    at: datetime | None
    kept: bool = False
    size: int = 0


class RevisionError(Exception):
    """What the server has, or what may be read of it, became another while it was read."""


@dataclass
class Client(Asking):
    """Asks one OneRoster server, at the address ``url``.

    ``revision``: what the server calls the state of its data (``x-perm-rev``), as its first page of this pull said.
    """

    config: OneRosterRestConfig = field(kw_only=True)
    url: str = field(kw_only=True)
    revision: str | None = None

    @classmethod
    async def of(cls, context: SourceContext, config: OneRosterRestConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``, and as ``connected`` does)."""
        headers = {**config.vendor.headers, **config.headers}
        login, url = await connected(context, config, web)
        return cls(context, web, login, headers, config=config, url=url)

    def collection(self, entity: Entity) -> URL:
        """The address of an entity's collection."""
        return self.config.collection(entity, self.url)

    async def page(self, url: URL, name: str, rows: int, *, kept: bool = True) -> Page:
        """One page of the collection ``name``. ``kept`` as ``ask`` has it.

        Raises as ``ask`` does, and ConnectorError (``not_oneroster``), RevisionError.
        """

        def read(answer: Answer) -> Page:
            objects = _objects(answer, name)
            self._note(answer.headers.get(_REVISION))
            total = number_of(answer.headers.get("X-Total-Count"))
            return Page(url, objects, total, answer.following, answer.at, answer.kept, len(answer.body))

        return await self.ask(url, name, read, most_bytes=max(_LEAST_BYTES, rows * _BYTES_PER_ROW), kept=kept)

    def _note(self, revision: str | None) -> None:
        if revision is not None and self.revision not in {None, revision}:
            raise RevisionError
        self.revision = self.revision or revision


def _objects(answer: Answer, name: str) -> Sequence[Mapping[str, Any]]:
    """The objects in a body. Raises ConnectorError (``not_oneroster``).

    The collection may stand under its name in other letters, or be the body itself; a body that reports an error with
    status 200 has no collection.
    """
    parsed = json_of(answer, name, "not_oneroster")
    found = parsed if isinstance(parsed, list) else None
    if isinstance(parsed, dict):
        found = parsed.get(name)
        if found is None:
            found = next((value for key, value in parsed.items() if key.lower() == name.lower()), None)
    if not isinstance(found, list) or not set(map(type, found)) <= {dict}:
        text = f"The system's answer has no list of {name}."
        raise ConnectorError("not_oneroster", text, intent=Intent.RETRY)
    return found
