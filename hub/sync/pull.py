"""Getting a run's package: the bytes that somebody uploaded, or a pull from the source's own system."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from connectors.protocol import ConnectorError, Intent, Package, SourceContext
from connectors.registry import connector
from hub.store import sources, uploads
from hub.store.database import Database
from hub.store.runs import Claim


@contextlib.asynccontextmanager
async def pull(
    db: Database, claim: Claim, source: sources.Source
) -> AsyncIterator[tuple[Package, dict[str, Any] | None]]:
    """The package of a run and the cursor to keep once it is applied; its files are removed at the end.

    Raises ConnectorError, HubError(UPLOAD_INCOMPLETE).
    """
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="rosterhub-"))
    try:
        upload = None
        if claim.run.upload_id is not None:
            upload = await _upload(db, claim.district_id, claim.run.upload_id, folder)
        spec = await asyncio.to_thread(connector, source.kind)
        try:
            config = spec.config_model.model_validate(source.config)
        except ValidationError as error:
            places = ", ".join(".".join(map(str, e["loc"])) or "the whole" for e in error.errors())
            text = f"The source's configuration does not fit its kind: look at {places}."
            raise ConnectorError("bad_config", text, intent=Intent.ASK_HUMAN) from None
        opened = spec.open(SourceContext(config=config, upload=upload, work_folder=folder))
        cursor: Mapping[str, Any] | None = source.cursor
        pulled = await opened.pull(cursor)
        try:
            yield pulled.package, dict(pulled.cursor) if pulled.cursor is not None else None
        finally:
            await asyncio.to_thread(pulled.package.close)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _upload(db: Database, district_id: UUID, upload_id: UUID, folder: Path) -> Path:
    """Writes an upload's bytes to a private folder. The name decides nothing."""
    path = folder / "package"
    file = await asyncio.to_thread(path.open, "wb")
    try:
        await uploads.read(db, district_id, upload_id, file.write)
    finally:
        await asyncio.to_thread(file.close)
    return path
