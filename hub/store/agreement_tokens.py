"""What tells two districts that both have a record of one person: tokens, made of one end's people at a time.

Where tokens of two districts meet, a function of the database compares them (migrations/0055_agreements.sql).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from hub.store.database import Database, Transaction

#: So many may always be found within a month, however few people there are.
LEAST_FOUND: Final = 50
#: Which agreements stand.
LIVES: Final = "g.state = 'active' AND coalesce(g.until > now(), true)"
_LEASE: Final = "interval '15 minutes'"
#: Once a day at least, so that what was kept long enough goes though nothing happens.
_DUE: Final = (
    f"{LIVES} AND d.state = 'active' AND coalesce(s.leased_until < now(), true) "
    "AND (s.tokens_to IS DISTINCT FROM d.position OR s.tokens_key IS DISTINCT FROM g.revision "
    "OR s.tokens_scheme IS DISTINCT FROM $1::integer OR s.looked_at < now() - interval '1 day')"
)


async def lock(tx: Transaction, agreement_id: UUID) -> None:
    """Nobody else changes the agreement or writes tokens under it until the transaction ends."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('agreement ' || $1, 0))", str(agreement_id))


async def lock_pair(tx: Transaction, one: UUID, other: UUID) -> None:
    """Nobody else makes a proposal of either of two districts to the other one until the transaction ends."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"agreement {min(one, other)} {max(one, other)}"
    )


async def clear(tx: Transaction, agreement_id: UUID) -> None:
    """Removes all tokens and findings of both ends. Under the lock."""
    await tx.execute("SELECT agreement_clear($1)", agreement_id)


async def anew(tx: Transaction, agreement_id: UUID) -> None:
    """Removes all tokens of both ends; their findings are closed, and count on. Under the lock."""
    await tx.execute("SELECT agreement_anew($1)", agreement_id)


async def clear_own(tx: Transaction, agreement_id: UUID) -> None:
    """As ``anew``, of the transaction's district. Under the lock."""
    await tx.execute(
        "DELETE FROM agreement_tokens WHERE district_id = $1 AND agreement_id = $2", tx.district_id, agreement_id
    )
    await settle(tx, agreement_id, [])


async def withdraw(tx: Transaction, rids: Collection[int], *, anew: bool = False) -> None:
    """Takes the tokens away of some users and of those whose guardians they are, and closes what was found of them.

    What was found counts on: nobody asks for more by taking away who was asked for. What is being made of them
    meanwhile is not kept. ``anew``: all tokens of the district are looked through again.
    """
    for row in await tx.fetch(
        "SELECT agreement_id FROM agreement_sides JOIN agreements g USING (agreement_id) "
        "WHERE agreement_sides.district_id = $1 AND g.state <> 'ended' ORDER BY 1",
        tx.district_id,
    ):
        which = row["agreement_id"]
        await lock(tx, which)
        await tx.execute(
            "UPDATE agreement_sides SET revision = revision + 1, tokens_to = CASE WHEN $3 THEN NULL ELSE tokens_to END "
            "WHERE district_id = $1 AND agreement_id = $2",
            tx.district_id, which, anew,
        )  # fmt: skip
        for act in (
            "DELETE FROM agreement_tokens",
            "UPDATE agreement_findings SET closed_at = coalesce(closed_at, now()), who = 0",
        ):
            await tx.execute(
                f"{act} WHERE district_id = $1 AND agreement_id = $2 AND (rid = ANY($3::integer[]) "
                "OR rid IN (SELECT u.rid FROM users u WHERE u.district_id = $1 AND u.agents_rids && $3::integer[]))",
                tx.district_id, which, list(rids),
            )  # fmt: skip
        await settle(tx, which, [])


async def settle(tx: Transaction, agreement_id: UUID, changed: Sequence[int] | None) -> bool:
    """Opens and closes findings of both ends, by tokens that they share. Under the lock.

    ``changed``: the users of the transaction's district whose tokens changed; None: all. Whether more is found than
    the terms allow.
    """
    too_many: bool = await tx.fetchval(
        "SELECT agreement_settle($1, $2::integer[], $3)", agreement_id, changed, LEAST_FOUND
    )
    return too_many


@dataclass(frozen=True, slots=True)
class Side:
    """One end whose tokens are to be made. ``key``: sealed. ``tokens_to`` None: all anew."""

    district_id: UUID
    agreement_id: UUID
    roles: list[str]
    identifiers: list[str]
    remember_days: int
    schools: list[UUID] | None
    revision: int
    key_revision: int
    tokens_to: int | None
    position: int
    key: bytes


async def claim(db: Database, scheme: int) -> tuple[UUID, UUID] | None:
    """A district and an agreement of it for which tokens are to be made; nobody else makes them for a while."""
    async with db.statement() as tx:
        rows = await tx.fetch(
            "SELECT s.district_id, s.agreement_id FROM agreement_sides s JOIN agreements g USING (agreement_id) "
            f"JOIN districts d ON d.district_id = s.district_id WHERE {_DUE} ORDER BY s.looked_at NULLS FIRST LIMIT 20",
            scheme,
        )
    for row in rows:
        async with db.district(row["district_id"], wait_seconds=30) as tx:
            if await tx.execute(
                f"UPDATE agreement_sides s SET leased_until = now() + {_LEASE} FROM agreements g, districts d "
                "WHERE s.district_id = $2 AND s.agreement_id = $3 AND g.agreement_id = s.agreement_id "
                f"AND d.district_id = s.district_id AND {_DUE}",
                scheme, tx.district_id, row["agreement_id"],
            ):  # fmt: skip
                return row["district_id"], row["agreement_id"]
    return None


async def side(tx: Transaction, agreement_id: UUID, scheme: int, *, to_write: bool = False) -> Side | None:
    """The transaction's district's end of an active agreement; None where it is over.

    ``to_write``: under the lock, and nobody takes tokens away before the transaction ends.
    """
    row = await tx.fetchrow(
        "SELECT s.district_id, s.agreement_id, g.roles, g.identifiers, g.remember_days, s.schools, s.revision, "
        "g.revision AS key_revision, CASE WHEN s.tokens_key = g.revision AND s.tokens_scheme = $3 THEN s.tokens_to END "
        "AS tokens_to, d.position, k.key FROM agreement_sides s JOIN agreements g USING (agreement_id) "
        "JOIN agreement_keys k USING (agreement_id) JOIN districts d ON d.district_id = s.district_id "
        f"WHERE s.district_id = $1 AND s.agreement_id = $2 AND {LIVES}{' FOR UPDATE OF s' if to_write else ''}",
        tx.district_id, agreement_id, scheme,
    )  # fmt: skip
    return None if row is None else Side(**row)


async def write_tokens(tx: Transaction, agreement_id: UUID, rids: Sequence[int], tokens: pl.DataFrame) -> None:
    """Sets the tokens (``TOKENS``) of some users. ``since`` is the moment that their sourcedIds (UUIDv7) tell."""
    await tx.execute(  # who left since they were read is remembered, by tokens of before
        "DELETE FROM agreement_tokens t USING users u WHERE t.district_id = $1 AND t.agreement_id = $2 "
        "AND t.rid = ANY($3::integer[]) AND u.district_id = $1 AND u.rid = t.rid AND u.active",
        tx.district_id, agreement_id, list(rids),
    )  # fmt: skip
    await tx.execute(
        "INSERT INTO agreement_tokens (district_id, agreement_id, token, rid, who, since) "
        "SELECT $1, $2, f.token, f.rid, f.who, "
        "to_timestamp(('x' || left(replace(u.sourced_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) "
        "FROM unnest($3::integer[], $4::bytea[], $5::bigint[]) AS f(rid, token, who) "
        "JOIN users u ON u.district_id = $1 AND u.rid = f.rid AND u.active",
        tx.district_id, agreement_id, *(tokens[name].to_list() for name in ("rid", "token", "who")),
    )  # fmt: skip


async def tokened(tx: Transaction, agreement_id: UUID) -> list[int]:
    """The users with tokens who are there."""
    rows = await tx.fetch(
        "SELECT DISTINCT rid FROM agreement_tokens WHERE district_id = $1 AND agreement_id = $2 AND left_at IS NULL",
        tx.district_id, agreement_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def gone(tx: Transaction, agreement_id: UUID, rids: Sequence[int], undone: Collection[int], days: int) -> None:
    """Of users who have no tokens any more: those who left are remembered for some days, the others forgotten.

    Forgotten are those who are there and whom the terms do not mean, who were merged into others, and ``undone``.
    """
    await tx.execute(
        "DELETE FROM agreement_tokens t WHERE t.district_id = $1 AND t.agreement_id = $2 "
        "AND t.rid = ANY($3::integer[]) AND ($5 = 0 OR t.rid = ANY($4::integer[]) "
        "OR t.rid IN (SELECT u.rid FROM users u WHERE u.district_id = $1 AND u.active AND u.rid = ANY($3::integer[])) "
        "OR t.rid IN (SELECT a.rid FROM aliases a WHERE a.district_id = $1 AND a.rid = ANY($3::integer[])))",
        tx.district_id, agreement_id, list(rids), list(undone), days,
    )  # fmt: skip
    await tx.execute(
        "UPDATE agreement_tokens SET left_at = now() WHERE district_id = $1 AND agreement_id = $2 "
        "AND rid = ANY($3::integer[]) AND left_at IS NULL",
        tx.district_id, agreement_id, list(rids),
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM agreement_tokens WHERE district_id = $1 AND agreement_id = $2 "
        "AND left_at < now() - make_interval(days => $3)",
        tx.district_id, agreement_id, days,
    )  # fmt: skip


async def undone(tx: Transaction, after: int) -> list[bytes]:
    """The sets of users that undoing runs behind a position has ended: they never were."""
    rows = await tx.fetch(
        "SELECT c.deleted FROM runs r JOIN changes c ON c.district_id = r.district_id AND c.position = r.position "
        "AND c.entity = 'users' WHERE r.district_id = $1 AND r.kind = 'undo' AND r.position > $2",
        tx.district_id, after,
    )  # fmt: skip
    return [row[0] for row in rows]


async def wards(tx: Transaction, rids: Collection[int]) -> list[int]:
    """The active users whose guardians some users are."""
    rows = await tx.fetch(
        "SELECT rid FROM users WHERE district_id = $1 AND active AND agents_rids && $2::integer[]",
        tx.district_id, list(rids),
    )  # fmt: skip
    return [row[0] for row in rows]


async def done(tx: Transaction, side: Side, scheme: int, *, people: int) -> None:
    """Notes that an end's tokens are what its people were at the position of ``side``, and how many had some."""
    await tx.execute(
        "UPDATE agreement_sides SET tokens_to = $3, tokens_key = $4, tokens_scheme = $5, looked_at = now(), "
        "leased_until = NULL, people = greatest(people, $6) WHERE district_id = $1 AND agreement_id = $2",
        tx.district_id, side.agreement_id, side.position, side.key_revision, scheme, people,
    )  # fmt: skip


async def release(tx: Transaction, agreement_id: UUID) -> None:
    """Gives a claim back: something changed meanwhile, and the next look begins anew."""
    await tx.execute(
        "UPDATE agreement_sides SET leased_until = NULL WHERE district_id = $1 AND agreement_id = $2",
        tx.district_id, agreement_id,
    )  # fmt: skip
