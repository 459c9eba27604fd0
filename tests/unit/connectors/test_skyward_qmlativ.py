"""What Qmlativ's objects become in OneRoster, and the ways of its wire: logins, fields, pages, conditions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.protocol import ConnectorError, Found, Intent, Tried
from connectors.skyward_qmlativ import SPEC, mapping, pulling
from tests.contract.test_skyward_qmlativ import context
from tests.fakes import rosters
from tests.fakes.qmlativ_district import district
from tests.fakes.qmlativ_server import HIGH, MIDDLE, Quirks, Server, running

Rows = dict[str, dict[str, Any]]
Pulled = tuple[dict[str, pl.DataFrame], pl.DataFrame]


def pulled_from(server: Server, folder: Path, **more: Any) -> Pulled:
    server.asked.clear()
    package = asyncio.run(SPEC.open(context(server, folder, **more)).pull(None)).package
    frames = {file: pl.concat([b.frame for b in package.batches(file)]) for file in package.mode}
    found = package.issues
    package.close()
    return frames, found


def digest(server: Server, folder: Path, **more: Any) -> str:
    package = asyncio.run(SPEC.open(context(server, folder, **more)).pull(None)).package
    package.close()
    return package.digest


def tried(server: Server, folder: Path, **more: Any) -> dict[str, Found]:
    source = SPEC.open(context(server, folder, **more))
    assert isinstance(source, Tried)
    return {one.step: one for one in asyncio.run(source.probe())}


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Pulled:
    """All rows of a district's whole pull, and the findings."""
    with running(Server(district())) as server:
        return pulled_from(server, tmp_path_factory.mktemp("qmlativ"))


def rows(pulled: Pulled, file: str) -> Rows:
    return {row["sourcedId"]: {n: v for n, v in row.items() if v is not None} for row in pulled[0][file].to_dicts()}


def test_the_district_is_sound_for_the_hub(pulled: Pulled) -> None:
    found = rosters.run("1.2", pulled[0])
    assert {name: keys for name, keys in found.quarantined.items() if keys} == {"enrollments": {"S305"}}  # no name
    assert {name: frame.height for name, frame in pulled[0].items()} == {
        "orgs": 3, "academicSessions": 3, "courses": 3, "classes": 3, "users": 34, "roles": 37, "enrollments": 21,
        "demographics": 22,
    }  # fmt: skip
    assert set(found.issues["code"]) <= {"ENR-007", "NAME-009", "REF-001"}
    assert {row["code"]: (row["file"], row["cause"]) for row in pulled[1].to_dicts()} == {
        "QML-002": ("classes.csv", "1"), "QML-003": ("academicSessions.csv", "1"), "QML-004": ("users.csv", "1"),
        "QML-005": ("users.csv", "17"),
    }  # fmt: skip


def test_orgs_sessions_courses_and_classes(pulled: Pulled) -> None:
    orgs, sessions, courses, classes = (rows(pulled, f) for f in ("orgs", "academicSessions", "courses", "classes"))
    # Another district of the same instance is left out, and so is the entity of the whole system.
    assert {key: (one["type"], one.get("parentSourcedId")) for key, one in orgs.items()} == {
        "2": ("district", None), "10": ("school", "2"), "11": ("school", "2"),
    }  # fmt: skip
    assert sessions["Y7"].items() >= {
        ("type", "schoolYear"), ("startDate", "2025-08-18"), ("endDate", "2026-06-06"), ("schoolYear", "2026"),
    }  # fmt: skip
    assert sessions["L31"].items() >= {("title", "Semester 1"), ("endDate", "2025-12-20"), ("parentSourcedId", "Y7")}
    assert sessions["L32"].items() >= {("title", "S2"), ("startDate", "2025-08-18"), ("endDate", "2026-06-06")}
    assert {key: (one["courseCode"], one["orgSourcedId"]) for key, one in courses.items()} == {
        "40": ("MA0", "10"), "41": ("MA1", "11"), "42": ("MA2", "2"),
    }  # fmt: skip
    assert {key: (one["classType"], one["termSourcedIds"], one["schoolSourcedId"]) for key, one in classes.items()} == {
        "200": ("scheduled", "L31", "10"), "201": ("homeroom", "L32", "11"), "202": ("scheduled", "Y7", "10"),
    }  # fmt: skip
    assert (classes["200"]["title"], classes["200"]["classCode"], classes["200"]["courseSourcedId"]) == (
        "Math 0", "MA0-00", "40",
    )  # fmt: skip


def test_people(pulled: Pulled) -> None:
    users, roles, told = rows(pulled, "users"), rows(pulled, "roles"), rows(pulled, "demographics")
    assert users["10005001"].items() >= {
        ("username", "stu1"), ("email", "s1@example.org"), ("identifier", "N1"), ("grades", "07"),
        ("userIds", "{stateId:ST00001}"), ("agentSourcedIds", "6000"), ("primaryOrgSourcedId", "11"),
    }  # fmt: skip
    assert (users["10005000"]["username"], users["10005000"]["grades"]) == ("s0@example.org", "KG")  # an inactive login
    # Without a name, without an active year, inactive, nobody here.
    assert not {"10005005", "10005023", "15991", "90000007"} & set(users)
    # A teacher at two schools, who has a child in the district, is one user.
    assert {key: one["role"] for key, one in roles.items() if key.startswith("6000.")} == {
        "6000.teacher.10": "teacher", "6000.teacher.11": "teacher", "6000.guardian.2": "guardian",
    }  # fmt: skip
    assert users["6000"].items() >= {("agentSourcedIds", "10005001"), ("username", "teach0"), ("identifier", "T0")}
    assert (roles["6002.staff.10"]["role"], roles["15990.staff.2"]["role"]) == ("ext:staff", "ext:staff")
    assert {key for key in roles if key.startswith("10005001.")} == {"10005001.student.10", "10005001.student.11"}
    assert told["10005001"].items() >= {("birthDate", "2010-08-11"), ("sex", "female")}


def test_enrollments(pulled: Pulled) -> None:
    found = rows(pulled, "enrollments")
    assert found["S301"].items() >= {
        ("classSourcedId", "201"), ("userSourcedId", "10005001"), ("role", "student"), ("endDate", "2025-12-20"),
        ("schoolSourcedId", "11"),
    }  # fmt: skip
    assert not {"S303", "S90000008", "S323"} & set(found)  # of an inactive class, of an earlier year, of who left
    assert {key: (one["userSourcedId"], one["primary"]) for key, one in found.items() if key.startswith("T")} == {
        "T200.80": ("6000", "true"), "T201.81": ("6001", "false"), "T202.82": ("6002", "true"),
    }  # fmt: skip


def test_grades() -> None:
    shown = pl.DataFrame({"Grade": ["K", "1", "12", "PK", "EC", "13", None, " 3"]})
    assert shown.select(mapping.grade("Grade", {"EC": "PR"})).to_series().to_list() == [
        "KG", "01", "12", "PK", "PR", "13", None, "03",
    ]  # fmt: skip


def test_pages_links_logins_and_order_make_no_difference(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        usual = digest(server, tmp_path)
        for quirks, more in (
            (Quirks(next="rooted"), {"page_rows": 7}), (Quirks(next="absolute"), {"page_rows": 5_000}),
            (Quirks(logins="basic"), {"login": "basic"}),
            (Quirks(), {"login": {"kind": "bearer", "key": "hub key", "client_auth": "body"}}),
        ):  # fmt: skip
            server.quirks = quirks
            assert digest(server, tmp_path, **more) == usual
        for objects in server.objects.values():
            objects.reverse()
        assert digest(server, tmp_path) == usual


def test_a_flag_is_asked_for_by_a_condition_where_it_is_there(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        usual, _ = pulled_from(server, tmp_path)
        posted = {one.path.split("/")[2]: one for one in server.asked if one.method == "POST"}
        flagged = "HasStudentEntityYearForCurrentSchoolYear"
        assert set(posted) == {"StudentSection", "Student"}
        condition = {"ConditionType": "Equal", "FieldName": flagged, "Value": 1}
        assert posted["Student"].body == {"SearchCondition": {"LongSearchCondition": condition}}
        of_sections = [one for one in server.asked if one.path.startswith("2/Scheduling/Section/")]
        assert {one.query.get("SchoolYearID") for one in of_sections} == {"7"}
        server.quirks = Quirks(hidden={("Student/Student", "HasStudentEntityYearForCurrentSchoolYear"),
                                       ("Staff/Staff", "StaffNumber")})  # fmt: skip
        less, found = pulled_from(server, tmp_path)
        assert "QML-001" in found["code"].to_list()
        assert "Staff/Staff: StaffNumber" in found["cause"].to_list()
        assert less["users"].height == usual["users"].height
        assert rows((less, found), "users")["6001"].get("identifier") is None


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_a_token_that_ended_is_renewed_whatever_the_status(status: int, tmp_path: Path) -> None:
    with running(Server(district())) as server:
        usual = digest(server, tmp_path)
        server.quirks = Quirks(ended=status, life=9)
        assert digest(server, tmp_path) == usual
        assert len(server.tokens) > 5
        server.quirks = Quirks(ended=status, life=0)  # none lives for a single request
        with pytest.raises(ConnectorError):
            digest(server, tmp_path)


def test_objects_that_move_from_page_to_page_are_not_lost(tmp_path: Path) -> None:
    """One is deleted from the first page while the second is on its way: another one slips through between them."""
    with running(Server(district())) as server:
        left = server.objects["Student/Student"][2]
        asked = 0

        def leave(one: Any) -> None:
            nonlocal asked
            asked += one.path.startswith("2/Student/Student/")
            if asked == 2 and left in server.objects["Student/Student"]:
                server.objects["Student/Student"].remove(left)

        server.before = leave
        moved = digest(server, tmp_path)
        in_vain, asked = asked, 10
        assert digest(server, tmp_path) == moved
        assert in_vain > asked - 10  # a third walk


@pytest.mark.parametrize(("quirks", "more", "code"), [
    (Quirks(forbidden={"Staff/Staff"}), {}, "not_permitted"),
    (Quirks(missing={"Security/User"}), {}, "no_object"),
    (Quirks(hidden={("Scheduling/Course", "CourseCode")}), {}, "no_field"),
    (Quirks(next="foreign"), {}, "moved"),
    (Quirks(), {"entity": 3}, "no_object"),
    (Quirks(), {"school_year": 99}, "no_year"),
    (Quirks(), {"secret": "wrong"}, "login_refused"),
    (Quirks(logins="bearer"), {"login": "basic"}, "login_refused"),
])  # fmt: skip
def test_what_a_person_must_mend_is_told_by_pull_and_try(
    quirks: Quirks, more: dict[str, Any], code: str, tmp_path: Path
) -> None:
    with running(Server(district(), quirks)) as server:
        with pytest.raises(ConnectorError) as caught:
            digest(server, tmp_path, **more)
        found = tried(server, tmp_path, **more)
    assert (caught.value.code, caught.value.intent) == (code, Intent.ASK_HUMAN)
    assert "wrong" not in caught.value.message
    bad = [one for one in found.values() if one.outcome == "bad"]
    assert bad
    if code in {"login_refused", "not_permitted"}:
        assert "expiry date" in found["where to look"].text


def test_parts_of_a_large_district_come_to_the_same(
    pulled: Pulled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_PART_ROWS", 7)
    with running(Server(district())) as server:
        found = pulled_from(server, tmp_path)
        assert digest(server, tmp_path) == digest(server, tmp_path)
    for file in pulled[0]:
        one, other = ({k: {n: v for n, v in row.items() if n != "line"} for k, row in rows(some, file).items()}
                      for some in (pulled, found))  # fmt: skip
        assert one == other, file
    assert found[1].equals(pulled[1])


def test_what_a_district_does_without_is_left_out(tmp_path: Path) -> None:
    spare = ["Scheduling/SectionLength", "Demographics/NameEmail", "Security/User"]
    with running(Server(district(), Quirks(forbidden={*spare}))) as server:
        found = pulled_from(server, tmp_path, leave_out=spare)
        assert {one["termSourcedIds"] for one in rows(found, "classes").values()} == {"Y7"}
        assert rows(found, "users")["10005001"]["username"] == "10005001"
        assert not {step for step, one in tried(server, tmp_path, leave_out=spare).items() if one.outcome == "bad"}


def test_an_entity_that_is_not_listed_is_told(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        server.objects["District/Entity"] = [one for one in server.objects["District/Entity"] if one["EntityID"] > 9]
        with pytest.raises(ConnectorError, match="no_entity"):
            digest(server, tmp_path)
        assert tried(server, tmp_path)["entity"].outcome == "bad"


def test_a_try_says_what_works(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        found = tried(server, tmp_path)
        assert {one.outcome for step, one in found.items() if step != "connection"} == {"good"}
        assert found["entity"].text == "Entity 2 is the district, with 2 other entities as schools."
        assert found["school year"].text == "2025-2026 is pulled."
        assert "read twice" in found["Student/Student"].text
        pulled_from(server, tmp_path)
        told, requests = int(found["whole pull"].text.split()[8]), len(server.asked)
        assert 0.85 * requests <= told <= requests
        server.quirks = Quirks(hidden={("Scheduling/Section", "SectionLengthID")})
        assert "no SectionLengthID" in tried(server, tmp_path)["Scheduling/Section"].text
        assert tried(server, tmp_path, login="basic")["login"].outcome == "warning"
        server.put("District/Entity", {"EntityID": HIGH}, DistrictID=9)
        server.put("District/Entity", {"EntityID": MIDDLE}, DistrictID=9)
        assert tried(server, tmp_path)["entity"].outcome == "warning"
