"""From a package to a staged difference: transform, compare with what the source said last, stage what differs.

Nothing that readers see is written here. Polars work runs in threads; batches bound the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import polars as pl
from pyroaring import BitMap

from connectors.protocol import Package
from hub.crashpoints import crash_point
from hub.scope import sets
from hub.scope.grants import WRITABLE
from hub.store import columns, districts, staging
from hub.store.database import Transaction
from hub.sync.ahead import Ahead
from hub.sync.changes import EntityChanges
from hub.sync.components import Components, Nested, is_delta
from hub.sync.doubles import Doubles
from hub.sync.files import Files
from hub.sync.fresh import Fresh
from hub.sync.incarnations import Incarnations
from hub.sync.job import Job
from hub.sync.known import KnownRecords
from hub.sync.linking import linked
from hub.sync.merging import Merging
from hub.sync.named import comes
from hub.sync.numbers import first_rid
from hub.sync.outcomes import joined_keys, joined_rids, repeated_pairs, without_returned
from hub.sync.parties import Parties
from hub.sync.prepared import Prepared
from hub.sync.recognising import keep, recognised
from hub.sync.remembering import found_in_changes
from hub.sync.resolve import empty_index, is_target, numbered
from hub.sync.said import Said
from hub.sync.writing import Indexes, Writer
from transforms.catalogue import CATALOGUE, Entity
from transforms.diff import diff, vanished
from transforms.issues import one
from transforms.marks import as_list, stacked
from transforms.pipeline import Outcome, Transform, duplicated
from transforms.rules.settings import DEFAULTS, RuleSettings
from transforms.sheet import file_of, no_keys
from transforms.sheet import findings as sheet_findings
from transforms.validate.speaking import SRC_001, SRC_002

BATCH_ROWS = 25_000
#: Entities that others refer to are taken whole: a reference may point to a later row of the file.
_WHOLE = 1 << 30


class Preparation:
    """The work of one run before anything is applied. ``indexes`` grow as entities are done, in dependency order.

    ``objects``: rows of changes come with all parts of their objects.
    """

    def __init__(
        self, job: Job, parties: Parties, package: Package, ahead: Ahead | None = None, *, objects: bool = False,
        rules: RuleSettings = DEFAULTS,
    ) -> None:  # fmt: skip
        assert parties.own is not None, "a package is a source's"
        self.job, self.db, self.progress, self.parties = job, job.db, job.progress, parties
        self.district_id, self.run_id = job.claim.district_id, job.claim.lease_token
        self.source_id = parties.own.source_id
        self.package, self.objects, self.rules = package, objects, rules
        self.writer = Writer(job, ahead)
        self.merging = Merging(job, parties, self.writer) if parties.several else None
        self.same_keys: dict[str, pl.DataFrame] = {}
        self.indexes: Indexes = {}
        self.stored: dict[str, pl.DataFrame] = {}
        self.recognised: dict[str, list[pl.Series]] = {}
        self.parents: dict[str, pl.DataFrame] = {}
        self.said = Said(self.db, self.district_id, self.source_id)
        self.passed_back: dict[str, pl.DataFrame] = {}
        joined, known, today = parties.own.joined, parties.own.parts, job.clock.now().date()
        self.transform = Transform(
            package.version, held=self._held, today=today,
            joined=lambda: joined_keys(joined, self.stored.get("enrollments")), parents=self.parents.__getitem__,
            rules=rules,
        )  # fmt: skip
        self.result = Prepared(source_id=self.source_id, rules=rules)
        self.files = Files(package)
        self.components = Components(job, package, self.files, self.said, known, self.writer, objects=objects)
        self.doubles = Doubles(job, self.said, self.merging, merged=parties.merged)
        self.known = KnownRecords(
            job, package, parties, self.merging, self.said, self.files, self.components, self.writer, self.indexes,
            self.doubles,
        )  # fmt: skip
        self.incarnations = Incarnations(job, package, self.said, self.merging, rules, self.known.words)

    async def run(self) -> Prepared:
        """Transforms and stages all entities of the package."""
        try:
            return await self._run()
        finally:
            await self.writer.close()

    async def _run(self) -> Prepared:
        async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
            self.result.heads = await districts.next_rids(tx)
        self.result.fresh = self.writer.fresh = None if any(self.result.heads.values()) else Fresh()
        self.result.issues = self.files.issues
        if self.result.fresh is None and not (self.parties.own and self.parties.own.links):
            await self.said.narrow(self.package, self.parties.own.parts if self.parties.own else ())
        if self.result.fresh is None and sum(self.result.heads.values()) <= BATCH_ROWS:
            await self.said.read()
        for entity in CATALOGUE.entities:
            await self._load(entity)
            if entity.name == "orgs" and (self.package.mode.get("orgs") != "bulk" or not self.parties.speaks(entity)):
                # What the role "administrator" means depends on the type of the org, which another package has brought.
                stored, same = self.stored["orgs"], self.same_keys.get("orgs")
                types = await self.said.org_types(self.parties.same_keys, stored, same)
                self.transform.known.remember("orgs", types)
            if self._comes(entity) and self._may_speak(entity):
                await self._entity(entity)
            else:
                await self._index(entity, [])
            if not is_target(entity):
                del self.stored[entity.name]
        await self.writer.staged()
        if self.merging is not None:
            self.merging.tell(self.result)
        self.result.parts = self.components.staged
        self.result.renewed = self.incarnations.keys
        if self.result.recognised.height or self.doubles.noted or self.result.renewed:
            self.result.last = self._last
        return self.result

    async def _last(self, tx: Transaction) -> None:
        await keep(tx, str(self.source_id), self.result.recognised)
        await self.doubles.keep(tx)
        await self.incarnations.keep(tx)

    def _comes(self, entity: Entity) -> bool:
        """Whether the package says something of an entity that can be understood."""
        if entity.csv_file in self.package.mode:
            return True
        return comes(self.package, entity) and self.components.all_known(entity)

    def _may_speak(self, entity: Entity) -> bool:
        """Whether the source speaks for an entity that came; if not, that is a finding."""
        if self.parties.speaks(entity):
            return True
        self.result.issues.append(one(SRC_001, entity=entity.name, file=file_of(entity)))
        return False

    async def _load(self, entity: Entity) -> None:
        self.progress.enter("compare", entity=entity.name)
        if self.result.fresh is not None:  # the district had no records: no source has said anything that is kept
            self.stored[entity.name] = columns.nothing_stored()
            if self.merging is not None:
                self.merging.begin(entity)
            return
        known, shared = self.said.known(entity), bool(self.parties.same_keys) and is_target(entity)
        if entity.name in WRITABLE:
            self.passed_back[entity.name] = await self.said.passed_back(entity)
        if known is not None and not (shared or self.merging is not None):
            self.stored[entity.name] = known
            return
        async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
            self.stored[entity.name] = await self.said.stored(tx, entity)
            if self.merging is not None:
                await self.merging.load(tx, entity)
            if shared and entity.name not in self.same_keys:
                self.same_keys = await self.said.same_keys(tx, self.parties.same_keys)
            await self.doubles.load(tx, entity, self.stored[entity.name], self.same_keys.get(entity.name))

    async def _entity(self, entity: Entity) -> None:
        changes = self.result.entities[entity.name] = EntityChanges()
        changes.counts.before = self.said.active(entity, self.stored[entity.name])
        self.stored[entity.name] = stored = await self.incarnations.without(entity, self.stored[entity.name])
        seen, kept_out, deleted = list[pl.Series](), list[pl.Series](), list[pl.Series]()
        minted: list[pl.DataFrame] = []
        if entity.name == "enrollments" and not is_delta(self.package, entity):
            self.result.joined = []
        kept: Mapping[str, pl.DataFrame] = {}
        nested = await self.components.nested(entity, stored)
        outcomes = self._outcomes(entity, nested)
        self.progress.enter("transform", entity=entity.name, total=self._rows(entity))
        while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
            crash_point("transform.batch_made")
            if outcome.asks:
                self.parents[entity.name] = await self.known.parents(entity, stored)
                continue
            self.result.issues.append(outcome.issues)
            kept = outcome.kept or kept
            changes.counts.quarantined += outcome.quarantined.len()
            kept_out.append(outcome.quarantined)
            deleted.append(outcome.deleted)
            outcome, returned = without_returned(outcome, self.passed_back.get(entity.name))
            changes.counts.unchanged += returned
            if outcome.frame.height:  # the last one may have findings alone
                seen.append(await self._batch(entity, outcome, changes, minted))
            elif entity.name not in self.indexes:
                await self._index(entity, minted)  # records may refer to others of their own entity
            await self._beside(entity, outcome, changes)
            self.progress.read(outcome.frame.height)
            self.progress.enter("transform", entity=entity.name, total=self.progress.total)
        if entity.name not in self.indexes:  # nothing came
            await self._index(entity, minted)
        gone = self._gone(entity, self.stored[entity.name], seen, kept_out, deleted)
        gone = stacked([gone, self.incarnations.ended(entity)])
        if not is_delta(self.package, entity):
            await self.components.stage(entity, None, gone, kept)
        changes.withdrawn = sets.bitmap(gone["rid"].sort().to_numpy())
        gone, left = await self.known.doubled(entity, gone, changes)
        changes.deleted = sets.bitmap(gone["rid"].sort().to_numpy()) - await self._still_said(entity, gone, changes)
        changes.deleted |= left
        changes.counts.deleted = len(changes.deleted)
        if changes.updates:
            today = self.job.clock.now().date()
            told = await asyncio.to_thread(found_in_changes, entity, stored, changes, self.rules, today)
            self.result.issues.append(told)

    def _gone(
        self, entity: Entity, stored: pl.DataFrame, seen: list[pl.Series], kept_out: list[pl.Series],
        deleted: list[pl.Series],
    ) -> pl.DataFrame:  # fmt: skip
        """The active records (key, rid) of which the source says nothing any more.

        A file of changes says so itself; a whole one says it of all that it does not have.
        """
        if is_delta(self.package, entity):
            said = stacked([no_keys(), *deleted])
            return stored.filter(pl.col("active") & pl.col("key").is_in(as_list(said))).select("key", "rid")
        gone = vanished(stored, seen, kept_out + self.files.unread.get(entity.csv_file, []))
        # A row that could not be read may be any of these.
        return gone.clear() if entity.csv_file in self.files.unreadable else gone

    def _rows(self, entity: Entity) -> int | None:
        return self.package.rows(entity.csv_file) if entity.csv_file in self.package.mode else 0

    async def _beside(self, entity: Entity, outcome: Outcome, changes: EntityChanges) -> None:
        """What else an outcome says: of records without a good row, and the component rows of those kept out."""
        stored = self.stored[entity.name]
        silent = stacked([outcome.quarantined, outcome.deleted])
        if silent.len() and outcome.kept:
            out = stored.filter(pl.col("key").is_in(as_list(silent)))
            await self.components.stage(entity, None, out, outcome.kept)
        if outcome.implied is None or not outcome.implied.height:
            return
        self.said.check(entity, outcome.implied["key"])
        rows = stored.filter(pl.col("key").is_in(as_list(outcome.implied["key"]))).select("key", "rid")
        ids = rows.join(await self.said.ids(entity, rows["rid"]), on="rid", how="inner")
        await self.components.stage(entity, None, ids, outcome.kept)
        await self.known.implied(entity, ids, changes, outcome)

    async def _still_said(self, entity: Entity, gone: pl.DataFrame, changes: EntityChanges) -> BitMap:
        """Those of the records that go which another source speaks of: they stay, as that one says they are."""
        if self.merging is None or not gone.height:
            return BitMap()
        shared = gone.filter(self.merging.is_shared(entity))
        if not shared.height:
            return BitMap()
        ids = shared.join(await self.said.ids(entity, shared["rid"]), on="rid", how="inner").sort("rid")
        merged = await self.merging.merged(entity, ids, None)
        rows = merged.frame.with_columns(key=pl.lit(""), hash=pl.lit(0, pl.UInt64))
        await self.known.differences(entity, rows, merged.documents, changes, staging.REMERGE)
        await self.known.look_for_flips(entity, shared, merged, changes)
        return sets.bitmap(merged.frame["rid"].to_numpy())

    def _outcomes(self, entity: Entity, nested: Nested) -> Iterator[Outcome]:
        """Each step of it is CPU-bound, the first one too: nothing is done before it."""
        there = entity.csv_file in self.package.mode
        # What fits into one batch is taken whole too: its repeated rows need no second batch.
        few = not there or (self.package.rows(entity.csv_file) or BATCH_ROWS + 1) <= BATCH_ROWS
        size = _WHOLE if few or is_target(entity) else BATCH_ROWS
        yield from self.transform.entity(
            entity.name,
            self.files.rows(entity.csv_file, size) if there else (),
            components=nested.files,
            duplicate_keys=duplicated(self.package.keys(entity.csv_file)) if size != _WHOLE else None,
            repeated=repeated_pairs(self.package, entity) if size != _WHOLE else None,
            unread=lambda: self._unread(entity),
            delta=is_delta(self.package, entity),
            implied=nested.implied,
            objects=self.objects,
        )

    def _held(self, entity: str) -> pl.Series:
        """The keys of the active records in the store that the source may refer to."""
        held = self.stored[entity]["key"].filter(self.stored[entity]["active"])
        more = [known[entity]["key"] for known in (self.passed_back, self.same_keys) if entity in known]
        return pl.concat([held, *more]) if more else held

    def _unread(self, entity: Entity) -> pl.Series:
        """The keys of records that stay because their rows could not be read."""
        if entity.csv_file in self.files.unreadable:
            return self._held(entity.name)
        return self.files.unread_keys(entity)

    async def _batch(
        self, entity: Entity, outcome: Outcome, changes: EntityChanges, minted: list[pl.DataFrame]
    ) -> pl.Series:
        """Compares one batch, gives ids to what is new, resolves and renders what may differ, and stages it.

        Returns the rids of the rows that the store knows already.
        """
        self.progress.enter("compare", entity=entity.name)
        frame = self.parties.heard(entity, outcome.frame)
        self.said.check(entity, frame["key"])
        found = await asyncio.to_thread(diff, frame, self.stored[entity.name])
        found = await self.incarnations.looked(entity, found, frame, self.stored, self.indexes)
        crash_point("diff.compared")
        changes.counts.unchanged += found.unchanged
        created, joined = await self._joined(entity, found.created, changes)
        fresh = await self._mint(entity, created)
        known = await self._with_ids(entity, stacked([found.updated, found.reactivated, joined]))
        if is_target(entity):
            minted.append(fresh[["key", "rid", "sourcedId"]])
            if joined.height:
                new = known.filter(pl.col("key").is_in(as_list(joined["key"])))
                minted.append(new.select("key", "rid", "sourcedId"))
            await self._index(entity, minted)  # records may refer to others of their own entity
        if fresh.height:
            changes.created |= sets.bitmap(fresh["rid"].to_numpy())
            changes.counts.created += fresh.height
            await self.writer.stage(entity, staging.INSERT, fresh, dict(self.indexes))
        await self.components.stage(entity, fresh, known, outcome.kept)
        await self.doubles.refer(entity, fresh, known)
        if known.height:
            await self.known.changed(entity, known, changes, outcome)
        if self.result.joined is not None:
            self.result.joined += joined_rids(outcome, fresh, self.stored[entity.name])
        changes.known = changes.known or bool(known.height)
        changes.staged = changes.staged or bool(fresh.height or known.height)
        return found.seen

    async def _joined(
        self, entity: Entity, created: pl.DataFrame, changes: EntityChanges
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Rows that the source has not said before: those of new records, and (with rid) those of others' records."""
        none = created.clear().hstack([pl.Series("rid", [], dtype=pl.UInt32)])
        if self.merging is None or not created.height:
            return created, none
        if entity.rid_of:
            found = created.join(self.indexes[entity.rid_of].select("key", "rid"), on="key", how="inner")
            known = await self.said.ids(entity, found["rid"])
            found = self.doubles.by_home(found.join(known, on="rid", how="semi").select("key", "rid"))
        else:
            async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
                before = self.recognised.setdefault(entity.name, [])
                spoken = pl.concat([self.stored[entity.name]["rid"], self.incarnations.ended(entity)["rid"], *before])
                theirs = self.same_keys.get(entity.name)
                if self.result.fresh is not None:  # nobody has spoken yet
                    theirs = self.stored[entity.name].select("key", "rid")
                same = await linked(tx, self.parties, entity, created, spoken, self.indexes, theirs)
                more = await recognised(
                    tx, self.parties, entity, created, same.found, spoken, self.indexes, self.package
                )
            self.result.issues.append(same.issues)
            found = pl.concat([same.found, more.select("key", "rid")])
            self.result.recognised = pl.concat([self.result.recognised, more])
            self.merging.joining |= set(more["rid"])
            before.append(found["rid"])
        joined = created.join(found, on="key", how="inner", maintain_order="left")
        self.merging.share(entity, joined["rid"])
        left = created.filter(~pl.col("key").is_in(as_list(found["key"])))
        if left.height and not self.parties.creates(entity):
            changes.counts.quarantined += left.height
            self.result.issues.append(sheet_findings(SRC_002, entity, left.with_columns(cause=pl.lit(None, pl.String))))
            left = left.clear()
        return left, joined.select(none.columns)

    async def _mint(self, entity: Entity, created: pl.DataFrame) -> pl.DataFrame:
        """New rows with rid and sourcedId, in ascending rid. Demographics take those of their user."""
        if entity.rid_of:
            found = created.join(self.indexes[entity.rid_of], on="key", how="inner", maintain_order="left")
            return self.doubles.once(found.sort("rid"))
        first = await first_rid(self.job, self.result, entity, created.height)
        if not created.height:  # of a known district's files the most
            return numbered(entity, created, first)
        return await asyncio.to_thread(numbered, entity, created, first)

    async def _index(self, entity: Entity, minted: list[pl.DataFrame]) -> None:
        """Makes the index of an entity that others refer to: what was known, and what is new."""
        if not is_target(entity):
            return
        known, names = empty_index(), ("key", "rid", "sourcedId")
        if self.stored[entity.name].height:
            stored = self.stored[entity.name]
            known = stored.join(await self.said.ids(entity, stored["rid"]), on="rid").select(names)
        own = self.passed_back.get(entity.name, empty_index())
        index = stacked([known, own, *minted])
        if (same := self.same_keys.get(entity.name)) is not None and same.height:
            others = same.join(await self.said.ids(entity, same["rid"]), on="rid").select(names)
            index = pl.concat([index, others]).unique("key", keep="first", maintain_order=True)
        self.indexes[entity.name] = await self.doubles.lead(entity, index)

    async def _with_ids(self, entity: Entity, changed: pl.DataFrame) -> pl.DataFrame:
        """Rows that may differ, with the sourcedId of their record (rid is there from the comparison)."""
        if not changed.height:
            return changed
        ids = await self.doubles.ids(entity, changed["rid"])
        return changed.join(ids, on="rid", how="inner", maintain_order="left").sort("rid")
