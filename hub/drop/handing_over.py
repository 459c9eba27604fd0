"""From files that are whole to uploads and their runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import structlog

from hub.api.buckets import Buckets
from hub.drop import names, spool
from hub.drop.spool import Folder, Item
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import audit, runs, sources, uploads
from hub.store.database import Database

log = structlog.get_logger()
LOOK_SECONDS = 1.0
#: An archive is one file: nothing more is to come.
ARCHIVE_QUIET_SECONDS = 5.0
#: What was not finished by then is removed.
LONGEST_WAIT_SECONDS = 24 * 3600.0
#: Packages of one source; more wait their turn.
MOST_PER_HOUR = 30
_CHUNK = 1 << 20
_DEFAULT_SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HandingOver:
    """Looks through the folders and takes what is whole. ``wake``: the workers' doorbell."""

    db: Database
    root: Path
    wake: Callable[[str, UUID], Awaitable[None]]
    limit: int
    look_seconds: float = LOOK_SECONDS
    quiet_seconds: float = ARCHIVE_QUIET_SECONDS
    often: Buckets = field(
        default_factory=lambda: Buckets(MOST_PER_HOUR / 3600, MOST_PER_HOUR, time.monotonic), repr=False
    )

    async def run(self, stop: asyncio.Event) -> None:
        """Looks every second until ``stop``."""
        while not stop.is_set():
            try:
                await self.look()
            except Exception:
                log.exception("files wait at the drop")  # a bug of ours; they are there still
            try:
                async with asyncio.timeout(self.look_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> int:
        """Hands over all that is whole; how many packages that were."""
        handed = 0
        for folder in await asyncio.to_thread(lambda: list(spool.folders(self.root))):
            try:
                handed += await self._look_into(folder)
            except HubError as error:  # the database is away, or full: the files wait
                log.warning("files wait at the drop", source=str(folder.source_id), code=error.code.value)
            except OSError as error:
                log.warning("files wait at the drop", source=str(folder.source_id), code=error.strerror)
        return handed

    async def _look_into(self, folder: Folder) -> int:
        await asyncio.to_thread(folder.mend)
        batches = await asyncio.to_thread(folder.batches)
        if not batches:  # else the rest waits where its bytes are counted, and where new ones may replace it
            for group in await self._ready(folder, await asyncio.to_thread(folder.items)):
                await asyncio.to_thread(folder.take, group)
            for _ in await asyncio.to_thread(folder.sweep, LONGEST_WAIT_SECONDS):
                log.warning("an upload to the drop was never finished", source=str(folder.source_id))
            batches = await asyncio.to_thread(folder.batches)
        handed = 0
        for batch in batches:
            if self.often.take(folder.source_id):
                break  # each run takes a worker's time: the rest waits
            try:
                await self._hand_over(folder, batch)
            except HubError as error:
                if error.code not in {Code.TOO_LARGE, Code.NOT_FOUND}:
                    raise
                log.warning("a package of the drop was dropped", source=str(folder.source_id), code=error.code.value)
                await asyncio.to_thread(spool.gone, batch)
                continue
            handed += 1
        return handed

    async def _ready(self, folder: Folder, items: list[Item]) -> list[list[str]]:
        """The names of files that are a package each time."""
        now = time.time()
        archives = [i for i in items if names.is_archive(i.name) and i.whole and now - i.at >= self.quiet_seconds]
        found = [[item.name] for item in sorted(archives, key=lambda item: item.at)]
        tables = [item for item in items if names.is_table(item.name)]
        # As long as one part is open, or waits for its last name, the package is not whole.
        unfinished = any(not names.is_archive(i.name) and (not i.whole or names.is_temporary(i.name)) for i in items)
        if tables and not unfinished:
            newest = max(item.at for item in tables)
            if now - newest >= self.quiet_seconds and now - newest >= await self._settle_seconds(folder):
                found.append([item.name for item in tables])
        return found

    async def _settle_seconds(self, folder: Folder) -> float:
        async with self.db.district(folder.district_id, readonly=True) as tx:
            source = await sources.get(tx, folder.source_id)
        return float(source.config.get("settle_seconds", _DEFAULT_SETTLE_SECONDS))

    async def _hand_over(self, folder: Folder, batch: Path) -> None:
        """Makes an upload of a batch, and its run. After a kill in between it is done again, and changes nothing."""
        path, name = await asyncio.to_thread(spool.packed, batch, self.limit)
        upload_id, district_id = new_id(), folder.district_id
        async with self.db.district(district_id) as tx:
            await uploads.begin(tx, upload_id, source_id=folder.source_id, filename=name)
        try:
            size, sha256 = await uploads.receive(self.db, district_id, upload_id, _chunks(path), limit=self.limit)
            async with self.db.district(district_id) as tx:
                await uploads.complete(tx, upload_id, size=size, sha256=sha256)
                active = (await sources.get(tx, folder.source_id)).state == "active"
                details: dict[str, object] = {"source": str(folder.source_id), "bytes": size, "sha256": sha256}
                if active:
                    run = await runs.request(
                        tx, new_id(), source_id=folder.source_id, upload_id=upload_id, dry_run=False,
                        requested_by="drop",
                    )  # fmt: skip
                    details["run"] = str(run.run_id)
                await audit.add(
                    tx, actor="drop", action="upload.create", object_=f"upload/{upload_id}", details=details
                )
        except BaseException:
            async with self.db.district(district_id, wait_seconds=30) as tx:
                await uploads.discard(tx, upload_id)
            raise
        await asyncio.to_thread(spool.gone, batch)
        log.info("a package came by the drop", source=str(folder.source_id), upload=str(upload_id), run=active)
        await self.wake("sync", district_id)


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
    finally:
        await asyncio.to_thread(file.close)
