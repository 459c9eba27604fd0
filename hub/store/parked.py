"""Changes that a receiver refuses while it takes others: set aside, so that everything else goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub import ids
from hub.errors import Code, HubError
from hub.store.claims import Claim
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Parked:
    """One of them: a record, what happened to it, and at which step. ``retry``: another attempt was asked for."""

    parked_id: UUID
    entity: str
    rid: int
    operation: Any
    version: int
    since: datetime
    attempts: int
    last_status: int | None
    last_error: str | None
    retry: bool


_COLUMNS = ", ".join(Parked.__dataclass_fields__)
_OF = "district_id = $1 AND subscription_id = $2"


async def park(
    tx: Transaction, claim: Claim, sole: dict[str, Any], *, attempts: int, status: int | None, error: str
) -> None:
    """Sets a change aside. An earlier one of the same record goes: this is the later version of it."""
    await tx.execute(
        "INSERT INTO parked (district_id, subscription_id, parked_id, entity, rid, operation, version, attempts, "
        "last_status, last_error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
        "ON CONFLICT (district_id, subscription_id, entity, rid) DO UPDATE SET operation = EXCLUDED.operation, "
        "version = EXCLUDED.version, attempts = EXCLUDED.attempts, last_status = EXCLUDED.last_status, "
        "last_error = EXCLUDED.last_error, retry = false, superseded_by = NULL",
        claim.district_id, claim.subscription_id, ids.new_id(), sole["entity"], sole["rid"], sole["operation"],
        sole["version"], attempts, status, error,
    )  # fmt: skip


async def supersede(tx: Transaction, subscription_id: UUID, batch_id: str, told: Iterable[tuple[str, int]]) -> None:
    """Notes that a frozen batch tells of later versions of these records (entity, rid)."""
    entities, rids = zip(*told, strict=True)
    await tx.execute(
        f"UPDATE parked p SET superseded_by = $3 FROM unnest($4::text[], $5::int[]) AS t(entity, rid) "
        f"WHERE {_OF} AND p.entity = t.entity AND p.rid = t.rid",
        tx.district_id, subscription_id, batch_id, entities, rids,
    )  # fmt: skip


async def superseded(tx: Transaction, subscription_id: UUID, batch_id: str) -> int:
    """Removes what an acknowledged batch told the later version of; how many changes that were."""
    return await tx.execute(
        f"DELETE FROM parked WHERE {_OF} AND superseded_by = $3", tx.district_id, subscription_id, batch_id
    )


async def any_of(tx: Transaction, subscription_id: UUID) -> bool:
    """Whether a subscription has any."""
    found = await tx.fetchval(f"SELECT 1 FROM parked WHERE {_OF} LIMIT 1", tx.district_id, subscription_id)
    return found is not None


async def listing(tx: Transaction, subscription_id: UUID, *, retry: bool | None = None) -> list[Parked]:
    """Those of a subscription, the longest parked first; ``retry``: with or without another attempt asked for."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM parked WHERE {_OF} AND ($3::boolean IS NULL OR retry = $3) "
        "ORDER BY since, parked_id",
        tx.district_id, subscription_id, retry,
    )  # fmt: skip
    return [Parked(**row) for row in rows]


async def ask(tx: Transaction, subscription_id: UUID, parked_ids: Sequence[UUID] | None = None) -> int:
    """Asks for another attempt of some, or (None) of all; how many. Raises HubError(NOT_FOUND) for unknown ones."""
    asked = await tx.execute(
        f"UPDATE parked SET retry = true WHERE {_OF} AND ($3::uuid[] IS NULL OR parked_id = ANY($3))",
        tx.district_id, subscription_id, parked_ids,
    )  # fmt: skip
    if parked_ids is not None and asked != len(parked_ids):
        raise _missing()
    await tx.execute(
        "UPDATE subscriptions SET retry_parked = EXISTS (SELECT 1 FROM parked p WHERE p.district_id = $1 "
        f"AND p.subscription_id = $2 AND p.retry) WHERE {_OF}",
        tx.district_id, subscription_id,
    )  # fmt: skip
    return asked


async def refused_again(
    tx: Transaction, subscription_id: UUID, parked_id: UUID, *, status: int | None, error: str
) -> None:
    """Notes that another attempt was refused as well; it stays parked until somebody asks again."""
    await tx.execute(
        f"UPDATE parked SET retry = false, attempts = attempts + 1, last_status = $4, last_error = $5 "
        f"WHERE {_OF} AND parked_id = $3",
        tx.district_id, subscription_id, parked_id, status, error,
    )  # fmt: skip


async def remove(tx: Transaction, subscription_id: UUID, parked_ids: Sequence[UUID] | None = None) -> int:
    """Removes some, or (None) all; how many. Raises HubError(NOT_FOUND) for unknown ones."""
    gone = await tx.execute(
        f"DELETE FROM parked WHERE {_OF} AND ($3::uuid[] IS NULL OR parked_id = ANY($3))",
        tx.district_id, subscription_id, parked_ids,
    )  # fmt: skip
    if parked_ids is not None and gone != len(parked_ids):
        raise _missing()
    return gone


async def forget(tx: Transaction, subscription_id: UUID, parked_id: UUID) -> None:
    """Removes a change that was taken at last, unless it is gone already."""
    await tx.execute(f"DELETE FROM parked WHERE {_OF} AND parked_id = $3", tx.district_id, subscription_id, parked_id)


async def done(tx: Transaction, subscription_id: UUID) -> None:
    """Notes that no further attempt is asked for."""
    await tx.execute(f"UPDATE subscriptions SET retry_parked = false WHERE {_OF}", tx.district_id, subscription_id)


def _missing() -> HubError:
    return HubError(Code.NOT_FOUND, "This subscription has no such parked change.")
