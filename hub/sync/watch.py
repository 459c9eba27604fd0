"""Watched folders: a run is queued when a package has come into one and is whole."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from connectors.protocol import ConnectorError
from hub.errors import HubError
from hub.ids import new_id
from hub.store import runs, sources
from hub.store.database import Database, Transaction
from hub.store.sources import Source
from hub.sync import increments, shaping
from hub.sync.pull import Access, opened_source, watched

log = structlog.get_logger()
WATCH = "watch"
_DEEPEST = 16
#: Files of a district that are looked at; what is more shows when the others go.
_MOST = 20_000
Seen = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class Watch:
    """What a worker saw in the districts' folders below ``root``.

    The database is asked only about districts in whose folder something has changed since, or still has to settle.
    """

    db: Database
    root: Path
    _settled: dict[UUID, Seen] = field(default_factory=dict)

    async def look(self) -> int:
        """Queues a run for each source whose folder has something new that is whole; how many."""
        queued = 0
        for district_id, seen in await asyncio.to_thread(lambda: list(_districts(self.root))):
            if self._settled.get(district_id) == seen:
                continue
            try:
                found, settled = await self._look_into(district_id)
            except HubError as error:
                log.warning("a watched folder waits", district=str(district_id), code=error.code.value)
                continue
            queued += found
            if settled:
                self._settled[district_id] = seen
        return queued

    async def _look_into(self, district_id: UUID) -> tuple[int, bool]:
        """How many runs were queued, and whether nothing has to be looked at again before something changes."""
        async with self.db.district(district_id, readonly=True) as tx:
            found = [s for s in await sources.listing(tx) if s.state == "active" and _watches(s)]
        queued, settled = 0, True
        for source in found:
            files = await self._waiting(district_id, source)
            if files is None:
                settled = settled and not await self._unsettled(district_id, source)
                continue
            async with self.db.district(district_id) as tx:
                queued += await _queue(tx, source.source_id, files)
            settled = False  # the next look finds it known, or refused
        return queued, settled

    async def _waiting(self, district_id: UUID, source: Source) -> list[object] | None:
        """The files that a pull would take now."""
        async with self.db.district(district_id, readonly=True) as tx:
            transform = await shaping.in_force(tx, source.source_id)
        access = Access(watched=watched(self.root, district_id))
        try:
            opened = await asyncio.to_thread(opened_source, source, transform, None, self.root, access)
            waiting = getattr(opened, "waiting", None)
            if waiting is None:
                return None
            files: list[object] | None = await waiting(increments.known(source, transform))
        except ConnectorError as error:
            log.info("a watched folder waits", source=str(source.source_id), code=error.code)
            return None
        if files is None:
            return None
        async with self.db.district(district_id, readonly=True) as tx:
            return files if await _asked(tx, source.source_id) != files else None

    async def _unsettled(self, district_id: UUID, source: Source) -> bool:
        """Whether something lies there that only has to become older, or get its marker."""
        folder = self.root / str(district_id) / source.config["place"].get("folder", "")
        seconds = float(source.config.get("settle_seconds", 0))
        return await asyncio.to_thread(_young, folder, seconds)


def _young(folder: Path, seconds: float) -> bool:
    with suppress(OSError), os.scandir(folder) as listing:
        now = time.time()
        return any(one.is_file(follow_symlinks=False) and now - one.stat().st_mtime < seconds for one in listing)
    return False


def _watches(source: Source) -> bool:
    place = source.config.get("place")
    return isinstance(place, dict) and place.get("kind") == "folder"


async def _asked(tx: Transaction, source_id: UUID) -> list[object] | None:
    """The files for which the last run was queued: one that was refused is not queued again."""
    found: list[object] | None = await tx.fetchval(
        "SELECT task -> 'files' FROM runs WHERE district_id = $1 AND source_id = $2 AND requested_by = $3 "
        "ORDER BY requested_at DESC, run_id DESC LIMIT 1",
        tx.district_id, source_id, WATCH,
    )  # fmt: skip
    return found


async def _queue(tx: Transaction, source_id: UUID, files: list[object]) -> bool:
    """Queues a run, unless another worker has, or one waits that will take the files."""
    await sources.hold(tx, source_id)
    if await _asked(tx, source_id) == files or await runs.unfinished(tx, source_id) is not None:
        return False
    await runs.request(
        tx, new_id(), source_id=source_id, upload_id=None, dry_run=False, requested_by=WATCH, task={"files": files}
    )
    return True


def _districts(root: Path) -> Iterator[tuple[UUID, Seen]]:
    """What lies in the folder of each district."""
    with suppress(OSError), os.scandir(root) as listing:
        for one in listing:
            with suppress(ValueError):
                if one.is_dir(follow_symlinks=False):
                    yield UUID(one.name), tuple(sorted(_files(Path(one.path), 0)))[:_MOST]


def _files(folder: Path, depth: int) -> Iterator[tuple[str, int, int]]:
    with suppress(OSError), os.scandir(folder) as listing:
        for one in listing:
            if one.is_dir(follow_symlinks=False) and depth < _DEEPEST:
                yield from _files(Path(one.path), depth + 1)
            elif one.is_file(follow_symlinks=False):
                found = one.stat(follow_symlinks=False)
                yield one.path, found.st_size, found.st_mtime_ns
