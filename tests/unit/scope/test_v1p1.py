from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.scope.personas import KEEP, RoleNames
from hub.scope.v1p1 import Documents, Style, booleans, filterable, json_booleans, visible
from transforms.catalogue import BASE_NAMES, CATALOGUE
from transforms.references import BASES, reference_to

AT = '"status":"active","dateLastModified":"2025-08-01T06:00:00.000Z"'
OWN = '"metadata":{"primary":"true","sex":"male","classType":"homeroom","enabledUser":"true"}'
PROFILES = '[{"profileId":"urn:p","profileType":"x","vendorId":"v","credentials":[{"type":"t","username":"ana.c"}]}]'


def ref(entity: str, sourced_id: str) -> str:
    return reference_to(entity, sourced_id)


def roles(*entries: tuple[str, str, str]) -> str:
    return ",".join(f'{{"roleType":"{kind}","role":"{role}","org":{ref("orgs", org)}}}' for role, org, kind in entries)


def documents(entity: str, **style: Any) -> Documents:
    shown = frozenset(f.name for f in CATALOGUE[entity].body)
    return Documents(CATALOGUE[entity], Style(**style), shown)


def made(
    entity: str, members: str, *, role: str | None = None, several: Any = None, fields: Any = None, **style: Any
) -> Any:
    text = documents(entity, **style).make(
        f'{{"sourcedId":"X",{AT},{members}}}', role=role, several=several, fields=fields
    )
    if text is None:
        return None
    for base in BASES.values():
        text = text.replace(base, "B")
    return orjson.loads(text)


HELD = roles(("parent", "N", "secondary"), ("teacher", "N", "primary"), ("teacher", "S", "primary"))
TEACHER_AND_PARENT = (
    f'"enabledUser":"true","roles":[{HELD}],'
    f'"givenName":"Ana","familyName":"Cruz","primaryOrg":{ref("orgs", "S")},"preferredFirstName":"Annie",'
    f'"resources":[{ref("resources", "R")}],"agents":[{ref("users", "K")}],"userProfiles":{PROFILES}'
)


def test_a_person_with_two_roles_is_two_users() -> None:
    main = made("users", TEACHER_AND_PARENT)
    assert main == {
        "sourcedId": "X", "status": "active", "dateLastModified": "2025-08-01T06:00:00.000Z", "enabledUser": "true",
        "givenName": "Ana", "familyName": "Cruz", "username": "ana.c", "role": "teacher",
        "orgs": [{"href": f"B/orgs/{org}", "sourcedId": org, "type": "org"} for org in ("S", "N")],
    }  # fmt: skip
    several = {"K": ("teacher", "student"), "X": ("teacher", "parent")}
    parent = made("users", TEACHER_AND_PARENT, role="parent", several=several)
    assert (parent["sourcedId"], parent["role"], parent["metadata"]) == ("X.parent", "parent", {"person": "X"})
    assert [org["sourcedId"] for org in parent["orgs"]] == ["N"]
    assert parent["agents"] == [{"href": "B/users/K.student", "sourcedId": "K.student", "type": "user"}]
    assert made("users", TEACHER_AND_PARENT, role="aide") is None
    assert made("users", TEACHER_AND_PARENT, role="teacher") is None  # that is the main one, which has another id


def test_what_1_1_does_not_know_is_dropped_or_goes_under_metadata() -> None:
    user = made("users", TEACHER_AND_PARENT, extra_fields=True)
    assert set(user) <= visible(CATALOGUE["users"], frozenset(f.name for f in CATALOGUE["users"].body))
    assert user["metadata"]["preferredFirstName"] == "Annie"
    assert user["metadata"]["resources"] == [{"href": "B/resources/R", "sourcedId": "R", "type": "resource"}]
    item = f'"title":"Quiz","scoreScale":{ref("scoreScales", "S")},"school":{ref("orgs", "O")}'
    assert made("lineItems", item, extra_fields=True)["metadata"] == {
        "school": {"href": "B/orgs/O", "sourcedId": "O", "type": "org"}  # 1.1 has no address for a score scale
    }


def test_line_items_and_results_have_what_1_1_requires() -> None:
    item = made("lineItems", f'"title":"Quiz","academicSession":{ref("academicSessions", "T")}')
    assert item["gradingPeriod"]["sourcedId"] == "T"
    assert (item["resultValueMin"], item["resultValueMax"]) == (0, 100)
    assert "academicSession" not in item
    held = made("lineItems", f'"gradingPeriod":{ref("academicSessions", "G")},"resultValueMin":5,"resultValueMax":10')
    assert (held["gradingPeriod"]["sourcedId"], held["resultValueMin"], held["resultValueMax"]) == ("G", 5, 10)
    result = f'"student":{ref("users", "K")},"scoreStatus":"ext:pending","score":3.5,"late":"true"'
    several = {"K": ("teacher", "student")}
    assert made("results", result, several=several) == {
        "sourcedId": "X", "status": "active", "dateLastModified": "2025-08-01T06:00:00.000Z", "score": 3.5,
        "student": {"href": "B/users/K.student", "sourcedId": "K.student", "type": "user"}, "scoreStatus": "submitted",
    }  # fmt: skip
    assert made("results", f'"student":{ref("users", "K")},"scoreStatus":"submitted"') is None


@pytest.mark.parametrize(
    ("entity", "members", "style", "expected"),
    [
        ("classes", f'"classType":"ext:lab",{OWN}', {}, {"classType": "scheduled"}),
        ("classes", f'"title":"Math",{OWN}', {}, {"classType": "scheduled"}),
        ("demographics", f'"sex":"other",{OWN}', {}, {"sex": None}),
        ("demographics", f'"sex":"female",{OWN}', {}, {"sex": "female"}),
        ("demographics", f'"asian":"false",{OWN}', {"json_booleans": True}, {"asian": False}),
        ("categories", f'"title":"Tests","weight":30,{OWN}', {}, {"weight": None, "title": "Tests"}),
        ("resources", f'"roles":["student","ext:tutor"],{OWN}', {}, {"roles": ["student", "aide"]}),
        ("resources", f'"roles":["ext:tutor"],{OWN}', {"names": RoleNames(None, None)}, {"roles": ["aide"]}),
        ("resources", f'"roles":["ext:tutor"],{OWN}', {"names": RoleNames(extension=KEEP)}, {"roles": ["ext:tutor"]}),
    ],
)  # fmt: skip
def test_words_and_members_of_1_2_become_those_of_1_1(
    entity: str, members: str, style: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = made(entity, members, **style)
    assert {name: found.get(name) for name in expected} == expected
    assert found["metadata"] == orjson.loads("{" + OWN + "}")["metadata"]  # anyone's own, whatever the names


def enrollment(role: str, more: str = "") -> str:
    return f'"class":{ref("classes", "C")},"user":{ref("users", "K")},"role":"{role}"{more}'


def test_an_enrollment_is_of_the_fitting_persona() -> None:
    several = {"K": ("teacher", "student")}
    assert made("enrollments", enrollment("student"), several=several)["user"]["sourcedId"] == "K.student"
    assert made("enrollments", enrollment("teacher"), several=several)["user"]["sourcedId"] == "K"
    coach = enrollment("ext:coach")
    for extension, role in (("aide", "proctor"), ("parent", "proctor"), ("teacher", "teacher")):
        found = made("enrollments", coach, several={"K": ("student", extension)}, names=RoleNames("aide", extension))
        assert (found["role"], found["user"]["sourcedId"]) == (role, f"K.{extension}")
    assert made("enrollments", enrollment("ext:coach"), names=RoleNames(None, None)) is None
    kept = made("enrollments", coach, several={"K": ("student", "ext:coach")}, names=RoleNames(extension=KEEP))
    assert (kept["role"], kept["user"]["sourcedId"]) == ("ext:coach", "K.ext-coach")


def test_metadata_is_no_reference() -> None:
    own = '"metadata":{"terms":[{"href":"x","sourcedId":"y","type":"academicSession"}],"role":"teacher"}'
    terms = ",".join(ref("academicSessions", one) for one in ("T", "U"))
    found = made("classes", f'"classType":"homeroom","terms":[{terms}],{own}', specific_types=True)
    assert [one["type"] for one in found["terms"]] == ["term", "term"]
    assert found["metadata"]["terms"][0]["type"] == "academicSession"
    of_proctor = made("enrollments", f"{enrollment('proctor')},{own}", specific_types=True)
    assert of_proctor["user"]["type"] == "user"


def test_objects_that_are_alike_in_both_versions_are_the_same_text() -> None:
    for entity, members in (
        ("orgs", '"name":"North"'), ("classes", '"classType":"homeroom"'), ("enrollments", enrollment("student")),
        ("demographics", '"sex":"male"'), ("categories", '"title":"Tests"'),
    ):  # fmt: skip
        text = f'{{"sourcedId":"X",{AT},{members}}}'
        assert documents(entity).make(text, several={"Y": ("teacher", "parent")}) is text


def test_booleans_of_json_leave_metadata_alone() -> None:
    text = f'{{"sourcedId":"X",{AT},{enrollment("teacher", ",")}"primary":"true",{OWN}}}'
    assert json_booleans(booleans(CATALOGUE["enrollments"]), text) == text.replace(
        '"primary":"true"', '"primary":true', 1
    )
    assert json_booleans(booleans(CATALOGUE["orgs"]), text) is text
    user = made("users", TEACHER_AND_PARENT, json_booleans=True)
    assert user["enabledUser"] is True


def test_fields_cut_what_was_made() -> None:
    assert made("users", TEACHER_AND_PARENT, fields=frozenset({"role", "username"})) == {
        "role": "teacher", "username": "ana.c",
    }  # fmt: skip
    assert made("enrollments", enrollment("student"), several={"K": ("aide", "student")}, fields={"user"}) == {
        "user": {"href": "B/users/K.student", "sourcedId": "K.student", "type": "user"}
    }


@pytest.mark.threat("T14")
def test_what_is_hidden_in_1_2_cannot_be_asked_for_in_1_1() -> None:
    users, base = CATALOGUE["users"], set(BASE_NAMES)
    few = frozenset({"roles", "givenName", "preferredFirstName"})
    assert filterable(users, few) == base | {"role", "orgs", "givenName"}
    assert visible(users, few) == base | {"role", "orgs", "givenName", "username"}
    items = CATALOGUE["lineItems"]
    assert "gradingPeriod" in filterable(items, frozenset({"academicSession"}))
    assert filterable(items, frozenset({"title", "school"})) == base | {"title"}
