"""Where the numbers of new records come from."""

from __future__ import annotations

from hub.crashpoints import crash_point
from hub.scope.grants import WRITABLE
from hub.store import districts
from hub.sync.job import Job
from hub.sync.prepared import Prepared
from transforms.catalogue import Entity


async def first_rid(job: Job, result: Prepared, entity: Entity, count: int) -> int:
    """The first of as many new rids.

    Where apps write too, the rids are taken at once, so that nobody else gets them while the run goes on. They are
    given back when it is not to stay.
    """
    if entity.name not in WRITABLE:
        first = result.heads.get(entity.name, 0)
        result.heads[entity.name] = first + count
    elif count:
        async with job.db.district(job.claim.district_id, wait_seconds=30) as tx:
            first = await districts.reserve_rids(tx, entity.name, count)
        result.reserved.append((entity.name, first, count))
        crash_point("stage.rids_reserved")
    else:
        first = 0
    return first
