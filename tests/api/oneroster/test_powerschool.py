"""A district goes from the public OneRoster plugin of PowerSchool to the native connector: apps see the same ids."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest

from hub.crypto import column_key
from hub.store import runs, sources
from hub.store.runs import Run
from hub.sync.engine import work_once
from hub.sync.room import Room
from hub.sync.source_secrets import sealed
from tests.api.oneroster.rosters import Hub
from tests.api.oneroster.test_hub_to_hub import app
from tests.contract.test_powerschool import install
from tests.districts import District, Frames
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import CLIENT, SECRET, Server, running
from transforms.catalogue import CATALOGUE

KEY = column_key(bytes(32))
ENTITIES = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
Rows = list[dict[str, Any]]


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled()) as server:
        install(server, contacts=True)
        server.now = datetime(2026, 3, 2, 6, tzinfo=UTC)
        yield server


def plugins(sis: Server) -> Frames:
    """What the public plugin exports, by its own queries put into Python: OneRoster 1.1, without dates of change."""
    number = next(row["value"] for row in sis.of("prefs") if row["name"] == "districtnumber")
    courses = {row["course_number"]: row for row in sis.of("courses")}
    pupils = {row["id"]: row for row in sis.of("students", "enroll_status IN (0, -1)")}
    places = {row["id"]: row for row in sis.of("schoolstaff", "status = 1")}
    files: dict[str, Rows] = {
        "orgs": [{"sourcedId": number, "name": "Prairie Public Schools", "type": "district"}] + [
            {"sourcedId": str(row["school_number"]), "name": row["name"], "type": "school", "parentSourcedId": number}
            for row in sis.of("schools")
        ],
        "academicSessions": [
            {"sourcedId": f"{row['schoolid']}-{row['id']}", "title": row["name"], "startDate": row["firstday"],
             "endDate": row["lastday"], "schoolYear": str(row["yearid"] + 1991),
             "type": {1: "schoolYear", 2: "semester", 4: "gradingPeriod"}[row["portion"]]}
            for row in sis.of("terms", "yearid = 35")
        ],
        "courses": [
            {"sourcedId": str(row["dcid"]), "title": row["course_name"], "courseCode": row["course_number"],
             "orgSourcedId": str(row["schoolid"]) if row["schoolid"] else number}
            for row in courses.values()
        ],
        "classes": [
            {"sourcedId": str(row["id"]), "title": f"25-26 | {courses[row['course_number']]['course_name']}",
             "courseSourcedId": str(courses[row["course_number"]]["dcid"]), "classType": "scheduled",
             "schoolSourcedId": str(row["schoolid"]), "termSourcedIds": f"{row['schoolid']}-{row['termid']}"}
            for row in sis.of("sections")
        ],
        "users": [
            {"sourcedId": f"T{row['dcid']}", "enabledUser": "true", "role": "teacher", "username": f"old{row['dcid']}",
             "orgSourcedIds": str(row["homeschoolid"]), "givenName": row["first_name"], "familyName": row["last_name"]}
            for row in sis.of("users", "dcid NOT IN (305, 306)")
        ] + [
            {"sourcedId": f"S{row['dcid']}", "enabledUser": "true", "role": "student",
             "username": row["student_web_id"], "orgSourcedIds": str(row["schoolid"]),
             "givenName": row["first_name"], "familyName": row["last_name"]}
            for row in pupils.values()
        ],
        "enrollments": [
            {"sourcedId": f"S{row['dcid']}", "classSourcedId": str(row["sectionid"]), "role": "student",
             "schoolSourcedId": str(row["schoolid"]), "userSourcedId": f"S{pupils[row['studentid']]['dcid']}"}
            for row in sis.of("cc", "termid > 0") if row["studentid"] in pupils
        ] + [
            {"sourcedId": f"ST{row['id']}-T{places[row['teacherid']]['users_dcid']}", "role": "teacher",
             "primary": "true", "classSourcedId": str(row["sectionid"]),
             "schoolSourcedId": str(places[row["teacherid"]]["schoolid"]),
             "userSourcedId": f"T{places[row['teacherid']]['users_dcid']}"}
            for row in sis.of("sectionteacher")
        ],
    }  # fmt: skip
    headers = {name: CATALOGUE.files("1.1")[name].csv_header("1.1") for name in files}
    return {
        name: pl.DataFrame({n: pl.Series([row.get(n) for row in rows], dtype=pl.String) for n in headers[name]})
        for name, rows in files.items()
    }


async def native(old: District, sis: Server) -> District:
    """The district's PowerSchool as another source, in the key space of the first."""
    new = District(old.db, "1.2", old.clock, old.district_id)
    config = {"url": sis.url, "client_id": CLIENT, "contacts": True}
    hidden = sealed(KEY, SECRET, new.district_id, new.source_id, "client_secret")
    async with old.db.district(old.district_id) as tx:
        await sources.create(
            tx, new.source_id, name="PowerSchool", kind="powerschool", config=config, key_space="sis",
            secrets={"client_secret": hidden}, priority=200,
        )  # fmt: skip
    return new


async def carried_out(district: District, **request: Any) -> Run:
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=district.source_id, upload_id=None, dry_run=False, requested_by="test", **request
        )
    room = Room(small_rows=0, rows=10**9, pulls=4, allow=[ip_network("127.0.0.0/8")])
    while await work_once(district.db, district.clock, key=KEY, room=room):
        pass
    return await district.run(run_id)


async def ids(district: District) -> dict[tuple[str, str], UUID]:
    """The hub's sourcedIds by entity and the system's id, of what is active."""
    found = {}
    async with district.db.district(district.district_id) as tx:
        for name in ENTITIES:
            rows = await tx.fetch(
                f"SELECT DISTINCT s.key, t.sourced_id FROM {CATALOGUE[name].table} t JOIN source_records s "
                "USING (district_id, rid) WHERE t.active AND s.entity = $1::text::entity_name", name,
            )  # fmt: skip
            found |= {(name, row["key"]): row["sourced_id"] for row in rows}
    return found


def changes(run: Run) -> dict[str, tuple[int, int, int]]:
    found = {name: (c["created"], c["updated"], c["deleted"]) for name, c in run.counts.items()}
    return {name: counts for name, counts in found.items() if any(counts)}


async def test_a_district_that_moves_from_the_plugin_keeps_every_id(hub: Hub, sis: Server) -> None:
    old = await District(hub.db, "1.1", district_id=uuid4()).create()
    async with old.db.district(old.district_id) as tx:
        await sources.set_parts(tx, old.source_id, speaks_for=None, key_space="sis", links={})
    package = plugins(sis)
    first = await old.sync(package)
    assert (first.state, first.error_message) == ("applied", None)
    before = await ids(old)
    assert {name: frame.height for name, frame in package.items()} == {
        name: sum(entity == name for entity, _ in before) for name in ENTITIES
    }

    # Both speak for a while: nothing of what there is is made again.
    new = await native(old, sis)
    both = await carried_out(new)
    assert (both.state, both.error_message) == ("applied", None)
    assert not sum(counts["quarantined"] for counts in both.counts.values()), both.report
    # New are the guardians with an account, the aide of the district, and a dropped class.
    assert {name: counts[0] for name, counts in changes(both).items() if counts[0]} == {"users": 6, "enrollments": 1}
    assert not sum(counts["deleted"] for counts in both.counts.values())

    # The plugin's source departs, and what it said belongs to PowerSchool.
    left = await carried_out(old, kind="departure", task={"to": str(new.source_id)})
    assert (left.state, left.error_message) == ("applied", None)
    again = await carried_out(new)
    assert again.state in {"applied", "unchanged"}
    assert not sum(counts["created"] + counts["deleted"] for counts in again.counts.values())
    after = await ids(new)
    assert {key: after.get(key) for key in before} == before

    # An app sees the native connector's values under these ids.
    _, _, token = await app(hub, new.district_id)
    teacher = await read(hub, new, token, f"users/{before['users', 'T301']}")
    assert teacher["user"]["username"] == "teach1"
    assert {(role["roleType"], role["org"]["sourcedId"]) for role in teacher["user"]["roles"]} == {
        ("primary", str(before["orgs", "200"])), ("secondary", str(before["orgs", "100"])),
    }  # fmt: skip
    pupil = await read(hub, new, token, f"users/{before['users', 'S2']}")
    assert [agent["sourcedId"] for agent in pupil["user"]["agents"]] == [str(after["users", "G80"])]
    assert pupil["user"]["grades"] == ["PK"]
    dropped = await read(hub, new, token, f"enrollments/{after['enrollments', 'S10011']}")
    assert dropped["enrollment"]["endDate"] == "2025-10-01"

    # What changes follows: by its version, and what was deleted by its key.
    sis.now += timedelta(hours=1)
    sis.put("students", sis.of("students", "dcid = 4")[0] | {"first_name": "Zebulon"})
    sis.put("students", sis.of("students", "dcid = 30")[0] | {"enroll_status": 3})
    assert changes(await carried_out(new)) == {"users": (0, 1, 1), "enrollments": (0, 0, 2)}
    sis.now += timedelta(hours=24)
    sis.drop("sectionteacher", 905)
    assert changes(await carried_out(new)) == {"enrollments": (0, 0, 1)}
    last = await ids(new)
    assert before.keys() - last.keys() == {
        ("users", "S30"), ("enrollments", "S10030"), ("enrollments", "S10031"), ("enrollments", "ST905-T302"),
    }  # fmt: skip
    sis.now += timedelta(hours=1)
    asked = len(sis.asked)
    assert (await carried_out(new)).state == "unchanged"
    assert len(sis.asked) - asked == 2


async def read(hub: Hub, district: District, token: str, path: str) -> Any:
    status, body, _ = await hub.get(f"/d/{district.district_id}/ims/oneroster/rostering/v1p2/{path}", token=token)
    assert status == 200, body
    return body
