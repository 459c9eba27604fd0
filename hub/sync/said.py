"""What the store knows already of what a source says: all of it, or for a small package of changes what that names."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from uuid import UUID

import polars as pl

from connectors.protocol import Package
from hub.crashpoints import crash_point
from hub.scope.grants import WRITABLE
from hub.store import columns, source_parts
from hub.store.database import Database, Transaction
from hub.store.sources import Source
from hub.sync.named import comes, named_keys
from hub.sync.resolve import is_target
from transforms.catalogue import CATALOGUE, Entity
from transforms.kept_rows import named

#: Of so many records of a batch ids are asked for by rid: those of a whole entity are read where others refer to it.
_FEW = 2_000
_TARGETS = [entity.name for entity in CATALOGUE.entities if is_target(entity)]


class Said:
    """``named``: the keys that a small package of changes names; None for any other, of which all is read."""

    def __init__(self, db: Database, district_id: UUID, source_id: UUID) -> None:
        self._db, self._district_id, self.source_id = db, district_id, source_id
        self._known: dict[str, pl.DataFrame] = {}
        self._read_at_once: dict[str, pl.DataFrame] | None = None
        self._targets: dict[str, pl.DataFrame] | None = None
        self._counts: dict[str, int] = {}
        self._parts: dict[str, pl.DataFrame] = {}
        self._trees: set[str] = set()
        self._written: dict[str, pl.DataFrame] | None = None
        self.named: list[str] | None = None

    async def narrow(self, package: Package, known: Collection[str]) -> None:
        """Reads what the source has said of the objects that a small package of changes names, and later no more.

        ``known``: the entities of which all component rows are kept.
        """
        found = await asyncio.to_thread(named_keys, package)
        if found is not None:
            self.named = found.to_list()
            # Each goes through the whole table: side by side, in tasks of their own.
            read, count = asyncio.create_task(self._read(self.named)), asyncio.create_task(self._count())
            few, self._counts = await asyncio.gather(read, count)
            self._read_at_once = few
            await self._follow(package, few, [name for name in known if comes(package, CATALOGUE[name])])
            for entity in CATALOGUE.entities:
                if entity.is_tree and entity.csv_file in package.mode:
                    await self._all_of(entity, few)
            crash_point("diff.looked_up")

    async def _follow(self, package: Package, few: dict[str, pl.DataFrame], known: Collection[str]) -> None:
        """Reads the component rows of the objects that are named, and what those rows name in their turn."""
        more: dict[str, set[str]] = {}
        files = CATALOGUE.files(package.version)
        for entity in (CATALOGUE[name] for name in known if name in few):
            kept = await self._parts_of(entity, few[entity.name]["rid"].to_list())
            self._parts[entity.name] = kept
            for (file,), part in kept.group_by("file"):
                if (component := files.get(str(file))) is not None:
                    rows = part.select(key=pl.lit(""), rows="rows")
                    for target, keys in (await asyncio.to_thread(named, component, package.version, rows)).items():
                        more.setdefault(target, set()).update(keys)
        for target, wanted in more.items():
            if new := wanted - set(self.named or ()):
                async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
                    found = await columns.stored_some(tx, self.source_id, target, list(new))
                few[target] = pl.concat([few.get(target, columns.nothing_stored()), found])
                self.named = [*(self.named or ()), *new]

    async def _all_of(self, entity: Entity, few: dict[str, pl.DataFrame]) -> None:
        """Reads all objects of a tree, which are few: a row changes what the hub says of others that name it."""
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            few[entity.name] = await columns.stored(tx, self.source_id, entity.name)
        self._trees.add(entity.name)

    async def _parts_of(self, entity: Entity, rids: list[int]) -> pl.DataFrame:
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            return await source_parts.of_records(tx, self.source_id, entity.name, rids)

    async def parts(self, entity: Entity, rids: pl.Series) -> pl.DataFrame:
        """The rows of component files that the source sent last of some objects (source_parts.SCHEMA)."""
        if entity.name in self._parts:
            return self._parts[entity.name]
        return await self._parts_of(entity, rids.to_list())

    async def read(self) -> None:
        """Reads all that the source has said at once: of a small district, entity by entity is mostly round trips."""
        if self.named is not None:
            return
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            self._read_at_once = await columns.stored_of(tx, self.source_id, None)
            if targets := [e for e in CATALOGUE.entities if e.name in self._read_at_once and is_target(e)]:
                self._known |= await columns.every_sourced_id(tx, targets)

    async def _read(self, named: list[str] | None) -> dict[str, pl.DataFrame]:
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            return await columns.stored_of(tx, self.source_id, named)

    async def _count(self) -> dict[str, int]:
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            return await columns.spoken(tx, self.source_id)

    async def stored(self, tx: Transaction, entity: Entity) -> pl.DataFrame:
        """What the source said last of an entity (transforms.diff.STORED)."""
        known = self.known(entity)
        if known is None and is_target(entity):
            # All of them stay until the run ends, and each question goes through all that the source has said.
            if self._targets is None:
                self._targets = await columns.stored_of(tx, self.source_id, None, entities=_TARGETS)
            return self._targets.get(entity.name, columns.nothing_stored())
        return await columns.stored(tx, self.source_id, entity.name) if known is None else known

    def known(self, entity: Entity) -> pl.DataFrame | None:
        """The same where it was read already."""
        if self._read_at_once is None:
            return None
        return self._read_at_once.get(entity.name, columns.nothing_stored())

    def check(self, entity: Entity, keys: pl.Series) -> None:
        """Raises RuntimeError for a key that ``narrow`` did not foresee: its record would be made a second time."""
        if self.named is not None and entity.name not in self._trees and not keys.is_in(self.named).all():
            raise RuntimeError("a small package has a key that was not looked up")

    async def ids(self, entity: Entity, rids: pl.Series | None = None) -> pl.DataFrame:
        """Rid (UInt32) and sourcedId (String) of an entity's records, of ``rids`` at least; of all without them."""
        if entity.name in self._known:
            return self._known[entity.name]
        few = self.named is not None or (rids is not None and rids.len() <= _FEW and not is_target(entity))
        some = rids.to_list() if rids is not None and few else None
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            found = await columns.sourced_ids(tx, entity, some)
        if some is None:
            self._known[entity.name] = found
        return found

    async def by_id(self, entity: Entity, sourced_ids: Sequence[str] | None) -> pl.DataFrame:
        """Rid and sourcedId of the records with these sourcedIds; of all without them."""
        if sourced_ids is None or entity.name in self._known:
            return await self.ids(entity)
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            found = await columns.rids_of(tx, entity, list(sourced_ids))
        return pl.DataFrame(
            list(found.items()), schema={"sourcedId": pl.String, "rid": pl.UInt32}, orient="row"
        ).select("rid", "sourcedId")

    async def passed_back(self, entity: Entity) -> pl.DataFrame:
        """The objects of an entity that apps wrote (columns.passed_back). All are read at once: mostly none."""
        if self._written is None:
            async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
                self._written = await columns.passed_back(tx, WRITABLE)
        return self._written[entity.name]

    async def same_keys(self, tx: Transaction, others: Sequence[Source]) -> dict[str, pl.DataFrame]:
        """Key and rid of what sources with the same keys speak of, by entity that others refer to."""
        return await columns.every_key_of(tx, [source.source_id for source in others], _TARGETS, self.named)

    async def org_types(
        self, others: Sequence[Source], stored: pl.DataFrame, same: pl.DataFrame | None
    ) -> pl.DataFrame:  # fmt: skip
        """Key and type of the orgs that the source, or one with the same keys, has spoken of.

        ``stored``: what the source said of orgs; ``same``: what the others did (``same_keys``).
        """
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            if self.named is not None:
                return await columns.org_types(tx, [self.source_id, *(source.source_id for source in others)])
            own = stored.filter("active").select("key", "rid")
            known = own if same is None else pl.concat([own, same]).unique("key", keep="first", maintain_order=True)
            types = await columns.small(tx, CATALOGUE["orgs"], (), ("type",)) if known.height else None
        if types is None:
            return known.select("key", type=pl.lit(None, pl.String))
        return known.join(types, on="rid", maintain_order="left").select("key", "type")

    def active(self, entity: Entity, stored: pl.DataFrame) -> int:
        """Of how many active records of an entity the source has spoken."""
        return int(stored["active"].sum()) if self.named is None else self._counts.get(entity.name, 0)
