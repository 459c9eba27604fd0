"""From a package to a staged difference: transform, compare with what the source said last, stage what differs.

Nothing that readers see is written here. Polars work runs in threads; batches bound the memory.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from uuid import UUID

import polars as pl

from connectors.protocol import Package
from hub import ids
from hub.scope import sets
from hub.scope.grants import WRITABLE
from hub.store import columns, districts, staging
from hub.store.database import Database, Transaction
from hub.sync.ahead import Ahead
from hub.sync.changes import EntityChanges, compared
from hub.sync.fresh import Fresh
from hub.sync.progress import Progress
from hub.sync.resolve import empty_index, resolve
from transforms.catalogue import CATALOGUE, Entity
from transforms.diff import diff, vanished
from transforms.issues import RULES, Severity, collect
from transforms.pipeline import Outcome, Transform, duplicated
from transforms.render import render
from transforms.sheet import no_keys

BATCH_ROWS = 25_000
#: Rows that are rendered and copied at a time: their documents and COPY text are the largest things in memory.
WRITTEN_ROWS = 10_000
#: New records get their rids in this order: the index on an enrollment's class or a result's line item is appended to.
_LOAD_ORDER = {"enrollments": ["class", "key"], "results": ["lineItem", "key"]}
#: Entities that others refer to are taken whole: a reference may point to a later row of the file.
_WHOLE = 1 << 30


@dataclass(slots=True)
class Prepared:
    """The staged difference of a run. ``heads``: the next free rid per entity after it.

    ``reserved``: (entity, first rid, count) that were taken before, where others may take rids meanwhile.
    ``fresh``: the new records, where the district had none. ``last``: what the transaction
    that applies it does at its end.
    """

    entities: dict[str, EntityChanges] = field(default_factory=dict)
    issues: list[pl.DataFrame] = field(default_factory=list)
    heads: dict[str, int] = field(default_factory=dict)
    reserved: list[tuple[str, int, int]] = field(default_factory=list)
    fresh: Fresh | None = None
    last: Callable[[Transaction], Awaitable[None]] | None = None

    def __bool__(self) -> bool:
        return any(self.entities.values()) or self.last is not None


class Preparation:
    """The work of one run before anything is applied. ``indexes`` grow as entities are done, in dependency order."""

    def __init__(
        self, db: Database, district_id: UUID, run_id: UUID, source_id: UUID, package: Package, progress: Progress,
        ahead: Ahead | None = None,
    ) -> None:  # fmt: skip
        self.db, self.district_id, self.run_id, self.source_id = db, district_id, run_id, source_id
        self.package, self.progress, self.ahead = package, progress, ahead
        self.indexes: dict[str, pl.DataFrame] = {}
        self.stored: dict[str, pl.DataFrame] = {}
        self.known_ids: dict[str, pl.DataFrame] = {}
        self.passed_back: dict[str, pl.DataFrame] = {}
        self.transform = Transform(package.version, held=self._held)
        self.result = Prepared()
        self.unread: dict[str, list[pl.Series]] = {}
        self.unreadable: set[str] = set()
        self.writing: asyncio.Task[None] | None = None

    async def run(self) -> Prepared:
        """Transforms and stages all entities of the package."""
        try:
            return await self._run()
        finally:
            if self.writing is not None:  # only after a failure
                self.writing.cancel()
                await asyncio.gather(self.writing, return_exceptions=True)

    async def _run(self) -> Prepared:
        async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
            self.result.heads = await districts.next_rids(tx)
        self.result.fresh = None if any(self.result.heads.values()) else Fresh()
        self.result.issues.append(self.package.issues)
        for entity in CATALOGUE.entities:
            await self._load(entity)
            if entity.csv_file in self.package.mode:
                await self._entity(entity)
            else:
                await self._index(entity, [])
            if not _is_target(entity):
                del self.stored[entity.name]
        await self._staged()
        return self.result

    async def _load(self, entity: Entity) -> None:
        self.progress.enter("compare", entity=entity.name)
        async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
            self.stored[entity.name] = await columns.stored(tx, self.source_id, entity.name)
            if entity.name in WRITABLE:
                self.passed_back[entity.name] = await columns.passed_back(tx, entity.name)

    async def _entity(self, entity: Entity) -> None:
        changes = self.result.entities[entity.name] = EntityChanges()
        stored = self.stored[entity.name]
        changes.counts.before = int(stored["active"].sum())
        seen: list[pl.Series] = []
        kept_out: list[pl.Series] = []
        minted: list[pl.DataFrame] = []
        outcomes = self._outcomes(entity)
        self.progress.enter("transform", entity=entity.name, total=self.package.rows(entity.csv_file))
        while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
            self.result.issues.append(outcome.issues)
            changes.counts.quarantined += outcome.quarantined.len()
            kept_out.append(outcome.quarantined)
            outcome = self._without_returned(entity, outcome, changes)
            seen.append(await self._batch(entity, outcome, changes, minted))
            self.progress.rows += outcome.frame.height
            self.progress.enter("transform", entity=entity.name, total=self.progress.total)
        await self._index(entity, minted)
        gone = vanished(stored, seen, kept_out + self.unread.get(entity.csv_file, []))
        if entity.csv_file in self.unreadable:
            gone = gone.clear()  # the row that could not be read may be any of these
        changes.withdrawn = sets.bitmap(gone["rid"].sort().to_numpy())
        changes.deleted = changes.withdrawn
        changes.counts.deleted = gone.height

    def _without_returned(self, entity: Entity, outcome: Outcome, changes: EntityChanges) -> Outcome:
        """The same without objects that apps wrote and that come back from the system which they were passed to.

        They stay the apps' own: neither does the system's copy replace them, nor does it become a second record.
        """
        own = self.passed_back.get(entity.name)
        if own is None or own.is_empty():
            return outcome
        kept = outcome.frame.filter(~pl.col("key").is_in(own["key"].implode()))
        changes.counts.unchanged += outcome.frame.height - kept.height
        return replace(outcome, frame=kept)

    def _outcomes(self, entity: Entity) -> Iterator[Outcome]:
        size = _WHOLE if _is_target(entity) else BATCH_ROWS
        files = [c.csv_file for c in CATALOGUE.components_of(entity.name) if c.csv_file in self.package.mode]
        return self.transform.entity(
            entity.name,
            self._raw(entity.csv_file, size),
            components={name: self._raw(name, _WHOLE) for name in files},
            duplicate_keys=duplicated(self.package.keys(entity.csv_file)) if size != _WHOLE else None,
            unread=lambda: self._unread(entity),
        )

    def _held(self, entity: str) -> pl.Series:
        """The keys of the active records that the source has in the store."""
        held = self.stored[entity].filter("active")["key"]
        own = self.passed_back.get(entity)
        return held if own is None else pl.concat([held, own["key"]])

    def _unread(self, entity: Entity) -> pl.Series:
        """The keys of rows that the reader kept out: their older versions stay, so references to them hold."""
        if entity.csv_file in self.unreadable:
            return self._held(entity.name)
        return pl.concat([no_keys(), *self.unread.get(entity.csv_file, [])]).drop_nulls()

    def _partial(self, entity: Entity, outcome: Outcome) -> pl.Series:
        """The keys of rows that lack components which could not be read; nobody knows whose those of the reader are."""
        files = [component.csv_file for component in CATALOGUE.components_of(entity.name)]
        if any(keys.len() for file in files for keys in self.unread.get(file, [])):
            return outcome.frame["key"]
        return outcome.partial

    def _raw(self, file: str, size: int) -> Iterator[pl.DataFrame]:
        """RAW frames of one file. Rows that the reader kept out count as known; of unreadable ones nobody can tell."""
        # Connectors declare their rules when they are loaded, which may be after this module was.
        blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_RECORD]
        for batch in self.package.batches(file, size):
            self.result.issues.append(batch.issues)
            kept_out = batch.issues.filter(pl.col("code").is_in(blocking))["key"]
            if (kept_out.fill_null("") == "").any():
                self.unreadable.add(file)
            self.unread.setdefault(file, []).append(kept_out)
            yield batch.frame

    async def _batch(
        self, entity: Entity, outcome: Outcome, changes: EntityChanges, minted: list[pl.DataFrame]
    ) -> pl.Series:
        """Compares one batch, gives ids to what is new, resolves and renders what may differ, and stages it.

        Returns the rids of the rows that the store knows already.
        """
        self.progress.enter("compare", entity=entity.name)
        parts = await asyncio.to_thread(diff, outcome.frame, self.stored[entity.name])
        changes.counts.unchanged += parts.unchanged
        fresh = await self._mint(entity, parts.created)
        if _is_target(entity):
            minted.append(fresh.select("key", "rid", "sourcedId"))
            await self._index(entity, minted)  # records may refer to others of their own entity
        known = await self._with_ids(entity, pl.concat([parts.updated, parts.reactivated]))
        if fresh.height:
            changes.created |= sets.bitmap(fresh["rid"].to_numpy())
            changes.counts.created += fresh.height
            await self._stage(entity, staging.INSERT, fresh)
        if known.height:
            await self._changed(entity, known, changes, self._partial(entity, outcome))
        changes.known = changes.known or bool(known.height)
        changes.staged = changes.staged or bool(fresh.height or known.height)
        return parts.seen

    async def _mint(self, entity: Entity, created: pl.DataFrame) -> pl.DataFrame:
        """New rows with rid and sourcedId, in ascending rid. Demographics take those of their user."""
        if entity.rid_of:
            found = created.join(self.indexes[entity.rid_of], on="key", how="inner", maintain_order="left")
            return found.sort("rid")
        first = await self._first_rid(entity, created.height)
        return await asyncio.to_thread(_numbered, entity, created, first)

    async def _first_rid(self, entity: Entity, count: int) -> int:
        """The first of as many new rids.

        Where apps write too, the rids are taken at once, so that nobody else gets them while the run goes on. They are
        given back when it is not to stay.
        """
        if entity.name not in WRITABLE:
            first = self.result.heads.get(entity.name, 0)
            self.result.heads[entity.name] = first + count
        elif count:
            async with self.db.district(self.district_id, wait_seconds=30) as tx:
                first = await districts.reserve_rids(tx, entity.name, count)
            self.result.reserved.append((entity.name, first, count))
        else:
            first = 0
        return first

    async def _index(self, entity: Entity, minted: list[pl.DataFrame]) -> None:
        """Makes the index of an entity that others refer to: what was known, and what is new."""
        if not _is_target(entity):
            return
        stored = self.stored[entity.name]
        known = empty_index()
        if stored.height:
            known = (
                stored.select("key", "rid").join(await self._ids(entity), on="rid").select("key", "rid", "sourcedId")
            )
        own = self.passed_back.get(entity.name, empty_index())
        self.indexes[entity.name] = pl.concat([known, own, *minted])

    async def _ids(self, entity: Entity) -> pl.DataFrame:
        if entity.name not in self.known_ids:
            async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
                self.known_ids[entity.name] = await columns.sourced_ids(tx, entity)
        return self.known_ids[entity.name]

    async def _with_ids(self, entity: Entity, changed: pl.DataFrame) -> pl.DataFrame:
        """Rows that may differ, with the sourcedId of their record (rid is there from the comparison)."""
        if not changed.height:
            return changed
        return changed.join(await self._ids(entity), on="rid", how="inner", maintain_order="left").sort("rid")

    async def _stage(self, entity: Entity, task: str, rows: pl.DataFrame) -> None:
        """Hands rows (with key, hash, rid, sourcedId) over to be resolved, rendered and copied in the background.

        One batch is written while the next one is transformed, no more: memory stays bounded.
        """
        await self._staged()
        self.writing = asyncio.create_task(self._write(entity, task, rows, dict(self.indexes)))

    async def _staged(self) -> None:
        """Waits for the batch that is being written."""
        if self.writing is not None:
            writing, self.writing = self.writing, None
            await writing

    async def _write(self, entity: Entity, task: str, rows: pl.DataFrame, indexes: dict[str, pl.DataFrame]) -> None:
        copying: asyncio.Task[None] | None = None
        try:
            for part in rows.iter_slices(WRITTEN_ROWS):
                started = time.perf_counter()
                text = await asyncio.to_thread(self._text, entity, task, part, indexes)
                self.progress.add("render", time.perf_counter() - started)
                if copying is not None:
                    await copying
                # The server reads while the next part is rendered.
                copying = asyncio.create_task(self._copy(entity, task, part["rid"], *text))
            if copying is not None:
                await copying
        finally:
            if copying is not None and not copying.done():  # only after a failure
                copying.cancel()
                await asyncio.gather(copying, return_exceptions=True)

    def _text(
        self, entity: Entity, task: str, rows: pl.DataFrame, indexes: dict[str, pl.DataFrame]
    ) -> tuple[list[str], io.BytesIO]:
        if task != staging.REHASH:
            resolved = resolve(entity, rows, indexes)
            documents = render(entity.name, resolved.documents)
            rows = resolved.rids.with_columns(documents["doc"], documents["doc_private"])
        if task == staging.INSERT and self.result.fresh is not None:
            self.result.fresh.add(entity, rows)
        return staging.staged_text(entity, self.district_id, self.run_id, task, rows)

    async def _copy(self, entity: Entity, task: str, rids: pl.Series, columns: list[str], text: io.BytesIO) -> None:
        started = time.perf_counter()
        await staging.stage(self.db, self.district_id, entity, columns, text)
        self.progress.add("stage", time.perf_counter() - started)
        if self.ahead is not None and task == staging.INSERT and not entity.rid_of:
            self.ahead.staged(entity, rids[0], rids[-1] + 1)

    async def _changed(self, entity: Entity, rows: pl.DataFrame, changes: EntityChanges, partial: pl.Series) -> None:
        """Tells real changes from hashes that merely went stale, by comparing documents with what is stored.

        A record that would lose a component because the component's row was kept out stays as it is.
        """
        self.progress.enter("render", entity=entity.name)
        documents = await asyncio.to_thread(_documents, entity, rows, self.indexes)
        self.progress.enter("compare", entity=entity.name)
        rids = rows["rid"].to_list()
        async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
            before = await staging.documents(tx, entity, rids)
        new = zip(documents["doc"], documents["doc_private"], strict=True)
        owners = set(rows.filter(pl.col("key").is_in(partial.implode()))["rid"])
        found = await asyncio.to_thread(compared, entity, before, dict(zip(rids, new, strict=True)), owners)
        changes.updates |= found.updates
        changes.revived |= found.revived
        changes.counts.updated += len(found.written)
        changes.counts.quarantined += len(found.kept)
        changes.counts.unchanged += rows.height - len(found.written | found.kept)
        written, kept = (
            pl.col("rid").is_in(pl.Series(list(s), dtype=pl.UInt32).implode()) for s in (found.written, found.kept)
        )
        for task, part in ((staging.UPDATE, rows.filter(written)), (staging.REHASH, rows.filter(~(written | kept)))):
            if part.height:
                await self._stage(entity, task, part)


def _is_target(entity: Entity) -> bool:
    """Whether any record refers to records of this entity."""
    return any(f.target == entity.name for e in CATALOGUE.entities for f in e.references) or entity.name in {
        "orgs",
        "users",
    }


def _numbered(entity: Entity, created: pl.DataFrame, first: int) -> pl.DataFrame:
    ordered = created.sort(_LOAD_ORDER.get(entity.name, ["key"]))
    rids = pl.int_range(first, first + ordered.height, dtype=pl.UInt32, eager=True)
    return ordered.with_columns(rids.alias("rid"), ids.mint(ordered.height).alias("sourcedId"))


def _documents(entity: Entity, rows: pl.DataFrame, indexes: dict[str, pl.DataFrame]) -> pl.DataFrame:
    return render(entity.name, resolve(entity, rows, indexes).documents)


def findings(prepared: Prepared) -> pl.DataFrame:
    """All findings of the run in one frame."""
    return collect(prepared.issues)
