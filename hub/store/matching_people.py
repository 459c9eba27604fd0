"""What matching reads of people: a few, who is near them, or all of a district."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from hub.store.columns import FEW, copied, fetched
from hub.store.database import Transaction
from hub.store.matching import Entry

_USERS: Final = {
    "rid": pl.UInt32, "sourcedId": pl.String, "schools": pl.String, "guardians": pl.String, "doc": pl.String,
    "doc_private": pl.String,
}  # fmt: skip

# Each table is asked for these rids alone, and then they are joined: of a district that is newer than PostgreSQL's last
# look at its tables the planner expects one row, and would join by reading all of it again for each.
_ABOUT: Final = (
    "about AS MATERIALIZED (SELECT rid, doc || doc_private AS doc FROM demographics "
    "WHERE district_id = $1 AND active AND rid = ANY({rids})), "
    "said AS MATERIALIZED (SELECT rid, array_agg(DISTINCT source_id::text) AS sources FROM source_records "
    "WHERE district_id = $1 AND entity = 'users' AND active AND rid = ANY({rids}) GROUP BY rid), "
    "exempt AS MATERIALIZED (SELECT rid FROM match_exempt WHERE district_id = $1 AND rid = ANY({rids})) "
    "SELECT u.rid, u.roles_org_rids, u.agents_rids, u.doc || u.doc_private, about.doc, said.sources, "
    "exempt.rid IS NOT NULL{more} FROM users u LEFT JOIN about USING (rid) LEFT JOIN said USING (rid) "
    "LEFT JOIN exempt USING (rid) {join}WHERE u.district_id = $1 AND u.active AND u.rid = ANY({rids}) ORDER BY u.rid"
)
_SOME: Final = "WITH " + _ABOUT.format(rids="$2::integer[]", more="", join="")
_BLOCK: Final = (
    "CROSS JOIN LATERAL (SELECT rid, count(*) OVER () AS many FROM (SELECT k.rid FROM match_keys k "
    "WHERE k.district_id = $1 AND k.hash = o.hash AND k.kind = o.kind AND k.rid <> ALL($2::integer[]) "
    "LIMIT o.most + 1) b) f WHERE f.many <= o.most GROUP BY f.rid)"
)
_NEAR: Final = (
    "WITH near AS MATERIALIZED (SELECT f.rid, array_agg(o.rid) AS sharing "
    f"FROM unnest($3::bigint[], $4::smallint[], $5::integer[], $6::integer[]) o(hash, kind, rid, most) {_BLOCK}, "
    + _ABOUT.format(rids="ARRAY(SELECT rid FROM near)", more=", near.sharing", join="JOIN near USING (rid) ")
)
_AS_INDEXED: Final = (
    "WITH own AS MATERIALIZED (SELECT hash, kind, rid, ($3::integer[])[kind + 1] AS most FROM match_keys "
    "WHERE district_id = $1 AND rid = ANY($2::integer[])), "
    # Values have no most: of a common name all would be read.
    "near AS MATERIALIZED (SELECT f.rid, array_agg(o.rid) AS sharing "
    f"FROM (SELECT * FROM own WHERE most IS NOT NULL) o {_BLOCK}, "
    "has AS MATERIALIZED (SELECT rid, array_agg(kind) AS kinds, array_agg(hash) AS hashes FROM own GROUP BY rid), "
    + _ABOUT.format(
        rids="ARRAY(SELECT unnest($2::integer[]) UNION ALL SELECT rid FROM near)",
        more=", near.sharing, has.kinds, has.hashes", join="LEFT JOIN near USING (rid) LEFT JOIN has USING (rid) ",
    )
)  # fmt: skip


async def some(tx: Transaction, rids: Sequence[int]) -> Sequence[Any]:
    """Active users of some rids, in order: rid, schools and guardians (rids), document, that of demographics, sources.

    Documents are members of an object, each behind a comma. Last comes whether they are compared with nobody.
    """
    return await tx.fetch(_SOME, tx.district_id, list(rids))


async def near(
    tx: Transaction, rids: Sequence[int], keys: Sequence[Entry], caps: Sequence[int]
) -> Sequence[Any]:  # fmt: skip
    """As ``some``, of others who share one of some keys of ``rids``; at the end whose keys these are.

    ``caps``: of each kind how many more may have a key: what more have is left out.
    """
    of, kinds, hashes = zip(*keys, strict=True) if keys else ((), (), ())
    return await tx.fetch(_NEAR, tx.district_id, list(rids), hashes, kinds, of, [caps[kind] for kind in kinds])


@dataclass(frozen=True, slots=True)
class Indexed:
    """Rows as of ``some``, those of ``near`` by the keys that the index has of them, and what it has of them."""

    own: list[Any]
    near: list[Any]
    entries: set[Entry]


async def as_indexed(tx: Transaction, rids: Sequence[int], caps: Sequence[int]) -> Indexed:
    """Who changed, and who is near them if no key of theirs did: that is one statement, and most changes change none.

    Of who is gone there is nothing.
    """
    rows = await tx.fetch(_AS_INDEXED, tx.district_id, list(rids), list(caps))
    few = frozenset(rids)
    found = Indexed([], [], set())
    for *row, sharing, kinds, hashes in rows:
        if row[0] not in few:
            found.near.append((*row, sharing))
            continue
        found.own.append(row)
        found.entries.update((row[0], kind, hashed) for kind, hashed in zip(kinds or (), hashes or (), strict=True))
    return found


async def users(tx: Transaction, rids: Sequence[int] | None) -> pl.DataFrame:
    """Active users, of some rids or all: rid, sourcedId, schools and guardians (PostgreSQL's arrays), documents."""
    return await _of(
        tx, "SELECT rid, sourced_id::text, roles_org_rids::text, agents_rids::text, doc, doc_private FROM users "
        "WHERE district_id = $1 AND active", _USERS, rids,
    )  # fmt: skip


async def demographics(tx: Transaction, rids: Sequence[int] | None) -> pl.DataFrame:
    """The same of demographics: rid, sourcedId and documents."""
    schema = {name: _USERS[name] for name in ("rid", "sourcedId", "doc", "doc_private")}
    return await _of(
        tx, "SELECT rid, sourced_id::text, doc, doc_private FROM demographics WHERE district_id = $1 AND active",
        schema, rids,
    )  # fmt: skip


async def speakers(tx: Transaction, rids: Sequence[int] | None) -> pl.DataFrame:
    """Which sources speak of which users: rid and source."""
    return await _of(
        tx, "SELECT rid, source_id::text FROM source_records WHERE district_id = $1 AND entity = 'users' AND active",
        {"rid": pl.UInt32, "source": pl.String}, rids,
    )  # fmt: skip


async def _of(tx: Transaction, query: str, schema: dict[str, Any], rids: Sequence[int] | None) -> pl.DataFrame:
    if rids is None:
        return await copied(tx, query, schema, tx.district_id)
    answered = fetched if len(rids) <= FEW else copied
    return await answered(tx, f"{query} AND rid = ANY($2::integer[])", schema, tx.district_id, list(rids))
