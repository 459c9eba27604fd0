"""All that readers of a district can see, in the source's own keys: equal for equal data, whatever ids were drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pyroaring import BitMap

from hub.store.database import Transaction
from tests.districts import District
from transforms.catalogue import CATALOGUE
from transforms.references import spelled_out

Keys = frozenset[str]
_ID = re.compile(r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")


@dataclass(frozen=True)
class Entry:
    """One feed entry."""

    entity: str
    entered: Keys
    updated: Keys
    departed: Keys


@dataclass(frozen=True)
class Snapshot:
    """A district at one moment. ``views`` and ``feeds`` by the order in which the grants were made."""

    records: Mapping[tuple[str, str], tuple[bool, str]]
    views: tuple[Mapping[str, tuple[Keys, Keys, Keys]], ...]
    feeds: tuple[tuple[Entry, ...], ...]
    changes: tuple[tuple[str, Keys, Keys, Keys], ...]
    position: int

    @property
    def size(self) -> int:
        """How many records there are, ended ones included."""
        return len(self.records)


async def snapshot(district: District) -> Snapshot:
    """What every reader of the district could see at one moment."""
    async with district.db.district(district.district_id, readonly=True, wait_seconds=30) as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return await _read(tx)


async def _read(tx: Transaction) -> Snapshot:
    keys: dict[str, dict[int, str]] = {e.name: {} for e in CATALOGUE.entities}
    for row in await tx.fetch("SELECT entity, rid, key FROM source_records"):
        keys[row["entity"]][row["rid"]] = row["key"]
    rows = [
        (entity.name, row)
        for entity in CATALOGUE.entities
        for row in await tx.fetch(f"SELECT rid, sourced_id::text AS id, active, doc, doc_private FROM {entity.table}")
    ]
    names = {row["id"]: f"{CATALOGUE[e].rid_of or e}:{keys[e][row['rid']]}" for e, row in rows}
    records = {
        (e, keys[e][row["rid"]]): (
            row["active"],
            _told(row["doc"], row["doc_private"], names),
        )
        for e, row in rows
    }
    order = [r["grant_id"] for r in await tx.fetch("SELECT grant_id FROM grants ORDER BY created_at, grant_id")]
    views: list[dict[str, tuple[Keys, Keys, Keys]]] = [{} for _ in order]
    for row in await tx.fetch("SELECT * FROM views"):
        views[order.index(row["grant_id"])][row["entity"]] = _named(keys, row, "present", "gone", "trimmed")
    feeds: list[list[Entry]] = [[] for _ in order]
    for row in await tx.fetch("SELECT * FROM feed ORDER BY position, entity"):
        entry = Entry(row["entity"], *_named(keys, row, "entered", "updated", "departed"))
        feeds[order.index(row["grant_id"])].append(entry)
    changes = [
        (row["entity"], *_named(keys, row, "created", "updated", "deleted"))
        for row in await tx.fetch("SELECT * FROM changes ORDER BY position, entity")
    ]
    position = await tx.fetchval("SELECT position FROM districts WHERE district_id = $1", tx.district_id)
    return Snapshot(records, tuple(views), tuple(tuple(f) for f in feeds), tuple(changes), position)


def _told(doc: str, private: str, names: Mapping[str, str]) -> str:
    """A record's text with the keys of those that it names, in place of their ids."""
    between, ids = _around_ids(doc, private)
    parts = [""] * (len(between) + len(ids))
    parts[::2], parts[1::2] = between, [names.get(one, "no such record") for one in ids]
    return "".join(parts)


@lru_cache(30_000)
def _around_ids(doc: str, private: str) -> tuple[list[str], list[str]]:
    """What stands around the ids of a record, and the ids: most records are the same in one snapshot after another."""
    parts = _ID.split(spelled_out(doc) + private)
    return parts[::2], parts[1::2]


def _named(keys: Mapping[str, Mapping[int, str]], row: Mapping[str, Any], *columns: str) -> tuple[Keys, Keys, Keys]:
    known = keys[row["entity"]]
    first, second, third = (frozenset(known[rid] for rid in BitMap.deserialize(row[c])) for c in columns)
    return first, second, third


async def leftovers(district: District) -> dict[str, int]:
    """What runs keep while they are under way and must not leave behind: rows in staging, bytes of uploads."""
    async with district.db.district(district.district_id, readonly=True, wait_seconds=30) as tx:
        tables = [f"staging_{entity.table}" for entity in CATALOGUE.entities] + ["upload_parts"]
        counts = {table: await tx.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    return {table: count for table, count in counts.items() if count}
