"""What every API handler is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from hub.clock import Clock
from hub.settings import Settings
from hub.store.database import Database


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of the hub that handlers use.

    ``wake`` is the doorbell of the workers: it takes a kind ("sync", "deliver", "export") and a district, and never
    raises, since work is found in PostgreSQL without it, only later. ``listen_url``: a direct address of PostgreSQL for
    LISTEN; None goes without, and whoever waits hears of news a second later.
    """

    db: Database
    settings: Settings
    clock: Clock
    wake: Callable[[str, UUID], Awaitable[None]]
    listen_url: str | None = None


CONTEXT = web.AppKey("context", ApiContext)
#: The districts of which this process sends a whole package to themselves.
SENDING: web.AppKey[set[UUID]] = web.AppKey("sending", set)
