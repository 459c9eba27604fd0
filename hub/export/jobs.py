"""Carrying out queued exports: make the package, keep its bytes sealed, and take it where a schedule says.

PostgreSQL remembers everything. A worker that ends at any point loses its lease, and another one begins the package
anew, or takes one that is whole to its target again. What was made for a grant that has changed since is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from hub import crypto, leases, vault
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.crypto import Keys, Sealer
from hub.errors import Code, HubError, Intent
from hub.export import making, targets
from hub.export.making import Asked, Making
from hub.export.targets import Target
from hub.store import audit, exports, schedules
from hub.store.database import Database, Transaction
from hub.store.exports import Claim, Export, Outcome

log = structlog.get_logger()
HEARTBEAT_SECONDS = exports.LEASE_SECONDS / 3
PART_BYTES = 1 << 20
MAX_ATTEMPTS = 5
#: Waits after the first, second, … failed delivery.
DELIVERY_STEPS = (30.0, 5 * 60.0, 30 * 60.0, 2 * 3600.0, 6 * 3600.0)
AGAIN_SECONDS = 2.0
_PATIENCE = 30
_CHANCE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What carrying out exports needs. ``key``: hub.crypto.load_key. ``keep_hours``: how long bytes are kept."""

    db: Database
    clock: Clock
    key: Keys
    places: targets.Places
    keep_hours: float = 24
    heartbeat_seconds: float = HEARTBEAT_SECONDS


async def work_once(shop: Workshop) -> bool:
    """Claims one due export and carries it out; whether there was one.

    Raises HubError(UNAVAILABLE) when the database is away: the lease then ends by itself and another worker takes over.
    """
    await schedules.queue_due(shop.db)
    await _tidied(shop.db)
    claim = await exports.claim(shop.db)
    if claim is None:
        return False
    progress: dict[str, Any] = {}

    async def beat() -> None:
        async with shop.db.district(claim.district_id, wait_seconds=exports.LEASE_SECONDS / 3) as tx:
            await exports.heartbeat(tx, claim, progress)

    try:
        async with leases.kept(beat, lambda: shop.heartbeat_seconds):
            await _carry_out(shop, claim, progress)
    except asyncio.CancelledError:
        await _given_back(shop, claim)
        raise
    except HubError as error:
        await _failed(shop, claim, error)
    except Exception:
        # A bug of ours: the export ends visibly, the traceback goes to the log without local values.
        log.exception("export failed", export=str(claim.export.export_id))
        await _failed(
            shop, claim, HubError(Code.INTERNAL, "The hub failed; its log has the export's id and the reason.")
        )
    return True


async def _carry_out(shop: Workshop, claim: Claim, progress: dict[str, Any]) -> None:
    export, target, full_days = claim.export, None, None
    if export.attempt > MAX_ATTEMPTS:
        raise HubError(
            Code.INTERNAL, f"The export ended {MAX_ATTEMPTS} times without a result. Look at the worker's log."
        )
    if export.schedule_id is not None:
        async with shop.db.district(claim.district_id, readonly=True, wait_seconds=_PATIENCE) as tx:
            schedule = await schedules.get(tx, export.schedule_id)
            await vault.to_open(tx, shop.key, schedule.secret)
        target = await asyncio.to_thread(Target.of, schedule, shop.key, claim.district_id)
        full_days = schedule.full_days
    if export.state != "delivering":
        export = await _make(shop, claim, progress, full_days, deliver=target is not None)
        crash_point("export.made")
    if target is not None:
        await _deliver(shop, claim, export, target)


async def _make(
    shop: Workshop, claim: Claim, progress: dict[str, Any], full_days: int | None, *, deliver: bool
) -> Export:
    """Writes the package's bytes down, part by part, while it is made."""

    def show(file: str, done: int, total: int) -> None:
        progress.update(file=file, records=done, total=total)

    parts: asyncio.Queue[bytes] = asyncio.Queue(2)
    keeping = asyncio.create_task(_keep(shop, claim, parts))
    try:
        async with shop.db.district(claim.district_id, readonly=True, wait_seconds=_PATIENCE) as tx:
            asked = Asked.of(claim.export, full_days=full_days)
            making_ = await making.begin(
                tx, claim.export.grant_id, asked, shop.clock.now(), key=shop.key, progress=show
            )
            async for part in _parts(making_.package.chunks()):
                await _put(parts, part, keeping)
        await _put(parts, b"", keeping)
        await keeping
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
    crash_point("export.kept")
    return await _made(shop, claim, making_, deliver=deliver)


async def _made(shop: Workshop, claim: Claim, making_: Making, *, deliver: bool) -> Export:
    outcome = making_.outcome()
    async with shop.db.district(claim.district_id, wait_seconds=_PATIENCE) as tx:
        state: exports.State = "delivering" if deliver else "ready"
        export = await exports.made(tx, claim, outcome, state=state, keep_hours=shop.keep_hours)
        await record(tx, claim.export.export_id, claim.export.grant_id, outcome, by=claim.export.requested_by)
    return export


async def record(tx: Transaction, export_id: UUID, grant_id: UUID, outcome: Outcome, *, by: str) -> None:
    """Writes into the district's audit log that a package was made, for whom, and how much it holds."""
    details = {"grant": str(grant_id), "kind": outcome.kind, "rows": outcome.rows}
    await audit.add(tx, actor=by, action="export.make", object_=f"export/{export_id}", details=details)


async def _put(parts: asyncio.Queue[bytes], part: bytes, keeping: asyncio.Task[None]) -> None:
    """Waits for a place for a part, and not for ever when nobody takes any: then the reason is raised."""
    putting = asyncio.create_task(parts.put(part))
    await asyncio.wait([putting, keeping], return_when=asyncio.FIRST_COMPLETED)
    if not putting.done():
        putting.cancel()
        await keeping


async def _keep(shop: Workshop, claim: Claim, parts: asyncio.Queue[bytes]) -> None:
    """Seals parts and keeps them, up to an empty one."""
    number = 0
    while part := await parts.get():
        async with shop.db.district(claim.district_id, wait_seconds=_PATIENCE) as tx:
            sealer = await vault.to_seal(tx, shop.key)
        sealed = await asyncio.to_thread(seal, sealer, claim, number, part)
        async with shop.db.district(claim.district_id, wait_seconds=_PATIENCE) as tx:
            await exports.keep_part(tx, claim, number, sealed)
        number += 1


async def _parts(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in parts of one size, but for the last one."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            del held[:PART_BYTES]
    if held:
        yield bytes(held)


def seal(key: Sealer, claim: Claim, number: int, part: bytes) -> bytes:
    """A part encrypted for its place."""
    row = f"{claim.export.export_id}/{claim.export.attempt}/{number}"
    return crypto.seal(key, part, district_id=claim.district_id, table="export_parts", column="data", row=row)


async def stored(
    db: Database, key: Keys, district_id: UUID, export: Export, *, first: int = 0
) -> AsyncIterator[bytes]:  # fmt: skip
    """The bytes of a package that is kept, part by part, each read in a transaction of its own.

    Begins with the part that holds byte ``first``. Raises HubError(CONFLICT) when they are not there any more.
    """
    number = first // PART_BYTES
    total = number * PART_BYTES
    while True:
        async with db.district(district_id, readonly=True, wait_seconds=_PATIENCE) as tx:
            sealed = await exports.part(tx, export, number)
            await vault.to_open(tx, key, sealed)
        if sealed is None:
            break
        row = f"{export.export_id}/{export.made_by}/{number}"
        part = await asyncio.to_thread(_unsealed, key, sealed, district_id, row)
        total += len(part)
        yield part
        number += 1
    if total != export.bytes:
        raise HubError(Code.CONFLICT, "The bytes of this export have been deleted. Ask for a new one.")


def _unsealed(key: Keys, sealed: bytes, district_id: UUID, row: str) -> bytes:
    return crypto.unseal(key, sealed, district_id=district_id, table="export_parts", column="data", row=row)


async def _deliver(shop: Workshop, claim: Claim, export: Export, target: Target) -> None:
    async with shop.db.district(claim.district_id, readonly=True, wait_seconds=_PATIENCE) as tx:
        await making.check(tx, export)
    await target.take(shop.places, export, stored(shop.db, shop.key, claim.district_id, export))
    crash_point("export.delivered")
    async with shop.db.district(claim.district_id, wait_seconds=_PATIENCE) as tx:
        await exports.end(tx, claim, "done", acknowledged=True)
        await audit.add(
            tx, actor=export.requested_by, action="export.deliver", object_=f"export/{export.export_id}",
            details={"schedule": str(export.schedule_id), "bytes": export.bytes},
        )  # fmt: skip


async def _given_back(shop: Workshop, claim: Claim) -> None:
    """The export goes to another worker without waiting for the lease to end."""
    with contextlib.suppress(HubError):
        async with shop.db.district(claim.district_id) as tx:
            await exports.again(tx, claim, 0)


async def _failed(shop: Workshop, claim: Claim, error: HubError) -> None:
    """Ends a failed attempt: tried again where that may help, given up otherwise; without the lease nothing."""
    log.warning("export ended", export=str(claim.export.export_id), code=error.code.value)
    with contextlib.suppress(HubError):
        async with shop.db.district(claim.district_id, wait_seconds=_PATIENCE) as tx:
            await _settle(tx, claim, error)


async def _settle(tx: Transaction, claim: Claim, error: HubError) -> None:
    export = await exports.get(tx, claim.export.export_id)
    if error.code is Code.FORBIDDEN:
        await exports.end(tx, claim, "withdrawn", error=error)
    elif error.intent is not Intent.RETRY or export.attempt > MAX_ATTEMPTS:
        await exports.end(tx, claim, "failed", error=error)
    elif export.state == "delivering":
        step = DELIVERY_STEPS[min(export.attempt, len(DELIVERY_STEPS)) - 1]
        await exports.again(tx, claim, step * _CHANCE.uniform(0.8, 1.2), error)
    else:
        wait = AGAIN_SECONDS * 2 ** (export.attempt - 1) * _CHANCE.uniform(0.5, 1)
        await exports.again(tx, claim, wait, error)


async def _tidied(db: Database) -> None:
    """Deletes the bytes of packages that nobody fetched in time, and rows that are of no more use."""
    for district_id, export_id in await exports.overdue(db):
        async with db.district(district_id, wait_seconds=_PATIENCE) as tx:
            await exports.expire(tx, export_id)
