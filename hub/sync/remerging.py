"""Runs that merge records anew though no source has said anything: an override, other rules, a source that departs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import polars as pl

from hub.scope import sets
from hub.store import columns, past, sources, staging, statements
from hub.store.sources import Source
from hub.sync.ahead import Applying
from hub.sync.changes import EntityChanges
from hub.sync.comparing import stage_differences
from hub.sync.ending import end
from hub.sync.job import Job
from hub.sync.merging import Merging, Words
from hub.sync.parties import Parties, parties
from hub.sync.prepared import Departure, Prepared
from hub.sync.resolve import by_id, reference_targets
from hub.sync.writing import Indexes, Writer
from transforms.catalogue import CATALOGUE, Entity

#: Records that are merged at a time.
BATCH_RECORDS = 10_000


async def override(job: Job) -> None:
    """A run of kind "override": the records of ``task["records"]`` (entity to rids) become what all say now."""
    records: Mapping[str, Sequence[int]] = job.claim.run.task["records"]
    await _run(job, Remerging(job, await _parties(job, None)), {name: list(rids) for name, rids in records.items()})


async def remerge(job: Job) -> None:
    """A run of kind "remerge": all merged records become what the rules of now make of them."""
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        merged = await statements.every_merged(tx)
    chosen = {e.name: merged[e.name].to_list() for e in CATALOGUE.of_service("rostering") if e.name in merged}
    await _run(job, Remerging(job, await _parties(job, None)), chosen)


async def departure(job: Job) -> None:
    """A run of kind "departure": a source says nothing any more.

    Others' values take the place of its own. What it alone speaks of ends, or (``task["to"]``) is the other source's
    from now on.
    """
    assert job.claim.run.source_id is not None, "a departure is a source's"
    spoken = await _parties(job, job.claim.run.source_id)
    assert spoken.own is not None, "it was asked for"
    to = job.claim.run.task.get("to")
    steps = Remerging(job, spoken)
    steps.result.source_id = job.claim.run.source_id
    steps.result.departure = Departure(UUID(to) if to else None, spoken.own.state)
    chosen = await _said(job, spoken.own, steps.result.departure)
    await _run(job, steps, chosen)


async def _said(job: Job, source: Source, departure: Departure) -> dict[str, list[int]]:
    """The records of which a source speaks, by entity, and those that an undo keeps as it said they are."""
    chosen = {}
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        for entity in CATALOGUE.entities:
            said = (await columns.stored(tx, source.source_id, entity.name)).filter("active")["rid"]
            kept = [await statements.of_source(tx, source.source_id, entity.name)]
            kept.append(await columns.kept_up(tx, source.source_id, entity))
            departure.claims[entity.name] = sets.bitmap(said.sort().to_numpy())
            chosen[entity.name] = pl.concat([said, *kept]).unique().sort().to_list()
    return chosen


async def _parties(job: Job, source_id: UUID | None) -> Parties:
    async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
        own = await sources.get(tx, source_id) if source_id else None
        return await parties(tx, own)


async def _run(job: Job, steps: Remerging, chosen: Mapping[str, Sequence[int]]) -> None:
    await staging.sweep(job.db, job.claim.district_id)
    async with Applying(job.db, job.claim) as applying:
        try:
            for name, rids in chosen.items():
                if rids:
                    await steps.entity(CATALOGUE[name], rids)
            await steps.writer.staged()
        finally:
            await steps.writer.close()
        steps.merging.tell(steps.result)
        await end(job, steps.result, None, applying)


class Remerging:
    """The work of one run. A run without a source merges what is said; with one, what the others say.

    What it does to records goes into ``result.entities``.
    """

    def __init__(self, job: Job, spoken: Parties) -> None:
        self.job, self.parties = job, spoken
        self.writer = Writer(job, None)
        self.merging = Merging(job, spoken, self.writer)
        self.result = Prepared()
        self._ids: dict[str, pl.DataFrame] = {}

    async def entity(self, entity: Entity, rids: Sequence[int]) -> None:
        """Merges records of an entity anew; those of which nobody else speaks go with the source.

        What has ended stays so: an undo ends records of which sources go on to speak, and none says anything anew here.
        """
        self.job.progress.enter("compare", entity=entity.name, total=len(rids))
        changes = self.result.entities[entity.name] = EntityChanges()
        changes.counts.before = len(rids)
        leaving = self.parties.own is not None
        alone = await self._alone(entity, rids) if leaving else set()
        shared = await self._active(entity, [rid for rid in rids if rid not in alone])
        left = alone | await self.merge(entity, shared, changes)
        if leaving:
            self._leave(entity, rids, left, changes)

    async def merge(
        self, entity: Entity, rids: Sequence[int], changes: EntityChanges, words: Words | None = None
    ) -> set[int]:
        """Merges records anew, by ascending rid, and stages those that differ; those of which nobody speaks then."""
        left: set[int] = set()
        for start in range(0, len(rids), BATCH_RECORDS):
            part = rids[start : start + BATCH_RECORDS]
            ids = (await self._of(entity)).filter(pl.col("rid").is_in(part)).sort("rid")
            merged = await self.merging.merged(entity, ids, None, words)
            rows = merged.frame.with_columns(key=pl.lit(""), hash=pl.lit(0, pl.UInt64))
            await stage_differences(
                self.job, self.writer, entity, rows, merged.documents, changes, task=staging.REMERGE,
                indexes=await self.by_id(entity),
            )  # fmt: skip
            left |= set(part) - set(merged.frame["rid"])
            self.job.progress.rows += len(part)
        return left

    async def _alone(self, entity: Entity, rids: Sequence[int]) -> set[int]:
        """Those of which the source alone speaks: they have never been merged."""
        async with self.job.db.district(self.job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            return set(rids) - set(await statements.merged(tx, entity.name))

    async def _active(self, entity: Entity, rids: Sequence[int]) -> list[int]:
        async with self.job.db.district(self.job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            return sorted(await past.active(tx, entity, rids))

    def _leave(self, entity: Entity, rids: Sequence[int], left: set[int], changes: EntityChanges) -> None:
        departure = self.result.departure
        assert departure is not None, "only a departing source leaves"
        changes.withdrawn = sets.bitmap(pl.Series(rids, dtype=pl.UInt32).to_numpy())
        going = sets.bitmap(pl.Series(sorted(left), dtype=pl.UInt32).to_numpy())
        if departure.to is None:
            changes.deleted = going
            changes.counts.deleted = len(going)
        else:
            departure.handed[entity.name] = going

    async def _of(self, entity: Entity) -> pl.DataFrame:
        if entity.name not in self._ids:
            async with self.job.db.district(self.job.claim.district_id, readonly=True, wait_seconds=30) as tx:
                self._ids[entity.name] = await columns.sourced_ids(tx, entity)
        return self._ids[entity.name]

    async def by_id(self, entity: Entity) -> Indexes:
        """Indexes by sourcedId of what records of an entity refer to."""
        found: Indexes = {}
        for target in reference_targets(entity):
            found[target.name] = by_id(await self._of(target))
        return found
