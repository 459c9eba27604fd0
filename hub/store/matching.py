"""What matching reads and keeps: people as columns, their keys, and what was found about pairs of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import polars as pl

from hub.store import agreement_tokens, people
from hub.store.columns import FEW, copied, fetched
from hub.store.database import Database, Transaction
from hub.store.people import USERS

#: Kinds from here on are of values whose frequency counts, and no keys.
VALUES: Final = 100
#: A row of the index: rid, kind and hash.
Entry = tuple[int, int, int]
KEYS: Final = {"rid": pl.UInt32, "kind": pl.Int16, "hash": pl.Int64}
_COUNTED: Final = {"kind": pl.UInt8, "hash": pl.Int64, "count": pl.UInt32}
#: What more than so many people have is common: one more or less is less than a hundredth of a bit.
_COMMON: Final = 200
_BYTES_EACH: Final = 400
_LEASE: Final = "interval '15 minutes'"
_DUE: Final = (
    "state = 'active' AND matched_to IS DISTINCT FROM position AND coalesce(matching->>'mode', '') <> 'off' "
    "AND coalesce(matching_until < now(), true)"
)


async def due(db: Database) -> list[UUID]:
    """Districts in which something happened since people were compared, and nobody compares now."""
    async with db.statement() as tx:
        rows = await tx.fetch(
            f"SELECT district_id FROM districts WHERE {_DUE} ORDER BY matching_until NULLS FIRST LIMIT 20"
        )
    return [row["district_id"] for row in rows]


async def hold(tx: Transaction) -> bool:
    """Whether the district is due still; then nobody else compares there, nor sets how, while the transaction lasts."""
    found = await tx.fetchval(
        f"SELECT true FROM districts WHERE district_id = $1 AND {_DUE} FOR NO KEY UPDATE", tx.district_id
    )
    return found is not None


async def lease(tx: Transaction) -> None:
    """Has nobody else compare there for a while."""
    await tx.execute(f"UPDATE districts SET matching_until = now() + {_LEASE} WHERE district_id = $1", tx.district_id)


# Settings that were made since they were read have set ``matched_to`` to null, and it stays so: who was compared by
# others is to be compared anew. (``UPDATE`` sees the row as it is once it has it.)
_COMPARED: Final = "matched_to = CASE WHEN matching = {settings}::jsonb THEN {position} ELSE matched_to END"


async def done(
    tx: Transaction, position: int, settings: Mapping[str, Any], *, counted: int | None = None
) -> None:  # fmt: skip
    """Notes that people were compared up to a position, and how many they are, if they were counted.

    ``settings``: those that they were compared by (``State``). With others now, all people are compared anew.
    """
    await tx.execute(
        f"UPDATE districts SET {_COMPARED.format(settings='$4', position='$2::bigint')}, matching_until = NULL, "
        "people_counted = coalesce($3, people_counted), "
        "people_counted_at = CASE WHEN $3::integer IS NULL THEN people_counted_at ELSE now() END "
        "WHERE district_id = $1",
        tx.district_id, position, counted, settings,
    )  # fmt: skip


async def policy(tx: Transaction) -> dict[str, Any]:
    """How much the hub decides by itself in the district."""
    found: dict[str, Any] = await tx.fetchval("SELECT matching FROM districts WHERE district_id = $1", tx.district_id)
    return found


async def set_policy(tx: Transaction, policy: dict[str, Any]) -> None:
    """Sets that; all people are compared anew."""
    await tx.execute(
        "UPDATE districts SET matching = $2, matched_to = NULL WHERE district_id = $1", tx.district_id, policy
    )


@dataclass(frozen=True, slots=True)
class State:
    """How far a district's people were compared. ``speaking``: how many sources speak of people.

    ``settings``: how much the hub decides by itself. ``people``, ``counted_at``: how many they were when they were
    counted within a day. That is near enough: one in a hundred more or less is a hundredth of a bit. ``decided``:
    whether people have told any apart, or are unsure of them; ``joining``: whether a run that joins people is not over.
    """

    matched_to: int | None
    position: int
    settings: dict[str, Any]
    people: int | None
    counted_at: datetime | None
    speaking: int
    indexed: bool
    decided: bool
    joining: bool


_STATE: Final = (
    "d.matched_to, d.position, d.matching AS settings, "
    "c.people, CASE WHEN c.people IS NOT NULL THEN d.people_counted_at END AS counted_at, "
    "(SELECT count(*) FROM sources s WHERE s.district_id = d.district_id AND s.state <> 'departed' "
    "AND EXISTS (SELECT FROM source_records r WHERE r.district_id = s.district_id "
    "AND r.source_id = s.source_id AND r.entity = 'users' AND r.active)) AS speaking, "
    "EXISTS (SELECT FROM match_keys k WHERE k.district_id = d.district_id) AS indexed, "
    "EXISTS (SELECT FROM matches m WHERE m.district_id = d.district_id AND m.state IN ('different', 'unsure')) "
    "AS decided, EXISTS (SELECT FROM runs r WHERE r.district_id = d.district_id AND r.kind = 'people' "
    "AND r.state IN ('queued', 'running', 'held') AND NOT r.dry_run) AS joining"
)
_CHANGES: Final = (
    "ARRAY(SELECT unnest(ARRAY[h.created, h.updated, h.deleted]) FROM changes h WHERE h.district_id = d.district_id "
    "AND h.position > d.matched_to AND h.entity = ANY('{users,demographics}'::text[])) AS changes"
)
_OF: Final = (
    "FROM districts d CROSS JOIN LATERAL (SELECT CASE WHEN d.people_counted_at > now() - interval '1 day' "
    "THEN d.people_counted END AS people) c WHERE d.district_id = $1"
)


async def state(tx: Transaction) -> State:
    """How far people were compared, and whether there is anything to compare.

    In one statement, which sees one moment: what ``claim`` waited for may have changed all of it.
    """
    row = await tx.fetchrow(f"SELECT {_STATE} {_OF}", tx.district_id)
    assert row is not None, "the caller has claimed it"
    return State(**row)


async def changed(tx: Transaction) -> tuple[State, list[int]]:
    """The same of the same moment, and the users that have changed since then (``people.changed_since``)."""
    row = await tx.fetchrow(f"SELECT {_STATE}, {_CHANGES} {_OF}", tx.district_id)
    assert row is not None, "the caller has claimed it"
    *of_state, changes = row
    return State(*of_state), people.united(changes)


async def population(tx: Transaction) -> int:
    """How many people are searched."""
    found: int = await tx.fetchval("SELECT count(*) FROM users WHERE district_id = $1 AND active", tx.district_id)
    return found


async def exempt(tx: Transaction) -> list[int]:
    """The users who are compared with nobody."""
    return [row[0] for row in await tx.fetch("SELECT rid FROM match_exempt WHERE district_id = $1", tx.district_id)]


# What the hub found, and nobody has decided on or proposed: it is found anew with whoever changed.
_FOUND = "state = 'review' AND proposed_by IS NULL"


async def set_exempt(tx: Transaction, rid: int, *, by: str | None) -> None:
    """Has a user compared with nobody, in other districts neither; ``by`` None: with others again."""
    if by is None:
        await tx.execute("DELETE FROM match_exempt WHERE district_id = $1 AND rid = $2", tx.district_id, rid)
    else:
        await tx.execute(
            "INSERT INTO match_exempt (district_id, rid, by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            tx.district_id, rid, by,
        )  # fmt: skip
    await agreement_tokens.withdraw(tx, [rid], anew=True)


async def write_keys(tx: Transaction, rids: Collection[int] | None, keys: pl.DataFrame) -> None:
    """Sets the keys (KEYS) of some users, those without any among them; None: of all, and there are no others."""
    if rids is None:
        await tx.execute("DELETE FROM match_keys WHERE district_id = $1", tx.district_id)
    else:
        await tx.execute(
            "DELETE FROM match_keys WHERE district_id = $1 AND rid = ANY($2::integer[])", tx.district_id, list(rids)
        )
    order = np.lexsort([keys[name].to_numpy() for name in ("rid", "kind", "hash")])
    ordered = keys[order]  # the key's index is gone through once
    for part in ordered.iter_slices(100_000):
        await tx.execute(
            "INSERT INTO match_keys (district_id, hash, kind, rid) "
            "SELECT $1, * FROM unnest($2::bigint[], $3::smallint[], $4::integer[])",
            tx.district_id, part["hash"].to_list(), part["kind"].to_list(), part["rid"].to_list(),
        )  # fmt: skip


_CLEARED: Final = (
    f"cleared AS (DELETE FROM matches WHERE district_id = $1 AND {_FOUND} "
    "AND (left_rid = ANY($2::integer[]) OR right_rid = ANY($2::integer[])))"
)


async def note(
    tx: Transaction, rids: Collection[int], keys: Sequence[Entry] | None, position: int, settings: Mapping[str, Any]
) -> None:  # fmt: skip
    """Of a few users who were compared: sets their keys, takes away what waits about them, and is ``done``.

    ``keys`` None: they are what the index has. It is one statement, since each costs as much as what it does.
    Nobody else writes the keys of these users meanwhile: who compares a district holds its row, or has a lease on it.
    """
    if keys is None:
        await tx.execute(
            f"WITH {_CLEARED} UPDATE districts SET {_COMPARED.format(settings='$4', position='$3::bigint')}, "
            "matching_until = NULL WHERE district_id = $1",
            tx.district_id, list(rids), position, settings,
        )  # fmt: skip
        return
    await tx.execute(
        "WITH own AS MATERIALIZED (SELECT hash, kind, rid FROM match_keys "
        "WHERE district_id = $1 AND rid = ANY($2::integer[])), "
        "new AS MATERIALIZED (SELECT * FROM unnest($3::bigint[], $4::smallint[], $5::integer[]) n(hash, kind, rid)), "
        "gone AS (DELETE FROM match_keys k WHERE k.district_id = $1 AND k.rid = ANY($2::integer[]) AND NOT EXISTS "
        "(SELECT FROM new WHERE new.rid = k.rid AND new.kind = k.kind AND new.hash = k.hash)), "
        f"{_CLEARED}, "
        f"noted AS (UPDATE districts SET {_COMPARED.format(settings='$7', position='$6::bigint')}, "
        "matching_until = NULL WHERE district_id = $1) "
        "INSERT INTO match_keys (district_id, hash, kind, rid) "
        "SELECT $1, hash, kind, rid FROM (SELECT * FROM new EXCEPT SELECT * FROM own) n ORDER BY hash, kind, rid",
        tx.district_id, list(rids), *([key[at] for key in keys] for at in (2, 1, 0)), position, settings,
    )  # fmt: skip


async def sharing(tx: Transaction, hashes: Sequence[int], most: int, *, but: Sequence[int] = ()) -> pl.DataFrame:
    """The keys (KEYS) with some hashes, whoever has them, ``but`` for a few users.

    Of a hash that more than ``most`` have, as many and one.
    """
    answered = fetched if len(hashes) <= FEW else copied
    return await answered(
        tx, "SELECT f.rid, f.kind, h.hash FROM (SELECT DISTINCT unnest($2::bigint[]) AS hash) h "
        "CROSS JOIN LATERAL (SELECT rid, kind FROM match_keys k WHERE k.district_id = $1 AND k.hash = h.hash "
        f"AND k.kind < {VALUES} AND k.rid <> ALL($3::integer[]) LIMIT {most + 1}) f",
        KEYS, tx.district_id, list(hashes), list(but),
    )  # fmt: skip


async def counts(tx: Transaction, hashes: Sequence[int], counted_at: datetime | None = None) -> pl.DataFrame:
    """How many users have each of some values: kind (without ``VALUES``), hash, count.

    ``counted_at``: when people were last counted (``State``). Common values are counted by this process once since
    then: of a million people thousands have a common name, and to count them takes longer than all else.
    """
    common = _common(tx, counted_at)
    new = [value for value in hashes if value not in common]
    answered = fetched if len(new) <= FEW else copied
    found = await answered(
        tx, f"SELECT kind - {VALUES}, hash, count(*) FROM match_keys WHERE district_id = $1 "
        f"AND hash = ANY($2::bigint[]) AND kind >= {VALUES} GROUP BY kind, hash",
        _COUNTED, tx.district_id, new,
    )  # fmt: skip
    rows = [row for value in hashes for row in common.get(value, ())]
    if counted_at is not None:
        counted = found.rows()
        # A value has a row for each kind: a family name is a token of one as well.
        often = {value for _, value, count in counted if count > _COMMON}
        for value in often:
            common[value] = [row for row in counted if row[1] == value]
        if often:
            tx.kept.put((_common, tx.district_id), (counted_at, common), len(common) * _BYTES_EACH)
    return found.vstack(pl.DataFrame(rows, _COUNTED, orient="row")) if rows else found


def _common(tx: Transaction, counted_at: datetime | None) -> dict[int, list[tuple[int, ...]]]:
    """What this process has counted of common values since people were counted."""
    kept: tuple[datetime, dict[int, list[tuple[int, ...]]]] | None = tx.kept.get((_common, tx.district_id))
    return kept[1] if kept is not None and kept[0] == counted_at else {}


async def keep(tx: Transaction, rids: Collection[int] | None, found: pl.DataFrame) -> None:
    """Sets what waits for a decision about some users (None: all): what was found takes the place of what was before.

    ``found``: left, right, tier, score, evidence (JSON) and model. What a person decided, or proposed, stays.
    """
    await tx.execute(
        f"DELETE FROM matches WHERE district_id = $1 AND {_FOUND} "
        "AND ($2::integer[] IS NULL OR left_rid = ANY($2::integer[]) OR right_rid = ANY($2::integer[]))",
        tx.district_id, None if rids is None else list(rids),
    )  # fmt: skip
    await wait(tx, found)


async def wait(tx: Transaction, found: pl.DataFrame) -> None:
    """Adds to what waits for a decision, as ``keep`` has it."""
    if not found.height:
        return
    await tx.execute(
        "INSERT INTO matches (district_id, left_rid, right_rid, state, tier, score, evidence, model) "
        "SELECT $1, f.l, f.r, 'review', f.tier, f.score, f.evidence::jsonb, f.model FROM unnest("
        "$2::integer[], $3::integer[], $4::text[], $5::real[], $6::text[], $7::text[]) AS f(l, r, tier, score, "
        "evidence, model) ON CONFLICT (district_id, left_rid, right_rid) DO UPDATE SET tier = EXCLUDED.tier, "
        "score = EXCLUDED.score, evidence = EXCLUDED.evidence, model = EXCLUDED.model",
        tx.district_id, *(found[name].to_list() for name in ("left", "right", "tier", "score", "evidence", "model")),
    )  # fmt: skip


async def tasks_waiting(tx: Transaction, kind: str) -> list[dict[str, Any]]:
    """What the runs of a kind are to do that are not over."""
    rows = await tx.fetch(
        "SELECT task FROM runs WHERE district_id = $1 AND kind = $2 AND state IN ('queued', 'running', 'held') "
        "AND NOT dry_run",
        tx.district_id, kind,
    )  # fmt: skip
    return [row["task"] for row in rows]


assert USERS.table == "users", "the statements above name it"
