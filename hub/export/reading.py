"""Reading what a package is made of: records in the order of their ids, the ids that show, and what stands in for them.

All in the one transaction of the package, which sees one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.export import complete
from hub.export.cells import exploded
from hub.export.complete import Known
from hub.export.layout import File
from hub.export.people import People, fields, people
from hub.export.sight import Ids, Shown, Sight, at_rids, renamed
from hub.scope.personas import RoleNames
from hub.scope.sets import mask
from hub.store import columns, extract
from hub.store.database import Transaction
from hub.store.extract import ALL, Records, Wanted, Which
from transforms.catalogue import CATALOGUE, Entity

#: Fewer records than this are asked for by rid; of more, the whole entity is read and the others are passed over.
FEW = 100_000
#: Records that are asked for at a time.
PIECE = 20_000
#: Most different names of metadata in one file.
MOST_NAMES = 200

Present = Mapping[str, BitMap]


class PastGoneError(Exception):
    """What a record was at an earlier position is not kept any more."""


class Reader:
    """Reads for one package; ``shown`` as in hub.export.sight."""

    def __init__(self, tx: Transaction, shown: Shown) -> None:
        self.tx = tx
        self._shown = shown

    async def ids(self, files: Iterable[File], present: Iterable[Present]) -> Ids:
        """The shown ids of what the rows of files refer to, of records that are in one of ``present``."""
        found = {}
        for name in sorted(frozenset().union(*(file.targets for file in files))):
            frame = await self._ids(CATALOGUE[name], BitMap.union(*(each[name] for each in present)))
            found[name] = await asyncio.to_thread(at_rids, frame["rid"], frame["sourcedId"])
        return Ids(found)

    async def _ids(self, entity: Entity, rids: BitMap) -> pl.DataFrame:
        frame = await extract.sourced_ids(self.tx, entity, list(rids) if len(rids) <= FEW else None)
        return frame.with_columns(renamed(self._shown, entity.name, frame["sourcedId"]).alias("sourcedId"))

    async def in_order(self, entity: Entity, rids: BitMap) -> list[list[int]]:
        """Rids by their shown sourcedIds, in pieces."""
        frame = await self._ids(entity, rids)
        return await asyncio.to_thread(_pieces, frame, rids)

    async def records(self, wanted: Wanted, which: Which) -> Records:
        """Some records, by their shown sourcedIds. Raises PastGoneError."""
        blocks = [b async for b in extract.blocks(self.tx, wanted, which)] if which.rids is None or which.rids else []
        parts = [wanted.none, *[await asyncio.to_thread(wanted.parse, block) for block in blocks]]
        found = await asyncio.to_thread(Records.joined, parts)
        if which.as_of is not None and found.frame["rid"].null_count():
            raise PastGoneError
        if wanted.entity.name in self._shown:
            order = renamed(self._shown, wanted.entity.name, found.frame["sourcedId"]).arg_sort()
            found = replace(found, frame=found.frame[order])
        return found

    async def metadata_names(self, entity: Entity, which: Sequence[Which], visible: BitMap) -> tuple[str, ...]:
        """The names of metadata that ``visible`` records have, or some of ``which`` at an earlier position."""
        found: set[str] = set()
        for each in which:
            async for frame in extract.metadata_names(self.tx, entity, each):
                found |= await asyncio.to_thread(_names, frame, visible if each == ALL else None)
        usable = sorted(name for name in found if name and name.isprintable())
        return tuple(usable[:MOST_NAMES])

    async def known(self, files: tuple[File, ...], sight: Sight, changed: Which | None = None) -> Known:
        """What stands in for missing references. ``changed``: classes that were something else at that position."""
        names = complete.of_classes(files)
        if not names and not any(f.entity.name == "courses" for f in files):
            return Known()
        classes = CATALOGUE["classes"]
        wanted = Wanted(classes, tuple(classes[name] for name in sorted(names)))
        tables = [(await self.records(wanted, ALL)).frame] if names else []
        if names and changed is not None:
            tables.append((await self.records(wanted, changed)).frame)
        of_classes = await asyncio.to_thread(_of_classes, wanted, sight, tables)
        return Known(of_classes, await self._root(sight))

    async def people(
        self, sight: Sight, names: RoleNames, users: BitMap, earlier: Which | None = None
    ) -> People:  # fmt: skip
        """Who is several users of 1.1, or none, now or at an earlier position."""
        wanted, found = Wanted(CATALOGUE["users"], fields(sight)), People()
        which = earlier or Which(list(users) if len(users) <= FEW else None)
        async for block in extract.blocks(self.tx, wanted, which):
            frame = (await asyncio.to_thread(wanted.parse, block)).frame
            among = frame.filter(_among(frame["rid"], users))
            some = await asyncio.to_thread(people, sight, names, among)
            found = found.but(BitMap(), some)
        return found

    async def _root(self, sight: Sight) -> str | None:
        """The first visible org without a visible one above it."""
        orgs = CATALOGUE["orgs"]
        frame = await columns.small(self.tx, orgs, ("parent_rid",))
        seen = frame.with_columns(sight.seen("orgs", frame["rid"]).alias("id")).drop_nulls("id")
        top = seen.filter(sight.seen("orgs", seen["parent_rid"]).is_null())
        return min(top["id"], default=None)


def _pieces(ids: pl.DataFrame, rids: BitMap) -> list[list[int]]:
    ordered = ids.filter(_among(ids["rid"], rids)).sort("sourcedId")["rid"]
    return [ordered.slice(start, PIECE).to_list() for start in range(0, ordered.len(), PIECE)]


def _among(rids: pl.Series, members: BitMap) -> pl.Series:
    """Which of the rids are members."""
    size = members.max() + 1 if members else 0
    return pl.Series(mask(members, size)[np.minimum(rids.to_numpy(), size)])  # the last element is never set


def _names(frame: pl.DataFrame, visible: BitMap | None) -> set[str]:
    if visible is not None:
        frame = frame.filter(_among(frame["rid"], visible))
    return set(frame["name"].unique())


def _of_classes(wanted: Wanted, sight: Sight, tables: Sequence[pl.DataFrame]) -> dict[str, pl.Series]:
    """By field, the rid of the (first visible) target at the index of the class's rid; later tables win."""
    if not tables:
        return {}
    table = pl.concat(tables).unique("rid", keep="last").sort("rid")
    found = {}
    for field in wanted.fields:
        values = table[field.name]
        found[field.name] = at_rids(table["rid"], _first(sight, field.target or "", values) if field.many else values)
    return found


def _first(sight: Sight, target: str, lists: pl.Series) -> pl.Series:
    items = exploded(lists).with_columns(pl.col("item").cast(pl.Int32))
    seen = items.filter(sight.seen(target, items["item"]).is_not_null())
    first = seen.group_by("row", maintain_order=True).agg(pl.col("item").first())
    rows = pl.DataFrame({"row": pl.arange(0, lists.len(), dtype=pl.UInt32, eager=True)})
    return rows.join(first, on="row", how="left", maintain_order="left")["item"]
