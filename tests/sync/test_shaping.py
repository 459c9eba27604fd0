"""Transforms in real runs: what comes out, when it is looked at again, and that trying says what a run does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from hub.store import runs, sources, transforms
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync.engine import work_once
from hub.sync.preview import compared, preview
from hub.sync.pull import opened_source
from hub.sync.shaping import CANDIDATE, in_force
from tests.districts import District, packed, sandbox
from tests.services import Database
from tests.sync.test_delta import changes_only, documents, some
from tests.unit.connectors.packages import zipped
from tests.unit.connectors.tables import SDS_1
from transforms.shaping.checking import load

FRAMES = sandbox(students=100, seed=3).frames
#: Few enough records change for nobody to ask a person.
SOME = "AB"
UPPER = {"files": {"users": {"set": {
    "givenName": "CASE WHEN givenName LIKE 'A%' OR givenName LIKE 'B%' THEN UPPER(givenName) ELSE givenName END"
}}}}  # fmt: skip


def upper(name: str) -> str:
    return name.upper() if name[0] in SOME else name


async def save(district: District, definition: dict[str, Any]) -> int:
    async with district.db.district(district.district_id) as tx:
        row = await transforms.add(tx, district.source_id, definition, note="", created_by="test")
    return row.version


async def names(district: District) -> list[str]:
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch("SELECT doc FROM users WHERE active")
    return sorted(re.findall(r'"givenName":"([^"]*)"', row["doc"])[0] for row in rows)


def moved(run: Run, entity: str) -> dict[str, int]:
    return {kind: run.counts[entity][kind] for kind in ("created", "updated", "deleted")}


@asynccontextmanager
async def by_the_api(database: Database, district: District) -> AsyncIterator[District]:
    db = await Pool.open(database.service, name="test service", largest=2)
    yield District(db, district_id=district.district_id, source_id=district.source_id)
    await db.close()


@pytest.fixture
async def service(district: District, database: Database) -> AsyncIterator[District]:
    """The same district by the API's login, which alone may save transforms."""
    async with by_the_api(database, district) as served:
        yield served


@pytest.fixture
async def served(synced: District, synced_database: Database) -> AsyncIterator[District]:
    """``synced`` by the API's login."""
    async with by_the_api(synced_database, synced) as served:
        yield served


async def test_an_edit_makes_the_same_package_be_compared_row_by_row(synced: District, served: District) -> None:
    assert (await synced.sync(FRAMES)).state == "unchanged"
    before = await names(synced)

    assert await save(served, UPPER) == 1
    run = await synced.sync(FRAMES)
    assert run.state == "applied"
    assert moved(run, "users")["updated"] == sum(name[0] in SOME for name in before) > 0
    assert {
        kind: n for e, c in run.counts.items() if e != "users" for kind, n in c.items() if kind == "updated" and n
    } == {}
    assert await names(synced) == sorted(upper(name) for name in before)
    assert (await synced.sync(FRAMES)).state == "unchanged"

    assert await save(served, {}) == 2
    assert (await synced.sync(FRAMES)).state == "applied"
    assert await names(synced) == before

    async with served.db.district(served.district_id) as tx:
        await transforms.revert(tx, served.source_id, 1)
    assert (await synced.sync(FRAMES)).state == "applied"
    assert await names(synced) == sorted(upper(name) for name in before)


async def test_an_edit_that_changes_nothing_writes_nothing(synced: District, served: District) -> None:
    state = await synced.state()
    await save(served, {"files": {"users": {"values": {"givenName": {"nobody": "x"}}, "where": "TRUE"}}})
    assert (await synced.sync(FRAMES)).state == "unchanged"
    assert await synced.state() == state


async def test_rows_that_the_filter_leaves_out_go_and_come_back(synced: District, served: District) -> None:
    gone = FRAMES["demographics"]["sourcedId"][0]
    await save(served, {"files": {"demographics": {"where": f"sourcedId <> '{gone}'"}}})
    run = await synced.sync(FRAMES)
    assert (run.state, moved(run, "demographics")["deleted"]) == ("applied", 1)
    assert run.report["rules"][-1]["code"] == "SHP-001" or any(r["code"] == "SHP-001" for r in run.report["rules"])
    await save(served, {})
    run = await synced.sync(FRAMES)
    assert (run.state, moved(run, "demographics")["created"]) == ("applied", 0)
    assert (await synced.counts())["demographics"][1] == 0


@pytest.mark.parametrize(
    "definition",
    [
        UPPER,
        {"files": {"users": {"where": "givenName LIKE '%a%'"}, "demographics": {"set": {"sex": "NULL"}}}},
        {"files": {"users": {"values": {"grades": {"05": "06"}}, "defaults": {"metadata.checked": "yes"}}}},
        {"files": {"orgs": {"set": {"sourcedId": "'x-' || sourcedId"}}}},
    ],
)
async def test_a_preview_says_what_a_real_run_does(
    district: District, service: District, definition: dict[str, Any]
) -> None:
    upload = await district.upload(FRAMES)
    async with district.db.district(district.district_id) as tx:
        source = await sources.get(tx, district.source_id)
    today = datetime.now(UTC).date()
    found = await preview(district.db, district.district_id, source, upload, None, load(definition), today=today)
    assert found.whole

    await save(service, definition)
    run = await district.sync(FRAMES, dry_run=True)
    assert run.state == "previewed"
    report = {(r["code"]): 0 for r in run.report["rules"]}
    for rule in run.report["rules"]:
        report[rule["code"]] += rule["count"]
    assert {code: after for code, (_, after) in found.findings.items() if after} == report
    for file in definition["files"]:
        counts, after = run.counts[file], found.files[file].after
        # Each row that comes out is new, changed, as before, or kept out with a finding.
        assert counts["created"] + counts["quarantined"] == after


async def test_the_cells_of_a_preview_are_the_updates_of_a_run(synced: District, served: District) -> None:
    upload = await synced.upload(FRAMES)
    async with synced.db.district(synced.district_id) as tx:
        source = await sources.get(tx, synced.source_id)
    found = await preview(synced.db, synced.district_id, source, upload, None, load(UPPER))
    await save(served, UPPER)
    run = await synced.sync(FRAMES)
    assert run.counts["users"]["updated"] == found.files["users"].columns["givenName"].changed > 0
    samples = found.files["users"].columns["givenName"].samples
    assert all(before and after == before.upper() for before, after, _ in samples)


async def test_a_candidate_is_tried_by_a_dry_run_and_leaves_nothing(synced: District) -> None:
    state = await synced.state()
    upload_id, run_id = await synced.upload(FRAMES), uuid4()
    async with synced.db.district(synced.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=synced.source_id, upload_id=upload_id, dry_run=True, requested_by="test",
            task={CANDIDATE: UPPER},
        )  # fmt: skip
    while await work_once(synced.db, synced.clock):
        pass
    run = await synced.run(run_id)
    assert (run.state, moved(run, "users")["updated"] > 0) == ("previewed", True)
    assert await synced.state() == state
    async with synced.db.district(synced.district_id) as tx:
        assert await in_force(tx, synced.source_id) is None


async def test_tables_are_synced_by_the_mapping_of_the_transform(
    district: District, service: District, tmp_path: Path
) -> None:
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE sources SET kind = 'table_csv'")
    package = await asyncio.to_thread(zipped(tmp_path / "p.zip", SDS_1).read_bytes)
    run = await district.sync(package)
    assert run.state == "applied"
    assert (await district.counts())["users"] == (4, 0)
    assert (await district.sync(package)).state == "unchanged"

    orgs = {"from": [{"table": "School", "columns": {"sourcedId": "SIS ID"},
                      "set": {"name": "UPPER(Name)", "type": "'school'"}}]}  # fmt: skip
    await save(service, {"mapping": {"base": "sds-1", "files": {"orgs": orgs}}})
    run = await district.sync(package)
    assert (run.state, moved(run, "orgs")["updated"], moved(run, "users")["updated"]) == ("applied", 1, 0)


async def test_findings_of_a_run_name_the_table_and_its_line(district: District, tmp_path: Path) -> None:
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE sources SET kind = 'table_csv'")
    spoilt = {**SDS_1, "Teacher.csv": SDS_1["Teacher.csv"].replace("Tom,Otto", ",Otto")}
    package = await asyncio.to_thread(zipped(tmp_path / "p.zip", spoilt).read_bytes)
    run = await district.sync(package)
    async with district.db.district(district.district_id) as tx:
        found = await runs.issues(tx, run.run_id)
    assert ("Teacher.csv", 2, "givenName") in {(f["file"], f["line"], f["field"]) for f in found}


async def test_a_mapping_on_a_source_that_has_none_fails_with_words(district: District, service: District) -> None:
    await save(service, {"mapping": {"base": "sds-1"}})
    run = await district.sync(FRAMES)
    assert (run.state, run.error_code) == ("failed", "source_failed")
    assert "mapping" in (run.error_message or "")


async def test_large_files_are_compared_by_their_first_rows(district: District, tmp_path: Path) -> None:
    async with district.db.district(district.district_id) as tx:
        source = await sources.get(tx, district.source_id)
    path = tmp_path / "p.zip"
    await asyncio.to_thread(lambda: path.write_bytes(packed(FRAMES, "1.2")))
    old = await (await asyncio.to_thread(opened_source, source, None, path, tmp_path)).pull(None)
    new = await (await asyncio.to_thread(opened_source, source, None, path, tmp_path)).pull(None)
    try:
        found = await asyncio.to_thread(compared, old.package, new.package, 10)
    finally:
        await asyncio.to_thread(old.package.close)
        await asyncio.to_thread(new.package.close)
    assert not found.whole
    assert found.findings == {}
    assert (found.files["users"].before, found.files["users"].after, found.files["users"].columns) == (10, 10, {})


async def test_in_a_package_of_changes_what_the_filter_leaves_out_is_deleted(
    district: District, service: District
) -> None:
    await save(
        service, {"files": {"enrollments": {"where": "role <> 'proctor'", "set": {"beginDate": "'2026-08-01'"}}}}
    )
    assert (await district.sync(FRAMES)).state == "applied"
    first, second, *_ = FRAMES["enrollments"]["sourcedId"].to_list()
    changes = pl.concat([some(FRAMES, "enrollments", first, role="proctor"), some(FRAMES, "enrollments", second)])
    run = await district.sync(await changes_only({"enrollments": changes}, "1.2"))
    assert (run.state, moved(run, "enrollments")) == ("applied", {"created": 0, "updated": 0, "deleted": 1})
    state = await documents(district, "enrollments")
    assert (state[first][0], state[second][0]) == (False, True)
    assert "2026-08-01" in state[second][1]
