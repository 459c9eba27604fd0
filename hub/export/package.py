"""One package from the first byte to the last: file by file and block by block, in bounded memory.

Everything is read in one transaction that sees one moment, so that the files fit each other whatever is synced
meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from pyroaring import BitMap

from connectors.oneroster_csv.manifest import manifest_bytes
from hub.export.archive import Archive
from hub.export.changes import Changes, dependent
from hub.export.layout import File, files
from hub.export.people import People
from hub.export.reading import FEW, Present, Reader
from hub.export.rows import Part, Seen, Writer
from hub.export.sight import Ids, Shown, Sight
from hub.scope.sets import Mask, mask
from hub.scope.v1p1 import Style
from hub.scope.view import View
from hub.store import extract
from hub.store.database import Transaction
from hub.store.extract import ALL, Records, Wanted, Which
from transforms.catalogue import Version

SYSTEM = "RosterHub"
MANIFEST = "manifest.csv"
#: Rows above which a file might grow beyond 4 GB.
_MANY = 250_000

#: Called with the file that is written, and how many records are through of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Order:
    """What a package shall be. ``entities``: those whose files may be in it. The others are the app's settings."""

    version: Version
    entities: frozenset[str]
    empty_files: bool = False
    manifest: bool = True
    style: Style = field(default_factory=Style)
    shown: Shown = field(default_factory=dict)


@dataclass
class Made:
    """What a package came to be: rows by file, rows that were left out for want of a value, size and digest."""

    rows: dict[str, int] = field(default_factory=dict)
    omitted: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class _Views:
    """What the app sees now, and what it saw at its last package."""

    now: Seen
    before: Seen

    @property
    def persons(self) -> bool:
        """Whether anybody is several users of 1.1."""
        return bool(self.now.people.several or self.before.people.several)


class Package:
    """Makes one package of a view; ``changes`` are those since the app's last one, None makes a bulk package.

    ``tx`` sees one moment, that of ``view``. ``as_of``: an earlier position of the district, for a bulk package of its
    records as they were then; ``view`` has those that there were.
    """

    def __init__(
        self, tx: Transaction, view: View, order: Order, changes: Changes | None = None,
        progress: Progress = lambda *_: None, *, as_of: int | None = None,
    ) -> None:  # fmt: skip
        self._as_of = as_of
        self._reader = Reader(tx, order.shown)
        self._view = view
        self._order = order
        self._changes = changes
        self._progress = progress
        self._files = files(order.version, order.entities, view.projections)
        self._present = {name: one.present for name, one in view.entities.items()}
        self._archive = Archive()
        self._digest = hashlib.sha256()
        self._done = self._total = 0
        self.made = Made()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the package, a few megabytes at a time. ``made`` is whole once they have all been taken.

        Raises PastGoneError for a delta whose beginning is not kept any more.
        """
        views = await self._views()
        self._total = sum(len(self._touched(file)) for file in self._files)
        for file in self._files:
            async for chunk in self._file(file, views):
                yield self._sent(chunk)
        if self._order.manifest:
            yield self._sent(self._manifest())
        yield self._sent(self._archive.finish())
        self.made.sha256 = self._digest.hexdigest()

    def _sent(self, chunk: bytes) -> bytes:
        self._digest.update(chunk)
        self.made.bytes += len(chunk)
        return chunk

    async def _views(self) -> _Views:
        reader, changes = self._reader, self._changes
        sets = [self._present] if changes is None else [self._present, changes.present]
        ids = await reader.ids(self._files, sets)
        now = await self._seen(ids, self._present)
        if changes is None:
            return _Views(now, now)
        before = await self._seen(ids, changes.present, changes, now.people)
        more = await dependent(reader.tx, self._files, changes, now.people.differing(before.people))
        listed = {name: self._present[name] | changes.present[name] for name in more}
        self._changes = changes.with_touched({name: rids & listed[name] for name, rids in more.items()})
        return _Views(now, before)

    async def _seen(
        self, ids: Ids, present: Present, changes: Changes | None = None, people: People | None = None
    ) -> Seen:  # fmt: skip
        """What the app sees of ``present``; with ``changes``, as it was before them."""
        reader, order = self._reader, self._order
        sight = Sight(self._view.projections, ids.within(present), order.shown)
        known = await reader.known(self._files, sight, self._then("classes") or _earlier("classes", changes))
        if order.version == "1.2" or not any("users" in f.targets or f.owner.name == "users" for f in self._files):
            return Seen(sight, known)
        names = order.style.names
        if changes is None or people is None:
            found = await reader.people(sight, names, present["users"], self._then("users"))
        else:
            touched, earlier = changes.touched["users"], _earlier("users", changes)
            found = people.but(touched, await reader.people(sight, names, present["users"] & touched, earlier))
        return Seen(sight.without("users", found.nobody), known, found)

    def _then(self, entity: str) -> Which | None:
        """The records of an entity as they were, for a package of an earlier moment."""
        if self._as_of is None:
            return None
        visible = self._present[entity]
        return Which(list(visible) if len(visible) <= FEW else None, self._as_of)

    def _touched(self, file: File) -> BitMap:
        """The records of which a file's rows are made."""
        return (self._changes.touched if self._changes else self._present)[file.owner.name]

    async def _file(self, file: File, views: _Views) -> AsyncIterator[bytes]:
        """The bytes of one file, none where it has no rows."""
        touched = BitMap() if self._leads_nowhere(file) else self._touched(file)
        if not touched and not self._order.empty_files:
            return
        writer = Writer(
            file, await self._metadata(file, touched), self._order.style,
            persons=file.entity.name == "users" and views.persons,
        )  # fmt: skip
        parts = self._bulk(writer, views, touched) if self._changes is None else self._delta(writer, views, touched)
        opened = False
        async for part in parts:
            if part.omitted:
                self.made.omitted[file.name] = self.made.omitted.get(file.name, 0) + part.omitted
            if part.rows:
                if not opened:
                    yield self._begun(writer, views, touched)
                    opened = True
                self.made.rows[file.name] += part.rows
                yield await asyncio.to_thread(self._archive.add, part.text)
        if not opened and self._order.empty_files:
            yield self._begun(writer, views, touched)
            opened = True
        if opened:
            yield self._archive.end()

    def _leads_nowhere(self, file: File) -> bool:
        """Whether a file of links has nothing to link to."""
        target = file.field.target if file.field else None
        return target is not None and not (self._present[target] or (self._changes and self._changes.present[target]))

    def _begun(self, writer: Writer, views: _Views, touched: BitMap) -> bytes:
        self.made.rows[writer.file.name] = 0
        start = self._archive.begin(f"{writer.file.name}.csv", big=len(touched) > _MANY)
        return start + self._archive.add(writer.header(views.now.sight))

    def _manifest(self) -> bytes:
        text = manifest_bytes(
            self._order.version, self.made.rows.keys(), SYSTEM, mode="bulk" if self._changes is None else "delta"
        )
        return self._archive.begin(MANIFEST) + self._archive.add(text) + self._archive.end()

    async def _metadata(self, file: File, touched: BitMap) -> tuple[str, ...]:
        name = file.owner.name
        if file.field is not None or not self._view.projections[name].visible & {"metadata"}:
            return ()
        visible = self._present[name]
        if then := self._then(name):
            which = [then]
        elif self._changes is None:
            which = [Which(list(visible)) if len(visible) <= FEW else ALL]
        else:
            changes = self._changes
            which = [
                Which(list(touched & visible)), Which(list(touched & changes.present[name]), changes.since)
            ]  # fmt: skip
        return await self._reader.metadata_names(file.owner, which, visible)

    async def _bulk(self, writer: Writer, views: _Views, touched: BitMap) -> AsyncIterator[Part]:
        wanted, owner = writer.wanted(views.now.sight), writer.file.owner
        if len(touched) > FEW and owner.name not in self._order.shown:
            whole = mask(touched, touched.max() + 1)
            async for block in extract.blocks(self._reader.tx, wanted, Which(None, self._as_of)):
                part, read = await asyncio.to_thread(_of_block, writer, wanted, views, whole, block)
                self._through(writer.file, read)
                yield part
            return
        for rids in await self._reader.in_order(owner, touched):
            records = await self._reader.records(wanted, Which(rids, self._as_of))
            self._through(writer.file, len(rids))
            yield await asyncio.to_thread(writer.bulk, views.now, records)

    async def _delta(self, writer: Writer, views: _Views, touched: BitMap) -> AsyncIterator[Part]:
        changes, name = self._changes, writer.file.owner.name
        assert changes is not None
        wanted, modified = writer.wanted(views.now.sight), changes.modified(self._view, name)
        for rids in await self._reader.in_order(writer.file.owner, touched):
            some = BitMap(rids)
            new = await self._reader.records(wanted, Which(list(some & self._present[name])))
            old = await self._reader.records(wanted, Which(list(some & changes.present[name]), changes.since))
            self._through(writer.file, len(rids))
            yield await asyncio.to_thread(_changed, writer, views, new, old, modified)

    def _through(self, file: File, records: int) -> None:
        self._done += records
        self._progress(file.name, self._done, self._total)


def _of_block(writer: Writer, wanted: Wanted, views: _Views, present: Mask, block: bytes) -> tuple[Part, int]:
    """The rows of those records of a block that are present, and how many these are."""
    records = wanted.parse(block)
    rids = records.frame["rid"].to_numpy()
    here = present[np.minimum(rids, len(present) - 1)]  # the last element is never set
    if not here.all():
        records = replace(records, frame=records.frame.filter(pl.Series(here)))
    return writer.bulk(views.now, records), records.frame.height


def _changed(writer: Writer, views: _Views, new: Records, old: Records, modified: pl.Series) -> Part:
    after, before = writer.rows(views.now, new.frame), writer.rows(views.before, old.frame)
    return writer.delta(views.now, after, before, modified)


def _earlier(entity: str, changes: Changes | None) -> Which | None:
    """The records of an entity that were visible before and are something else now."""
    if changes is None:
        return None
    return Which(list(changes.touched[entity] & changes.present[entity]), changes.since)
