"""A sourcedId that names another person now (finding ID-005): nobody is ever renamed into somebody else unasked.

A few such users wait, with their enrollments and demographics, until somebody has mended the source: the records stay
as they are. Where there are more than the guard's limit, the run is held as a whole.
"""

from __future__ import annotations

from pyroaring import BitMap

from hub.store import differences, staging
from hub.store.database import Transaction
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
    if not texts and not users.revived:
        return BitMap()
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        if users.revived:
            texts |= await _back(tx, job, users)
        births = await _births(tx, job, list(texts), prepared.entities.get("demographics"))
    return BitMap(rid for rid, (old, new) in texts.items() if is_rebound(old, new, births.get(rid, (None, None))))


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
