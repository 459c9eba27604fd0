"""The examples of docs/grants.md are valid and do what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub.scope.grants import DEFAULT_ENTITIES, NEEDS, GrantDefinition, Mask
from hub.scope.projection import Projection
from transforms.catalogue import CATALOGUE, Privacy

PAGE = (Path(__file__).parents[3] / "docs" / "grants.md").read_text(encoding="utf-8")
MATH, LIBRARY, LMS = (
    GrantDefinition.model_validate_json(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
)


def test_math_sees_two_schools_without_contact_fields() -> None:
    assert len(MATH.rules[0].schools) == 2
    assert not {"email", "phone", "sms", "agents"} & Projection(MATH, "users").visible


@pytest.mark.threat("T19")
def test_library_sees_names_and_little_else() -> None:
    assert "resources" not in LIBRARY.entities  # so that users' references to them never show
    assert Projection(LIBRARY, "users").visible - {"resources"} == {
        "enabledUser", "roles", "givenName", "familyName", "grades", "primaryOrg",
    }  # fmt: skip


def test_lms_sees_everything_as_it_is_stored() -> None:
    assert {Projection(LMS, e.name).mode for e in CATALOGUE.entities} == {"all"}
    assert LMS.entities == tuple(e.name for e in CATALOGUE.entities)


def test_what_needs_what_is_told() -> None:
    table = {tuple(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| `\w+` \|.*$", PAGE, re.MULTILINE)}
    assert {(name, *needed) for name, needed in NEEDS.items()} <= table
    default = re.search(r"The default is (.*?);", PAGE)
    assert default is not None
    assert tuple(re.findall(r"`(\w+)`", default[1])) == DEFAULT_ENTITIES


def test_every_option_is_explained() -> None:
    for word in (*Mask, *Privacy, *GrantDefinition.model_fields, "schools", "courses", "classes", "terms", "grades"):
        assert f"`{word}`" in PAGE
