"""Sources of a district that are pulled from a fake system, and their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

from hub.crypto import column_key
from hub.store import runs, sources
from hub.store.runs import Run
from hub.sync.engine import work_once
from hub.sync.room import Room
from hub.sync.source_secrets import sealed
from tests.districts import District
from transforms.catalogue import CATALOGUE

KEY = column_key(bytes(32))


async def made(
    district: District, kind: str, config: Mapping[str, Any], secrets: Mapping[str, str],
    links: Mapping[str, Sequence[str]] | None = None, key_space: str | None = None,
) -> UUID:  # fmt: skip
    """A new source of the district."""
    source_id = uuid4()
    hidden = {n: sealed(KEY, text, district.district_id, source_id, n) for n, text in secrets.items()}
    async with district.db.district(district.district_id) as tx:
        told = {name: list(fields) for name, fields in (links or {}).items()}
        await sources.create(tx, source_id, name=kind, kind=kind, config=dict(config), links=told, key_space=key_space)
        await sources.change(tx, source_id, secrets=hidden)
    return source_id


async def pull(district: District, source_id: UUID, **request: Any) -> Run:
    """One run of a source; its row afterwards."""
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=source_id, upload_id=None, **{"dry_run": False, "requested_by": "test"} | request
        )
        if request:
            approved = {"by": "test", "counts": {}, "waived": True}
            await tx.execute("UPDATE runs SET approved = $2 WHERE run_id = $1", run_id, approved)
    room = Room(small_rows=0, rows=10**9, pulls=4, allow=[ip_network("127.0.0.0/8")])
    while await work_once(district.db, district.clock, key=KEY, room=room):
        pass
    return await district.run(run_id)


def changed(run: Run) -> dict[str, tuple[int, int, int]]:
    """Created, updated and deleted of the entities in which anything was."""
    found = {name: (c["created"], c["updated"], c["deleted"]) for name, c in run.counts.items()}
    return {name: counts for name, counts in found.items() if any(counts)}


async def called(district: District, source_id: UUID) -> dict[tuple[str, str], str]:
    """The hub's ids of all active records of which a source speaks, by entity and the source's key."""
    found: dict[tuple[str, str], str] = {}
    async with district.db.district(district.district_id) as tx:
        for entity in CATALOGUE.of_service("rostering"):
            if entity.component_of is None:
                rows = await tx.fetch(
                    f"SELECT s.key, t.sourced_id::text AS id FROM {entity.table} t JOIN source_records s "
                    "ON s.district_id = t.district_id AND s.rid = t.rid AND s.entity = $1::text::entity_name "
                    "WHERE s.source_id = $2 AND s.active AND t.active", entity.name, source_id,
                )  # fmt: skip
                found |= {(entity.name, row["key"]): row["id"] for row in rows}
    return found
