"""What a transform would change on a real package: rows, cells and findings before and after. Nothing is written."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from connectors.protocol import ConnectorError, Intent, Package
from connectors.shaped import shape
from hub.errors import Code, HubError
from hub.errors import Intent as HubIntent
from hub.store.database import Database
from hub.store.sources import Source
from hub.sync.examine import examined
from hub.sync.pull import fetched, opened_source, private_folder
from transforms.rules.settings import DEFAULTS, RuleSettings
from transforms.shaping.checking import Checked

#: Rows of one file that are compared; of larger files the first ones are.
MOST_ROWS = 200_000
#: Sample values of one column.
SAMPLES = 5
_LINE = "line"
#: One preview at a time in a process: each holds a package on disk and rows in memory.
_TURN = threading.BoundedSemaphore()
#: Packages that are being received at a time: somebody whose line is slow must not hold up all others.
_ROOM = threading.BoundedSemaphore(4)


@dataclass(frozen=True, slots=True)
class Cells:
    """One column: how many cells changed, and the most frequent changes as (before, after, times)."""

    changed: int
    samples: list[tuple[str | None, str | None, int]]


@dataclass(frozen=True, slots=True)
class FilePreview:
    """One OneRoster file. ``whole``: whether all rows were looked at. ``added``: rows that were not there before."""

    before: int
    after: int
    left_out: int
    added: int
    whole: bool
    columns: dict[str, Cells]


@dataclass(slots=True)
class Preview:
    """The whole. ``findings``: by code, the numbers before and after; empty where not all rows were looked at."""

    files: dict[str, FilePreview] = field(default_factory=dict)
    findings: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: bool = False
    whole: bool = True


async def preview(
    db: Database, district_id: UUID, source: Source, upload_id: UUID, before: Checked | None, after: Checked,
    rules: RuleSettings = DEFAULTS, today: date | None = None,
) -> Preview:  # fmt: skip
    """Compares the package of an upload under two transforms.

    Raises ConnectorError, HubError(UPLOAD_INCOMPLETE), HubError(UNAVAILABLE) while another preview is made.
    """
    with _one(_TURN):
        async with private_folder() as folder:  # the packages have their files in it
            package = await fetched(db, district_id, upload_id, folder)
            return await _both(source, package, folder, before, after, rules, today)


@asynccontextmanager
async def received() -> AsyncIterator[Path]:
    """A folder for a package that comes with its request and is not kept. Raises HubError(UNAVAILABLE) for too many."""
    with _one(_ROOM):
        async with private_folder() as folder:
            yield folder


async def preview_of(
    source: Source, package: Path, folder: Path, before: Checked | None, after: Checked,
    rules: RuleSettings = DEFAULTS, today: date | None = None,
) -> Preview:  # fmt: skip
    """Compares a package that lies in a folder of ``received`` under two transforms.

    Raises ConnectorError, HubError(UNAVAILABLE) while another preview is made.
    """
    with _one(_TURN):
        return await _both(source, package, folder, before, after, rules, today)


async def _both(
    source: Source,
    package: Path,
    folder: Path,
    before: Checked | None,
    after: Checked,
    rules: RuleSettings,
    today: date | None,
) -> Preview:
    old = await _pulled(source, before, package, folder)
    new = await _pulled(source, after, package, folder)
    return await asyncio.to_thread(compared, old, new, rules=rules, today=today)


@contextmanager
def _one(places: threading.Semaphore) -> Iterator[None]:
    if not places.acquire(blocking=False):
        text = "Another preview is being made. Ask again in a moment."
        raise HubError(Code.UNAVAILABLE, text, intent=HubIntent.RETRY)
    try:
        yield
    finally:
        places.release()


async def _pulled(source: Source, transform: Checked | None, package: Path, folder: Path) -> Package:
    opened = await asyncio.to_thread(opened_source, source, transform, package, folder)
    return shape((await opened.pull(None)).package, transform)


def compared(
    old: Package, new: Package, most: int = MOST_ROWS, *, rules: RuleSettings = DEFAULTS, today: date | None = None
) -> Preview:
    """Compares two packages row by row, a row being the same where its line is."""
    result = Preview()
    for file in sorted({*old.mode, *new.mode}):
        result.files[file] = _file(_rows(old, file, most), _rows(new, file, most), most)
    result.whole = all(found.whole for found in result.files.values())
    if result.whole:
        before, after = (examined(one, today=today, rules=rules) for one in (old, new))
        counts = [Counter(found.issues["code"].to_list()) for found in (before, after)]
        result.findings = {code: (counts[0][code], counts[1][code]) for code in sorted({*counts[0], *counts[1]})}
        result.refused = after.refused
    return result


def _rows(package: Package, file: str, most: int) -> pl.DataFrame:
    """The first rows of a file, one more than ``most`` of them if there are as many."""
    if file not in package.mode:
        return pl.DataFrame(schema={_LINE: pl.UInt32})
    frames, count = [], 0
    with _ended(package.batches(file, 50_000)) as batches:
        for batch in batches:
            frames.append(batch.frame)
            count += batch.frame.height
            if count > most:
                break
    return pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={_LINE: pl.UInt32})


@contextmanager
def _ended(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    try:
        yield batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _file(old: pl.DataFrame, new: pl.DataFrame, most: int) -> FilePreview:
    whole = old.height <= most and new.height <= most
    if not whole:  # compare up to the line that both have come to
        last = min(f[_LINE][-1] for f in (old, new) if f.height)  # lines grow
        old, new = (f.filter(pl.col(_LINE) <= last).head(most) for f in (old, new))
    names = sorted({*old.columns, *new.columns} - {_LINE})
    old, new = (
        f.with_columns(pl.lit(None, pl.String).alias(n) for n in names if n not in f.columns) for f in (old, new)
    )
    both = old.join(new, on=_LINE, how="inner", suffix="\0after")
    columns = {}
    for name in names:
        pairs = both.select(a=pl.col(name), b=pl.col(f"{name}\0after")).filter(pl.col("a").ne_missing(pl.col("b")))
        if pairs.height:
            top = pairs.group_by("a", "b").len().sort(["len", "a", "b"], descending=[True, False, False]).head(SAMPLES)
            columns[name] = Cells(pairs.height, list(top.iter_rows()))
    return FilePreview(old.height, new.height, old.height - both.height, new.height - both.height, whole, columns)


def refused(error: ConnectorError) -> HubError:
    """What the caller of a preview is told where a run would fail."""
    intent = HubIntent.RETRY if error.intent is Intent.RETRY else HubIntent.ASK_HUMAN
    return HubError(Code.CONFLICT, f"The package cannot be read: {error.message}", intent=intent)
