"""What a package makes of records that the store knows: compared by their documents, merged where others speak too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import polars as pl
from pyroaring import BitMap

from connectors.protocol import Package
from hub.store import columns, staging, statements
from hub.store.statements import STATEMENTS
from hub.sync.changes import EntityChanges
from hub.sync.comparing import stage_differences
from hub.sync.components import Components, is_delta
from hub.sync.doubles import Doubles
from hub.sync.files import Files
from hub.sync.flips import found_flips
from hub.sync.job import Job
from hub.sync.merging import Merged, Merging
from hub.sync.parties import Parties
from hub.sync.resolve import by_id, reference_targets, resolve
from hub.sync.said import Said
from hub.sync.writing import Indexes, Writer
from transforms import parts
from transforms.canonical import schema
from transforms.catalogue import Entity
from transforms.marks import as_list
from transforms.parse import parse
from transforms.pipeline import Outcome
from transforms.render import render
from transforms.validate.parents import no_parents

#: The hash of a row of which only a part came: the next whole package compares it by its document.
_IN_PART = 1


@dataclass(frozen=True, slots=True)
class KnownRecords:
    """The known records of one run. ``indexes`` and what ``merging`` knows grow while entities are gone through."""

    job: Job
    package: Package
    parties: Parties
    merging: Merging | None
    said: Said
    files: Files
    components: Components
    writer: Writer
    indexes: Indexes
    doubles: Doubles

    async def changed(self, entity: Entity, rows: pl.DataFrame, changes: EntityChanges, outcome: Outcome) -> None:
        """Tells real changes from hashes that merely went stale, by comparing documents with what is stored.

        A record that would lose a component because the component's row was kept out stays as it is. One of which
        several sources speak becomes what they say together.
        """
        self.job.progress.enter("render", entity=entity.name)
        own = await self._complete(entity, rows)
        rows, own = await self._merged(entity, rows, own, changes)
        if own is not None:
            await self._stage_own(entity, own, changes, outcome)
        elif rows.height:
            documents = await asyncio.to_thread(_documents, entity, rows, self.indexes)
            await stage_differences(
                self.job, self.writer, entity, rows, documents, changes, task=staging.UPDATE,
                indexes=dict(self.indexes), partial=self._partial(entity, rows, outcome),
            )  # fmt: skip

    async def implied(self, entity: Entity, ids: pl.DataFrame, changes: EntityChanges, outcome: Outcome) -> None:
        """The same for records without a good row of their own: what the source said of them, with what is implied.

        ``ids``: key, rid and sourcedId of the records.
        """
        assert outcome.implied is not None, "the caller has looked"
        rows = ids.join(outcome.implied, on="key", how="inner", maintain_order="left").sort("rid")
        changes.known = changes.staged = True
        words = await self.words(entity, rows)
        await self._unheard(entity, rows.join(words, on="rid", how="anti"))
        rows = rows.join(words, on="rid", how="semi", maintain_order="left")
        if not rows.height:
            return
        empty = {n: t for n, t in schema(entity.name).items() if n not in {*rows.columns, "hash", "line"}}
        whole = rows.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in empty.items())
        now = (await asyncio.to_thread(resolve, entity, whole, self.indexes)).documents
        silent = self.parties.silent(entity)
        named = [name for name in outcome.implied.columns if name != "key" and name not in silent]
        before = await asyncio.to_thread(parse, entity.name, words)
        own = before.drop(named).join(now.select("rid", "key", *named), on="rid", how="inner", maintain_order="left")
        own = own.with_columns(hash=pl.lit(_IN_PART, pl.UInt64)).sort("rid")
        _, left = await self._merged(entity, own.select("key", "rid", "sourcedId", "hash"), own, changes)
        if left is not None:
            await self._stage_own(entity, left, changes, outcome)

    async def parents(self, entity: Entity, stored: pl.DataFrame) -> pl.DataFrame:
        """Under which parents the source itself has put its active records of a tree (as ``no_parents``).

        ``stored``: what it said last of the entity. Records of which an undo took its words away are left out.
        """
        here = stored.filter("active").select("key", "rid")
        if not here.height:
            return no_parents()
        column = entity["parent"].table_column
        async with self.job.db.district(self.job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            said = (await columns.small(tx, entity, (column,))).select("rid", above=pl.col(column).cast(pl.UInt32))
        if self.merging is not None:
            shared = self.merging.is_shared(entity)
            said = pl.concat([said.filter(~shared), await self._own_parents(entity, here.filter(shared))])
        last = stored.sort("active", descending=True).unique("rid", keep="first").select(above="rid", parent="key")
        return here.join(said, on="rid", how="inner").join(last, on="above", how="left").select("key", "parent")

    async def _own_parents(self, entity: Entity, rows: pl.DataFrame) -> pl.DataFrame:
        """Rid, and that of the parent which the run's source names (above), of merged records."""
        ids = await self.said.ids(entity)
        words = await self.words(entity, rows.join(ids, on="rid", how="inner"))
        if not words.height:
            return pl.DataFrame(schema={"rid": pl.UInt32, "above": pl.UInt32})
        said = (await asyncio.to_thread(parse, entity.name, words)).select("rid", sourcedId="parent")
        return said.join(ids.rename({"rid": "above"}), on="sourcedId", how="left").select("rid", "above")

    async def _unheard(self, entity: Entity, rows: pl.DataFrame) -> None:
        """Leaves records of which an undo took the source's words away to its next whole package."""
        if rows.height:
            stale = rows.select("key", "rid", "sourcedId", hash=pl.lit(_IN_PART, pl.UInt64))
            await self.writer.stage(entity, staging.REHASH, stale, dict(self.indexes))

    async def words(self, entity: Entity, rows: pl.DataFrame) -> pl.DataFrame:
        """What the run's source alone says of records (rid, sourcedId, doc, doc_private): what all say is not its own.

        Merged records of which it has not spoken are left out.
        """
        rids, own = rows["rid"].to_list(), str(self.said.source_id)
        async with self.job.db.district(self.job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            stored = await staging.documents(tx, entity, rids)
            said = (
                await statements.of_records(tx, entity.name, rids) if self.merging else pl.DataFrame(schema=STATEMENTS)
            )
        merged = set(said["rid"])
        alone = [(rid, doc, private) for rid, (_, doc, private) in stored.items() if rid not in merged]
        types = {"rid": pl.UInt32, "doc": pl.String, "doc_private": pl.String}
        mine = said.filter(pl.col("source") == own).select(pl.col(name).cast(kind) for name, kind in types.items())
        found = pl.concat([pl.DataFrame(alone, schema=types, orient="row"), mine])
        return found.join(rows.select("rid", "sourcedId"), on="rid")

    async def _complete(self, entity: Entity, rows: pl.DataFrame) -> pl.DataFrame | None:
        """Rows of changes with the parts of their records that they do not name; None where they have all.

        References are sourcedIds then.
        """
        if not (is_delta(self.package, entity) and parts.fields(entity, self.package.version) and rows.height):
            return None
        if self.components.all_known(entity):
            return None
        words = await self.words(entity, rows)
        own = (await asyncio.to_thread(resolve, entity, rows, self.indexes)).documents
        return await asyncio.to_thread(parts.keep, entity, self.package.version, own, parse(entity.name, words))

    async def _merged(
        self, entity: Entity, rows: pl.DataFrame, own: pl.DataFrame | None, changes: EntityChanges
    ) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """Brings records of which others speak too to what all say, now that the run's source says ``rows``.

        ``own``: the same with references by sourcedId, where that is known. Gives back those of which nobody else
        speaks.
        """
        if self.merging is None:
            return rows, own
        shared = self.merging.is_shared(entity)
        both, told = rows.filter(shared), own if own is None else own.filter(shared)
        if both.height:
            if told is None:
                told = (await asyncio.to_thread(resolve, entity, both, self.indexes)).documents
            both, told = self.doubles.put_aside(entity, both, told)
        if both.height and told is not None:
            merged = await self.merging.merged(entity, both.select("rid", "sourcedId").sort("rid"), told)
            keys = both.select("rid", "key", "hash")
            frame = merged.frame.join(keys, on="rid", how="inner", maintain_order="left")
            await self.differences(entity, frame, merged.documents, changes, staging.UPDATE, merged.stored)
            await self.look_for_flips(entity, keys, merged, changes)
        return rows.filter(~shared), own if own is None else own.filter(~shared)

    async def doubled(self, entity: Entity, gone: pl.DataFrame, changes: EntityChanges) -> tuple[pl.DataFrame, BitMap]:
        """Merges the people of whom the run's source has several records, once all of its rows have been seen.

        ``gone``: key and rid of what it says no more. Gives back the others of these, and the records of people of whom
        nobody speaks any more.
        """
        told = self.doubles.told(entity, gone)
        if told is None or self.merging is None:
            return gone, BitMap()
        ids = (await self.said.ids(entity, told.places)).filter(pl.col("rid").is_in(told.places.implode()))
        merged = await self.merging.merged(entity, ids.sort("rid"), told.own, kept=told.kept)
        mine = merged.frame["rid"].is_in(told.rows["rid"].implode())
        keys = told.rows.select("rid", "key", "hash")
        own = merged.frame.filter(mine).join(keys, on="rid", how="inner", maintain_order="left")
        await self.differences(entity, own, merged.documents.filter(mine), changes, staging.UPDATE)
        others = merged.frame.filter(~mine).with_columns(key=pl.lit(""), hash=pl.lit(0, pl.UInt64))
        await self.differences(entity, others, merged.documents.filter(~mine), changes, staging.REMERGE)
        beside = told.rows.filter(~pl.col("rid").is_in(told.places.implode()))
        if beside.height:
            stale = beside.select("key", "rid", "sourcedId", "hash")
            await self.writer.stage(entity, staging.REHASH, stale, dict(self.indexes))
        await self.look_for_flips(entity, keys, merged, changes)
        left = set(told.places) - set(merged.frame["rid"])
        return gone.filter(~pl.col("rid").is_in(list(told.members))), BitMap(left)

    async def _stage_own(self, entity: Entity, own: pl.DataFrame, changes: EntityChanges, outcome: Outcome) -> None:
        documents = await asyncio.to_thread(render, entity.name, own)
        await stage_differences(
            self.job, self.writer, entity, own, documents, changes, task=staging.UPDATE,
            indexes=await self._by_id(entity, own), partial=self._partial(entity, own, outcome),
        )  # fmt: skip

    def _partial(self, entity: Entity, rows: pl.DataFrame, outcome: Outcome) -> set[int]:
        if not self.components.all_known(entity):
            return set()
        return set(rows.filter(pl.col("key").is_in(as_list(self.files.partial(entity, outcome))))["rid"])

    async def differences(
        self, entity: Entity, rows: pl.DataFrame, documents: pl.DataFrame, changes: EntityChanges, task: str,
        stored: pl.DataFrame | None = None,
    ) -> None:  # fmt: skip
        """Stages what differs of merged records, whose references are sourcedIds. ``stored`` as ``Merged`` has it."""
        await stage_differences(
            self.job, self.writer, entity, rows, documents, changes, task=task, indexes=await self._by_id(entity, rows),
            stored=stored,
        )  # fmt: skip

    async def look_for_flips(self, entity: Entity, keys: pl.DataFrame, merged: Merged, changes: EntityChanges) -> None:
        """Tells of values of merged records (``keys``: rid and key) that go back and forth between sources."""
        if self.merging is not None and not self.merging.any_merged(entity):
            return  # nothing has come from another source yet
        claim, rows = self.job.claim, keys.select("rid", "key")
        found = await found_flips(self.job.db, claim.district_id, entity, rows, merged.provenance, changes.updates)
        self.files.issues.append(found)

    async def _by_id(self, entity: Entity, rows: pl.DataFrame) -> Indexes:
        """Indexes by sourcedId of what rows of an entity refer to; of a small package of that alone."""
        found: Indexes = {}
        for target in reference_targets(entity):
            named = _referred(entity, target.name, rows) if self.said.named is not None else None
            known, new = await self.said.by_id(target, named), self.indexes[target.name].select("rid", "sourcedId")
            found[target.name] = await asyncio.to_thread(by_id, known, new)
        return found


def _referred(entity: Entity, target: str, rows: pl.DataFrame) -> list[str]:
    """The sourcedIds of records of another entity to which rows refer."""
    found = [rows[f.name].explode() if f.many else rows[f.name] for f in entity.references if f.target == target]
    if target == "orgs" and "roles" in entity:
        found.append(rows["roles"].explode().struct.field("org"))
    return pl.concat([each.rename("id") for each in found]).drop_nulls().unique().to_list()


def _documents(entity: Entity, rows: pl.DataFrame, indexes: Indexes) -> pl.DataFrame:
    return render(entity.name, resolve(entity, rows, indexes).documents)
