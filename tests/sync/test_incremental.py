"""Pulls of changes from a OneRoster server into a real database: what changed, what ended, what is not concluded."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors import client
from hub.crypto import column_key
from hub.store import runs, sources
from hub.store.runs import Run
from hub.sync import engine
from hub.sync.engine import work_once
from hub.sync.room import Room
from hub.sync.source_secrets import sealed
from tests.districts import District, sandbox
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, filled, running
from tests.sync.test_delta import documents

KEY = column_key(bytes(32))
HOUR = timedelta(hours=1)
ENTITIES = ["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]


@dataclass
class Turned:
    """The hub's clock: days away from the server's."""

    at: datetime = field(default_factory=lambda: datetime(2026, 5, 5, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at


def files(version: str) -> dict[str, list[dict[str, Any]]]:
    return {
        file: frame.drop("line", strict=False).to_dicts() for file, frame in sandbox(100, 3, version).frames.items()
    }


@pytest.fixture(params=["1.2"])
def sis(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(filled(request.param, files(request.param))) as server:
        yield server


async def connect(district: District, sis: Server, **config: Any) -> None:
    """Makes the district's source one that is pulled from the server."""
    login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": CLIENT}
    settings = {"url": sis.url, "version": sis.version, "login": login, "entities": ENTITIES, "page_rows": 500}
    secret = sealed(KEY, SECRET, district.district_id, district.source_id, "client_secret")
    district.clock = Turned()
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE sources SET kind = 'oneroster_rest'")
        await sources.change(tx, district.source_id, config=settings | config, secrets={"client_secret": secret})


async def pull(district: District, *, dry_run: bool = False, approve: bool = False) -> Run:
    """One pull; its run afterwards."""
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=district.source_id, upload_id=None, dry_run=dry_run, requested_by="test"
        )
    await carry_out(district)
    run = await district.run(run_id)
    if approve:
        assert run.state == "held", (run.state, run.error_message)
        async with district.db.district(district.district_id) as tx:
            await runs.decide(tx, run_id, approve=True, actor="test")
        await carry_out(district)
        run = await district.run(run_id)
    return run


async def carry_out(district: District) -> None:
    room = Room(small_rows=0, rows=10**9, pulls=4, allow=[ip_network("127.0.0.0/8")])
    while await work_once(district.db, district.clock, key=KEY, room=room):
        pass


async def cursor(district: District) -> Any:
    async with district.db.district(district.district_id) as tx:
        return (await sources.get(tx, district.source_id)).cursor


def changed(run: Run) -> dict[str, tuple[int, int, int]]:
    """Created, updated and deleted of the entities in which anything was."""
    found = {name: (c["created"], c["updated"], c["deleted"]) for name, c in run.counts.items()}
    return {name: counts for name, counts in found.items() if any(counts)}


def some(sis: Server, entity: str, count: int = 1) -> list[str]:
    return list(sis.objects[entity])[:count]


async def test_a_pull_of_changes_brings_what_changed_and_leaves_the_rest(district: District, sis: Server) -> None:
    await connect(district, sis)
    first = await pull(district)
    assert (first.state, first.error_message) == ("applied", None)
    assert {n: c["created"] for n, c in first.counts.items()} == {n: len(sis.objects[n]) for n in ENTITIES}
    before = await documents(district, "users")

    # Nothing changed: one request for each entity, nothing is written, and the cursor moves with the server's clock.
    sis.now += 3 * HOUR
    state, asked, at = await district.state(), len(sis.asked), (await cursor(district))["of"]["since"]
    assert (await pull(district)).state == "unchanged"
    assert len(sis.asked) - asked == len(ENTITIES)
    assert await district.state() == state
    moved = (await cursor(district))["of"]["since"]
    assert datetime.fromisoformat(moved) - datetime.fromisoformat(at) == 3 * HOUR

    # A changed person, who loses a role, a new enrollment, one that ends with a tombstone.
    sis.now += HOUR
    (person, *_), (ended, copied, *_) = some(sis, "users"), some(sis, "enrollments", 2)
    several = next(key for key, one in sis.objects["users"].items() if len(one["roles"]) > 1)
    sis.put("users", person, givenName="Zebulon")
    sis.put("users", several, roles=sis.objects["users"][several]["roles"][:1])
    sis.put("enrollments", "new", **{k: v for k, v in sis.objects["enrollments"][copied].items() if k != "sourcedId"})
    sis.end("enrollments", ended)
    run = await pull(district)
    assert changed(run) == {"users": (0, 2, 0), "enrollments": (1, 0, 1)}
    after = await documents(district, "users")
    assert {key for key in after if after[key] != before[key]} == {person, several}
    assert '"givenName":"Zebulon"' in after[person][1]
    assert after[several][1].count('"roleType"') == 1

    # The overlap brings the same once more, which changes nothing.
    sis.now += HOUR / 2
    assert (await pull(district)).state == "unchanged"


@pytest.mark.threat("F10")
async def test_what_pulls_of_changes_miss_is_found_by_the_ids_and_by_a_whole_pull(
    district: District, sis: Server
) -> None:
    sis.quirks.tombstones = False
    await connect(district, sis, sweep_hours=24)
    assert (await pull(district)).state == "applied"
    gone, silent = some(sis, "enrollments")[0], some(sis, "users")[0]
    root = next(key for key, one in sis.objects["orgs"].items() if one["type"] == "district")
    leaf = {"name": "Annex", "type": "department", "parent": {"sourcedId": root}}
    sis.put("orgs", "annex", **leaf, identifier="A")
    sis.now += HOUR
    assert changed(await pull(district)) == {"orgs": (1, 1, 0)}
    children = (await documents(district, "orgs"))[root][1].count('"href"')
    sis.end("enrollments", gone)
    sis.end("orgs", "annex")
    sis.objects["users"][silent]["givenName"] = "Silently"  # without a new dateLastModified

    sis.now += HOUR
    assert (await pull(district)).state == "unchanged"
    sis.now += 24 * HOUR
    run = await pull(district)
    assert changed(run) == {"orgs": (0, 1, 1), "enrollments": (0, 0, 1)}
    assert not (await documents(district, "enrollments"))[gone][0]
    assert (await documents(district, "orgs"))[root][1].count('"href"') == children - 1

    district.clock.at += 8 * 24 * HOUR  # type: ignore[attr-defined]
    sis.now += HOUR
    assert changed(await pull(district)) == {"users": (0, 1, 0)}
    assert '"givenName":"Silently"' in (await documents(district, "users"))[silent][1]


@pytest.mark.threat("F10")
@pytest.mark.parametrize("hours", [-24, 24])
async def test_the_clock_that_counts_is_the_servers(district: District, sis: Server, hours: int) -> None:
    district.clock = Turned()
    sis.now = district.clock.now() + hours * HOUR
    await connect(district, sis)
    assert (await pull(district)).state == "applied"
    sis.now += HOUR
    sis.put("users", some(sis, "users")[0], givenName="Zebulon")
    sis.now += HOUR
    assert changed(await pull(district)) == {"users": (0, 1, 0)}


@pytest.mark.threat("F8", "F9")
async def test_a_pull_that_fails_or_sees_less_deletes_nothing_and_moves_nothing(
    district: District, sis: Server
) -> None:
    sis.quirks.tombstones = False
    await connect(district, sis, sweep_hours=0)
    assert (await pull(district)).state == "applied"
    sis.now += HOUR
    sis.put("users", some(sis, "users")[0], givenName="Zebulon")
    state, kept = await district.state(), await cursor(district)

    # The ids of enrollments break off after the first page: nothing of the pull is applied.
    sis.fault = lambda one: "status:403" if one.entity == "enrollments" and "fields" in one.query else None
    run = await pull(district)
    assert (run.state, run.error_code) == ("failed", "source_failed")
    assert "not_permitted" in str(run.error_message)
    sis.fault = lambda _: None
    assert (await district.state(), await cursor(district)) == (state, kept)

    # All ids but a few are gone from one day to the next: the guard holds the run, and the cursor stays.
    everything = dict(sis.objects["enrollments"])
    sis.objects["enrollments"] = dict(list(everything.items())[:5])
    run = await pull(district)
    assert (run.state, run.counts["enrollments"]["deleted"]) == ("held", len(everything) - 5)
    assert (await district.state(), await cursor(district)) == (state, kept)

    # They are back: the newer pull says all that the held one said, so that one is over.
    sis.objects["enrollments"] = everything
    assert changed(await pull(district)) == {"users": (0, 1, 0)}
    assert (await district.run(run.run_id)).state == "superseded"

    # A dry run notes nothing; approving a held run applies it and moves the cursor.
    sis.now += HOUR
    sis.objects["enrollments"] = dict(list(everything.items())[:5])
    kept = await cursor(district)
    assert (await pull(district, dry_run=True)).state == "previewed"
    assert await cursor(district) == kept
    assert (await pull(district, approve=True)).state == "applied"
    assert await cursor(district) != kept


async def test_a_tree_comes_whole_and_an_edit_of_the_source_makes_the_next_pull_whole(
    district: District, sis: Server
) -> None:
    await connect(district, sis)
    assert (await pull(district)).state == "applied"
    root = next(key for key, one in sis.objects["orgs"].items() if one["type"] == "district")
    before = (await documents(district, "orgs"))[root][1]
    sis.now += HOUR
    sis.put("orgs", root, name="Renamed")
    assert changed(await pull(district)) == {"orgs": (0, 1, 0)}
    after = (await documents(district, "orgs"))[root][1]
    assert before[before.index('"children"') :].split("]")[0] in after

    asked = len(sis.asked)
    run_id = await district.request(sandbox(100, 4).frames)
    await carry_out(district)
    sent = await district.run(run_id)
    assert (sent.state, "no_uploads" in str(sent.error_message), len(sis.asked)) == ("failed", True, asked)

    sis.now += HOUR
    await connect(district, sis, entities=ENTITIES, overlap_minutes=5)
    assert (await pull(district)).state == "unchanged"
    assert not any("filter" in one.query for one in sis.asked[asked:])


async def test_a_busy_server_is_asked_again_when_it_says(district: District, sis: Server) -> None:
    sis.fault = lambda one: "status:503:400" if one.entity == "users" else None
    await connect(district, sis)
    run = await pull(district)
    assert (run.state, run.attempt) == ("queued", 1)
    async with district.db.district(district.district_id) as tx:
        waits = await tx.fetchval("SELECT extract(epoch FROM lease_until - now())::float8 FROM runs")
    assert 380 < waits <= 400
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE runs SET lease_until = now() - interval '1 second'")
    sis.fault = lambda one: "status:503:4000" if one.entity == "users" else None
    await carry_out(district)
    run = await district.run(run.run_id)
    assert (run.state, run.error_code) == ("failed", "source_failed")
    assert "busy" in str(run.error_message)


@pytest.mark.threat("F8")
async def test_a_run_that_is_tried_again_goes_on_at_the_page_where_it_ended(
    second: District, sis: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await connect(second, sis, page_rows=20, at_once=1)
    asked: dict[str, int] = {}
    sis.fault = lambda one: "status:500" if one.entity == "users" and 3 <= one.number < 3 + client.TRIES else None
    sis.before_page = lambda one: asked.update({one.entity: one.number + 1})
    run = await pull(second)
    assert (run.state, run.attempt) == ("held", 2), run.error_message  # all of what was there before is gone
    pages = {entity: -(-len(sis.objects[entity]) // 20) for entity in ENTITIES}
    # The last page of the first attempt is asked for once more: it has to be the same still.
    assert asked == pages | {"users": pages["users"] + client.TRIES + 1}
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
