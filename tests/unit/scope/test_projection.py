from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection, tombstone
from transforms.catalogue import BASE_NAMES, CATALOGUE, Privacy
from transforms.references import BASES

SID = "0198c0de-0000-7000-8000-00000000000"
AT = "2025-08-01T06:00:00.000Z"
DOC = (
    ',"enabledUser":"true","roles":[{"roleType":"primary","role":"teacher","org":{"href":"\x01/orgs/A","sourcedId":"A",'
    '"type":"org"},"userProfile":"urn:profile"},{"roleType":"secondary","role":"parent","org":{"href":"\x01/orgs/B",'
    '"sourcedId":"B","type":"org"}}],"givenName":"Ana","familyName":"de la Cruz"'
)
PLAIN_DOC = ',"enabledUser":"true","givenName":"Ana","familyName":"Li"'
PRIVATE = (
    ',"email":"ana@example.org","agents":[{"href":"\x01/users/P","sourcedId":"P","type":"user"},'
    '{"href":"\x01/users/Q","sourcedId":"Q","type":"user"}],"userProfiles":[{"profileId":"urn:profile"}]'
)


def users(**definition: object) -> Projection:
    return Projection(GrantDefinition.model_validate(definition), "users")


def served(projection: Projection, doc: str, private: str = "", **more: Any) -> dict[str, Any]:
    text = projection.render(SID + "1", AT, doc, private, **more)
    parsed: dict[str, Any] = orjson.loads(text.replace(BASES["rostering"], "https://hub.example"))
    return parsed


@pytest.mark.threat("T19")
def test_the_default_projection_is_this_and_no_more() -> None:
    default = GrantDefinition()
    hidden = {
        entity.name: sorted({f.name for f in entity.body} - set(BASE_NAMES) - Projection(default, entity.name).visible)
        for entity in CATALOGUE.entities
    }
    demographics = sorted({f.name for f in CATALOGUE["demographics"].body} - set(BASE_NAMES))
    assert {entity: names for entity, names in hidden.items() if names} == {
        "users": ["agents", "email", "phone", "pronouns", "sms", "userProfiles"],
        "demographics": demographics,
    }


def test_a_grant_of_the_directory_class_serves_the_document_as_it_is_stored() -> None:
    projection = users()
    assert projection.mode == "directory"
    assert projection.render(SID + "1", AT, PLAIN_DOC, PRIVATE) == (
        f'{{"sourcedId":"{SID}1","status":"active","dateLastModified":"{AT}"{PLAIN_DOC}}}'
    )


def test_a_grant_of_every_class_serves_both_parts_as_they_are_stored() -> None:
    projection = users(privacy=list(Privacy))
    assert projection.mode == "all"
    assert projection.render(SID + "1", AT, DOC, PRIVATE) == (
        f'{{"sourcedId":"{SID}1","status":"active","dateLastModified":"{AT}"{DOC}{PRIVATE}}}'
    )


@pytest.mark.threat("T13")
def test_a_role_does_not_name_a_profile_that_the_app_may_not_see() -> None:
    assert "urn:profile" not in users().render(SID + "1", AT, DOC, PRIVATE)
    assert "urn:profile" in users(privacy=["credential"]).render(SID + "1", AT, DOC, PRIVATE)


@pytest.mark.threat("T13")
def test_references_outside_the_view_are_left_out_of_trimmed_records() -> None:
    projection = users(fields={"users": {"show": ["agents"]}}, rules=[{"roles": ["teacher"]}])
    assert projection.references == ("roles", "agents", "primaryOrg", "resources")
    refs = {"roles": [1, 2], "agents": [7, 8], "primaryOrg": [], "resources": []}
    seen = served(projection, DOC, PRIVATE, refs=refs, sees=lambda entity, rid: (entity, rid) != ("users", 7))
    assert [agent["sourcedId"] for agent in seen["agents"]] == ["Q"]
    assert [role["role"] for role in seen["roles"]] == ["teacher"]
    nobody = served(projection, DOC, PRIVATE, refs=refs, sees=lambda entity, _: entity == "orgs")
    assert "agents" not in nobody


@pytest.mark.threat("T13")
@pytest.mark.parametrize(
    "more",
    ["", ',"metadata":{"x":1,"agents":[{"sourcedId":"P"}]}', ',"metadata":{"x":"\\"agents\\":[{","roles":[]}'],
    ids=["usual", "metadata with such a name", "backslashes"],
)
@pytest.mark.parametrize("hidden", [frozenset(), {("users", 7)}, {("orgs", 2)}, {("users", 7), ("users", 8)}])
def test_a_trimmed_record_of_which_all_shows_loses_its_references_alone(
    hidden: frozenset[tuple[str, int]], more: str
) -> None:
    projection = users(privacy=list(Privacy))
    assert projection.mode == "all"
    refs = {"roles": [1, 2], "agents": [7, 8], "primaryOrg": [], "resources": []}
    expected = served(projection, DOC, PRIVATE + more)
    kept = [role for role, rid in zip(expected["roles"], refs["roles"], strict=True) if ("orgs", rid) not in hidden]
    agents = [
        one for one, rid in zip(expected.pop("agents"), refs["agents"], strict=True) if ("users", rid) not in hidden
    ]
    expected |= {"roles": kept, **({"agents": agents} if agents else {})}
    assert served(projection, DOC, PRIVATE + more, refs=refs, sees=lambda *one: one not in hidden) == expected


@pytest.mark.threat("T13")
@pytest.mark.parametrize("agents", [[], [7], [7, 8, 9]])
def test_no_record_of_which_all_shows_is_told_by_references_of_another(agents: list[int]) -> None:
    projection = users(privacy=list(Privacy))
    refs = {"roles": [1, 2], "agents": agents, "primaryOrg": [], "resources": []}
    with pytest.raises(ValueError, match="zip"):
        projection.render(SID, AT, DOC, PRIVATE, refs=refs, sees=lambda *_: True)
    with pytest.raises(KeyError):
        projection.render(SID, AT, DOC, PRIVATE, refs={"roles": [1, 2]}, sees=lambda *_: True)
    assert served(projection, PLAIN_DOC, refs={"roles": []}, sees=lambda *_: False)["familyName"] == "Li"


def test_references_that_do_not_match_the_document_are_an_error_and_no_answer() -> None:
    projection = users(fields={"users": {"show": ["agents"]}})
    with pytest.raises(ValueError, match="zip"):
        projection.render(SID, AT, DOC, PRIVATE, refs={"roles": [1, 2], "agents": [7]}, sees=lambda *_: True)
    with pytest.raises(KeyError):
        projection.render(SID, AT, DOC, PRIVATE, refs={"roles": [1, 2]}, sees=lambda *_: True)
    with pytest.raises(ValueError, match="without knowing"):
        projection.render(SID, AT, DOC, PRIVATE, refs={"roles": [1, 2]})


@pytest.mark.threat("T14", "T16")
@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"fields": {"users": {"hide": ["middleName"]}}},
        {"fields": {"users": {"masks": {"familyName": "initial"}}}},
        {"privacy": ["contact"], "fields": {"users": {"hide": ["email", "agents"]}}},
    ],
)
@pytest.mark.parametrize("fields", [None, frozenset({"givenName", "email", "agents"})])
def test_a_hidden_value_cannot_be_told_from_another_or_from_none(
    definition: dict[str, object], fields: frozenset[str] | None
) -> None:
    projection = users(**definition)
    texts = {projection.render(SID, AT, PLAIN_DOC, private, fields=fields) for private in ("", PRIVATE)}
    assert len(texts) == 1


@pytest.mark.threat("T14")
def test_hidden_and_masked_fields_cannot_be_filtered_by() -> None:
    projection = users(fields={"users": {"hide": ["username"], "masks": {"familyName": "initial"}}})
    assert {"sourcedId", "status", "dateLastModified", "givenName"} <= projection.filterable
    assert not {"username", "familyName", "email", "shoeSize"} & projection.filterable
    assert "familyName" in projection.visible


@pytest.mark.parametrize(
    ("value", "shown"),
    [("de la Cruz", "D"), ("'t Hart", "T"), ("ßeta", "S"), ("李", "李"), ("ǆ", "Ǆ"), ("7", "-"), ("", "-")],
)
def test_an_initial_is_one_capital_letter(value: str, shown: str) -> None:
    projection = users(fields={"users": {"masks": {"familyName": "initial", "middleName": "initial"}}})
    doc = f',"familyName":{orjson.dumps(value).decode()},"middleName":{orjson.dumps(value).decode()}'
    expected = {"familyName": shown, "middleName": shown} if shown != "-" else {"familyName": "-"}
    seen = served(projection, doc)
    assert {name: seen[name] for name in seen if name.endswith("Name")} == expected


def test_a_year_mask_keeps_the_year() -> None:
    definition = GrantDefinition.model_validate(
        {"entities": ["users", "demographics"], "fields": {"demographics": {"masks": {"birthDate": "year"}}}}
    )
    projection = Projection(definition, "demographics")
    text = projection.render(SID, AT, "", ',"birthDate":"2012-05-04","sex":"female"')
    assert orjson.loads(text) == {
        "sourcedId": SID,
        "status": "active",
        "dateLastModified": AT,
        "birthDate": "2012-01-01",
    }


def test_selected_fields_are_exactly_those() -> None:
    projection = users()
    assert served(projection, DOC, PRIVATE, fields=frozenset({"givenName", "email", "shoeSize"})) == {
        "givenName": "Ana"
    }
    assert served(projection, DOC, PRIVATE, fields=frozenset({"sourcedId"})) == {"sourcedId": SID + "1"}
    assert projection.render(SID, AT, DOC, PRIVATE, fields=frozenset({"email"})) == "{}"


@pytest.mark.parametrize("definition", [{}, {"fields": {"users": {"masks": {"givenName": "initial"}}}}])
@pytest.mark.parametrize("data", ["\x01", "\x01/orgs/A", "\\u0001", "\\\x01", '{"href":"\x01/x"}', '","href":"\x01'])
def test_no_data_can_forge_the_base_mark(definition: dict[str, object], data: str) -> None:
    value = orjson.dumps(data).decode()
    doc = f'{DOC},"identifier":{value},"metadata":{{"href":{value},"x":[{value}]}}'
    text = users(**definition).render(SID, AT, doc, "")
    assert text.count(BASES["rostering"]) == 2  # the two orgs of the roles
    assert text.count('"href":"\x01/orgs/') == 2
    parsed = orjson.loads(text.replace(BASES["rostering"], "https://hub.example"))
    assert parsed["identifier"] == data
    assert parsed["metadata"] == {"href": data, "x": [data]}


def test_the_references_of_a_document_can_be_read_back() -> None:
    projection = users(fields={"users": {"show": ["agents"]}})
    assert projection.references_in(DOC, PRIVATE) == {"roles": ["A", "B"], "agents": ["P", "Q"]}
    assert users().references_in(DOC, PRIVATE) == {"roles": ["A", "B"]}


def test_a_tombstone_has_base_fields_only() -> None:
    assert tombstone(SID, AT) == f'{{"sourcedId":"{SID}","status":"tobedeleted","dateLastModified":"{AT}"}}'
    assert tombstone(SID, AT, fields=frozenset({"status", "givenName"})) == '{"status":"tobedeleted"}'
    assert tombstone(SID, AT, fields=frozenset({"givenName"})) == "{}"


def test_projections_are_equal_when_they_show_the_same() -> None:
    assert users() == users(fields={"users": {"show": ["givenName"], "hide": ["phone"]}})
    assert hash(users()) == hash(users(fields={"users": {"hide": ["phone"]}}))
    assert users() != users(privacy=["contact"])
    assert users() != users(rules=[{"roles": ["teacher"]}])
    assert Projection(GrantDefinition(), "orgs") == Projection(
        GrantDefinition.model_validate({"rules": [{"roles": ["teacher"]}]}), "orgs"
    )
