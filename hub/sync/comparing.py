"""Which records would differ from those in the store: documents decide, and what differs is staged."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import polars as pl

from hub.crashpoints import crash_point
from hub.store import staging
from hub.sync.changes import EntityChanges, compared
from hub.sync.job import Job
from hub.sync.writing import Indexes, Writer
from transforms.catalogue import Entity
from transforms.marks import as_list


def _before(stored: pl.DataFrame) -> dict[int, tuple[bool, str, str]]:
    """As ``staging.documents`` gives them."""
    return {rid: (True, doc, private) for rid, doc, private in stored.rows()}


async def stage_differences(
    job: Job, writer: Writer, entity: Entity, rows: pl.DataFrame, documents: pl.DataFrame, changes: EntityChanges, *,
    task: str, indexes: Indexes, partial: Collection[int] = (),
    stored: pl.DataFrame | None = None,
) -> None:  # fmt: skip
    """Compares known records as they would be with those in the store, and stages those that differ.

    ``rows``: key, hash, rid, sourcedId and the canonical body, by ascending rid; ``documents``: doc and doc_private
    beside them. ``task``: what becomes of those that differ, of ``staging``; with ``staging.UPDATE``, the hashes of the
    others are staged too. ``indexes``: what the references of ``rows`` are resolved by. ``partial`` as in
    ``changes.compared``. ``stored``: rid, doc and doc_private of those of the records that are active and were read
    already.
    """
    job.progress.enter("compare", entity=entity.name)
    rids = rows["rid"].to_list()
    before = {} if stored is None else await asyncio.to_thread(_before, stored)
    if unread := [rid for rid in rids if rid not in before]:
        async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            before |= await staging.documents(tx, entity, unread)
    new = zip(documents["doc"], documents["doc_private"], strict=True)
    found = await asyncio.to_thread(compared, entity, before, dict(zip(rids, new, strict=True)), set(partial))
    changes.updates |= found.updates
    changes.revived |= found.revived
    changes.counts.updated += len(found.written)
    changes.counts.quarantined += len(found.kept)
    changes.counts.unchanged += rows.height - len(found.written | found.kept)
    changes.known = changes.staged = True
    written, kept = (
        rows["rid"].is_in(as_list(pl.Series(list(s), dtype=pl.UInt32))) for s in (found.written, found.kept)
    )
    if (ahead := writer.joining) is not None:
        ahead.changed(entity, found.written)
    if found.written:  # with the documents that were compared: to render them anew would be half of the work
        await writer.stage(entity, task, rows.filter(written), indexes, documents.filter(written))
    if task == staging.UPDATE and (stale := rows.filter(~(written | kept))).height:
        await writer.stage(entity, staging.REHASH, stale, indexes)
    crash_point("stage.differences")
