"""Getting a run's package: the bytes that somebody uploaded, or a pull from the source's own system."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from connectors.journal import Journal
from connectors.protocol import Capability, ConnectorError, Intent, Package, Pull, Source, SourceContext
from connectors.registry import connector
from connectors.shaped import shape
from connectors.tracing import Exchange
from hub import addresses
from hub.addresses import Network
from hub.crashpoints import crash_point
from hub.store import sources, uploads
from hub.store.database import Database
from hub.store.runs import SEEN
from hub.sync import increments, journals, source_secrets, tracing
from hub.sync.job import Job
from transforms.shaping.checking import Checked
from transforms.shaping.definition import as_json

_PREFIX = "rosterhub-run-"
_YOUNG_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Access:
    """How a source's system is reached: ``secrets`` by name, and the private networks to which that may lead.

    ``journal``: what it answered to an earlier attempt. ``observer``: who is told of each request, for a trace.
    ``watched``: the district's own folder on this machine. ``seen``: what an earlier attempt left for this one.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow: Sequence[Network] = ()
    journal: Journal | None = None
    observer: Callable[[Exchange], Awaitable[None]] | None = None
    watched: Path | None = None
    seen: Mapping[str, Any] | None = None

    def reachable(self, address: str, encrypted: bool) -> bool:
        """Whether a connection to an address may be opened."""
        return addresses.reachable(address, self.allow, encrypted=encrypted)


NO_ACCESS = Access()


def watched(root: Path | None, district_id: UUID) -> Path | None:
    """The folder of a district below the operator's."""
    return None if root is None else root / str(district_id)


@dataclass(frozen=True, slots=True)
class Pulled:
    """The package of a run after the source's transform.

    ``cursor``: what to keep once it is applied. ``told``: whether the source tells what changed, and the cursor is to
    be kept of a pull that found nothing new as well. ``changes``: it brings what changed since the last applied pull.
    ``objects``: rows of changes come with all parts of their objects. ``unchanged``: there is nothing new to look at.
    ``applied``: what is to be done at the source's system once all this is applied.
    """

    package: Package
    cursor: dict[str, Any] | None
    told: bool
    changes: bool
    objects: bool
    unchanged: bool
    applied: Callable[[], Awaitable[None]] | None


@contextlib.asynccontextmanager
async def pull(job: Job, source: sources.Source, transform: Checked | None = None) -> AsyncIterator[Pulled]:
    """The package of a job's run. What asks another system takes one of the job's turns for as long as it asks.

    Its files are removed at the end; of an attempt that was cut off stays what the system answered. Raises
    ConnectorError (``not_whole`` for another number of rows than was announced), HubError(UPLOAD_INCOMPLETE).
    """
    db, claim, turns = job.db, job.claim, job.pulls
    async with private_folder() as folder, contextlib.AsyncExitStack() as left:
        crash_point("fetch.folder_made")
        upload = None
        if claim.run.upload_id is not None:
            upload = await fetched(db, claim.district_id, claim.run.upload_id, folder)
            crash_point("fetch.upload_written")
        journal = await left.enter_async_context(journals.kept(job, source)) if upload is None else None
        recording = None if upload else await tracing.asked(db, claim.district_id, source, "pull", job.clock)
        observer = recording.trace.note if recording is not None else None
        own = watched(job.watch, claim.district_id)
        access = Access(await _secrets(job, source), job.allow, journal, observer, own, claim.run.task.get(SEEN))
        opened = await asyncio.to_thread(opened_source, source, transform, upload, folder, access)
        _require_taken(opened, upload)
        told = upload is None and Capability.CHANGES in opened.capabilities
        now = job.clock.now()
        cursor = increments.since(source, transform, now) if told else _known(job, source, transform, upload)
        changes = told and cursor is not None
        turn = turns if turns is not None and upload is None else contextlib.nullcontext()
        async with turn, tracing.recorded(recording, db, claim.district_id, source, claim.run.run_id):
            pulled = await opened.pull(cursor)
        try:
            _require_whole(pulled)
            kept = increments.remembered(pulled, transform)
            if told:
                kept = increments.kept(source, pulled, transform, now, whole=not changes)
            package = shape(pulled.package, transform)
            if changes:
                package = await increments.ended(db, claim.district_id, source, package, pulled, transform)
            yield Pulled(package, kept, told, changes, pulled.objects, pulled.unchanged, pulled.applied)
        finally:
            await asyncio.to_thread(pulled.package.close)


@contextlib.asynccontextmanager
async def private_folder() -> AsyncIterator[Path]:
    """A folder for what is pulled, which is removed at the end, or by the next process after one that was killed."""
    folder, hold = await asyncio.to_thread(_folder)
    try:
        yield folder
    finally:
        try:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        finally:
            os.close(hold)


def _known(
    job: Job, source: sources.Source, transform: Checked | None, upload: Path | None
) -> Mapping[str, Any] | None:
    """What a source has of which nothing needs to be pulled again. A dry run is there to look at it."""
    return None if upload is not None or job.claim.run.dry_run else increments.known(source, transform)


async def _secrets(job: Job, source: sources.Source) -> Mapping[str, str]:
    """The source's secrets, opened."""
    if not source.secrets:
        return {}
    async with job.db.district(job.claim.district_id, readonly=True) as tx:
        await source_secrets.to_open(tx, job.secret, source)
    return source_secrets.opened(job.secret, job.claim.district_id, source)


def _require_taken(opened: Source, upload: Path | None) -> None:
    """Raises ConnectorError where somebody sent a package to a source that is only pulled."""
    if upload is not None and Capability.UPLOAD not in opened.capabilities:
        text = "Sources of this kind are pulled and take no uploads. Make another source for the package."
        raise ConnectorError("no_uploads", text, intent=Intent.GIVE_UP)


def _require_whole(pulled: Pull) -> None:
    """Raises ConnectorError when a file has another number of rows than its source said: pages got lost on the way."""
    for file, announced in pulled.announced.items():
        rows = pulled.package.rows(file) if file in pulled.package.mode else 0
        if rows is not None and rows != announced:
            text = f"The source said that {file} has {announced} rows, and {rows} came. Nothing was applied."
            raise ConnectorError("not_whole", text, intent=Intent.RETRY)


def opened_source(
    source: sources.Source, transform: Checked | None, upload: Path | None, folder: Path, access: Access = NO_ACCESS
) -> Source:
    """The connector of a source, with the mapping that the transform states. Raises ConnectorError."""
    spec = connector(source.kind)
    config = dict(source.config)
    mapping = transform.definition.mapping if transform is not None else None
    if mapping is not None:
        if not spec.mapped:
            text = "The transform states a mapping, but sources of this kind have none."
            raise ConnectorError("bad_transform", text, intent=Intent.ASK_HUMAN)
        config["mapping"] = as_json(mapping)
    try:
        checked = spec.config_model.model_validate(config)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, e["loc"])) or "the whole" for e in error.errors())
        text = f"The source's configuration does not fit its kind: look at {places}."
        raise ConnectorError("bad_config", text, intent=Intent.ASK_HUMAN) from None
    context = SourceContext(
        config=checked, upload=upload, work_folder=folder, secrets=access.secrets, reachable=access.reachable,
        journal=access.journal, observer=access.observer, watched=access.watched, seen=access.seen,
    )  # fmt: skip
    return spec.open(context)


def _folder() -> tuple[Path, int]:
    """A private folder, and the descriptor whose lock says that its process lives.

    Folders of processes that were killed hold rosters, so they are removed first.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_left(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    hold = os.open(folder, os.O_RDONLY)
    fcntl.flock(hold, fcntl.LOCK_EX)
    return folder, hold


def _remove_left(folder: Path) -> None:
    if time.time() - folder.stat().st_mtime < _YOUNG_SECONDS:  # it may not be locked yet
        return
    held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


async def fetched(db: Database, district_id: UUID, upload_id: UUID, folder: Path) -> Path:
    """Writes an upload's bytes to a private folder. The name decides nothing. Raises HubError(UPLOAD_INCOMPLETE)."""
    path = folder / "package"
    file = await asyncio.to_thread(path.open, "wb")
    try:
        await uploads.read(db, district_id, upload_id, file.write)
    finally:
        await asyncio.to_thread(file.close)
    return path
