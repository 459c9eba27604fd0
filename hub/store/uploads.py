"""Uploaded packages, kept in the database so that any worker can read them and none is lost with a machine.

Bytes stand in parts of about 1 MiB and are deleted when the package was applied or rejected.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Database, Transaction

PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """One package that somebody sent."""

    upload_id: UUID
    source_id: UUID
    filename: str
    bytes: int
    sha256: str | None
    state: str
    created_at: datetime


_COLUMNS = "upload_id, source_id, filename, bytes, sha256, state, created_at"


async def get(tx: Transaction, upload_id: UUID) -> Upload:
    """One upload. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM uploads WHERE district_id = $1 AND upload_id = $2", tx.district_id, upload_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such upload.")
    return Upload(**row)


async def last_of(tx: Transaction, source_id: UUID) -> UUID | None:
    """The newest package of the source whose bytes are still there."""
    found: UUID | None = await tx.fetchval(
        "SELECT upload_id FROM uploads WHERE district_id = $1 AND source_id = $2 AND state = 'complete' "
        "ORDER BY created_at DESC, upload_id LIMIT 1",
        tx.district_id, source_id,
    )  # fmt: skip
    return found


async def begin(tx: Transaction, upload_id: UUID, *, source_id: UUID, filename: str) -> None:
    """Opens an upload; it cannot be synced before ``complete``."""
    await tx.execute(
        "INSERT INTO uploads (district_id, upload_id, source_id, filename) VALUES ($1, $2, $3, $4)",
        tx.district_id, upload_id, source_id, filename,
    )  # fmt: skip


async def receive(
    db: Database, district_id: UUID, upload_id: UUID, chunks: AsyncIterable[bytes], *, limit: int
) -> tuple[int, str]:
    """Stores the bytes of an opened upload as they come; (number of bytes, SHA-256).

    One short transaction per part: a slow sender holds no connection. Raises HubError(TOO_LARGE) past ``limit``.
    """
    digest = hashlib.sha256()
    size = part = 0
    held = bytearray()
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise HubError(Code.TOO_LARGE, f"The package is larger than the limit of {limit} bytes.")
        digest.update(chunk)
        held += chunk
        while len(held) >= PART_BYTES:
            await _store(db, district_id, upload_id, part, bytes(held[:PART_BYTES]))
            del held[:PART_BYTES]
            part += 1
    if held:
        await _store(db, district_id, upload_id, part, bytes(held))
    return size, digest.hexdigest()


async def _store(db: Database, district_id: UUID, upload_id: UUID, part: int, data: bytes) -> None:
    async with db.district(district_id, wait_seconds=30) as tx:
        await tx.execute("INSERT INTO upload_parts VALUES ($1, $2, $3, $4)", district_id, upload_id, part, data)


async def complete(tx: Transaction, upload_id: UUID, *, size: int, sha256: str) -> Upload:
    """Marks an upload as whole. Raises HubError(NOT_FOUND)."""
    await tx.execute(
        "UPDATE uploads SET bytes = $3, sha256 = $4, state = 'complete' "
        "WHERE district_id = $1 AND upload_id = $2 AND state = 'receiving'",
        tx.district_id, upload_id, size, sha256,
    )  # fmt: skip
    return await get(tx, upload_id)


async def read(db: Database, district_id: UUID, upload_id: UUID, write: Callable[[bytes], object]) -> Upload:
    """Hands the bytes of a whole upload to ``write``, part by part.

    Raises HubError(UPLOAD_INCOMPLETE) when it was cut short or its bytes are gone already.
    """
    digest = hashlib.sha256()
    async with db.district(district_id, readonly=True, wait_seconds=30) as tx:
        upload = await get(tx, upload_id)
        if upload.state != "complete":
            raise HubError(Code.UPLOAD_INCOMPLETE, "The upload is not whole. Send the package again.")
        part = received = 0
        while received < upload.bytes:
            data = await tx.fetchval(
                "SELECT data FROM upload_parts WHERE district_id = $1 AND upload_id = $2 AND part = $3",
                district_id, upload_id, part,
            )  # fmt: skip
            if data is None:
                break
            digest.update(data)
            await asyncio.to_thread(write, data)
            part, received = part + 1, received + len(data)
    if digest.hexdigest() != upload.sha256:
        raise HubError(Code.UPLOAD_INCOMPLETE, "The stored bytes are not those that were sent. Send the package again.")
    return upload


async def discard(tx: Transaction, upload_id: UUID) -> None:
    """Deletes the bytes of an upload; its row stays as a record of what was received."""
    await tx.execute(
        "WITH parts AS (DELETE FROM upload_parts WHERE district_id = $1 AND upload_id = $2) "
        "UPDATE uploads SET state = 'deleted' WHERE district_id = $1 AND upload_id = $2",
        tx.district_id, upload_id,
    )  # fmt: skip
