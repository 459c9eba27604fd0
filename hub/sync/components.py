"""The rows that nest in objects of other files (roles of users, links of classes), and what a delta of them means.

Of each object the rows are kept that the source sent last. A delta's rows take their places among those, so that an
object is what a whole package would make of it, also where its own row does not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import polars as pl

from connectors.protocol import Package
from hub.store import source_parts
from hub.sync.files import Files
from hub.sync.job import Job
from hub.sync.parties import Parties
from hub.sync.resolve import is_target
from hub.sync.said import Said
from hub.sync.writing import Writer
from transforms import kept_rows
from transforms.catalogue import CATALOGUE, Entity, Version
from transforms.marks import as_list, stacked
from transforms.near import near
from transforms.sheet import no_keys
from transforms.validate.identifiers import trimmed

_WHOLE = 1 << 30
#: Columns of what is staged of objects that are new, or known, in a run.
_NAMED = ["key", "rid"]


def of(entity: Entity, version: Version) -> list[Entity]:
    """The files of a version whose rows nest in an entity."""
    return [c for c in CATALOGUE.components_of(entity.name) if version in c.versions]


def is_delta(package: Package, entity: Entity) -> bool:
    """Whether what a package says of an entity are changes: its files are all meant alike."""
    return package.mode.get(entity.csv_file, "delta") == "delta"


def whole(package: Package, spoken: Parties) -> list[str]:
    """The entities of which a package has all component rows, and is heard."""
    return [
        e.name for e in CATALOGUE.entities
        if package.mode.get(e.csv_file) == "bulk" and of(e, package.version) and spoken.speaks(e)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Nested:
    """The component files of one entity, RAW, by name. ``implied`` as in ``Transform.entity``."""

    files: Mapping[str, Iterable[pl.DataFrame]]
    implied: pl.Series | None = None


class Components:
    """The component files of one package. ``staged``: the entities of which rows are staged once ``writer`` is done.

    ``objects``: rows of changes come with all parts of their objects.
    """

    def __init__(
        self, job: Job, package: Package, files: Files, said: Said, known: Iterable[str], writer: Writer, *,
        objects: bool,
    ) -> None:  # fmt: skip
        self._job, self._package, self._files, self._said, self._objects = job, package, files, said, objects
        self._writer = writer
        self._known = frozenset(known)
        self._any_kept: bool | None = None
        self.staged: set[str] = set()

    def all_known(self, entity: Entity) -> bool:
        """Whether all rows are kept that the source sent of an entity's objects."""
        return not self._in_part(entity) or entity.name in self._known

    def _in_part(self, entity: Entity) -> bool:
        """Whether objects may come without parts of them."""
        return is_delta(self._package, entity) and not self._objects

    async def nested(self, entity: Entity, stored: pl.DataFrame) -> Nested:
        """What the chain reads of component files. ``stored``: what the source said last of the entity."""
        names = [c.csv_file for c in CATALOGUE.components_of(entity.name) if c.csv_file in self._package.mode]
        if not (self._in_part(entity) and self.all_known(entity) and of(entity, self._package.version)):
            return Nested({name: self._files.rows(name, _WHOLE) for name in names})
        changed = await asyncio.to_thread(self._changed, names)
        own = await asyncio.to_thread(self._own, entity)
        owners = [kept_rows.owners(CATALOGUE.files(self._package.version)[n], raw) for n, raw in changed.items()]
        named = pl.concat([no_keys(), *owners]).unique()
        here = stored.filter(pl.col("key").is_in(as_list(pl.concat([own, named]))))
        kept = (await self._said.parts(entity, here["rid"])).join(here.select(_NAMED), on="rid", how="inner")
        implied = here.filter(pl.col("active") & pl.col("key").is_in(as_list(named)))["key"]
        return Nested(
            await asyncio.to_thread(self._together, entity, changed, kept),
            implied.filter(~implied.is_in(as_list(own))),
        )

    def _changed(self, names: list[str]) -> dict[str, pl.DataFrame]:
        found = {name: list(self._files.rows(name, _WHOLE)) for name in names}
        return {name: pl.concat(frames, how="diagonal") for name, frames in found.items() if frames}

    def _own(self, entity: Entity) -> pl.Series:
        """The keys of objects whose own rows come."""
        if entity.csv_file not in self._package.mode:
            return no_keys()
        return trimmed(self._package.keys(entity.csv_file)).drop_nulls().rename("key").cast(pl.String)

    def _together(
        self, entity: Entity, changed: Mapping[str, pl.DataFrame], kept: pl.DataFrame
    ) -> dict[str, list[pl.DataFrame]]:
        found = {}
        for component in of(entity, self._package.version):
            rows = kept.filter(pl.col("file") == component.csv_file).select("key", "rows")
            raw = changed.get(component.csv_file)
            if raw is not None or rows.height:
                found[component.csv_file] = [kept_rows.beside(component, self._package.version, raw, rows)]
        return found

    async def stage(
        self, entity: Entity, fresh: pl.DataFrame | None, known: pl.DataFrame, kept: Mapping[str, pl.DataFrame]
    ) -> None:
        """Has the rows of new and of known objects (key, rid) staged.

        Of a known one also that it has none any more, where the source has sent any before.
        """
        files = of(entity, self._package.version)
        if not files or not self.all_known(entity):
            return
        keys = known["key"] if fresh is None else stacked([known["key"], fresh["key"]])
        if not keys.len():
            return
        had = known.height > 0 and await self._has_kept()
        found = []
        for component in files:
            came = kept.get(component.csv_file)
            rows = _NO_ROWS if came is None else await asyncio.to_thread(_packed, came, keys)
            kept_now = {"file": pl.lit(component.csv_file), "rows": pl.col("rows").fill_null(source_parts.NONE)}
            if had or (known.height and rows.height):
                how: Literal["left", "inner"] = "left" if had else "inner"
                found.append(known[_NAMED].join(rows, on="key", how=how).select("rid", **kept_now))
            if fresh is not None and fresh.height and rows.height:
                found.append(fresh[_NAMED].join(rows, on="key", how="inner").select("rid", **kept_now))
        staged = stacked(found) if found else None
        if staged is not None and staged.height:
            claim = self._job.claim
            await self._writer.beside(
                partial(source_parts.stage, self._job.db, claim.district_id, claim.lease_token, entity.name, staged),
                (lambda ahead: ahead.brought(entity)) if is_target(entity) else None,
            )
            self.staged.add(entity.name)

    async def _has_kept(self) -> bool:
        """Whether rows of the source's component files are kept: none are while its first package joins others."""
        if self._any_kept is None:
            async with self._job.db.district(self._job.claim.district_id, readonly=True, wait_seconds=30) as tx:
                self._any_kept = await source_parts.are_kept(tx, self._said.source_id)
        return self._any_kept


_NO_ROWS = pl.DataFrame(schema=kept_rows.KEPT)


def _packed(rows: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """The rows of some objects, as they are kept."""
    few = near(rows, keys)
    return kept_rows.packed(few if few is rows else few.filter(pl.col("key").is_in(as_list(keys))))
