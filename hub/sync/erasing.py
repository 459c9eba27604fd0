"""A run of kind "erase": a person and all that is about the person end, apps are told, and then nothing of it is left.

It ends through the engine's own end, so that views, feeds and webhooks say *left*; in the same transaction the records
are made bare and what else there was goes. Digests of the sources' keys stay, so that no package brings anybody back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pyroaring import BitMap

from hub import crypto
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.scope.closure import deciding
from hub.store import districts, past, people, runs, staging
from hub.store import erasures as store
from hub.store.database import Transaction
from hub.store.erasures import Erasure
from hub.sync.ahead import Applying
from hub.sync.changes import EntityChanges
from hub.sync.ending import end
from hub.sync.job import Job
from hub.sync.prepared import Prepared
from transforms.catalogue import CATALOGUE, Entity

KIND: Final = "erase"
PEOPLE: Final = "users"
#: By entity: rid to whether the record is active.
About = Mapping[str, Mapping[int, bool]]


async def erase(job: Job) -> None:
    """Carries the run out. Raises HubError(NOT_FOUND) when there is no such person."""
    db, claim = job.db, job.claim
    key = job.secret.fixed(crypto.ERASURES)
    sourced_id, erasure_id = UUID(claim.run.task["person"]), UUID(claim.run.task["erasure"])
    await staging.sweep(db, claim.district_id)
    prepared = Prepared()
    async with db.district(claim.district_id, wait_seconds=30) as tx:
        about = await _about(tx, sourced_id)
        for name, records in about.items():
            changes = prepared.entities[name] = EntityChanges()
            changes.deleted = BitMap(rid for rid, active in records.items() if active)
            changes.counts.before = await past.count(tx, CATALOGUE[name])
            changes.counts.deleted = len(changes.deleted)

    async def last(tx: Transaction) -> None:
        """What nobody else must see half done: with the end of the records goes all that they said."""
        whole = await _about(tx, sourced_id)  # apps may have written since
        if any(active for records in whole.values() for active in records.values()):
            raise HubError(Code.FENCED, "Something was written about the person meanwhile. The run is tried again.")
        keys = {name: await store.source_keys(tx, CATALOGUE[name], list(rids)) for name, rids in whole.items()}
        position, _ = await districts.lock(tx)
        await store.add(tx, Erasure(erasure_id, sourced_id, claim.run.requested_by, job.clock.now(), position, None))
        for source_id, called in keys.get(PEOPLE, ()):
            each = await store.with_its_keys(tx, source_id)
            digests = [(s, crypto.erased_digest(key, claim.district_id, s, called)) for s in each]
            await store.add_keys(tx, erasure_id, digests)
        names = {name: [each for _, each in found] for name, found in keys.items()}
        await store.remove(tx, {name: list(rids) for name, rids in whole.items()}, names)
        await people.forget(tx, whole[PEOPLE])

    prepared.last = last
    async with Applying(db, claim) as applying:
        await end(job, prepared, None, applying)


async def _about(tx: Transaction, sourced_id: UUID) -> About:
    """The person, and every record that would not be without the person."""
    found = await store.person(tx, sourced_id)
    if found is None:
        raise HubError(Code.NOT_FOUND, "This district has no such person.")
    rid = (await people.into(tx, [found[0]])).get(found[0], found[0])
    about: dict[str, dict[int, bool]] = {}
    for entity in CATALOGUE.entities:
        records = await _of(tx, entity, rid, about)
        if records:
            about[entity.name] = records
    return about


async def _of(tx: Transaction, entity: Entity, rid: int, about: About) -> dict[int, bool]:
    if PEOPLE in {entity.name, entity.rid_of}:
        return await store.states(tx, entity, [rid, *await people.aliases_of(tx, [rid])])
    records: dict[int, bool] = {}
    for field in deciding(entity):
        if rids := about.get(field.target or ""):
            records |= await store.about(tx, entity, field.name, list(rids))
    return records


async def replay(tx: Transaction, noted: Mapping[str, Any], keys: Collection[tuple[UUID, bytes]]) -> tuple[bool, bool]:
    """Notes an erasure of before a backup was restored, and queues it where the person is back.

    Whether it was not noted any more, and whether it was queued. One that was released leaves the person alone.
    """
    released = noted["released_at"]
    erasure = Erasure(
        UUID(noted["erasure_id"]), UUID(noted["sourced_id"]), noted["requested_by"],
        datetime.fromisoformat(noted["at"]), 0, datetime.fromisoformat(released) if released else None,
    )  # fmt: skip
    new = await store.add(tx, erasure)
    if released:
        return new, False
    await store.add_keys(tx, erasure.erasure_id, keys)
    found = await store.person(tx, erasure.sourced_id)
    if found is None or found[1]:
        return new, False
    task = {"person": str(erasure.sourced_id), "erasure": str(erasure.erasure_id)}
    run_id = new_id()
    await runs.request(
        tx, run_id, source_id=None, upload_id=None, dry_run=False, requested_by="replay", kind=KIND, task=task
    )
    await past.approve(tx, run_id, "replay")
    return new, True
