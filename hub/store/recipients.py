"""Recipients: who hears of held, failed, late and recovered syncs of a district, by e-mail or webhook."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import TakenError, Transaction

#: A district that wants more people to hear makes a list of its own mail server a recipient.
MOST = 50


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient, as its row says, without its secret. ``waiting``: notices wait to be sent."""

    recipient_id: UUID
    channel: str
    address: str
    kinds: list[str]
    state: str
    waiting: bool
    attempt: int
    ready_at: datetime
    failing_since: datetime | None
    last_error: str | None
    last_sent: datetime | None
    created_at: datetime


_COLUMNS = ", ".join(Recipient.__dataclass_fields__)


async def create(
    tx: Transaction, recipient_id: UUID, *, channel: str, address: str, kinds: list[str], secret: bytes | None
) -> Recipient:
    """Adds a recipient. Raises HubError(CONFLICT) when it is one already, or when there are too many."""
    count = await tx.fetchval("SELECT count(*) FROM recipients WHERE district_id = $1", tx.district_id)
    if count >= MOST:
        raise HubError(Code.CONFLICT, f"A district has {MOST} recipients at most. Delete one that is not needed.")
    try:
        await tx.execute(
            "INSERT INTO recipients (district_id, recipient_id, channel, address, kinds, secret) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            tx.district_id, recipient_id, channel, address, kinds, secret,
        )  # fmt: skip
    except TakenError:
        raise HubError(Code.CONFLICT, "This address is a recipient of the district already. Change that one.") from None
    return await get(tx, recipient_id)


async def get(tx: Transaction, recipient_id: UUID) -> Recipient:
    """One recipient. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM recipients WHERE district_id = $1 AND recipient_id = $2", tx.district_id, recipient_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such recipient.")
    return Recipient(**row)


async def listing(tx: Transaction) -> list[Recipient]:
    """All recipients of the district, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM recipients WHERE district_id = $1 ORDER BY created_at, recipient_id", tx.district_id
    )
    return [Recipient(**row) for row in rows]


async def change(
    tx: Transaction, recipient_id: UUID, *, kinds: list[str] | None = None, state: str | None = None
) -> Recipient:
    """Changes what is not None. Resuming tries at once what waits. Raises HubError(NOT_FOUND)."""
    await tx.execute(
        "UPDATE recipients SET kinds = coalesce($3, kinds), state = coalesce($4, state), "
        "ready_at = CASE WHEN $4 = 'active' AND state <> 'active' THEN now() ELSE ready_at END, "
        "failing_since = CASE WHEN $4 = 'active' THEN NULL ELSE failing_since END, "
        "attempt = CASE WHEN $4 = 'active' THEN 0 ELSE attempt END "
        "WHERE district_id = $1 AND recipient_id = $2",
        tx.district_id, recipient_id, kinds, state,
    )  # fmt: skip
    return await get(tx, recipient_id)


async def delete(tx: Transaction, recipient_id: UUID) -> None:
    """Removes a recipient with what waits for it. Raises HubError(NOT_FOUND)."""
    touched = await tx.execute(
        "DELETE FROM recipients WHERE district_id = $1 AND recipient_id = $2", tx.district_id, recipient_id
    )
    if not touched:
        raise HubError(Code.NOT_FOUND, "This district has no such recipient.")
