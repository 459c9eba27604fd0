"""Agreements of two districts, their keys, and whom one end is told about.

Where rows of two districts meet, functions of the database do the work (migrations/0055_agreements.sql): they look
whether the transaction's district is an end of the agreement, and answer with no more than a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from hub.errors import Code, HubError
from hub.store import agreement_tokens
from hub.store.agreement_tokens import LIVES
from hub.store.audit import HUB
from hub.store.database import Database, Transaction

State = Literal["proposed", "active", "ended"]
#: Days after which a proposal that nobody accepted ends, and after which a finding is not shown any more.
PROPOSAL_DAYS: Final = 30
FINDING_DAYS: Final = 90
#: Proposals of one district that nobody has accepted, within ``PROPOSAL_DAYS``: others' lists and logs have them all.
MOST_PROPOSED: Final = 20


@dataclass(frozen=True, slots=True)
class Terms:
    """What both ends agree to. ``roles``: kinds of people; ``identifiers``: types of ids that mean the same in both.

    ``remember_days``: how long tokens of people who left stay. ``most_share``: per cent of an end's people that may be
    found within a month.
    """

    roles: list[str]
    identifiers: list[str]
    remember_days: int
    most_share: int
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement as one of its ends sees it. ``proposer``: the district that proposed it; ``schools``: this end's."""

    agreement_id: UUID
    proposer: UUID
    partner_id: UUID
    state: State
    roles: list[str]
    identifiers: list[str]
    remember_days: int
    most_share: int
    until: datetime | None
    revision: int
    proposed_at: datetime
    accepted_at: datetime | None
    ended_at: datetime | None
    ended_by: UUID | None
    ended_because: str | None
    schools: list[UUID] | None
    looked_at: datetime | None


_COLUMNS: Final = (
    "g.agreement_id, g.district_id AS proposer, "
    "CASE g.district_id WHEN $1 THEN g.partner_id ELSE g.district_id END AS partner_id, g.state, g.roles, "
    "g.identifiers, g.remember_days, g.most_share, g.until, g.revision, g.proposed_at, g.accepted_at, g.ended_at, "
    "g.ended_by, g.ended_because, s.schools, s.looked_at"
)
_FROM: Final = (
    "FROM agreements g LEFT JOIN agreement_sides s ON s.district_id = $1 AND s.agreement_id = g.agreement_id "
    "WHERE $1 IN (g.district_id, g.partner_id)"
)


async def listing(tx: Transaction) -> list[Agreement]:
    """The district's agreements and proposals, those that ended too, newest first."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} {_FROM} ORDER BY g.agreement_id DESC", tx.district_id)
    return [Agreement(**row) for row in rows]


async def get(tx: Transaction, agreement_id: UUID) -> Agreement:
    """One of them. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} {_FROM} AND g.agreement_id = $2", tx.district_id, agreement_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such agreement.")
    return Agreement(**row)


async def propose(
    tx: Transaction, agreement_id: UUID, partner: UUID, terms: Terms, schools: Sequence[UUID] | None
) -> None:
    """Adds a proposal of the transaction's district."""
    await tx.execute(
        "INSERT INTO agreements (district_id, agreement_id, partner_id, roles, identifiers, remember_days, most_share, "
        "until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tx.district_id, agreement_id, partner, terms.roles, terms.identifiers, terms.remember_days, terms.most_share,
        terms.until,
    )  # fmt: skip
    await _add_side(tx, agreement_id, schools)


async def between(tx: Transaction, partner: UUID) -> bool:
    """Whether there is an agreement or a proposal between the transaction's district and another one."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM agreements WHERE state <> 'ended' AND (district_id = $1 AND partner_id = $2 "
        "OR district_id = $2 AND partner_id = $1))",
        tx.district_id, partner,
    )  # fmt: skip
    return found


async def proposed(tx: Transaction) -> int:
    """How many proposals of the district nobody has accepted, with those of the last days that have ended so."""
    count: int = await tx.fetchval(
        "SELECT count(*) FROM agreements WHERE district_id = $1 AND accepted_at IS NULL "
        "AND (state = 'proposed' OR proposed_at > now() - make_interval(days => $2))",
        tx.district_id, PROPOSAL_DAYS,
    )  # fmt: skip
    return count


async def accept(tx: Transaction, agreement_id: UUID, schools: Sequence[UUID] | None, key: bytes) -> None:
    """Makes a proposal to the transaction's district an agreement. ``key``: sealed."""
    await tx.execute(
        "UPDATE agreements SET state = 'active', accepted_at = now() WHERE partner_id = $1 AND agreement_id = $2",
        tx.district_id, agreement_id,
    )  # fmt: skip
    await _add_side(tx, agreement_id, schools)
    await tx.execute("INSERT INTO agreement_keys (agreement_id, key) VALUES ($1, $2)", agreement_id, key)


async def _add_side(tx: Transaction, agreement_id: UUID, schools: Sequence[UUID] | None) -> None:
    await tx.execute(
        "INSERT INTO agreement_sides (district_id, agreement_id, schools) VALUES ($1, $2, $3)",
        tx.district_id, agreement_id, schools,
    )  # fmt: skip


async def end(tx: Transaction, agreement_id: UUID, *, by: UUID | None, because: str | None = None) -> None:
    """Ends an agreement or a proposal with its key, tokens and findings. Under the lock. ``by`` None: the hub."""
    await tx.execute(
        "UPDATE agreements SET state = 'ended', ended_at = now(), ended_by = $3, ended_because = $4 "
        "WHERE $1 IN (district_id, partner_id) AND agreement_id = $2",
        tx.district_id, agreement_id, by or HUB, because,
    )  # fmt: skip
    await tx.execute("DELETE FROM agreement_keys WHERE agreement_id = $1", agreement_id)
    await agreement_tokens.clear(tx, agreement_id)


async def rotate(tx: Transaction, agreement_id: UUID, key: bytes) -> None:
    """Gives the agreement another key (sealed); all tokens of before go. Under the lock."""
    await tx.execute(
        "UPDATE agreements SET revision = revision + 1 WHERE $1 IN (district_id, partner_id) AND agreement_id = $2",
        tx.district_id, agreement_id,
    )  # fmt: skip
    await tx.execute("UPDATE agreement_keys SET key = $2 WHERE agreement_id = $1", agreement_id, key)
    await agreement_tokens.anew(tx, agreement_id)


async def tell(
    tx: Transaction, agreement_id: UUID, action: str, because: str | None = None, *, by_hub: bool = False
) -> None:  # fmt: skip
    """Notes an act in the other end's audit log."""
    await tx.execute("SELECT agreement_tell($1, $2, $3, $4)", agreement_id, action, because, by_hub)


async def told(tx: Transaction, agreement_id: UUID) -> int:
    """Of how many of its people the other end is told that this one has a record, or was, in tens; see the function."""
    count: int = await tx.fetchval("SELECT agreement_told($1)", agreement_id)
    return count


async def set_schools(tx: Transaction, agreement_id: UUID, schools: Sequence[UUID] | None) -> None:
    """Sets whose people of this end count; its tokens are made anew. Under the lock."""
    await tx.execute(
        "UPDATE agreement_sides SET schools = $3, revision = revision + 1, tokens_to = NULL "
        "WHERE district_id = $1 AND agreement_id = $2",
        tx.district_id, agreement_id, schools,
    )  # fmt: skip
    await agreement_tokens.clear_own(tx, agreement_id)


async def over(db: Database) -> list[tuple[UUID, UUID, str]]:
    """Agreements whose time is over, and proposals that nobody accepted: proposer, agreement, why."""
    async with db.statement() as tx:
        rows = await tx.fetch(
            "SELECT district_id, agreement_id, CASE state WHEN 'active' THEN 'until' ELSE 'not accepted' END AS why "
            "FROM agreements WHERE state = 'active' AND until <= now() OR state = 'proposed' "
            "AND (until <= now() OR proposed_at < now() - make_interval(days => $1)) LIMIT 20",
            PROPOSAL_DAYS,
        )
    return [(row["district_id"], row["agreement_id"], row["why"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Finding:
    """One of the district's own people of whom the other end of an agreement has a record, or had one."""

    agreement_id: UUID
    partner_id: UUID
    rid: int
    sourced_id: UUID
    found_at: datetime
    asked_at: datetime | None
    asked_by: str | None


async def findings(
    tx: Transaction, *, asked: bool, after: tuple[datetime, UUID] | None = None, limit: int = 100
) -> list[Finding]:
    """What is found, oldest first. ``asked``: those of whom somebody has asked, in place of those who wait."""
    found: list[Any] = await tx.fetch(
        "SELECT f.agreement_id, CASE g.district_id WHEN $1 THEN g.partner_id ELSE g.district_id END AS partner_id, "
        "f.rid, u.sourced_id, f.found_at, f.asked_at, f.asked_by FROM agreement_findings f "
        "JOIN agreements g ON g.agreement_id = f.agreement_id AND $1 IN (g.district_id, g.partner_id) "
        "JOIN users u ON u.district_id = $1 AND u.rid = f.rid AND u.active "
        f"WHERE f.district_id = $1 AND f.closed_at IS NULL AND {LIVES} AND (f.asked_at IS NOT NULL) = $2 "
        "AND f.found_at > now() - make_interval(days => $3) "
        "AND ($4::timestamptz IS NULL OR (f.found_at, u.sourced_id) > ($4, $5::uuid)) "
        "ORDER BY f.found_at, u.sourced_id LIMIT $6",
        tx.district_id, asked, FINDING_DAYS, *(after or (None, None)), limit,
    )  # fmt: skip
    return [Finding(**row) for row in found]


async def asked(tx: Transaction, agreement_id: UUID, sourced_id: UUID, *, by: str | None) -> bool:
    """Notes that somebody has asked the other end about a person (``by`` None: nobody has); whether there is one."""
    return bool(
        await tx.execute(
            "UPDATE agreement_findings f SET asked_at = CASE WHEN $4::text IS NULL THEN NULL ELSE now() END, "
            "asked_by = $4 FROM users u WHERE f.district_id = $1 AND f.agreement_id = $2 AND f.closed_at IS NULL "
            "AND u.district_id = $1 AND u.rid = f.rid AND u.sourced_id = $3",
            tx.district_id,
            agreement_id,
            sourced_id,
            by,
        )
    )
