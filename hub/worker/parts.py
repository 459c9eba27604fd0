"""What the services of a worker share."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hub.clock import Clock
from hub.crypto import Keys
from hub.settings import Settings
from hub.store.database import Database
from hub.webhooks.egress import Egress

#: Claims one due run and carries it out; whether there was one.
Work = Callable[[Database, Clock], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the services of a worker share. ``deliver``: lets the dispatcher of webhooks look."""

    settings: Settings
    database_url: str
    redis_url: str | None
    deliveries: Database
    syncs: Database
    egress: Egress
    clock: Clock
    key: Keys
    deliver: Callable[[], None]


async def database(stack: contextlib.AsyncExitStack, url: str, name: str, size: int) -> Database:
    """A pool of connections that closes with the stack."""
    db = await Database.open(url, name=name, largest=size)
    stack.push_async_callback(db.close)
    return db
