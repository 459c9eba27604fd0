"""The outbox of a grade target: one row for each object that apps wrote, as its newest write wants it to be there.

A newer write replaces an undelivered one. What was sent settles a row only while it is about the same write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store.database import Transaction
from hub.store.grade_targets import Claim, GradeTarget, queued
from hub.store.gradebook import WRITTEN
from transforms.catalogue import CATALOGUE, Entity

#: The most writes that are queued in one transaction.
MOST_QUEUED = 2_000
#: An object is given up after so many attempts, over so long a time, in which the target took others.
MOST_ATTEMPTS, LONGEST_DAYS = 10, 3
_DELETES = 100
_REFERRED_TO = frozenset(f.target for name in WRITTEN for f in CATALOGUE[name].references)


@dataclass(frozen=True, slots=True)
class Due:
    """An object that is to be sent now. ``position``: of the write that wants it."""

    entity: str
    rid: int
    sourced_id: str
    operation: str
    position: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a target knows of an object that another one refers to.

    ``key``: what the target's source calls it, None where that source has none. ``app_id``: whose it is, None for the
    SIS's. ``state``: of its row in the outbox, None without one. ``there``: whether it was delivered once, whatever has
    become of later writes.
    """

    rid: int
    key: str | None
    app_id: UUID | None
    state: str | None
    there: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A record as it is stored."""

    active: bool
    modified: datetime
    doc: str
    doc_private: str


@dataclass(frozen=True, slots=True)
class Note:
    """Why an object is not there: a code of hub.passback.codes, the member it is about, the system's own words."""

    code: str
    field: str | None = None
    status: int | None = None
    minor: str | None = None
    description: str | None = None
    blocked_by: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One line of the report on a target."""

    entity: str
    rid: int
    sourced_id: UUID
    app_id: UUID
    operation: str
    state: str
    written_at: datetime
    ready_at: datetime
    attempt: int
    failing_since: datetime | None
    code: str | None
    field: str | None
    status: int | None
    minor: str | None
    description: str | None
    blocked_entity: str | None
    blocked_sourced_id: UUID | None


def stage(entity: str, operation: str) -> int:
    """Where an object stands in the order: what is referred to is put first and deleted last."""
    rank = WRITTEN.index(entity)
    return rank if operation == "put" else _DELETES - rank


_CLEAR = (
    "code = NULL, field = NULL, status = NULL, minor = NULL, description = NULL, blocked_entity = NULL, "
    "blocked_rid = NULL"
)
# What a handful of keys is looked up by is written so that only an index can serve: a table that has just grown has no
# statistics, and a plan that reads all of it for each key would hold a target up for minutes.
_INSERT = (
    "INSERT INTO grade_deliveries (district_id, target_id, entity, rid, sourced_id, app_id, operation, position, "
    "written_at, stage) SELECT $1, $2, w.entity, w.rid, (SELECT o.sourced_id FROM gradebook_objects o "
    "WHERE o.district_id = $1 AND o.entity = w.entity AND o.rid = w.rid), w.app_id, w.operation, w.position, w.at, "
    "w.stage FROM unnest($3::text[], $4::integer[], $5::uuid[], $6::text[], $7::bigint[], $8::timestamptz[], "
    "$9::smallint[]) w(entity, rid, app_id, operation, position, at, stage) "
    "ON CONFLICT (district_id, target_id, entity, rid) DO "
)
_NEWER = (
    "UPDATE SET operation = EXCLUDED.operation, position = EXCLUDED.position, written_at = EXCLUDED.written_at, "
    f"stage = EXCLUDED.stage, state = 'waiting', ready_at = now(), attempt = 0, failing_since = NULL, {_CLEAR} "
    "WHERE grade_deliveries.position < EXCLUDED.position"
)


async def queue(tx: Transaction, claim: Claim, target: GradeTarget) -> bool:
    """Queues the next accepted writes, ``MOST_QUEUED`` at most; whether more are left."""
    rows = await tx.fetch(
        "SELECT position, place, entity, rid, operation, app_id, at FROM gradebook_writes "
        "WHERE district_id = $1 AND (position, place) > ($2, $3) ORDER BY position, place LIMIT $4",
        claim.district_id, target.position, target.place, MOST_QUEUED,
    )  # fmt: skip
    newest = {
        (row["entity"], row["rid"]): row
        for row in rows
        if row["entity"] in target.entities and (target.apps is None or row["app_id"] in target.apps)
    }
    if newest:
        await _insert(tx, claim, newest.values(), _NEWER)
    if rows:
        await queued(tx, claim, rows[-1]["position"], rows[-1]["place"])
    return len(rows) == MOST_QUEUED


async def _insert(tx: Transaction, claim: Claim, rows: Iterable[Any], conflict: str) -> None:
    values = [(r["entity"], r["rid"], r["app_id"], r["operation"], r["position"], r["at"],
               stage(r["entity"], r["operation"])) for r in rows]  # fmt: skip
    columns = [list(column) for column in zip(*values, strict=True)]
    await tx.execute(_INSERT + conflict, claim.district_id, claim.target_id, *columns)


async def pull_in(tx: Transaction, claim: Claim, objects: Collection[tuple[str, int]]) -> None:
    """Queues objects that others refer to and that were written before the target began."""
    rows = await tx.fetch(
        "SELECT w.entity, w.rid, g.operation, g.app_id, g.position, g.at "
        "FROM unnest($2::text[], $3::integer[]) w(entity, rid) CROSS JOIN LATERAL (SELECT * FROM gradebook_writes g "
        "WHERE g.district_id = $1 AND g.entity = w.entity AND g.rid = w.rid "
        "ORDER BY g.position DESC, g.place DESC LIMIT 1) g",
        claim.district_id, [entity for entity, _ in objects], [rid for _, rid in objects],
    )  # fmt: skip
    if rows:
        await _insert(tx, claim, rows, "NOTHING")


async def due(tx: Transaction, claim: Claim, limit: int) -> list[Due]:
    """Objects that are to be sent now: of the first stage that has any, the longest waiting first."""
    its = "district_id = $1 AND target_id = $2 AND state = 'waiting' AND ready_at <= now()"
    rows = await tx.fetch(
        "SELECT entity, rid, sourced_id::text AS sourced_id, operation, position, attempt FROM grade_deliveries "
        f"WHERE {its} AND stage = (SELECT stage FROM grade_deliveries WHERE {its} ORDER BY stage LIMIT 1) "
        "ORDER BY position, rid LIMIT $3",
        claim.district_id, claim.target_id, limit,
    )  # fmt: skip
    return [Due(**row) for row in rows]


async def documents(tx: Transaction, entity: Entity, rids: Sequence[int]) -> dict[int, Document]:
    """Records as they are stored now, by rid."""
    rows = await tx.fetch(
        f"SELECT rid, active, date_last_modified AS modified, doc, doc_private FROM {entity.table} "
        "WHERE district_id = $1 AND rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row["rid"]: Document(row["active"], row["modified"], row["doc"], row["doc_private"]) for row in rows}


async def known(
    tx: Transaction, claim: Claim, source_id: UUID, wanted: dict[str, set[str]]
) -> dict[tuple[str, str], Known]:
    """What a target knows of objects, by (entity, sourcedId). ``wanted``: sourcedIds by entity."""
    found: dict[tuple[str, str], Known] = {}
    mine = "FROM grade_deliveries q WHERE q.district_id = $1 AND q.target_id = $2 AND q.entity = $4 AND q.rid = t.rid"
    for name, ids in wanted.items():
        rows = await tx.fetch(
            "SELECT t.sourced_id::text AS id, t.rid, (SELECT s.key FROM source_records s WHERE s.district_id = $1 "
            "AND s.source_id = $3 AND s.entity = $4::text::entity_name AND s.rid = t.rid) AS key, "
            "(SELECT o.app_id FROM gradebook_objects o WHERE o.district_id = $1 AND o.entity = $4 AND o.rid = t.rid) "
            f"AS app_id, (SELECT q.state {mine}) AS state, (SELECT q.delivered_at {mine}) IS NOT NULL AS there "
            f"FROM {CATALOGUE[name].table} t WHERE t.district_id = $1 AND t.sourced_id = ANY($5::uuid[])",
            claim.district_id, claim.target_id, source_id, name, list(ids),
        )  # fmt: skip
        fields = Known.__dataclass_fields__
        found |= {(name, row["id"]): Known(**{field: row[field] for field in fields}) for row in rows}
    return found


async def deliver(tx: Transaction, claim: Claim, done: Sequence[Due]) -> None:
    """Notes that the target has objects, or has them no more, and lets those go on that waited for them."""
    await tx.executemany(
        "UPDATE grade_deliveries SET state = 'delivered', failing_since = NULL, "
        f"delivered_at = CASE operation WHEN 'put' THEN now() END, {_CLEAR} WHERE district_id = $1 AND target_id = $2 "
        "AND entity = $3 AND rid = $4 AND position = $5 AND state = 'waiting'",
        [(claim.district_id, claim.target_id, one.entity, one.rid, one.position) for one in done],
    )  # fmt: skip
    await _let_go_on(tx, claim.target_id, [(one.entity, one.rid) for one in done if one.entity in _REFERRED_TO])


async def _let_go_on(tx: Transaction, target_id: UUID, objects: Sequence[tuple[str, int]]) -> None:
    await tx.executemany(
        f"UPDATE grade_deliveries SET state = 'waiting', ready_at = now(), attempt = 0, {_CLEAR} "
        "WHERE district_id = $1 AND target_id = $2 AND state = 'blocked' AND blocked_entity = $3 AND blocked_rid = $4",
        [(tx.district_id, target_id, entity, rid) for entity, rid in objects],
    )  # fmt: skip


async def trouble(tx: Transaction, claim: Claim, state: str, notes: Sequence[tuple[Due, Note]]) -> None:
    """Notes why objects are not there: ``state`` is "refused" or "blocked"."""
    await tx.executemany(
        "UPDATE grade_deliveries SET state = $6, code = $7, field = $8, status = $9, minor = $10, description = $11, "
        "blocked_entity = $12, blocked_rid = $13, attempt = attempt + 1 WHERE district_id = $1 AND target_id = $2 "
        "AND entity = $3 AND rid = $4 AND position = $5 AND state = 'waiting'",
        [
            (claim.district_id, claim.target_id, due.entity, due.rid, due.position, state, note.code, note.field,
             note.status, note.minor, note.description, *(note.blocked_by or (None, None)))
            for due, note in notes
        ],
    )  # fmt: skip


async def again(tx: Transaction, claim: Claim, waits: Sequence[tuple[Due, Note, float]]) -> None:
    """Notes objects that failed and are tried again in so many seconds; some of them are given up."""
    await tx.executemany(
        "UPDATE grade_deliveries q SET attempt = q.attempt + 1, ready_at = now() + make_interval(secs => $6), "
        "failing_since = coalesce(q.failing_since, now()), code = $7, status = $8, minor = $9, description = $10, "
        f"state = CASE WHEN q.attempt + 1 >= {MOST_ATTEMPTS} AND t.last_success > q.failing_since "
        f"AND q.failing_since < now() - make_interval(days => {LONGEST_DAYS}) THEN 'failed' ELSE 'waiting' END "
        "FROM grade_targets t WHERE t.district_id = $1 AND t.target_id = $2 AND q.district_id = $1 "
        "AND q.target_id = $2 AND q.entity = $3 AND q.rid = $4 AND q.position = $5 AND q.state = 'waiting'",
        [
            (claim.district_id, claim.target_id, due.entity, due.rid, due.position, seconds, note.code, note.status,
             note.minor, note.description)
            for due, note, seconds in waits
        ],
    )  # fmt: skip


async def earlier_waits(tx: Transaction, claim: Claim, due: Due) -> bool:
    """Whether any object of an earlier stage than this one's still waits."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM grade_deliveries WHERE district_id = $1 AND target_id = $2 AND state = 'waiting' "
        "AND stage < $3)",
        claim.district_id, claim.target_id, stage(due.entity, due.operation),
    )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which undelivered objects an act is about; what is None chooses all."""

    entity: str | None = None
    sourced_ids: Sequence[UUID] | None = None
    code: str | None = None

    def values(self) -> tuple[object, ...]:
        """The parameters of ``_CHOSEN``."""
        return self.entity, None if self.sourced_ids is None else list(self.sourced_ids), self.code


#: What each act of a person on undelivered objects looks like.
Act = Callable[[Transaction, UUID, Chosen], Awaitable[int]]
#: Objects that something went wrong with, of the rows ``q``.
_TROUBLED = "q.state IN ('blocked', 'refused', 'failed') OR q.state = 'waiting' AND q.attempt > 0"
_CHOSEN = (
    "q.district_id = $1 AND q.target_id = $2 AND ($3::text IS NULL OR q.entity = $3) "
    f"AND ($4::uuid[] IS NULL OR q.sourced_id = ANY($4)) AND ($5::text IS NULL OR q.code = $5) AND ({_TROUBLED})"
)


async def retry(tx: Transaction, target_id: UUID, chosen: Chosen) -> int:
    """Has undelivered objects sent again, at once; how many. The caller has the target locked."""
    count = await tx.execute(
        f"UPDATE grade_deliveries q SET state = 'waiting', ready_at = now(), attempt = 0, failing_since = NULL, "
        f"{_CLEAR} WHERE {_CHOSEN}",
        tx.district_id, target_id, *chosen.values(),
    )  # fmt: skip
    await _look_again(tx, target_id)
    return count


async def skip(tx: Transaction, target_id: UUID, chosen: Chosen) -> int:
    """Gives undelivered objects up until they are written anew; what waited for them is sent as if they were there.

    How many. The caller has the target locked.
    """
    rows = await tx.fetch(
        f"UPDATE grade_deliveries q SET state = 'skipped' WHERE {_CHOSEN} RETURNING q.entity, q.rid",
        tx.district_id, target_id, *chosen.values(),
    )  # fmt: skip
    await _let_go_on(tx, target_id, [(row["entity"], row["rid"]) for row in rows])
    await _look_again(tx, target_id)
    return len(rows)


async def narrow(tx: Transaction, target: GradeTarget) -> None:
    """Forgets undelivered objects that do not go any more, by app or entity. The caller has the target locked.

    What waited for them is looked at again: it is refused where it cannot do without them.
    """
    rows = await tx.fetch(
        "DELETE FROM grade_deliveries WHERE district_id = $1 AND target_id = $2 AND state NOT IN ('delivered', "
        "'skipped') AND (entity <> ALL($3) OR app_id <> ALL($4::uuid[])) RETURNING entity, rid",
        tx.district_id, target.target_id, target.entities, target.apps,
    )  # fmt: skip
    await _let_go_on(tx, target.target_id, [(row["entity"], row["rid"]) for row in rows])
    await _look_again(tx, target.target_id)


async def resend(tx: Transaction, target_id: UUID) -> None:
    """Has everything sent again, from the first write ever on: the target is believed to have none of it.

    The caller has the target locked.
    """
    await tx.execute(
        "UPDATE grade_deliveries SET state = 'waiting', ready_at = now(), attempt = 0, failing_since = NULL, "
        f"delivered_at = NULL, {_CLEAR} WHERE district_id = $1 AND target_id = $2",
        tx.district_id, target_id,
    )  # fmt: skip
    await tx.execute(
        "UPDATE grade_targets SET position = 0, place = 0, looked_to = 0, due_at = now() "
        "WHERE district_id = $1 AND target_id = $2",
        tx.district_id, target_id,
    )  # fmt: skip


async def _look_again(tx: Transaction, target_id: UUID) -> None:
    await tx.execute(
        "UPDATE grade_targets SET due_at = now(), troubled = (SELECT count(*) FROM grade_deliveries q "
        "WHERE q.district_id = $1 AND q.target_id = $2 AND q.state IN ('blocked', 'refused', 'failed')) "
        "WHERE district_id = $1 AND target_id = $2",
        tx.district_id, target_id,
    )  # fmt: skip


async def counts(tx: Transaction, target_id: UUID) -> dict[str, int]:
    """Objects of a target by state."""
    rows = await tx.fetch(
        "SELECT state, count(*) AS n FROM grade_deliveries WHERE district_id = $1 AND target_id = $2 GROUP BY state",
        tx.district_id, target_id,
    )  # fmt: skip
    return {row["state"]: row["n"] for row in rows}


async def waiting_since(tx: Transaction, target: GradeTarget) -> datetime | None:
    """The time of the oldest write that is on its way to a target, queued or not; None when none is."""
    since: datetime | None = await tx.fetchval(
        "SELECT least((SELECT min(written_at) FROM grade_deliveries WHERE district_id = $1 AND target_id = $2 "
        "AND state = 'waiting'), (SELECT at FROM gradebook_writes WHERE district_id = $1 "
        "AND (position, place) > ($3, $4) AND entity = ANY($5) AND ($6::uuid[] IS NULL OR app_id = ANY($6)) "
        "ORDER BY position, place LIMIT 1))",
        tx.district_id, target.target_id, target.position, target.place, target.entities, target.apps,
    )  # fmt: skip
    return since


async def undelivered(
    tx: Transaction, target_id: UUID, *, state: str | None, after: tuple[str, int] | None, limit: int
) -> list[Undelivered]:
    """Objects of a target in one state, or all that something went wrong with, in the order of entity and rid."""
    columns = ", ".join(f"q.{n}" for n in Undelivered.__dataclass_fields__ if n != "blocked_sourced_id")
    which = f"({_TROUBLED})" if state is None else "q.state = $6"
    rows = await tx.fetch(
        f"SELECT {columns}, o.sourced_id AS blocked_sourced_id FROM grade_deliveries q "
        "LEFT JOIN gradebook_objects o ON o.district_id = $1 AND o.entity = q.blocked_entity "
        f"AND o.rid = q.blocked_rid WHERE q.district_id = $1 AND q.target_id = $2 AND {which} "
        "AND ($3::text IS NULL OR (q.entity, q.rid) > ($3, $4)) ORDER BY q.entity, q.rid LIMIT $5",
        tx.district_id, target_id, *(after or (None, 0)), limit, *([] if state is None else [state]),
    )  # fmt: skip
    return [Undelivered(**row) for row in rows]
