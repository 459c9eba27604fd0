from __future__ import annotations

import uuid

import pytest
from pydantic import ValidationError

from hub.scope.grants import GrantDefinition, Rule, policy_fields
from transforms.catalogue import CATALOGUE, Need, Privacy


@pytest.mark.threat("T19")
def test_a_new_grant_has_neither_demographics_nor_grades_nor_resources() -> None:
    assert set(GrantDefinition().entities) == {
        "orgs", "academicSessions", "courses", "classes", "users", "enrollments",
    }  # fmt: skip
    assert GrantDefinition().privacy == ()


def test_a_definition_survives_its_json() -> None:
    definition = GrantDefinition.model_validate_json(
        '{"rules": [{"schools": ["0198c0de-0000-7000-8000-000000000001"], "roles": ["teacher", "ext:coach"]}],'
        ' "entities": ["users", "orgs"], "privacy": ["contact"],'
        ' "fields": {"users": {"hide": ["phone"], "masks": {"familyName": "initial"}}}}'
    )
    assert GrantDefinition.model_validate_json(definition.model_dump_json()) == definition
    assert definition.entities == ("orgs", "users")
    assert definition.rules[0].schools == (uuid.UUID("0198c0de-0000-7000-8000-000000000001"),)
    assert definition.admitted_roles == {"teacher", "ext:coach"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"fields": {"users": {"hide": ["givenName"]}}}, "users.givenName cannot be hidden.*mask it instead"),
        ({"fields": {"users": {"hide": ["roles"]}}}, "users.roles cannot be hidden.*always shown"),
        ({"fields": {"users": {"hide": ["shoeSize"]}}}, "users has no field 'shoeSize'"),
        ({"fields": {"users": {"masks": {"shoeSize": "initial"}}}}, "users has no field 'shoeSize'"),
        ({"fields": {"users": {"masks": {"agents": "initial"}}}}, "users.agents cannot be masked by 'initial'"),
        ({"fields": {"users": {"masks": {"givenName": "year"}}}}, "users.givenName cannot be masked by 'year'"),
        ({"fields": {"users": {"masks": {"email": "initial"}, "hide": ["email"]}}}, "users.email cannot be hidden and"),
        ({"fields": {"users": {"show": ["password"]}}}, "users has no field 'password'"),
        ({"fields": {"users": {"hide": ["sourcedId"]}}}, "users has no field 'sourcedId'"),
        ({"fields": {"people": {}}}, "'people' is no entity"),
        ({"entities": ["roles"]}, "'roles' is no entity"),
        ({"entities": ["enrollments", "users"]}, "enrollments need classes beside them"),
        ({"entities": ["demographics"]}, "demographics need users beside them"),
        ({"entities": ["classes", "lineItems"]}, "lineItems need categories beside them"),
        ({"entities": ["classes", "categories", "lineItems", "results"]}, "results need users beside them"),
        ({"entities": ["scoreScales"]}, "scoreScales need classes beside them"),
        ({"entities": ["users", "assessmentResults"]}, "assessmentResults need assessmentLineItems beside them"),
        ({"entities": ["resultScoreScales"]}, "'resultScoreScales' is no entity"),
        ({"fields": {"results": {"hide": ["scoreDate"]}}}, "results.scoreDate cannot be hidden.*mask it instead .year"),
        ({"rules": [{"roles": ["janitor"]}]}, "'janitor' is no user role"),
        ({"rules": [{"school": []}]}, "Extra inputs are not permitted"),
        ({"rules": [{"schools": ["north"]}]}, "valid UUID"),
        ({"privacy": ["everything"]}, "directory"),
    ],
)
def test_a_mistake_is_named(body: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GrantDefinition.model_validate(body)


def test_every_required_member_can_be_told_apart_from_those_that_may_be_hidden() -> None:
    for entity in CATALOGUE.entities:
        for field in policy_fields(entity):
            body = {"fields": {entity.name: {"hide": [field.name]}}}
            if field.rest12 is Need.REQUIRED:
                with pytest.raises(ValidationError, match=f"{entity.name}.{field.name}"):
                    GrantDefinition.model_validate(body)
            else:
                GrantDefinition.model_validate(body)


def test_roles_that_no_rule_names_do_not_show() -> None:
    assert GrantDefinition().admitted_roles is None
    assert GrantDefinition(rules=(Rule(roles=("teacher",)), Rule())).admitted_roles is None
    assert GrantDefinition(rules=(Rule(roles=("teacher",)), Rule(roles=("aide",)))).admitted_roles == {
        "teacher",
        "aide",
    }


def test_privacy_classes_are_those_of_the_catalogue() -> None:
    assert GrantDefinition(privacy=tuple(Privacy)).privacy == tuple(Privacy)
