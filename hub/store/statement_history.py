"""What sources said of merged records before a run changed it: an undo gives them their former words back.

An image has what one source said of one record until a position. What it said after that is its next image, or its
statement. A run that changes no record has no position of its own: its images stand behind those of the last one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from hub.store.database import Transaction
from hub.store.schema import of_entities

STAGED_STATEMENTS = "staging_statements"
_SINCE_1970 = "(extract(epoch FROM {}.said_at) * 1000000)::bigint"


class Moment(NamedTuple):
    """When a run changes what is said. ``between``: it changes no record, and stands behind its district's position."""

    position: int
    between: bool = False

    @property
    def since(self) -> int:
        """The first position at which what it does is done."""
        return self.position + self.between


class Word(NamedTuple):
    """What a source says of a record, and since when (microseconds since 1970)."""

    at: int
    doc: str
    doc_private: str

    @property
    def documents(self) -> tuple[str, str]:
        """Both parts."""
        return self.doc, self.doc_private


class Spoken(NamedTuple):
    """What a source said before and after one position, and says now; None: nothing."""

    rid: int
    source_id: UUID
    before: Word | None
    after: Word | None
    now: Word | None


def _step(moment: Moment, of: str) -> str:
    """The step of a new image; ``of``: the alias of the row whose entity, rid and source_id it is about."""
    if not moment.between:
        return "0"
    return (
        "coalesce((SELECT max(h.step) + 1 FROM statement_history h WHERE h.district_id = $1 "
        f"AND h.entity = {of}.entity AND h.rid = {of}.rid AND h.source_id = {of}.source_id AND h.position = $2), 1)"
    )


_INTO = "INSERT INTO statement_history (district_id, position, entity, rid, source_id, step, said_at, doc, doc_private)"


#: Whether what a source says of a record ``g``, of which it has no statement, is new: it did not speak of it alone.
_NEW = (
    "EXISTS (SELECT FROM provenance p WHERE p.district_id = $1 AND p.entity = g.entity AND p.rid = g.rid) "
    "OR NOT EXISTS (SELECT FROM source_records c WHERE c.district_id = $1 AND c.source_id = ANY($4::uuid[]) "
    "AND c.source_id = g.source_id AND c.entity = g.entity AND c.rid = g.rid AND c.active)"
)


async def keep_replaced(
    tx: Transaction, run_id: UUID, moment: Moment, speakers: Collection[UUID], entities: Sequence[str], *, known: bool
) -> None:
    """Keeps what ``speakers`` said of records of which a run has staged statements of theirs that differ.

    A source that spoke of a record alone goes on with the same words: of that there is no image, the record has it.
    ``known``: whether there may be statements of theirs.
    """
    before, join, differs = "NULL, NULL, NULL", "", f"({_NEW})"
    if known:
        before = "s.said_at, s.doc, s.doc_private"
        join = (
            "LEFT JOIN statements s ON s.district_id = $1 AND s.entity = g.entity AND s.rid = g.rid "
            "AND s.source_id = g.source_id"
        )
        other = "(s.doc, s.doc_private) IS DISTINCT FROM (g.doc, g.doc_private)"
        differs = f"CASE WHEN s.rid IS NULL THEN {_NEW} ELSE {other} END"
    await tx.execute(
        f"{_INTO} SELECT $1, $2, g.entity, g.rid, g.source_id, {_step(moment, 'g')}, {before} "
        f"FROM {STAGED_STATEMENTS} g {join} WHERE g.district_id = $1 AND g.run_id = $3 "
        f"AND g.source_id = ANY($4::uuid[]) AND g.entity = {of_entities('$5')} AND {differs}",
        tx.district_id, moment.position, run_id, list(speakers), entities,
    )  # fmt: skip


async def move(tx: Transaction, before: int, position: int) -> None:
    """Makes the images of a position, at which nothing was applied, those of another one."""
    await tx.execute(
        "UPDATE statement_history SET position = $3 WHERE district_id = $1 AND position = $2 AND step = 0",
        tx.district_id, before, position,
    )  # fmt: skip


async def withdraw(tx: Transaction, entity: str, source_id: UUID, rids: Sequence[int], moment: Moment) -> None:
    """Takes away what a source said of some records, and keeps that it did."""
    await tx.execute(
        "WITH s AS (DELETE FROM statements WHERE district_id = $1 AND entity = $3::text::entity_name "
        "AND rid = ANY($4::integer[]) AND source_id = $5 "
        "RETURNING entity, rid, source_id, said_at, doc, doc_private) "
        f"{_INTO} SELECT $1, $2, s.entity, s.rid, s.source_id, {_step(moment, 's')}, s.said_at, s.doc, s.doc_private "
        "FROM s",
        tx.district_id, moment.position, entity, list(rids), source_id,
    )  # fmt: skip


async def keep_silence(tx: Transaction, entity: str, source_id: UUID, rids: Sequence[int], moment: Moment) -> None:
    """Keeps that a source said nothing until now of those of some records of which it has no statement."""
    await tx.execute(
        f"{_INTO} SELECT $1, $2, g.entity, g.rid, g.source_id, {_step(moment, 'g')}, NULL, NULL, NULL "
        "FROM (SELECT $3::text::entity_name AS entity, unnest($4::integer[]) AS rid, $5::uuid AS source_id) g "
        "WHERE NOT EXISTS (SELECT FROM statements s WHERE s.district_id = $1 AND s.entity = g.entity "
        "AND s.rid = g.rid AND s.source_id = g.source_id)",
        tx.district_id, moment.position, entity, list(rids), source_id,
    )  # fmt: skip


async def changed_at(tx: Transaction, position: int) -> dict[str, list[int]]:
    """The records of which a position changed what a source says, by entity."""
    rows = await tx.fetch(
        "SELECT entity::text AS entity, array_agg(DISTINCT rid) AS rids FROM statement_history "
        "WHERE district_id = $1 AND position = $2 AND step = 0 GROUP BY entity",
        tx.district_id, position,
    )  # fmt: skip
    return {row["entity"]: sorted(row["rids"]) for row in rows}


async def at(tx: Transaction, entity: str, position: int, rids: Sequence[int]) -> list[Spoken]:
    """What a position changed of what sources say of some records."""
    image = ", ".join(f"{_SINCE_1970.format(t)}, {t}.doc, {t}.doc_private" for t in "ban")
    rows = await tx.fetch(
        f"SELECT b.rid, b.source_id, a.step IS NOT NULL, {image} FROM statement_history b "
        "LEFT JOIN statements n ON n.district_id = $1 AND n.entity = b.entity AND n.rid = b.rid "
        "AND n.source_id = b.source_id LEFT JOIN LATERAL (SELECT h.step, h.said_at, h.doc, h.doc_private "
        "FROM statement_history h WHERE h.district_id = $1 AND h.entity = b.entity AND h.rid = b.rid "
        "AND h.source_id = b.source_id AND (h.position, h.step) > (b.position, b.step) "
        "ORDER BY h.position, h.step LIMIT 1) a ON true "
        "WHERE b.district_id = $1 AND b.entity = $2::text::entity_name AND b.position = $3 AND b.step = 0 "
        "AND b.rid = ANY($4::integer[])",
        tx.district_id, entity, position, list(rids),
    )  # fmt: skip
    found = []
    for rid, source_id, replaced, *values in map(tuple, rows):
        before, after, now = (_word(values[n : n + 3]) for n in (0, 3, 6))
        found.append(Spoken(rid, source_id, before, after if replaced else now, now))
    return found


def _word(values: Sequence[object]) -> Word | None:
    return None if values[0] is None else Word(*values)  # type: ignore[arg-type]


async def purge(tx: Transaction, position: int, most: int) -> int:
    """Deletes images from up to a position; how many."""
    return await tx.execute(
        "DELETE FROM statement_history WHERE ctid = ANY(ARRAY(SELECT ctid FROM statement_history "
        "WHERE district_id = $1 AND position <= $2 LIMIT $3)) AND district_id = $1",
        tx.district_id, position, most,
    )  # fmt: skip


async def old_images(tx: Transaction, position: int) -> int:
    """How many images there are from up to a position."""
    found: int = await tx.fetchval(
        "SELECT count(*) FROM statement_history WHERE district_id = $1 AND position <= $2", tx.district_id, position
    )
    return found
