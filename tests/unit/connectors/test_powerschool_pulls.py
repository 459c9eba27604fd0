"""Pulls from a PowerSchool: what changed, what was deleted, rows that move meanwhile; the plugin, and a try of it."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from connectors.kits import archive, read_options
from connectors.powerschool import SPEC
from connectors.protocol import ConnectorError, Intent
from tests.contract.test_powerschool import ALL, context, install
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import Asked, Quirks, Server, running

HOUR = timedelta(hours=1)
PLAIN = {"demographics": False, "contacts": False, "student_email": None, "sweep_hours": 24}
Rows = dict[str, dict[str, dict[str, Any]]]


@dataclass
class Pulled:
    """What a pull brought: rows by file and sourcedId, how each file is meant, keys that are there; what it asked."""

    rows: Rows
    mode: dict[str, str]
    present: dict[str, set[str]]
    cursor: Mapping[str, Any] | None
    codes: list[str]
    asked: list[str]

    def ended(self, file: str) -> set[str]:
        return {key for key, row in self.rows[file].items() if row["status"] == "tobedeleted"}


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled()) as server:
        install(server)
        yield server


def pull(sis: Server, folder: Path, cursor: Mapping[str, Any] | None = None, **config: Any) -> Pulled:
    before = len(sis.asked)
    found = asyncio.run(SPEC.open(context(sis, folder, **PLAIN | config)).pull(cursor))
    with closing(found.package) as package:
        frames = {file: pl.concat([batch.frame for batch in package.batches(file)]) for file in package.mode}
        rows = {file: {row["sourcedId"]: row for row in frame.to_dicts()} for file, frame in frames.items()}
        present = {file: set(keys) for file, keys in found.present.items()}
        codes = package.issues["code"].to_list()
        asked = [one.name for one in sis.asked[before:]]
        return Pulled(rows, dict(package.mode), present, found.cursor, codes, asked)


def after(whole: Pulled, change: Pulled) -> Rows:
    """What there is after changes were applied, as the hub would apply them."""
    found = {file: dict(rows) for file, rows in whole.rows.items()}
    for file, rows in change.rows.items():
        if change.mode[file] == "bulk":
            found[file] = rows
            continue
        if file == "roles":  # users come with all their roles
            told = {row["userSourcedId"] for row in rows.values()} | change.ended("users")
            found[file] = {key: row for key, row in found[file].items() if row["userSourcedId"] not in told}
        found[file] |= rows
        for key in change.ended(file):
            del found[file][key]
        if file == "users":
            gone = change.ended(file)
            found["roles"] = {key: row for key, row in found["roles"].items() if row["userSourcedId"] not in gone}
    return found


def bare(rows: Rows) -> Rows:
    """Without what says where a row stood."""
    return {
        file: {key: {n: v for n, v in row.items() if n not in {"line", "status"}} for key, row in found.items()}
        for file, found in rows.items()
    }


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(look=False, cap=3, numbers=True), Quirks(ceiling=2)])
def test_changes_lead_to_what_a_whole_pull_would_bring(quirks: Quirks, sis: Server, tmp_path: Path) -> None:
    sis.quirks = quirks
    whole = pull(sis, tmp_path)
    assert (set(whole.mode.values()), whole.codes, whole.present) == ({"bulk"}, [], {})

    # Nothing changed: one request for the clock and one for the versions, or one a query.
    nothing = pull(sis, tmp_path, whole.cursor)
    assert (nothing.mode, nothing.present) == ({}, {})
    assert nothing.cursor == whole.cursor
    assert len(nothing.asked) == 2 if quirks.look else len(nothing.asked) <= len(set(nothing.asked)) + 1

    # A name, one who moves to another school, one who leaves, one who comes back, a new one with an enrollment.
    (first, mover, leaver, *_) = sis.of("students", "enroll_status = 0")
    (away,) = sis.of("students", "enroll_status = 2")
    sis.put(
        "students", first | {"first_name": "Zebulon"}, mover | {"schoolid": 300 - mover["schoolid"]},
        leaver | {"enroll_status": 2}, away | {"enroll_status": 0}, first | {"dcid": 999, "id": 9999},
    )  # fmt: skip
    (enrolled, dropped, *_) = sis.of("cc", f"studentid = {first['id']}")
    sis.put("cc", enrolled | {"dcid": 88_888, "studentid": 9999})
    sis.put("cc", dropped | {"sectionid": -dropped["sectionid"], "termid": -3500, "dateleft": "2026-02-01"})
    sis.put("courses", sis.of("courses")[0] | {"course_name": "Renamed"})
    change = pull(sis, tmp_path, nothing.cursor)
    assert change.mode["users"] == change.mode["roles"] == change.mode["enrollments"] == "delta"
    assert "orgs" not in change.mode
    assert change.ended("users") == {f"S{leaver['dcid']}"}
    assert set(change.rows["users"]) == {f"S{row['dcid']}" for row in (first, mover, leaver, away)} | {"S999"}
    assert change.rows["enrollments"][f"S{dropped['dcid']}"]["endDate"] == "2026-01-31"
    assert {"S88888", f"S{enrolled['dcid']}"} <= set(change.rows["enrollments"])
    assert bare(after(whole, change)) == bare(pull(sis, tmp_path).rows)
    assert change.cursor is not None
    assert pull(sis, tmp_path, change.cursor).mode == {}


def test_what_a_district_chose_is_pulled_alone(sis: Server, tmp_path: Path) -> None:
    install(sis, entities=["users"])
    whole = pull(sis, tmp_path, entities=["users"])
    assert set(whole.mode) == {"orgs", "academicSessions", "users", "roles"}
    sis.now += 24 * HOUR
    assert set(pull(sis, tmp_path, whole.cursor, entities=["users"]).present) == {"users"}


def test_staff_schools_and_contacts_come_whole_when_one_of_them_changed(sis: Server, tmp_path: Path) -> None:
    install(sis, **ALL)
    whole = pull(sis, tmp_path, **ALL)
    person = sis.of("users")[0]
    (other,) = sis.of("schoolstaff", "users_dcid = 303")
    sis.put("users", person | {"last_name": "Zebulon"})
    sis.put("schoolstaff", other | {"status": 2})
    sis.put("schools", sis.of("schools")[0] | {"name": "Renamed"})
    change = pull(sis, tmp_path, whole.cursor, **ALL)
    assert change.mode == {"orgs": "bulk", "users": "delta", "roles": "delta", "enrollments": "delta"}
    assert change.rows["users"]["T301"]["familyName"] == "Zebulon"
    assert change.ended("users") == {"T303", "T305"}  # 305 was none before either, and ends nothing
    assert change.ended("enrollments") == {"ST902-T303", "ST906-T303"}

    # A race, and a guardian who gets another student.
    sis.put("studentrace", sis.of("studentrace")[0] | {"racecd": "W"})
    sis.put("studentcontactassoc", sis.of("studentcontactassoc")[0] | {"studentdcid": 40})
    more = pull(sis, tmp_path, change.cursor, **ALL)
    assert more.mode == {"users": "bulk", "roles": "bulk", "demographics": "bulk"}
    assert more.rows["users"]["G80"]["agentSourcedIds"] == "S40"
    assert (more.rows["users"]["S40"]["agentSourcedIds"], more.rows["users"]["S2"]["agentSourcedIds"]) == ("G80", None)
    assert bare(more.rows) == {file: bare(pull(sis, tmp_path, **ALL).rows)[file] for file in more.mode}
    # A link that is deleted is not told of: keys do not show it, the next whole pull does.


def test_what_was_deleted_without_a_word_is_found_by_its_key(sis: Server, tmp_path: Path) -> None:
    install(sis, **ALL)
    whole = pull(sis, tmp_path, **ALL)
    sis.drop("students", 20)
    sis.drop("cc", 10_002)
    sis.drop("sectionteacher", 900)
    sis.drop("guardian", 80)
    for row in sis.of("schoolstaff", "users_dcid = 302"):
        sis.drop("schoolstaff", row["dcid"])
    sis.drop("courses", 504)
    sis.drop("sections", 7007)
    sis.drop("schools", 12)
    assert pull(sis, tmp_path, whole.cursor, **ALL).mode == {}
    sis.now += 23 * HOUR
    assert pull(sis, tmp_path, whole.cursor, **ALL).present == {}
    sis.now += HOUR
    swept = pull(sis, tmp_path, whole.cursor, **ALL | {"sweep_hours": 24})
    gone = {file: set(whole.rows[file]) - keys for file, keys in swept.present.items()}
    assert {file: keys for file, keys in gone.items() if file != "enrollments"} == {
        "courses": {"504"}, "classes": {"707"}, "users": {"S20", "G80", "T302"}, "demographics": {"S20"},
    }  # fmt: skip
    # With the student, the teacher and the class go the enrollments that name them.
    assert gone["enrollments"] == {
        "S10002", "S10020", "S10021", "ST900-T301", "ST901-T302", "ST905-T302", "ST907-T304",
    }  # fmt: skip
    assert (swept.mode, set(swept.rows["orgs"])) == ({"orgs": "bulk", "academicSessions": "bulk"}, {"0149", "100"})
    assert all(not keys - set(whole.rows[file]) for file, keys in swept.present.items())
    assert swept.cursor is not None
    assert swept.cursor["swept"] == sis.now.isoformat()


def test_a_new_year_or_another_district_number_makes_the_next_pull_whole(sis: Server, tmp_path: Path) -> None:
    whole = pull(sis, tmp_path)
    assert whole.cursor is not None
    assert (whole.cursor["years"], whole.cursor["until"]) == ([35], "2026-07-11")
    sis.now += timedelta(days=131)  # after the last day and a month
    late = pull(sis, tmp_path, whole.cursor)
    assert (set(late.mode.values()), late.codes) == ({"bulk"}, ["PS-002"])
    sis.now -= timedelta(days=131)

    sis.put("terms", *(row | {"firstday": "2026-02-01"} for row in sis.of("terms", "yearid = 34 AND portion = 1")))
    sis.put("terms", *(row | {"lastday": "2026-04-01"} for row in sis.of("terms", "yearid = 34 AND portion = 1")))
    both = pull(sis, tmp_path, whole.cursor)
    assert both.cursor is not None
    assert (both.cursor["years"], set(both.mode.values())) == ([34, 35], {"bulk"})
    assert {"100-3400", "100-3500"} <= set(both.rows["academicSessions"])

    sis.put("prefs", {"id": 1, "name": "districtnumber", "value": "0150"})
    other = pull(sis, tmp_path, both.cursor)
    assert (set(other.mode.values()), "0150" in other.rows["orgs"]) == ({"bulk"}, True)
    sis.put("prefs", {"id": 1, "name": "districtnumber", "value": None})
    with pytest.raises(ConnectorError, match="no_district_number") as refused:
        pull(sis, tmp_path, other.cursor)
    assert (refused.value.intent, list(tmp_path.iterdir())) == (Intent.ASK_HUMAN, [])


@pytest.mark.parametrize("quirks", [Quirks(versions="refused"), Quirks(versions="ignored")])
def test_without_versions_everything_comes_each_time(quirks: Quirks, sis: Server, tmp_path: Path) -> None:
    kept = pull(sis, tmp_path)
    sis.quirks = quirks
    for cursor in (None, kept.cursor):
        whole = pull(sis, tmp_path, cursor)
        assert (whole.cursor, whole.codes, set(whole.mode.values())) == (None, ["PS-001"], {"bulk"})
        assert bare(whole.rows) == bare(kept.rows)
    assert pull(sis, tmp_path, data_version=None).codes == []


def test_what_is_odd_in_the_rows_is_told_without_naming_anybody(sis: Server, tmp_path: Path) -> None:
    never = sis.of("cc")[0]
    sis.put("cc", never | {"dateleft": never["dateenrolled"]})
    sis.put("courses", *({"dcid": 590 + n, "course_number": "TWICE", "course_name": f"Twice {n}"} for n in range(2)))
    sis.put("sections", sis.of("sections")[0] | {"dcid": 7100, "id": 800, "course_number": "TWICE"})
    found = pull(sis, tmp_path)
    assert found.codes == ["PS-004", "PS-003"]
    assert f"S{never['dcid']}" not in found.rows["enrollments"]
    assert found.rows["classes"]["800"]["courseSourcedId"] in {"590", "591"}


@dataclass
class Meddling:
    """Does something once, before a page of a query is answered."""

    name: str
    page: str
    act: Any
    done: bool = False

    def __call__(self, asked: Asked) -> None:
        if not self.done and (asked.name, asked.query.get("page")) == (self.name, self.page):
            self.done = True
            self.act()


@pytest.mark.threat("F8")
def test_a_row_that_moves_to_a_page_that_was_read_is_not_lost(sis: Server, tmp_path: Path) -> None:
    """One row goes and another comes, so that the count stays: the sum of keys tells."""
    (first, *_), last = sis.of("students", "enroll_status = 0"), sis.of("students")[-1]

    def replace() -> None:
        sis.drop("students", first["dcid"])
        sis.put("students", last | {"dcid": 998, "id": 9998})

    sis.before = Meddling("students", "2", replace)
    found = pull(sis, tmp_path, at_once=1)
    pupils = {key for key in found.rows["users"] if key.startswith("S")}
    assert pupils == {f"S{row['dcid']}" for row in sis.of("students", "enroll_status IN (0, -1)")}
    assert found.asked.count("students_seal") == 2

    sis.before = lambda asked: sis.drop("cc", sis.of("cc")[0]["dcid"]) if asked.name == "enrollments" else None
    with pytest.raises(ConnectorError, match="not_whole") as failed:
        pull(sis, tmp_path)
    assert (failed.value.intent, list(tmp_path.iterdir())) == (Intent.RETRY, [])


@pytest.mark.threat("F8")
def test_changes_over_several_pages_are_read_again_when_something_moves(sis: Server, tmp_path: Path) -> None:
    whole = pull(sis, tmp_path)
    sis.put("students", *({**row, "middle_name": "Q"} for row in sis.of("students")))
    first = sis.of("students")[0]

    def replace() -> None:
        sis.drop("students", first["dcid"])
        sis.put("students", sis.of("students")[-1] | {"dcid": 998, "id": 9998})

    sis.before = Meddling("students", "2", replace)
    change = pull(sis, tmp_path, whole.cursor)
    told = {key for key in change.rows["users"] if key not in change.ended("users")}
    assert told == {f"S{row['dcid']}" for row in sis.of("students", "enroll_status IN (0, -1)")}

    # What never stands still is pulled whole instead.
    numbers = iter(range(10_000, 20_000))

    def restless(asked: Asked) -> None:
        if "$dataversion" in asked.body:
            number = next(numbers)
            sis.put("students", first | {"dcid": number, "id": number})

    sis.put("students", *({**row, "middle_name": "R"} for row in sis.of("students")))
    sis.before = restless
    assert pull(sis, tmp_path, change.cursor).mode["users"] == "bulk"


@pytest.mark.parametrize(("status", "code", "intent"), [
    (404, "plugin_missing", Intent.ASK_HUMAN), (403, "not_permitted", Intent.ASK_HUMAN),
    (400, "query_refused", Intent.ASK_HUMAN), (401, "login_refused", Intent.ASK_HUMAN), (503, "busy", Intent.RETRY),
])  # fmt: skip
def test_refusals_say_what_to_click(status: int, code: str, intent: Intent, sis: Server, tmp_path: Path) -> None:
    sis.status = lambda asked: status if asked.name == "teachers" else 200
    with pytest.raises(ConnectorError) as refused:
        pull(sis, tmp_path)
    assert (refused.value.code, refused.value.intent) == (code, intent)
    assert ("hub source" in refused.value.message) == (status in {400, 403, 404})
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_ends_meanwhile_is_fetched_anew(sis: Server, tmp_path: Path) -> None:
    sis.before = Meddling("students", "2", sis.tokens.clear)
    assert len(pull(sis, tmp_path).rows["users"]) == 29
    assert sis.issued == 2


def fields(made: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(made)) as files:
        plugin = ET.fromstring(files.read("plugin.xml"))
    space = "{http://plugin.powerschool.pearson.com}"
    return {f"{one.get('table')}.{one.get('field')}" for one in plugin.iter(f"{space}field")}


def test_the_plugin_asks_for_what_is_pulled_alone(sis: Server) -> None:
    def made(**options: Any) -> set[str]:
        return fields(archive("powerschool", read_options("powerschool", options), sis.now))

    least = made()
    assert {"STUDENTS.DCID", "CC.DATELEFT", "ROLEDEF.NAME", "SCHOOLSTAFF.USERS_DCID", "PREFS.VALUE"} <= least
    assert not {"STUDENTS.DOB", "STUDENTS.ETHNICITY", "GUARDIAN.LASTNAME"} & least
    assert made(demographics=True) - least == {
        "STUDENTS.DOB", "STUDENTS.GENDER", "STUDENTS.ETHNICITY", "STUDENTS.FEDETHNICITY", "STUDENTRACE.ID",
        "STUDENTRACE.STUDENTID", "STUDENTRACE.RACECD",
    }  # fmt: skip
    assert made(student_email="u_studentsuserfields.student_email") - least == {
        "U_STUDENTSUSERFIELDS.STUDENT_EMAIL", "U_STUDENTSUSERFIELDS.STUDENTSDCID"
    }  # fmt: skip
    assert not {"CC.DCID", "ROLEDEF.NAME", "COURSES.DCID"} & made(entities=["users"])
    whole = {"url": "https://sis.example", "client_id": "a", "contacts": True}  # a source's configuration will do
    assert "PCAS_ACCOUNT.USERNAME" in made(**whole)
    for wrong, told in (
        ({"student_mail": "x"}, "student_mail"),
        ({"student_email": "a b.c"}, "student_email"),
        ([], "JSON"),
    ):
        with pytest.raises(ConnectorError, match=told):
            read_options("powerschool", wrong)
    with pytest.raises(ConnectorError, match="no_kit"):
        read_options("oneroster_csv", {})


@pytest.mark.parametrize(
    "where", ["students.student_web_id", "psm_studentcontact.email", "u_studentsuserfields.student_email"]
)
def test_students_addresses_come_from_where_the_district_keeps_them(where: str, sis: Server, tmp_path: Path) -> None:
    sis.put("sync_studentmap", {"id": 1, "studentid": 77, "studentsdcid": 2})
    sis.put("psm_studentcontacttype", {"id": 5, "name": "Self"}, {"id": 6, "name": "Mother"})
    sis.put(
        "psm_studentcontact", {"id": 1, "studentid": 77, "email": "s1@students.example", "studentcontacttypeid": 5},
        {"id": 2, "studentid": 77, "email": "a@home.example", "studentcontacttypeid": 6},
    )  # fmt: skip
    install(sis, student_email=where)
    told = pull(sis, tmp_path, student_email=where).rows["users"]["S2"]["email"]
    assert told == ("web1" if where.startswith("students.") else "s1@students.example")


def test_a_try_names_the_fields_that_may_not_be_read_and_what_to_do(sis: Server, tmp_path: Path) -> None:
    def tried(**config: Any) -> dict[str, tuple[str, str]]:
        found = asyncio.run(SPEC.open(context(sis, tmp_path, **PLAIN | config)).probe())  # type: ignore[attr-defined]
        return {one.step: (one.outcome, one.text) for one in found}

    found = tried()
    assert {step for step, (outcome, _) in found.items() if outcome != "good"} == {"connection", "student_email"}
    assert "u_studentsuserfields.student_email" in found["student_email"][1]
    assert ("24 rows" in found["students"][1], "rows" in found["pages"][1]) == (True, True)
    assert "brings about 129 objects in 42 requests" in found["whole pull"][1]

    sis.denied = {"STUDENTS.STUDENT_WEB_ID", "USERS.EMAIL_ADDR", "USERS.LOGINID"}
    sis.quirks.skew, sis.quirks.versions = timedelta(minutes=20), "refused"
    found = tried()
    assert found["permissions of USERS"][0] == "bad"
    assert all(word in found["permissions of USERS"][1] for word in ("EMAIL_ADDR, LOGINID", "Plugin Management"))
    assert (found["students"][0], found["courses"][0], found["changes"][0]) == ("bad", "good", "warning")
    assert found["clock"] == ("warning", "The system's clock is 20 minutes ahead. School years go by its clock.")

    assert "whole pull" not in found  # nobody knows what it costs

    sis.denied, sis.queries = set(), {}
    assert "hub source kit" in tried()["terms"][1]
    sis.quirks.schema = False
    assert tried()["permissions of CC"][0] == "warning"
    gone = asyncio.run(SPEC.open(context(sis, tmp_path, url="http://127.0.0.1:9")).probe())  # type: ignore[attr-defined]
    assert [(one.step, one.outcome) for one in gone] == [("connection", "bad")]
