"""Recipients: who hears of a district's syncs and subscriptions, or of an app's subscriptions, by e-mail or webhook.

Those of an app stand under the nil UUID: open its transaction (``audit.HUB``) and name the app.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import TakenError, Transaction

#: A district or an app that wants more people to hear makes a list of its own mail server a recipient.
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


#: What waits for an app's recipient stands with its notices alone: see ``notices.queue``.
_WAITING = (
    "waiting OR app_id IS NOT NULL AND EXISTS (SELECT FROM notices n WHERE n.district_id = r.district_id "
    "AND n.recipient_id = r.recipient_id AND n.sent_at IS NULL) AS waiting"
)
_COLUMNS = ", ".join(_WAITING if name == "waiting" else name for name in Recipient.__dataclass_fields__)
_OWN = "r.district_id = $1 AND r.app_id IS NOT DISTINCT FROM $2::uuid"


async def create(
    tx: Transaction, recipient_id: UUID, *, channel: str, address: str, kinds: list[str], secret: bytes | None,
    app_id: UUID | None = None,
) -> Recipient:  # fmt: skip
    """Adds a recipient. Raises HubError(CONFLICT) when it is one already, or when there are too many."""
    count = await tx.fetchval(f"SELECT count(*) FROM recipients r WHERE {_OWN}", tx.district_id, app_id)
    if count >= MOST:
        raise HubError(Code.CONFLICT, f"There are {MOST} recipients at most. Delete one that is not needed.")
    try:
        await tx.execute(
            "INSERT INTO recipients (district_id, recipient_id, channel, address, kinds, secret, app_id) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            tx.district_id, recipient_id, channel, address, kinds, secret, app_id,
        )  # fmt: skip
    except TakenError:
        raise HubError(Code.CONFLICT, "This address is a recipient already. Change that one.") from None
    return await get(tx, recipient_id, app_id=app_id)


async def get(tx: Transaction, recipient_id: UUID, *, app_id: UUID | None = None) -> Recipient:
    """One recipient. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM recipients r WHERE {_OWN} AND r.recipient_id = $3",
        tx.district_id, app_id, recipient_id,
    )  # fmt: skip
    if row is None:
        raise _missing()
    return Recipient(**row)


async def listing(tx: Transaction, *, app_id: UUID | None = None) -> list[Recipient]:
    """All recipients of the district, or of an app, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM recipients r WHERE {_OWN} ORDER BY created_at, recipient_id", tx.district_id, app_id
    )
    return [Recipient(**row) for row in rows]


async def change(
    tx: Transaction, recipient_id: UUID, *, kinds: list[str] | None = None, state: str | None = None,
    app_id: UUID | None = None,
) -> Recipient:  # fmt: skip
    """Changes what is not None. Resuming tries at once what waits. Raises HubError(NOT_FOUND)."""
    await tx.execute(
        "UPDATE recipients r SET kinds = coalesce($4, kinds), state = coalesce($5, state), "
        "ready_at = CASE WHEN $5 = 'active' AND state <> 'active' THEN now() ELSE ready_at END, "
        "failing_since = CASE WHEN $5 = 'active' THEN NULL ELSE failing_since END, "
        f"attempt = CASE WHEN $5 = 'active' THEN 0 ELSE attempt END WHERE {_OWN} AND r.recipient_id = $3",
        tx.district_id, app_id, recipient_id, kinds, state,
    )  # fmt: skip
    return await get(tx, recipient_id, app_id=app_id)


async def delete(tx: Transaction, recipient_id: UUID, *, app_id: UUID | None = None) -> None:
    """Removes a recipient with what waits for it. Raises HubError(NOT_FOUND)."""
    touched = await tx.execute(
        f"DELETE FROM recipients r WHERE {_OWN} AND r.recipient_id = $3", tx.district_id, app_id, recipient_id
    )
    if not touched:
        raise _missing()


def _missing() -> HubError:
    return HubError(Code.NOT_FOUND, "There is no such recipient.")
