"""Which records of users are one person: what was decided of pairs, whose word is where, and where old ids lead.

A record's *home* is the rid to which a source's word led by itself. Decisions are about homes, so that they hold
whatever was merged or split since; the words of all homes of one person stand at the oldest of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from hub.scope.sets import unpack
from hub.store.database import Transaction
from hub.store.schema import of_rids
from transforms.catalogue import CATALOGUE, Entity

State = Literal["review", "unsure", "same", "different"]
Pair = tuple[int, int]
USERS: Final = CATALOGUE["users"]
#: Who decides where nobody did.
HUB: Final = "hub"


@dataclass(frozen=True, slots=True)
class Match:
    """Two records (rids of homes) that are one person, are not, or may be."""

    left_rid: int
    right_rid: int
    state: State
    tier: str
    score: float | None
    model: str
    evidence: list[dict[str, Any]]
    found_at: datetime
    proposed_by: str | None
    decided_at: datetime | None
    decided_by: str | None
    seconded_by: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a source says of an object: by which key, of which record, and to which it led by itself."""

    source_id: UUID
    key: str
    rid: int
    home: int
    active: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A word of a source about a user. ``home``: the sourcedId of the record to which it led by itself."""

    source_id: UUID
    key: str
    active: bool
    home: UUID


_MATCH = ", ".join(Match.__dataclass_fields__)


async def decided(tx: Transaction, rids: Collection[int]) -> list[tuple[Pair, State]]:
    """The pairs told to be the same or different that touch some homes, or what these are the same as, and so on."""
    rows = await tx.fetch(
        "WITH RECURSIVE near(rid) AS (SELECT unnest($2::integer[]) UNION SELECT CASE WHEN m.left_rid = n.rid "
        "THEN m.right_rid ELSE m.left_rid END FROM near n JOIN matches m ON m.district_id = $1 "
        "AND m.state = 'same' AND (m.left_rid = n.rid OR m.right_rid = n.rid)) "
        "SELECT left_rid, right_rid, state FROM matches WHERE district_id = $1 AND state IN ('same', 'different') "
        "AND (left_rid IN (SELECT rid FROM near) OR right_rid IN (SELECT rid FROM near))",
        tx.district_id, list(rids),
    )  # fmt: skip
    return [((row["left_rid"], row["right_rid"]), row["state"]) for row in rows]


async def undecided_by_hub(tx: Transaction) -> list[Pair]:
    """The pairs that people have told apart, or are unsure of: the hub does not decide about them."""
    rows = await tx.fetch(
        "SELECT left_rid, right_rid FROM matches WHERE district_id = $1 AND state IN ('different', 'unsure')",
        tx.district_id,
    )
    return [(row[0], row[1]) for row in rows]


async def changed_since(tx: Transaction, position: int | None) -> list[int]:
    """The users that are new, changed or gone since a position, or whose demographics are; none without one."""
    if position is None:
        return []
    rows = await tx.fetch(
        "SELECT created, updated, deleted FROM changes WHERE district_id = $1 AND position > $2 "
        "AND entity = ANY('{users,demographics}'::text[])",
        tx.district_id, position,
    )  # fmt: skip
    return united(packed for row in rows for packed in row)


def united(sets: Iterable[bytes]) -> list[int]:
    """The members of several sets, as a database has them, in order."""
    return sorted({rid for packed in sets for rid in unpack(packed)})


async def decide(tx: Transaction, pairs: Mapping[Pair, State], *, by: str, seconded_by: str | None = None) -> None:
    """Notes decisions, with or without a match that was found before."""
    await tx.executemany(
        "INSERT INTO matches (district_id, left_rid, right_rid, state, decided_at, decided_by, seconded_by) "
        "VALUES ($1, $2, $3, $4, now(), $5, $6) ON CONFLICT (district_id, left_rid, right_rid) DO UPDATE "
        "SET state = EXCLUDED.state, decided_at = now(), decided_by = $5, seconded_by = $6",
        [(tx.district_id, left, right, state, by, seconded_by) for (left, right), state in sorted(pairs.items())],
    )


async def match(tx: Transaction, pair: Pair) -> Match | None:
    """What is known of two records."""
    row = await tx.fetchrow(
        f"SELECT {_MATCH} FROM matches WHERE district_id = $1 AND left_rid = $2 AND right_rid = $3",
        tx.district_id, *pair,
    )  # fmt: skip
    return None if row is None else Match(**row)


async def matches(tx: Transaction, states: Collection[State], *, after: Pair | None, limit: int) -> list[Match]:
    """The pairs in some states, by their rids."""
    rows = await tx.fetch(
        f"SELECT {_MATCH} FROM matches WHERE district_id = $1 AND state = ANY($2::text[]) "
        "AND (left_rid, right_rid) > ($3, $4) ORDER BY left_rid, right_rid LIMIT $5",
        tx.district_id, list(states), *(after or (-1, -1)), limit,
    )  # fmt: skip
    return [Match(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Alike:
    """How many pairs people have decided on whose fields were as alike as those of a pair, and how."""

    same: int = 0
    different: int = 0


_PATTERN: Final = (
    "jsonb_path_query_array({0}.evidence, '$[*].what')::text || "
    "jsonb_path_query_array({0}.evidence, '$[*].level')::text"
)


async def decided_alike(tx: Transaction, pairs: Collection[Pair]) -> dict[Pair, Alike]:
    """What people have decided of other pairs in which the same fields were alike in the same way; none: left out."""
    rows = await tx.fetch(
        "SELECT m.left_rid, m.right_rid, count(*) FILTER (WHERE d.state = 'same') AS same, "
        "count(*) FILTER (WHERE d.state = 'different') AS different FROM matches m JOIN matches d "
        f"ON d.district_id = $1 AND {_PATTERN.format('d')} = {_PATTERN.format('m')} "
        "AND (d.left_rid, d.right_rid) <> (m.left_rid, m.right_rid) "
        "WHERE m.district_id = $1 "
        "AND (m.left_rid, m.right_rid) IN (SELECT * FROM unnest($2::integer[], $3::integer[])) "
        "AND m.evidence <> '[]' AND d.state IN ('same', 'different') AND d.decided_by <> $4 "
        "GROUP BY m.left_rid, m.right_rid",
        tx.district_id, [left for left, _ in pairs], [right for _, right in pairs], HUB,
    )  # fmt: skip
    return {(row["left_rid"], row["right_rid"]): Alike(row["same"], row["different"]) for row in rows}


async def propose(tx: Transaction, pair: Pair, *, by: str) -> None:
    """Notes that somebody took two records for the same, where another one's word is needed too."""
    await tx.execute(
        "INSERT INTO matches (district_id, left_rid, right_rid, state, proposed_by) VALUES ($1, $2, $3, 'review', $4) "
        "ON CONFLICT (district_id, left_rid, right_rid) DO UPDATE SET state = 'review', proposed_by = $4",
        tx.district_id, *pair, by,
    )  # fmt: skip


async def seats(tx: Transaction, rids: Collection[int]) -> int:
    """How many active enrollments some users have."""
    found: int = await tx.fetchval(
        "SELECT count(*) FROM enrollments WHERE district_id = $1 AND active AND user_rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return found


async def standing(tx: Transaction, rid: int) -> list[Standing]:
    """All words about one user: by source, each with the record that it led to by itself, those of now first."""
    rows = await tx.fetch(
        "SELECT s.source_id, s.key, s.active, u.sourced_id AS home FROM source_records s "
        "JOIN users u ON u.district_id = s.district_id AND u.rid = coalesce(s.home_rid, s.rid) "
        "WHERE s.district_id = $1 AND s.entity = 'users' AND (s.rid = $2 OR s.rid IN (SELECT a.rid FROM aliases a "
        "WHERE a.district_id = $1 AND a.into_rid = $2)) ORDER BY NOT s.active, s.source_id, s.key",
        tx.district_id, rid,
    )  # fmt: skip
    return [Standing(**row) for row in rows]


async def by_key(tx: Transaction, key: str, source_id: UUID | None) -> list[int]:
    """The users that a source, or any, calls by a key, or once did."""
    rows = await tx.fetch(
        "SELECT DISTINCT rid FROM source_records WHERE district_id = $1 AND entity = 'users' AND key = $2 "
        "AND ($3::uuid IS NULL OR source_id = $3) ORDER BY rid",
        tx.district_id, key, source_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def named(tx: Transaction, rids: Collection[int]) -> dict[int, tuple[UUID, bool]]:
    """The sourcedIds of users, and whether they are active."""
    rows = await tx.fetch(f"SELECT rid, sourced_id, active FROM users WHERE {of_rids()}", tx.district_id, list(rids))
    return {row["rid"]: (row["sourced_id"], row["active"]) for row in rows}


async def claims(tx: Transaction, entity: Entity, homes: Collection[int]) -> list[Claim]:
    """All words of sources about some homes, wherever they stand now; of an entity that shares the rids of users."""
    rows = await tx.fetch(
        "SELECT source_id, key, rid, coalesce(home_rid, rid) AS home, active FROM source_records "
        "WHERE district_id = $1 AND entity = $2::text::entity_name AND rid = ANY($3::integer[]) "
        "AND (home_rid IS NULL OR home_rid = ANY($4::integer[]))",
        tx.district_id, entity.name, await _places(tx, homes), list(homes),
    )  # fmt: skip
    found = [Claim(**row) for row in rows]
    return [one for one in found if one.home in set(homes)]


async def _places(tx: Transaction, homes: Collection[int]) -> list[int]:
    """The rids at which words about some homes may stand."""
    rows = await tx.fetch(
        "SELECT into_rid FROM aliases WHERE district_id = $1 AND rid = ANY($2::integer[])", tx.district_id, list(homes)
    )
    return sorted({*homes, *(row[0] for row in rows)})


async def speakers(tx: Transaction, entity: Entity, rids: Collection[int]) -> dict[int, list[UUID]]:
    """The sources that speak of some records."""
    rows = await tx.fetch(
        "SELECT rid, source_id FROM source_records WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[]) AND active",
        tx.district_id, entity.name, list(rids),
    )  # fmt: skip
    found: dict[int, list[UUID]] = {}
    for row in rows:
        found.setdefault(row["rid"], []).append(row["source_id"])
    return found


async def move(tx: Transaction, entity: Entity, moves: Sequence[tuple[Claim, int]]) -> None:
    """Brings words of sources, and the rows of component files that belong to them, to other records."""
    arrays = [
        [claim.source_id for claim, _ in moves], [claim.rid for claim, _ in moves], [to for _, to in moves],
        [None if claim.home == to else claim.home for claim, to in moves],
    ]  # fmt: skip
    moved = "unnest($3::uuid[], $4::integer[], $5::integer[], $6::integer[]) AS m(source_id, was, rid, home_rid)"
    here = "s.district_id = $1 AND s.entity = $2::text::entity_name AND s.source_id = m.source_id AND s.rid = m.was"
    for table, names in (
        ("source_records", "key, hash, active, superseded_at"),
        ("source_parts", "file, rows"),
    ):
        with_home = table == "source_records"
        rows = await tx.fetch(
            f"DELETE FROM {table} s USING {moved} WHERE {here} "
            f"RETURNING m.source_id, m.rid, m.home_rid, {', '.join(f's.{n}' for n in names.split(', '))}",
            tx.district_id, entity.name, *arrays,
        )  # fmt: skip
        own = "source_id, rid, home_rid" if with_home else "source_id, rid"
        columns = f"{own}, {names}".split(", ")
        places = ", ".join(f"${n + 3}" for n in range(len(columns)))
        await tx.executemany(
            f"INSERT INTO {table} (district_id, entity, {', '.join(columns)}) "
            f"VALUES ($1, $2::text::entity_name, {places})",
            [(tx.district_id, entity.name, *(row[c] for c in columns)) for row in rows],
        )


async def make_homes(
    tx: Transaction, source: str, homes: Sequence[int], ids: Sequence[str], rids: Sequence[int]
) -> None:
    """Makes ended users that nobody has seen, as homes of what a source says of some others."""
    await tx.execute(
        "INSERT INTO users (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
        "SELECT $1, h.rid, h.id, false, now(), '', '' FROM unnest($2::integer[], $3::uuid[]) AS h(rid, id)",
        tx.district_id, list(homes), list(ids),
    )  # fmt: skip
    await tx.execute(
        "UPDATE source_records s SET home_rid = m.home FROM unnest($3::integer[], $4::integer[]) AS m(rid, home) "
        "WHERE s.district_id = $1 AND s.source_id = $2::text::uuid AND s.rid = m.rid "
        "AND s.entity = ANY($5::text[]::entity_name[])",
        tx.district_id, source, list(rids), list(homes),
        [e.name for e in CATALOGUE.entities if USERS.name in {e.name, e.rid_of}],
    )  # fmt: skip


async def set_aliases(tx: Transaction, into: Mapping[int, int], position: int) -> None:
    """Notes to which record each of some homes belongs now: to itself, or to another one."""
    await tx.execute(
        "DELETE FROM aliases a USING unnest($2::integer[], $3::integer[]) AS w(rid, into_rid) "
        "WHERE a.district_id = $1 AND a.rid = w.rid AND a.into_rid <> w.into_rid",
        tx.district_id, list(into), list(into.values()),
    )  # fmt: skip
    await tx.execute(
        "INSERT INTO aliases (district_id, rid, into_rid, since) SELECT $1, w.rid, w.into_rid, $4 "
        "FROM unnest($2::integer[], $3::integer[]) AS w(rid, into_rid) WHERE w.rid <> w.into_rid "
        "ON CONFLICT (district_id, rid) DO NOTHING",
        tx.district_id, list(into), list(into.values()), position,
    )  # fmt: skip


async def aliases_of(tx: Transaction, rids: Collection[int]) -> list[int]:
    """The homes, beside themselves, that belong to some records now."""
    rows = await tx.fetch(
        "SELECT rid FROM aliases WHERE district_id = $1 AND into_rid = ANY($2::integer[]) ORDER BY rid",
        tx.district_id, list(rids),
    )  # fmt: skip
    return [row[0] for row in rows]


async def whole(tx: Transaction, rids: Collection[int]) -> list[int]:
    """Those of some records to which others belong."""
    rows = await tx.fetch(
        "SELECT DISTINCT into_rid FROM aliases WHERE district_id = $1 AND into_rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return [row[0] for row in rows]


async def into(tx: Transaction, rids: Collection[int]) -> dict[int, int]:
    """To which records those of some belong now that belong to another one."""
    rows = await tx.fetch(
        "SELECT rid, into_rid FROM aliases WHERE district_id = $1 AND rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["into_rid"] for row in rows}


async def into_ids(tx: Transaction, rids: Collection[int]) -> dict[int, tuple[int, UUID]]:
    """The same with the sourcedIds of those records."""
    rows = await tx.fetch(
        "SELECT a.rid, a.into_rid, u.sourced_id FROM aliases a JOIN users u ON u.district_id = a.district_id "
        "AND u.rid = a.into_rid WHERE a.district_id = $1 AND a.rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row["rid"]: (row["into_rid"], row["sourced_id"]) for row in rows}


async def forget(tx: Transaction, rids: Collection[int]) -> None:
    """Forgets with whom some users were compared or merged."""
    for condition in (
        "matches WHERE district_id = $1 AND (left_rid = ANY($2::integer[]) OR right_rid = ANY($2::integer[]))",
        "aliases WHERE district_id = $1 AND (rid = ANY($2::integer[]) OR into_rid = ANY($2::integer[]))",
        "moved_references WHERE district_id = $1 AND home_rid = ANY($2::integer[])",
        "said_references WHERE district_id = $1 AND homes && $2::integer[]",
        "match_keys WHERE district_id = $1 AND rid = ANY($2::integer[])",
        "match_exempt WHERE district_id = $1 AND rid = ANY($2::integer[])",
    ):
        await tx.execute(f"DELETE FROM {condition}", tx.district_id, list(rids))


async def referrers(tx: Transaction, entity: Entity, field: str, rids: Collection[int]) -> list[tuple[int, int]]:
    """The active records whose field refers to some users: rid, and the user's."""
    which = entity[field]
    column = f't."{which.table_column}"'
    found = f"unnest({column}) AS r(rid)" if which.many else f"(VALUES ({column})) AS r(rid)"
    test = f"{column} && $2::integer[]" if which.many else f"{column} = ANY($2::integer[])"
    rows = await tx.fetch(
        f"SELECT t.rid, r.rid AS user_rid FROM {entity.table} t CROSS JOIN LATERAL {found} "
        f"WHERE t.district_id = $1 AND t.active AND {test} AND r.rid = ANY($2::integer[]) ORDER BY t.rid, r.rid",
        tx.district_id, list(rids),
    )  # fmt: skip
    return [(row["rid"], row["user_rid"]) for row in rows]


async def reference_homes(tx: Transaction, entity: Entity, rids: Collection[int]) -> dict[int, int]:
    """The users to which references were made that were brought to others since."""
    rows = await tx.fetch(
        "SELECT rid, home_rid FROM moved_references WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["home_rid"] for row in rows}


async def note_reference_homes(tx: Transaction, entity: Entity, homes: Mapping[int, int | None]) -> None:
    """Notes of references where they belong by themselves; None: where they are."""
    gone = [rid for rid, home in homes.items() if home is None]
    await tx.execute(
        "DELETE FROM moved_references WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, gone,
    )  # fmt: skip
    await tx.executemany(
        "INSERT INTO moved_references (district_id, entity, rid, home_rid) VALUES ($1, $2::text::entity_name, $3, $4) "
        "ON CONFLICT (district_id, entity, rid) DO NOTHING",
        [(tx.district_id, entity.name, rid, home) for rid, home in homes.items() if home is not None],
    )
