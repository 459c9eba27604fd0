"""Requests for pages of Example SIS, and the walk through all of a collection.

``connectors.client.Client`` waits, tries again and turns refusals into errors with an intent; ``connectors.walking``
says when a walk counts. What is left is this system's own: how it logs in, names its pages and counts its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from connectors.answer import Answer
from connectors.client import Client as Asking
from connectors.client import json_of, secret_of
from connectors.http import Web
from connectors.oauth2 import ClientCredentials
from connectors.protocol import ConnectorError, Intent, SourceContext
from connectors.walking import Walked, steadily, too_many
from rosterhub_example_sis.config import ExampleSisConfig

SECRET = "client_secret"
#: An answer with more than so much for each row that was asked for is cut off.
_BYTES_PER_ROW, _LEAST_BYTES = 8 << 10, 4 << 20
Row = Mapping[str, Any]


class Sink(Protocol):
    """Takes what a walk brings. Both are called in a thread."""

    def begin_again(self) -> None:
        """Forgets everything."""

    def take(self, rows: Sequence[Row]) -> None:
        """The rows of one more page."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page. ``total``: how many rows the collection has. Rows never show in a repr: they are about people."""

    rows: Sequence[Row] = field(repr=False)
    total: int


@dataclass
class Client(Asking):
    """Asks one server."""

    config: ExampleSisConfig = field(kw_only=True)

    @classmethod
    def of(cls, context: SourceContext, config: ExampleSisConfig, web: Web) -> Client:
        """The client of one pull. Raises ConnectorError (``no_secret``)."""
        secret = secret_of(context, SECRET)
        login = ClientCredentials(web, context.now, config.token_url, config.client_id, secret)
        return cls(context, web, login, config=config)

    async def page(self, name: str, number: int) -> Page:
        """One page of a collection. Raises as ``ask`` does, and ConnectorError (``not_example_sis``)."""
        most = max(_LEAST_BYTES, self.config.page_rows * _BYTES_PER_ROW)
        return await self.ask(self.config.page(name, number), name, lambda answer: _page(answer, name), most_bytes=most)

    async def walk(self, name: str, sink: Sink) -> Walked:
        """All rows of a collection, into ``sink``. Raises as ``page`` and ``steadily`` do, and ``too_many_rows``."""

        async def once() -> Walked:
            found, number = Walked(), 1
            while True:
                page = await self.page(name, number)
                found.steady = found.steady and found.total in {None, page.total}
                found.total = page.total
                found.note([row.get("id") for row in page.rows])
                await asyncio.to_thread(sink.take, page.rows)
                if found.count > self.context.limits.rows:
                    raise too_many(self.context.limits.rows, name)
                if not page.rows or found.count >= page.total:
                    return found
                number += 1

        return await steadily(once, sink.begin_again, name)


def _page(answer: Answer, name: str) -> Page:
    """The page in a body. What is no page may be one the next time: a login page, an error with status 200."""
    body = json_of(answer, name, "not_example_sis")
    rows, total = (body.get("rows"), body.get("total")) if isinstance(body, dict) else (None, None)
    listed = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    if not listed or not isinstance(total, int) or isinstance(total, bool):
        text = f"The system's answer has no list of {name} with a total."
        raise ConnectorError("not_example_sis", text, intent=Intent.RETRY)
    return Page(rows or (), total)
