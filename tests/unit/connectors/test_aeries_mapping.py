"""What Aeries' objects become in OneRoster: every documented rule, and every quirk of the wire."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.aeries import SPEC, mapping, people, values
from connectors.aeries.config import AeriesConfig, DistrictOrg
from connectors.protocol import ConnectorError, Found, Intent, Tried
from tests.contract.test_aeries import context
from tests.fakes import rosters
from tests.fakes.aeries_district import ELEMENTARY, FLEX, HIGH, district
from tests.fakes.aeries_server import Quirks, Server, running

Rows = dict[str, dict[str, Any]]
Pulled = tuple[dict[str, pl.DataFrame], pl.DataFrame]
CONFIG = AeriesConfig(url="https://aeries.example/aeries", grades={"-1": "TK"})


def pulled_from(server: Server, folder: Path, **more: Any) -> Pulled:
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
        return pulled_from(server, tmp_path_factory.mktemp("aeries"), relationships={"10": "parent"})


def rows(pulled: Pulled, file: str) -> Rows:
    return {row["sourcedId"]: {n: v for n, v in row.items() if v is not None} for row in pulled[0][file].to_dicts()}


def test_the_whole_district_is_sound_for_the_hub(pulled: Pulled) -> None:
    found = rosters.run("1.2", pulled[0])
    assert not {name: keys for name, keys in found.quarantined.items() if keys}
    assert {name: frame.height for name, frame in pulled[0].items()} == {
        "orgs": 4, "academicSessions": 5, "courses": 6, "classes": 8, "users": 66, "roles": 69, "enrollments": 65,
        "demographics": 37,
    }  # fmt: skip
    assert {row["code"]: (row["file"], row["cause"]) for row in pulled[1].to_dicts()} == {
        "AERIES-001": ("classes.csv", "3"), "AERIES-002": ("classes.csv", "1"),
        "AERIES-003": ("academicSessions.csv", "1"), "AERIES-004": ("users.csv", "18"),
        "AERIES-006": ("classes.csv", "1"), "AERIES-009": ("users.csv", "8"),
    }  # fmt: skip


def test_orgs_and_sessions(pulled: Pulled) -> None:
    """Ids as Aeries' OneRoster has them. Schools that are inactive, or hold inactive students, are none."""
    orgs, sessions = rows(pulled, "orgs"), rows(pulled, "academicSessions")
    assert set(orgs) == {"0", "990", "994", "996"}
    assert (orgs["0"]["type"], orgs["0"]["identifier"]) == ("district", "9910017")
    assert (orgs["994"]["parentSourcedId"], orgs["994"]["identifier"]) == ("0", "0000994")
    fall, year = sessions["994_F"], sessions["994_Y"]
    assert (fall["title"], fall["type"], fall["parentSourcedId"], fall["schoolYear"]) == (
        "Fall", "term", "994_Y", "2026",
    )  # fmt: skip
    assert (fall["startDate"], fall["endDate"]) == ("2025-08-18", "2025-12-20")  # the day after the last one
    assert (year["type"], "parentSourcedId" in year) == ("schoolYear", False)
    # A school without terms has a year all the same, from July to July.
    assert (sessions["996_Y"]["startDate"], sessions["996_Y"]["endDate"]) == ("2025-07-01", "2026-07-01")


def test_courses_and_classes(pulled: Pulled) -> None:
    courses, classes = rows(pulled, "courses"), rows(pulled, "classes")
    assert (courses["031A"]["title"], courses["031A"]["courseCode"], courses["031A"]["grades"]) == (
        "Mathematics 1", "031A", "09,10,11,12",
    )  # fmt: skip
    assert (courses["031A"]["orgSourcedId"], courses["030A"]["title"]) == ("0", "030A")  # a blank long title
    assert classes["994_101"] == {
        "sourcedId": "994_101", "title": "Mathematics 2", "classType": "scheduled", "classCode": "101",
        "courseSourcedId": "032A", "schoolSourcedId": "994", "termSourcedIds": "994_Y", "location": "B101",
        "grades": "09,10,11,12", "periods": "6,7", "line": 6,
    }  # fmt: skip
    assert classes["994_100"]["termSourcedIds"] == "994_Y"  # term Q, which the school does not have
    assert classes["996_7"].keys() & {"grades", "periods", "location"} == set()
    # Elementary classes: the id since 2019, the course that Aeries' OneRoster gives them, and a title.
    assert {key for key in classes if key.startswith("990")} == {"990_TN_420", "990_TN_421", "990_TN_429"}
    kinder = classes["990_TN_420"]
    assert kinder.items() >= {
        ("title", "T. Staff 420, grade KG-02"), ("courseSourcedId", "TCH_990421"), ("termSourcedIds", "990_Y"),
        ("grades", "KG,01,02"), ("periods", "0"),
    }  # fmt: skip
    assert courses["TCH_990421"]["title"] == kinder["title"]
    assert classes["990_TN_429"]["courseSourcedId"] == "990_TN_429"  # nobody teaches it yet


def test_enrollments(pulled: Pulled) -> None:
    found = rows(pulled, "enrollments")
    assert found["994_101_TCH_994602"].items() >= {("role", "teacher"), ("primary", "true"), ("schoolSourcedId", "994")}
    assert found["994_101_TCH_994600"]["primary"] == "false"
    # Staff of a flexible section, with their days; one who is inactive there does not teach it.
    assert {key for key in found if key.startswith("996_7_TCH")} == {"996_7_TCH_994602", "996_7_TCH_994601"}
    assert (found["996_7_TCH_994601"]["beginDate"], found["996_7_TCH_994601"]["endDate"]) == (
        "2025-09-01",
        "2025-12-20",
    )
    # One who left a class and came back is there once, since the second time.
    assert (found["994_100_99400001"]["beginDate"], "endDate" in found["994_100_99400001"]) == ("2025-11-03", False)
    # An inactive student has no seat; one of the elementary school sits with the homeroom's teacher.
    assert not [key for key in found if key.endswith("_99400024")]
    assert found["990_TN_420_99000001"].items() >= {("classSourcedId", "990_TN_420"), ("role", "student")}
    assert found["990_TN_421_TCH_990422"]["primary"] == "true"


def test_students(pulled: Pulled) -> None:
    users, roles, told = rows(pulled, "users"), rows(pulled, "roles"), rows(pulled, "demographics")
    student = users["99400001"]
    assert student.items() >= {
        ("username", "s994.0@example.org"), ("identifier", "99400001"), ("preferredGivenName", "Nick0"),
        ("userIds", "{stateId:9940000000},{oldStudentId:7000}"), ("grades", "09"), ("primaryOrgSourcedId", "994"),
        ("phone", "7775550000"), ("agentSourcedIds", "CON_99400001_1,CON_99400001_2"),
    }  # fmt: skip
    assert users["99400002"]["username"] == "s9941"
    assert "99400024" not in users  # inactive
    # Who goes to two schools is one user with two roles; a school that was left gives none.
    assert {key for key in roles if key.startswith(("99400004.", "99400005."))} == {
        "99400004.994", "99400004.996", "99400005.994",
    }  # fmt: skip
    assert (users["99400004"]["primaryOrgSourcedId"], users["99400004"]["phone"]) == ("994", "7775550003")
    assert roles["99400001.994"].items() >= {("role", "student"), ("beginDate", "2025-08-18")}
    assert told["99400001"].items() >= {
        ("birthDate", "2010-01-11"), ("sex", "male"), ("white", "true"), ("hispanicOrLatinoEthnicity", "true"),
        ("nativeHawaiianOrOtherPacificIslander", "true"),
    }  # fmt: skip


def test_staff_and_contacts(pulled: Pulled) -> None:
    users, roles = rows(pulled, "users"), rows(pulled, "roles")
    assert users["TCH_990421"].items() >= {
        ("username", "t990421"), ("userIds", "{stateId:SEID1},{hrId:HR-1}"), ("primaryOrgSourcedId", "990"),
    }  # fmt: skip
    # Teaching at two schools gives two roles, that of the home school first; who teaches nothing is staff.
    assert {key: roles[key]["role"] for key in roles if key.startswith(("TCH_994601.", "TCH_700006."))} == {
        "TCH_994601.994": "teacher", "TCH_994601.996": "teacher", "TCH_700006.0": "ext:staff",
    }  # fmt: skip
    assert users["TCH_994601"]["primaryOrgSourcedId"] == "994"
    assert "TCH_700007" not in users  # inactive
    first, second = users["CON_99400001_1"], users["CON_99400001_2"]
    assert (first["givenName"], first["familyName"], first["agentSourcedIds"]) == ("Mo1", "Ther1", "99400001")
    assert (second["givenName"], second["familyName"]) == ("M/M Maria", "Lopez")
    assert (roles["CON_99400001_1.0"]["role"], roles["CON_99400001_2.0"]["role"]) == ("parent", "guardian")


def test_single_values() -> None:
    assert [values.grade(g, {"-1": "TK"}) for g in (0, 1, 12, 13, -1, -2, "", None, "K")] == [
        "KG", "01", "12", "13", "TK", "-2", None, None, "K",
    ]  # fmt: skip
    assert [values.grades(low, high, {}) for low, high in ((9, 12), (0, 0), (3, 1), (None, 4), (0, 99))] == [
        "09,10,11,12", "KG", None, None, None,
    ]  # fmt: skip
    assert [values.periods(*p) for p in (("1", 1), ("2", 3), ("A", 2), ("", 0), (None, None), ("4", None))] == [
        "1", "2,3,4", "A", None, None, "4",
    ]  # fmt: skip
    assert [values.school_year(y, date(2026, 7, 1)) for y in ("2025-2026", "2025", None)] == [2026, 2027, 2027]
    assert values.school_year(None, date(2026, 6, 30)) == 2026
    assert values.races(["201", 400, "700", "999", "", None, "1"]) == {"asian": "true", "white": "true"}
    assert (values.after("2025-12-31T00:00:00"), values.after("soon"), values.day_text("soon")) == (
        "2026-01-01", None, "soon",
    )  # fmt: skip
    assert values.names("Lopez, Maria") == ("Maria", "Lopez")


def test_a_district_that_aeries_does_not_list_is_made() -> None:
    school = {"SchoolCode": 1, "Name": "One", "InactiveStatusCode": ""}
    made, missing = mapping.orgs([school], [school], CONFIG)
    assert (made["name"], missing) == (["District", "One"], True)
    named = AeriesConfig(url="https://aeries.example/aeries", district=DistrictOrg(name="Hawk USD"))
    assert mapping.orgs([school], [school], named)[0]["name"][0] == "Hawk USD"


def test_an_elementary_class_without_grades_has_those_of_its_students() -> None:
    teacher = {"TeacherNumber": 5, "DisplayName": "", "LastName": "Ng", "StaffID1": 77, "InactiveStatusCode": ""}
    pupils: dict[int, list[tuple[str, str | None]]] = {5: [("1", "02"), ("2", "01"), ("3", None)]}
    found = mapping.elementary(990, [teacher], pupils, CONFIG, frozenset({"TCH_77"}))
    assert [(one["title"], one["grades"]) for one in found.classes] == [("Ng, grade 01-02", "01,02")]
    assert [one["sourcedId"] for one in found.enrollments] == [
        "990_TN_5_TCH_77", "990_TN_5_1", "990_TN_5_2", "990_TN_5_3",
    ]  # fmt: skip
    assert not people.contacts({"1": [{"StudentID": 1, "SequenceNumber": 1}]}, ["1"], CONFIG).users  # nobody's name


def test_the_order_of_records_and_names_of_older_versions_make_no_difference(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        usual = digest(server, tmp_path)
        for name in ("schools", "contacts", "staff", "teachers", "courses", "sections", "classes", "students"):
            server.objects[name].reverse()
        assert digest(server, tmp_path) == usual
        server.quirks = Quirks(cap=4)
        assert digest(server, tmp_path) == usual
        server.quirks = Quirks(windows="ignored", old_names=True)
        assert (digest(server, tmp_path), digest(server, tmp_path, page_rows=500)) == (usual, usual)


def test_a_server_that_keeps_to_half_of_a_window_is_not_believed(tmp_path: Path) -> None:
    """It gives the first records again and again: nothing tells what is behind them."""
    with running(Server(district(), Quirks(windows="end alone"))) as server, pytest.raises(ConnectorError) as caught:
        digest(server, tmp_path)
    assert (caught.value.code, caught.value.intent) == ("not_whole", Intent.RETRY)


def test_students_that_move_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        left = next(one for one in server.objects["students"] if one["SchoolCode"] == HIGH)
        asked = 0

        def leave(one: Any) -> None:
            nonlocal asked
            asked += one.path == f"schools/{HIGH}/students"
            if asked == 2 and left in server.objects["students"]:
                server.objects["students"].remove(left)

        server.before = leave
        moved = digest(server, tmp_path)
        in_vain, asked = asked, 10
        assert digest(server, tmp_path) == moved
        assert in_vain == 2 + asked - 10


@pytest.mark.parametrize(("quirks", "code", "says"), [
    (Quirks(off={"contacts"}), "switched_off", "Feature Flags"),
    (Quirks(forbidden={"classes"}), "not_permitted", "'Class Schedules/History'"),
    (Quirks(missing={"sections"}), "not_found", "school 994"),
    (Quirks(missing={"courses"}), "not_found", "API 5"),
])  # fmt: skip
def test_what_is_switched_off_missing_or_forbidden_is_told_by_pull_and_try(
    quirks: Quirks, code: str, says: str, tmp_path: Path
) -> None:
    with running(Server(district(), quirks)) as server:
        with pytest.raises(ConnectorError) as caught:
            digest(server, tmp_path)
        found = tried(server, tmp_path)
    assert (caught.value.code, caught.value.intent) == (code, Intent.ASK_HUMAN)
    assert says in caught.value.message
    bad = [one for one in found.values() if one.outcome == "bad"]
    assert ([one.step for one in bad] and code != "switched_off") or "501" in bad[0].text
    assert "Security > API" in found["where to look"].text


def test_a_schools_list_that_is_missing_is_empty_where_the_district_says_so(tmp_path: Path) -> None:
    with running(Server(district(), Quirks(missing={"contacts"}))) as server:
        found = pulled_from(server, tmp_path, missing_is_empty=True)
        assert [row["cause"] for row in found[1].to_dicts() if row["code"] == "AERIES-007"] == ["3"]
        assert not [key for key in rows(found, "users") if key.startswith("CON")]
        server.quirks.silent = True  # a web server's own 404 says nothing of Aeries
        with pytest.raises(ConnectorError, match="not_found"):
            digest(server, tmp_path, missing_is_empty=True)


def test_a_try_says_what_works(tmp_path: Path) -> None:
    with running(Server(district())) as server:
        found = tried(server, tmp_path)
        assert {one.outcome for step, one in found.items() if step != "connection"} == {"good"}
        assert (found["version"].text, found["schools"].text) == (
            "Aeries 9.25.1, school year 2025-2026.", "3 are pulled (990, 994, 996), 1 of them without sections.",
        )  # fmt: skip
        # As many students at each of three schools as the first has, in two windows, and other lists like its own.
        seen = {step: int(found[step].text.split()[0]) for step in ("staff", "teachers", "courses", "sections",
                "class schedules", "contacts")}  # fmt: skip
        first = sum(one["SchoolCode"] == ELEMENTARY for one in server.objects["students"])
        rows = (3 * (first + seen["contacts"] + seen["teachers"]) + seen["staff"] + seen["courses"]
                + 2 * (seen["sections"] + seen["class schedules"]))  # fmt: skip
        windows = 1 + -(-first // 9)
        told = f"A whole pull brings about {rows:,} objects in {2 + 3 * (windows + 2) + 2 + 4} requests: about "
        assert found["whole pull"].text.startswith(told)
        server.quirks = Quirks(windows="ignored", off={"StudentDataChanges/class"}, system=False)
        found = tried(server, tmp_path)
        assert "each school comes in one answer" in found["students"].text
        assert (found["version"].outcome, found["changes"].outcome) == ("warning", "warning")
        server.quirks = Quirks()
        server.objects["sections"] = [{"SchoolCode": FLEX, "Section": 1}, {"SchoolCode": HIGH, "Section": 1}]
        assert tried(server, tmp_path)["sections"].text.startswith("The answer has no SectionNumber")
        assert tried(server, tmp_path, exclude_schools=[ELEMENTARY, HIGH, FLEX, 999])["schools"].outcome == "bad"
        refused = tried(server, tmp_path, certificate="0" * 32)
        assert (refused["login"].outcome, "Security > API" in refused["where to look"].text) == ("bad", True)
        assert tried(server, tmp_path, certificate="short")["login"].text.startswith("Aeries' certificates have 32")
