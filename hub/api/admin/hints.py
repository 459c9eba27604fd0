"""Hints of a source's system that something changed: an address with a secret, which is shown once."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.hints import PATH
from hub.crypto import load_key
from hub.errors import Code, HubError
from hub.store import hints as store
from hub.store import sources
from hub.store.apps import digest
from hub.store.sources import Source
from hub.sync import source_secrets, subscribing
from hub.sync.schedules import check_pulled

_UNSHOWN = "…"
_SUBSCRIBE = Field(
    default=False, description="Have the hub tell the source's system the address, where its kind can be told."
)


class NewHints(Asked):
    """How to hear of changes."""

    distance_seconds: int = Field(default=300, ge=60, le=86_400, description="At least between two pulls for hints.")
    subscribe: bool = _SUBSCRIBE


class NewAddress(Asked):
    """The same; what is left out stays."""

    distance_seconds: int | None = Field(default=None, ge=60, le=86_400)
    subscribe: bool = _SUBSCRIBE


class Hints(Shown):
    """How a source hears of changes."""

    address: str = Field(description="Where the system sends a POST; without the secret at its end.")
    distance_seconds: int
    created_at: datetime
    changed_at: datetime = Field(description="When the address was made.")
    subscribed_at: datetime | None = Field(description="When the hub told the system; null: somebody enters it there.")
    heard_at: datetime | None = Field(description="When the last hint came.")
    due_at: datetime | None = Field(description="When the source is pulled for it; null: nothing waits.")
    queued_at: datetime | None = Field(description="When a pull was queued for one.")


class MadeHints(Hints):
    """The same with the whole address, which cannot be shown again."""

    address: str = Field(description="Where the system sends a POST. Whoever knows it can have the source pulled.")
    problem: str | None = Field(description="Why the system was not told, and what to do; null where all is well.")


class EndedHints(Shown):
    """Hints are not heard any more."""

    problem: str | None = Field(description="Why the system still sends them, to nobody; null where it does not.")


def _shown(call: Call, row: store.Hints, secret: str = _UNSHOWN) -> dict[str, object]:
    path = PATH.format(district=call.district_id, source=row.source_id, secret=secret)
    values = {name: getattr(row, name) for name in store.Hints.__dataclass_fields__ if name != "source_id"}
    return {"address": call.context.settings.public_url + path, **values}


async def get(call: Call) -> Hints:
    """How a source hears of changes."""
    async with call.reading() as tx:
        return Hints.model_validate(_shown(call, await store.get(tx, call.id("source"))))


async def create(call: Call, body: NewHints) -> MadeHints:
    """Makes the address at which a source's system says that something changed; the source is pulled soon after."""
    secret, source_id = secrets.token_urlsafe(32), call.id("source")
    async with call.writing() as writing:
        source = await sources.get(writing.tx, source_id)
        await check_pulled(source)
        await _check_told(source, asked=body.subscribe)
        row = await store.create(
            writing.tx, source_id, secret_hash=digest(secret), distance_seconds=body.distance_seconds
        )
        writing.note(f"hints/{source_id}", distance_seconds=row.distance_seconds, subscribe=body.subscribe)
    return await _made(call, row, secret, subscribe=body.subscribe)


async def rotate(call: Call, body: NewAddress) -> MadeHints:
    """Makes another address; what comes to the one before is not heard any more."""
    secret, source_id = secrets.token_urlsafe(32), call.id("source")
    async with call.writing() as writing:
        await _check_told(await sources.get(writing.tx, source_id), asked=body.subscribe)
        row = await store.change(
            writing.tx, source_id, secret_hash=digest(secret), distance_seconds=body.distance_seconds
        )
        writing.note(f"hints/{source_id}", distance_seconds=row.distance_seconds, subscribe=body.subscribe)
    return await _made(call, row, secret, subscribe=body.subscribe)


async def remove(call: Call) -> EndedHints:
    """Hears none any more; a system that the hub told is told so."""
    source_id = call.id("source")
    async with call.writing() as writing:
        row = await store.get(writing.tx, source_id)
        await store.delete(writing.tx, source_id)
        writing.note(f"hints/{source_id}")
    problem = await _told(call, None) if row.subscribed_at is not None else None
    return EndedHints(problem=problem)


async def _check_told(source: Source, *, asked: bool) -> None:
    """Raises HubError(CONFLICT) where the hub is to tell a system that it cannot tell."""
    if asked and not await asyncio.to_thread(subscribing.can_be_told, source):
        raise HubError(Code.CONFLICT, subscribing.NOT_TOLD)


async def _made(call: Call, row: store.Hints, secret: str, *, subscribe: bool) -> MadeHints:
    problem = None
    if subscribe:
        problem = await _told(call, str(_shown(call, row, secret)["address"]))
        if problem is None:
            async with call.context.db.district(call.district_id) as tx:
                await store.subscribed(tx, row.source_id, row.changed_at)
                row = await store.get(tx, row.source_id)
    return MadeHints.model_validate({**_shown(call, row, secret), "problem": problem})


async def _told(call: Call, address: str | None) -> str | None:
    """Tells the system outside of any transaction: it may take its time. Why it could not be told, or None."""
    settings = call.context.settings
    key = await asyncio.to_thread(load_key, settings)
    async with call.reading() as tx:
        source = await sources.get(tx, call.id("source"))
        await source_secrets.to_open(tx, key, source)
    if address is None:
        return await subscribing.told_no_more(call.district_id, source, key, settings.source_allow)
    return await subscribing.told(call.district_id, source, key, settings.source_allow, address)


_PATH = "/districts/{district}/sources/{source}/hints"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _PATH, get, "How a source hears of changes", roles=STAFF, answer=Hints),
    Route("POST", _PATH, create, "Have a source hear of changes", roles=STAFF, body=NewHints, answer=MadeHints,
          status=201, action="hints.create", errors=_CONFLICT),
    Route("POST", f"{_PATH}/rotate", rotate, "Make another address", roles=STAFF, body=NewAddress, answer=MadeHints,
          action="hints.rotate", errors=_CONFLICT),
    Route("DELETE", _PATH, remove, "Have it hear none", roles=STAFF, answer=EndedHints, action="hints.remove"),
)  # fmt: skip
