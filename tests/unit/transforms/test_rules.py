"""Every rule has an example that breaks it alone; a roster without faults breaks none (the negative example of all)."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pytest

from hub.sync import undoing  # noqa: F401 - declares rules
from tests.fakes.rosters import clean, frames, run
from tests.unit.transforms.rule_cases import CASES
from transforms.catalogue import CATALOGUE, Version
from transforms.issues import RULES, Action, Phase, Rule
from transforms.normalise.text import LONGEST
from transforms.rules import guarded


@dataclass(frozen=True)
class Example:
    """Cells to change in the first row of ``file`` whose sourcedId is ``key``; ``twin`` adds a changed copy instead."""

    code: str
    file: str
    key: str
    cells: dict[str, str | None]
    version: Version = "1.2"
    twin: bool = False
    field: str | None = None
    also: tuple[str, ...] = ()


EXAMPLES = (
    Example("CLS-003", "enrollments", "e2", {"sourcedId": "e9", "userSourcedId": "u3"}, twin=True, field="primary",
            also=("ENR-006",)),
    Example("CRS-003", "courses", "c1", {"subjectCodes": "02052"}),
    Example("DAT-001", "enrollments", "e1", {"endDate": "2023-01-01"}),
    Example("DAT-002", "academicSessions", "t2", {"endDate": "2025-07-10"}),
    Example("DAT-002", "lineItems", "l1", {"dueDate": "2026-02-01"}),
    Example("DAT-004", "enrollments", "e1", {"beginDate": "8/25/2024"}),
    Example("DAT-005", "enrollments", "e1", {"beginDate": "3/4/2024"}),
    Example("DAT-006", "academicSessions", "t2", {"endDate": "soon"}, also=("REF-001", "REF-002")),
    Example("DAT-007", "academicSessions", "t2", {"endDate": "2024-12-01"}, also=("REF-002",)),
    Example("DAT-008", "academicSessions", "t2", {"schoolYear": "2024-25"}),
    Example("DEM-003", "demographics", "u1", {"sex": "F"}),
    Example("DOB-001", "demographics", "u1", {"birthDate": "40512"}),
    Example("EML-001", "users", "u1", {"email": "Ana.B@School.ORG."}),
    Example("EML-002", "users", "u1", {"email": "ana@school.org;b@school.org"}),
    Example("EML-006", "users", "u1", {"email": "noemail@school.org"}),
    Example("ENR-002", "enrollments", "e1", {"sourcedId": "e9"}, twin=True, field="sourcedId"),
    Example("ENR-003", "enrollments", "e1", {"sourcedId": "e9", "endDate": "2025-06-25"}, twin=True, field="sourcedId"),
    Example("ENR-005", "enrollments", "e1", {"beginDate": "2024-07-15"}),
    Example("ENR-006", "enrollments", "e3", {"role": "student"}),
    Example("ENR-009", "enrollments", "e1", {"schoolSourcedId": "s2"}, field="school"),
    Example("ENR-010", "enrollments", "e1", {"primary": "true"}),
    Example("GRD-001", "users", "u1", {"grades": "Grade 9"}),
    Example("GRD-002", "users", "u1", {"grades": "Z9"}),
    Example("GRB-001", "lineItemLearningObjectiveIds", "lo1", {"learningObjectiveId": "urn:uuid:1"}),
    Example("GRB-002", "scoreScales", "a1", {"scoreScaleValue": "{90-100:A},B:80"}),
    Example("GRB-003", "scoreScales", "a2", {"scoreScaleValue": "A,B,C"}),
    Example("GRB-004", "lineItemScoreScales", "la1", {"sourcedId": "la2", "scoreScaleSourcedId": "a2"}, twin=True,
            field="scoreScale"),
    Example("GRB-005", "lineItems", "l1", {"resultValueMin": "100.5"}),
    Example("GRB-006", "results", "x1", {"score": "101"}),
    Example("GRB-007", "results", "x1", {"classSourcedId": "k2"}, field="class"),
    Example("GRB-008", "results", "x1", {"studentSourcedId": "u3"}, field="student"),
    Example("GRB-009", "results", "x1", {"sourcedId": "x9"}, twin=True, field="lineItem"),
    Example("ID-001", "enrollments", "e1", {"sourcedId": " "}, field="sourcedId"),
    Example("ID-002", "enrollments", "e1", {}, twin=True, field="sourcedId"),
    Example("ID-003", "enrollments", "e1", {"beginDate": "2024-09-01"}, twin=True, field="sourcedId"),
    Example("ID-004", "orgs", "s1", {"sourcedId": "S1"}, twin=True, field="sourcedId"),
    Example("ID-006", "users", "u2", {"userMasterIdentifier": "999999999"}),
    Example("ID-006", "users", "u1", {"userIds": "{LDAP:ana},{StateID:000000}"}),
    Example("ID-008", "users", "u1", {"userIds": "{SSID:77123},{SSID:77124}"}),
    Example("ID-009", "users", "u1", {"identifier": "123-45-6789"}),
    Example("ID-010", "enrollments", "e1", {"sourcedId": "e" * 256}, field="sourcedId"),
    Example("ID-011", "enrollments", "e1", {"sourcedId": "e#1"}, field="sourcedId"),
    Example("LST-001", "classes", "k1", {"termSourcedIds": "t1;t2"}, field="terms"),
    Example("NAME-001", "users", "u1", {"givenName": " An\u200ba  "}),
    Example("NAME-003", "users", "u1", {"familyName": "MuÃ±oz"}),
    Example("NAME-007", "users", "u1", {"familyName": None}),
    Example("NAME-008", "users", "u1", {"familyName": "Vacant"}),
    Example("NAME-009", "users", "u1", {"familyName": "=Lee"}),
    Example("NAME-010", "users", "u3", {"familyName": "Lee " * 30 + "Lee"}, also=("REF-002",)),
    Example("NUM-001", "categories", "g1", {"weight": "30 %"}),
    Example("NUM-002", "categories", "g1", {"weight": "30,5"}),
    Example("ORG-001", "users", "u1", {"orgSourcedIds": "gone"}, "1.1", also=("REF-001", "REF-002"), field="orgs"),
    Example("ORG-002", "orgs", "d", {"parentSourcedId": "s1"}, field="parent"),
    Example("ORG-005", "orgs", "s1", {"parentSourcedId": None}, field="parent"),
    Example("PHN-001", "users", "u1", {"phone": "+1 (555) 234-5678"}),
    Example("PHN-002", "users", "u1", {"phone": "000-0000"}),
    Example("REF-001", "enrollments", "e1", {"classSourcedId": "gone"}, also=("GRB-008",), field="class"),
    Example("REF-002", "users", "u1", {"agentSourcedIds": "u3,gone"}, field="agents"),
    Example("REF-002", "classResources", "kb1", {"resourceSourcedId": "gone"}, field="resource"),
    Example("REF-003", "lineItems", "l1", {"academicSessionSourcedId": "y"}, field="academicSession"),
    Example("REF-003", "courses", "c1", {"schoolYearSourcedId": "t1"}, field="schoolYear"),
    Example("REQ-001", "enrollments", "e1", {"role": None}),
    Example("REQ-002", "lineItemScoreScales", "la1", {"scoreScaleSourcedId": None}, field="scoreScale"),
    Example("REQ-002", "classes", "k1", {"classType": None}),
    Example("STA-001", "orgs", "s1", {"status": "active"}, field="status"),
    Example("TXT-001", "classes", "k1", {"location": "x" * (LONGEST + 1)}),
    Example("TXT-002", "classes", "k2", {"title": "x" * (LONGEST + 1)}, also=("REF-001",)),
    Example("USR-001", "users", "u1", {"sourcedId": "u9"}, twin=True, field="roles"),
    Example("USR-002", "users", "u1", {"enabledUser": "Y"}),
    Example("USR-003", "roles", "r2", {"role": "administrator"}),
    Example("USR-011", "roles", "r3", {"roleType": "primary"}),
    Example("USR-012", "users", "u1", {"primaryOrgSourcedId": "s2"}, field="primaryOrg"),
    Example("USR-013", "users", "u1", {"userIds": "{LDAP:ana},LTI4711"}),
    Example("VOC-001", "classes", "k1", {"classType": "Scheduled"}),
    Example("VOC-002", "classes", "k1", {"classType": "lecture"}),
    Example("VOC-003", "enrollments", "e1", {"role": "aide"}),
    Example("VOC-004", "demographics", "u1", {"sex": "other"}, version="1.1"),
)  # fmt: skip

#: Rules that no change of one row breaks at that row, or not in a whole package: they have tests of their own.
ELSEWHERE = {
    "STA-002", "NUM-003", "SRC-001", "SRC-002", "SRC-003", "UND-001", "UND-002", "UND-003", "SNAP-003", "ENR-004",
    "ENR-007", "ENR-008", "ENR-011", "ID-007", "DOB-002", "RULE-001",
} | {rule.code for rule in vars(guarded).values() if isinstance(rule, Rule)}  # fmt: skip


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_clean_roster_breaks_no_rule(version: Version) -> None:
    result = run(version, frames(version, clean(version)))

    assert result.issues.to_dicts() == []
    assert not any(result.quarantined.values())


@pytest.mark.threat("F25")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.code)
def test_each_rule_finds_its_example_and_nothing_else(example: Example) -> None:
    files = clean(example.version)
    row = next(r for r in files[example.file] if r["sourcedId"] == example.key)
    line = 2 + files[example.file].index(row)
    if example.twin:
        line = 2 + len(files[example.file])
        row = dict(row)
        files[example.file].append(row)
    row.update(example.cells)

    result = run(example.version, frames(example.version, files))

    at = pl.col("line").eq_missing(None if example.code == "STA-001" else line)
    found = result.issues.filter(at, code=example.code, file=f"{example.file}.csv")
    names = {f.csv_name: f.name for f in CATALOGUE[example.file].fields}
    fields = {example.field} if example.field else {names[c] for c in example.cells}
    assert set(found["field"]) == fields, result.issues
    rule = RULES[example.code]
    assert not rule.fields or fields <= set(rule.fields)
    assert rule.entity in {"", *found["entity"]}
    assert set(result.issues["code"]) - set(example.also) == {example.code}, result.issues
    kept_out = RULES[example.code].action is Action.QUARANTINE
    lines = set(result.frames[example.file]["line"]) if example.file in result.frames else {line} - {line * kept_out}
    assert (line in lines) is not (kept_out or example.code in {"ID-002", "ENR-002", "ENR-003"})
    others = set(range(2, 2 + len(files[example.file]))) - {line}
    if example.file in result.frames and example.code not in {"ID-003", "DAT-006", "DAT-007"}:
        assert others <= lines


def test_every_rule_of_the_transforms_has_an_example() -> None:
    # Rules about files, servers and transforms of sources are broken by packages, in tests of their own.
    others = ("AERIES-", "CLEVER-", "EDFI-", "FILE-", "PS-", "QML-", "REST-", "SHP-")
    declared = {code for code in RULES if not code.startswith(others)}

    assert {e.code for e in EXAMPLES} | ELSEWHERE | {case.code for case in CASES} == declared


def test_rules_are_about_what_there_is() -> None:
    names = {field.name for entity in CATALOGUE.all for field in entity.fields}
    for rule in RULES.values():
        own = {field.name for field in CATALOGUE[rule.entity].fields} if rule.entity else names
        assert set(rule.fields) <= own, rule.code
        assert rule.version >= 1
        assert not rule.deprecated or rule.deprecated in RULES
    late = [rule.code for rule in RULES.values() if rule.phase in {Phase.CROSS_SNAPSHOT, Phase.CROSS_ENTITY}]
    assert not {code for code in late if code.startswith("FILE-")}


def test_birth_dates_of_which_nothing_tells_the_order_are_asked_about_once() -> None:
    files = clean("1.2")
    files["demographics"] = [
        {"sourcedId": f"u{i}", "birthDate": f"{1 + i % 12}/{2 + i % 9}/{1990 + i}"} for i in range(30)
    ]

    doubtful = run("1.2", frames("1.2", files)).issues
    files["demographics"][0]["birthDate"] = "1/25/2010"
    clear = run("1.2", frames("1.2", files)).issues

    assert doubtful.filter(code="DOB-002").select("entity", "file", "line", "key").rows() == [
        ("demographics", "demographics.csv", None, "")
    ]
    assert doubtful.filter(code="DOB-001").height
    assert {"DOB-001", "DOB-002"}.isdisjoint(clear["code"])


def test_rules_say_what_is_wrong_and_how_to_mend_it() -> None:
    for rule in RULES.values():
        assert len(rule.title) > 10
        assert len(rule.howto) > 20
        assert rule.howto.endswith((".", "@")), rule.code
