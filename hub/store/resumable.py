"""Uploads that come in parts: what counts is what was committed, and one request at a time may add to it.

A request takes an upload over with a token of its own; whoever had it before adds nothing any more. Parts of a request
that is only good as a whole count when it has ended well: until then they stand behind those that count, and the next
request removes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from hub.errors import Code, HubError
from hub.store.database import Database, Transaction
from hub.store.uploads import PART_BYTES

#: Uploads of one source that are not whole yet.
MOST_UNFINISHED = 20
#: Parts of one upload beyond those that it needs: whole ones, and a last one.
MOST_EXTRA_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Resumable:
    """One upload. ``bytes`` of ``length`` count, in ``parts``; ``starts``: its last byte starts a run."""

    upload_id: UUID
    source_id: UUID
    filename: str
    bytes: int
    length: int
    parts: int
    state: str
    expires_at: datetime
    dry_run: bool
    starts: bool


_COLUMNS = ", ".join(Resumable.__dataclass_fields__)


async def begin(
    tx: Transaction, upload_id: UUID, *, source_id: UUID, filename: str, length: int, expires_at: datetime,
    starts: bool, dry_run: bool,
) -> Resumable:  # fmt: skip
    """Opens an upload of ``length`` bytes. Raises HubError(CONFLICT) where too many are open."""
    open_ones = await tx.fetchval(
        "SELECT count(*) FROM uploads WHERE district_id = $1 AND source_id = $2 AND state = 'receiving' "
        "AND length IS NOT NULL AND expires_at > now()",
        tx.district_id, source_id,
    )  # fmt: skip
    if open_ones >= MOST_UNFINISHED:
        text = f"The source has {MOST_UNFINISHED} uploads that are not whole. Go on with one, or end some of them."
        raise HubError(Code.CONFLICT, text)
    row = await tx.fetchrow(
        "INSERT INTO uploads (district_id, upload_id, source_id, filename, length, expires_at, starts, dry_run) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}",
        tx.district_id, upload_id, source_id, filename, length, expires_at, starts, dry_run,
    )  # fmt: skip
    assert row is not None
    return Resumable(**row)


async def get(tx: Transaction, upload_id: UUID, now: datetime) -> Resumable:
    """One upload. Raises HubError: NOT_FOUND, UPLOAD_GONE for one that was ended, applied or has expired."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM uploads WHERE district_id = $1 AND upload_id = $2 AND length IS NOT NULL",
        tx.district_id, upload_id,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such upload.")
    found = Resumable(**row)
    expired = found.state == "receiving" and found.expires_at <= now
    if expired or (found.state == "deleted" and found.bytes < found.length):
        raise HubError(Code.UPLOAD_GONE, "The upload was ended or has expired. Begin a new one.")
    return found


@dataclass(slots=True)
class Writer:
    """The one request that adds to an upload. ``offset``: after what it stored, whether it counts yet or not.

    ``keep``: how long the upload is kept from each part on.
    """

    db: Database
    district_id: UUID
    upload: Resumable
    token: UUID
    keep: timedelta
    offset: int
    part: int

    @classmethod
    async def take(
        cls, db: Database, district_id: UUID, upload_id: UUID, offset: int, *, now: datetime, keep: timedelta
    ) -> Writer:
        """Takes an upload over at ``offset``; whoever wrote it before is outdated.

        Raises HubError: NOT_FOUND, UPLOAD_GONE, OFFSET_MISMATCH where another number of bytes counts.
        """
        token = uuid4()
        async with db.district(district_id, wait_seconds=30) as tx:
            upload = await get(tx, upload_id, now)
            if upload.state != "receiving" or upload.bytes != offset:
                text = f"The upload has {upload.bytes} bytes. Ask for its offset (HEAD), and go on from there."
                raise HubError(Code.OFFSET_MISMATCH, text)
            touched = await tx.execute(
                "UPDATE uploads SET writer = $3 WHERE district_id = $1 AND upload_id = $2 AND state = 'receiving' "
                "AND bytes = $4",
                district_id, upload_id, token, offset,
            )  # fmt: skip
            if not touched:
                raise HubError(Code.OFFSET_MISMATCH, "Another request adds to the upload just now.")
            await tx.execute(
                "DELETE FROM upload_parts WHERE district_id = $1 AND upload_id = $2 AND part >= $3",
                district_id, upload_id, upload.parts,
            )  # fmt: skip
        return cls(db, district_id, upload, token, keep, offset, upload.parts)

    async def add(self, data: bytes, *, counts: bool, at: datetime) -> None:
        """Stores a part in a transaction of its own; ``counts``: at once, else with ``count``.

        Raises HubError: OFFSET_MISMATCH once another request has taken the upload over, TOO_LARGE for too many parts.
        """
        async with self.db.district(self.district_id, wait_seconds=30) as tx:
            await self.put(tx, data)
            if counts:
                await self.count(tx, at, last=len(data), more=True)
        self.added(len(data))

    def added(self, size: int) -> None:
        """Goes on behind a part that was committed."""
        self.offset += size
        self.part += 1

    async def put(self, tx: Transaction, data: bytes) -> None:
        """Stores a part behind those that count. Raises HubError as ``add`` does."""
        held = await tx.fetchval(
            "SELECT true FROM uploads WHERE district_id = $1 AND upload_id = $2 AND writer = $3 "
            "AND state = 'receiving' FOR UPDATE",
            self.district_id, self.upload.upload_id, self.token,
        )  # fmt: skip
        if not held:
            raise HubError(Code.OFFSET_MISMATCH, "Another request goes on with the upload.")
        most = self.upload.length // PART_BYTES + 1 + MOST_EXTRA_PARTS
        if self.part >= most:
            text = f"The upload comes in more than {most:,} parts. Begin a new one with larger ones, such as 8 MB each."
            raise HubError(Code.TOO_LARGE, text)
        await tx.execute(
            "INSERT INTO upload_parts VALUES ($1, $2, $3, $4)",
            self.district_id, self.upload.upload_id, self.part, data,
        )  # fmt: skip

    async def count(self, tx: Transaction, at: datetime, *, last: int = 0, more: bool = False) -> None:
        """Lets all parts count that were stored; ``more``: one of ``last`` bytes in this transaction among them.

        Raises HubError(OFFSET_MISMATCH) once another request has taken the upload over.
        """
        touched = await tx.execute(
            "UPDATE uploads SET bytes = $4, parts = $5, expires_at = $6 WHERE district_id = $1 AND upload_id = $2 "
            "AND writer = $3 AND state = 'receiving'",
            self.district_id, self.upload.upload_id, self.token, self.offset + last, self.part + more, at + self.keep,
        )  # fmt: skip
        if not touched:
            raise HubError(Code.OFFSET_MISMATCH, "Another request goes on with the upload.")

    async def read(self, write: Callable[[bytes], object]) -> None:
        """Hands all parts to ``write`` that were stored so far."""
        for part in range(self.part):
            async with self.db.district(self.district_id, readonly=True, wait_seconds=30) as tx:
                data = await tx.fetchval(
                    "SELECT data FROM upload_parts WHERE district_id = $1 AND upload_id = $2 AND part = $3",
                    self.district_id, self.upload.upload_id, part,
                )  # fmt: skip
            write(data)


async def end(tx: Transaction, upload_id: UUID, now: datetime) -> Resumable:
    """Takes the right to add to an upload away from everybody; the caller discards it in the same transaction.

    Raises HubError as ``get`` does, and CONFLICT for one that is whole.
    """
    found = await get(tx, upload_id, now)
    touched = await tx.execute(  # a request with its last byte may have come in between: its run needs the bytes
        "UPDATE uploads SET writer = NULL WHERE district_id = $1 AND upload_id = $2 AND state = 'receiving'",
        tx.district_id, upload_id,
    )  # fmt: skip
    if not touched:
        raise HubError(Code.CONFLICT, "The upload is whole already, or was ended.")
    return found
