"""A sourcedId that names another person now (finding ID-005): nobody is ever renamed into somebody else unasked.

A few such users wait, with their enrollments and demographics, until somebody has mended the source: the records stay
as they are. Where there are more than the guard's limit, the run is held as a whole.
"""

from __future__ import annotations

from typing import NamedTuple

from pyroaring import BitMap

from hub.store import differences, doubles, staging
from hub.store.database import Transaction
from hub.store.people import USERS
from hub.sync.changes import EntityChanges
from hub.sync.difference import birth, is_rebound, maybe_rebound
from hub.sync.job import Job
from hub.sync.prepared import Prepared
from transforms.catalogue import CATALOGUE

_Texts = tuple[str, str]


async def rebound(job: Job, prepared: Prepared) -> BitMap:
    """The known users of a prepared difference who would become somebody else, those that come back among them."""
    users = prepared.entities.get("users")
    if users is None:
        return BitMap()
    texts = {rid: (update.old, update.new) for rid, update in users.updates.items() if maybe_rebound(update)}
    if not (texts or users.revived or prepared.merges):
        return BitMap()
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        if users.revived:
            texts |= await _back(tx, job, users)
        births = await _births(tx, job, list(texts), prepared.entities.get("demographics"))
        doubled = await _doubled(tx, job, prepared, BitMap(texts))
    alone = {rid: each for rid, each in texts.items() if rid not in doubled.records}
    found = BitMap(rid for rid, (old, new) in alone.items() if is_rebound(old, new, births.get(rid, (None, None))))
    return found | doubled.rebound


class _Doubled(NamedTuple):
    """Records of people of whom the run's source has several: all, and those of which one names somebody else."""

    records: BitMap
    rebound: BitMap


async def _doubled(tx: Transaction, job: Job, prepared: Prepared, changed: BitMap) -> _Doubled:
    """What the person's record says follows from several rows: each is compared with what it said itself.

    ``changed``: records of users that may name somebody else.
    """
    source_id, run_id = prepared.source_id, job.claim.lease_token
    if source_id is None or not prepared.merges:
        return _Doubled(BitMap(), BitMap())
    staged = await doubles.staged(tx, USERS, run_id, source_id)
    places = await doubles.around(tx, [*staged, *changed])
    members = {*places, *places.values()}
    said = await doubles.words(tx, USERS, run_id, source_id, members)
    beside = {rid: place for rid, place in places.items() if rid in said}
    if not beside:
        return _Doubled(BitMap(), BitMap())
    born = await doubles.words(tx, CATALOGUE["demographics"], run_id, source_id, members)
    records, found = BitMap(beside) | BitMap(beside.values()), BitMap()
    for rid in said.keys() & set(records):
        (old, new), (was, becomes) = said[rid], born.get(rid, (None, None))
        if old and new and old != new and is_rebound(old, new, (birth(was), birth(becomes or was))):
            found |= BitMap([rid, beside.get(rid, rid)])
    return _Doubled(records, found)


async def _back(tx: Transaction, job: Job, users: EntityChanges) -> dict[int, tuple[_Texts, _Texts]]:
    """Users that had ended and come again, before and after."""
    entity, rids = CATALOGUE["users"], list(users.revived)
    old = await staging.documents(tx, entity, rids)
    new = await differences.staged_documents(tx, entity, job.claim.lease_token, rids)
    return {rid: (old[rid][1:], new[rid]) for rid in rids if rid in old and rid in new}


async def _births(
    tx: Transaction, job: Job, rids: list[int], changes: EntityChanges | None
) -> dict[int, tuple[str | None, str | None]]:
    """Birth dates of people before and after the run."""
    entity = CATALOGUE["demographics"]
    old = await staging.documents(tx, entity, rids)
    new = await differences.staged_documents(tx, entity, job.claim.lease_token, rids)
    created = changes.created if changes is not None else BitMap()
    found = {}
    for rid in rids:
        was = old[rid][1:] if rid in old and rid not in created else None
        found[rid] = (birth(was), birth(new.get(rid, was)))
    return found
