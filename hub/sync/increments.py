"""Pulls of changes: where the next one begins, when all is pulled again, and what ended without a word.

A pull of changes is a run of a delta package. Its cursor is kept in the transaction that applies the run, so a run that
fails, is held or is rejected never moves it, and the next pull brings the same changes again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl

from connectors.around import Around
from connectors.protocol import Batch, Mode, Package, Pull
from hub.store import columns
from hub.store.database import Database
from hub.store.sources import Source
from transforms import issues
from transforms.catalogue import CATALOGUE
from transforms.marks import as_list
from transforms.pipeline import REVISION
from transforms.shaping.checking import Checked
from transforms.sheet import no_keys
from transforms.validate.identifiers import trimmed

_LINE = "line"


def since(source: Source, transform: Checked | None, now: datetime) -> Mapping[str, Any] | None:
    """The connector's cursor to pull changes from; None where all is to be pulled.

    All is pulled the first time, after an edit of the configuration or the transform, after an erasure or a run that
    was applied in part (there is no digest then), and when the last whole pull is older than ``full_hours``.
    """
    kept = source.cursor or {}
    if source.digest is None or kept.get("reading") != _reading(transform) or "of" not in kept:
        return None
    due = datetime.fromisoformat(kept["whole_at"]) + timedelta(hours=source.full_hours)
    cursor: Mapping[str, Any] | None = kept["of"]
    return cursor if now < due else None


def kept(source: Source, pulled: Pull, transform: Checked | None, now: datetime, *, whole: bool) -> dict[str, Any]:
    """What to keep of a pull's cursor once its run is applied."""
    whole_at = now.isoformat() if whole else (source.cursor or {})["whole_at"]
    of = dict(pulled.cursor) if pulled.cursor is not None else None
    return {"of": of, "reading": _reading(transform), "whole_at": whole_at}


def known(source: Source, transform: Checked | None) -> Mapping[str, Any] | None:
    """The cursor of a source that tells nothing of changes: by it a package is known that was applied already.

    None where the same package could give other records than it gave.
    """
    kept = source.cursor or {}
    if source.digest is None or kept.get("reading") != _reading(transform):
        return None
    return kept


def remembered(pulled: Pull, transform: Checked | None) -> dict[str, Any] | None:
    """What to keep of such a pull's cursor once its package is applied."""
    return None if pulled.cursor is None else {**pulled.cursor, "reading": _reading(transform)}


def _reading(transform: Checked | None) -> str:
    """What decides beside the rows what comes of them: changes alone say nothing of the others."""
    return f"{REVISION}:{transform.mark if transform is not None else ''}"


async def ended(
    db: Database, district_id: UUID, source: Source, package: Package, pulled: Pull, transform: Checked | None
) -> Package:
    """The package with a tombstone for each record of the source that is not among all ids that its system has.

    Files of which a transform makes other ids are left out: nobody could compare them.
    """
    gone: dict[str, pl.Series] = {}
    files = CATALOGUE.files(package.version)
    for file, present in pulled.present.items():
        steps = transform.files.get(file) if transform is not None else None
        if package.mode.get(file) == "bulk" or (steps is not None and "sourcedId" in steps.written):
            continue
        async with db.district(district_id, readonly=True, wait_seconds=30) as tx:
            known = await columns.keys_of(tx, [source.source_id], files[file].name, None)
        found = await asyncio.to_thread(_missing, known["key"], present, package, file)
        if found.len():
            gone[file] = found
    return Ended(package, gone) if gone else package


def _missing(known: pl.Series, present: pl.Series, package: Package, file: str) -> pl.Series:
    """The known keys that are neither among those present nor in the file: it may have come in between."""
    named = package.keys(file) if file in package.mode else no_keys()
    there = pl.concat([trimmed(keys.rename("key").cast(pl.String)) for keys in (present, named)])
    return known.filter(~known.is_in(as_list(there.drop_nulls().unique()))).sort()


@dataclass(frozen=True, slots=True)
class Ended(Around):
    """``package`` with rows, by file, that say of these keys that they are deleted."""

    package: Package
    gone: Mapping[str, pl.Series] = field(repr=False)

    @property
    def mode(self) -> Mapping[str, Mode]:
        """That of the package, and files of which nothing changed but what ended."""
        more: dict[str, Mode] = dict.fromkeys(self.gone, "delta")
        return more | dict(self.package.mode)

    @property
    def digest(self) -> str:
        """Over the package's and the keys."""
        total = hashlib.sha256(self.package.digest.encode())
        for file in sorted(self.gone):
            total.update("\n".join([file, *self.gone[file]]).encode())
        return total.hexdigest()

    def rows(self, file: str) -> int | None:
        """The rows of the package and those of the keys."""
        before = self.package.rows(file) if file in self.package.mode else 0
        return None if before is None else before + self._gone(file).len()

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of the package, and behind them those of the keys."""
        last = 1
        if file in self.package.mode:
            for batch in self.package.batches(file, size):
                last = batch.frame[_LINE][-1] if batch.frame.height else last
                yield batch
        gone = self._gone(file)
        lines = pl.int_range(last + 1, last + 1 + gone.len(), dtype=pl.UInt32, eager=True)
        rows = pl.DataFrame(
            {"sourcedId": gone, "status": pl.repeat("tobedeleted", gone.len(), eager=True), _LINE: lines}
        )
        for frame in rows.iter_slices(size):
            yield Batch(frame, issues.empty())

    def keys(self, file: str) -> pl.Series:
        """The sourcedIds of all rows."""
        before = self.package.keys(file) if file in self.package.mode else no_keys().rename("sourcedId")
        return pl.concat([before, self._gone(file).rename("sourcedId")])

    def _gone(self, file: str) -> pl.Series:
        return self.gone.get(file, no_keys())
