"""Survivorship: which of several values survives, and where it comes from."""

from __future__ import annotations

import random
from typing import Any

import orjson
import polars as pl
import pytest

from transforms import canonical
from transforms.catalogue import CATALOGUE
from transforms.merge import STATEMENT, Preference, Survivorship, merge

NAMES = [field.name for field in canonical.body(CATALOGUE["users"])]
SCHEMA: dict[str, Any] = STATEMENT | {n: t for n, t in canonical.schema("users").items() if n in NAMES}


def said(source: str, rank: int, at: int = 0, rid: int = 1, cleared: list[str] | None = None, **values: Any) -> Any:
    return {"rid": rid, "source": source, "rank": rank, "at": at, "cleared": cleared} | values


def merged(*statements: dict[str, Any], **rules: Preference) -> dict[str, Any]:
    frame = pl.DataFrame(list(statements), schema=SCHEMA)
    (row,) = merge("users", frame, Survivorship(rules)).to_dicts()
    return {n: row[n] for n in NAMES if row[n] is not None} | {"provenance": orjson.loads(row["provenance"])}


def test_the_first_source_that_has_a_value_gives_it() -> None:
    row = merged(said("hr", 1, givenName="Robert", email="r@b.org"), said("sis", 0, givenName="Bob"))

    assert row == {
        "givenName": "Bob", "email": "r@b.org", "provenance": {"givenName": "sis", "email": "hr"},
    }  # fmt: skip


def test_the_fresher_statement_gives_it_where_that_is_the_rule() -> None:
    row = merged(
        said("sis", 0, at=1, phone="1", sms="1"), said("hr", 1, at=2, phone="2", sms="2"),
        phone=Preference.FRESHNESS,
    )  # fmt: skip

    assert (row["phone"], row["sms"]) == ("2", "1")


def test_the_fuller_statement_gives_it_and_the_longer_list() -> None:
    row = merged(
        said("sis", 0, givenName="A", grades=["09"]),
        said("hr", 1, givenName="B", familyName="C", email="x", grades=["09", "10"]),
        givenName=Preference.COMPLETENESS, grades=Preference.COMPLETENESS,
    )  # fmt: skip

    assert (row["givenName"], row["grades"]) == ("B", ["09", "10"])


def test_lists_are_joined_where_that_is_the_rule() -> None:
    row = merged(said("hr", 1, grades=["11", "09"]), said("sis", 0, grades=["09", "10"]), grades=Preference.UNION)

    assert row["grades"] == ["09", "10", "11"]


def test_empty_lists_are_no_values() -> None:
    row = merged(said("sis", 0, grades=[]), said("hr", 1, grades=["10"]))

    assert row["grades"] == ["10"]
    assert row["provenance"] == {"grades": "hr"}


@pytest.mark.parametrize("rule", list(Preference))
def test_an_override_goes_before_all(rule: Preference) -> None:
    row = merged(
        said("override:1", -1, at=0, grades=["01"], givenName="Z"),
        said("sis", 0, at=9, grades=["09", "10"], givenName="A"),
        grades=rule, givenName=rule if rule is not Preference.UNION else Preference.PRIORITY,
    )  # fmt: skip

    assert (row["grades"], row["givenName"]) == (["01"], "Z")
    assert row["provenance"] == {"grades": "override:1", "givenName": "override:1"}


def test_an_override_may_empty_a_field() -> None:
    row = merged(said("override:1", -1, cleared=["email"]), said("sis", 0, email="a@b.org", givenName="A"))

    assert row == {"givenName": "A", "provenance": {"givenName": "sis"}}


def test_a_field_may_have_an_order_of_its_own() -> None:
    frame = pl.DataFrame([said("sis", 0, email="a", phone="1"), said("hr", 1, email="b", phone="2")], schema=SCHEMA)
    rules = Survivorship({}, {"email": ["hr", "sis"]})

    (row,) = merge("users", frame, rules).to_dicts()

    assert (row["email"], row["phone"]) == ("b", "1")


def test_the_order_of_statements_changes_nothing() -> None:
    rng = random.Random(4)
    statements = [
        said(source, rank, at=rng.randrange(3), rid=rid, givenName=rng.choice(["A", "B", None]),
             grades=rng.choice([None, [], ["09"], ["10", "09"]]), email=rng.choice([None, "x", "y"]))
        for rid in range(40) for rank, source in enumerate(("sis", "hr", "sheet")) if rng.random() < 0.8
    ]  # fmt: skip
    rules = Survivorship(
        {"givenName": Preference.FRESHNESS, "grades": Preference.UNION, "email": Preference.COMPLETENESS}
    )
    first = merge("users", pl.DataFrame(statements, schema=SCHEMA), rules)
    for _ in range(5):
        rng.shuffle(statements)
        assert merge("users", pl.DataFrame(statements, schema=SCHEMA), rules).equals(first)
