"""Identifiers that a state gives: placeholders, one of several people, several of one (ID-006, ID-007, ID-008)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.rosters import Result, clean, frames, run
from transforms.catalogue import Version


def found(version: Version, cells: dict[str, dict[str, str]], **options: Any) -> Result:
    """The clean roster with cells of its users changed."""
    files = clean(version)
    for row in files["users"]:
        row.update(cells.get(row["sourcedId"] or "", {}))
    return run(version, frames(version, files), **options)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("000", "ID-006"), ("0", "ID-006"), ("999", "ID-006"), ("99", None), ("11111", "ID-006"), ("1111", None),
        ("123456789", "ID-006"), ("1234567890", "ID-006"), ("12345678", "ID-006"), ("1234567", None),
        ("99990", None), ("0001", None), ("4471123", None),
    ],
)  # fmt: skip
def test_placeholders_are_told(text: str, code: str | None) -> None:
    for field, cells in (
        ("userIds", {"userIds": f"{{StateID:{text}}}"}),
        ("userMasterIdentifier", {"userMasterIdentifier": text}),
    ):
        issues = found("1.2", {"u1": cells}).issues
        assert issues.select("code", "key", "field").rows() == ([(code, "u1", field)] if code else [])


@pytest.mark.parametrize("kind", ["StateID", "state", "STATE_ID", "ssid", "state student id", "StateIdentifier"])
def test_items_of_a_state_are_told_from_others(kind: str) -> None:
    cells = {"userIds": f"{{{kind}:000000}},{{LDAP:000000}}"}
    assert found("1.1", {"u1": cells}).codes() == ["ID-006"]
    assert found("1.1", {"u1": {"userIds": "{estate:000000},{LTI:000000}"}}).codes() == []


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("size", [None, 1])
def test_an_identifier_of_several_users_names_each(version: Version, size: int | None) -> None:
    same = {key: {"userIds": "{StateID:4471123}"} for key in ("u1", "u2")}

    result = found(version, same, size=size)

    assert result.issues.select("code", "key", "line", "field", "cause").rows() == [
        ("ID-007", "u1", 2, "userIds", "users:u1"), ("ID-007", "u2", 3, "userIds", "users:u1"),
    ]  # fmt: skip
    assert result.keys("users") == ["u1", "u2", "u3"]


@pytest.mark.parametrize(
    "cells",
    [
        {"u1": {"userMasterIdentifier": "4471123"}, "u2": {"userIds": "{StateID:4471123}"}},  # not of one kind
        {"u1": {"userIds": "{StateID:000000}"}, "u2": {"userIds": "{StateID:000000}"}},  # said already
        {"u1": {"userIds": "{LDAP:4471123}"}, "u2": {"userIds": "{LDAP:4471123}"}},
        {"u1": {"userIds": "{StateID:4471123}"}, "u2": {"userIds": "{StateID:4471124}"}},
        {"u1": {"userIds": "{StateID:4471123}"}, "u2": {"userIds": "{StateID:4471123}", "familyName": "x" * 101}},
    ],
)
def test_others_are_not_shared(cells: dict[str, dict[str, str]]) -> None:
    assert "ID-007" not in found("1.2", cells).codes()


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("{StateID:4471123},{StateID:4471124}", ["ID-008"]),
        ("{StateID:4471123},{SSID:4471124}", ["ID-008"]),
        ("{StateID:4471123},{SSID:4471123}", []),
        ("{StateID:4471123},{LDAP:ana}", []),
    ],
)
def test_several_identifiers_of_one_user_are_told(text: str, codes: list[str]) -> None:
    assert found("1.2", {"u1": {"userIds": text}}).codes() == codes
