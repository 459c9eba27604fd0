"""Names that are spelt otherwise: a slip, another form of the name, or another name."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest

from tests.unit.transforms.matching.test_hard_cases import BASE, ELSEWHERE, ENDED, OTHER_SOURCE, POPULATION, counted
from transforms.matching.frequencies import Frequencies, frequencies
from transforms.matching.names import forms_of_one
from transforms.matching.normal import normalised
from transforms.matching.people import PERSON, decide

#: How often names are met beside those of everybody else.
GIVEN = {"Emma": 400, "Ema": 4, "Emna": 20, "Ava": 400, "Avq": 4, "Av": 20}
FAMILY = {"Miller": 200, "Mller": 2, "Millar": 20, "Kowalski": 30, "Kowalska": 30, "Kowalsko": 30}


@cache
def met() -> Frequencies:
    """How common names are in a district in which those above are met so often."""
    given, family = (
        pl.Series([name for name, often in names.items() for _ in range(often)]) for names in (GIVEN, FAMILY)
    )
    rows = pl.concat([pl.DataFrame({"given": given}), pl.DataFrame({"family": family})], how="diagonal")
    rows = rows.with_columns(rid=pl.row_index() + 1, birth_date=date(2010, 1, 2))
    some = frequencies(
        normalised(pl.concat([pl.DataFrame(schema=PERSON), rows.cast({"rid": pl.UInt32})], how="diagonal"))
    )
    counts = pl.concat([counted().counts, some.counts]).group_by("kind", "hash").agg(pl.col("count").sum())
    return Frequencies(counted().total + some.total, counts.cast({"count": pl.UInt32}))


def decided(*rows: dict[str, Any]) -> dict[str, Any]:
    """What becomes of the first two of some records, whichever of them comes first."""
    found = [
        decide(
            pl.DataFrame([BASE | {"rid": rid} | row for rid, row in enumerate(order, 1)], PERSON),
            pl.DataFrame({"left": [1], "right": [2]}), population=POPULATION, frequencies=met(),
        ).frame.row(0, named=True)
        for order in (rows, (rows[1], rows[0], *rows[2:]))
    ]  # fmt: skip
    assert found[0]["outcome"] == found[1]["outcome"]
    return found[0]


def level(found: dict[str, Any], field: str) -> str:
    return str(next(item["level"] for item in json.loads(found["evidence"]) if item["what"] == field))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("Emma", "Ema", "spelling"),
        ("Emma", "Emna", "another name that is spelt alike"),
        ("Ava", "Avq", "spelling"),
        ("Ava", "Av", "different"),
    ],
)
def test_a_slip_that_several_made_is_one_where_a_hundred_times_as_many_have_the_name(
    one: str, other: str, wanted: str
) -> None:
    found = decided(ENDED | ELSEWHERE | {"given": other}, OTHER_SOURCE | {"given": one})

    assert level(found, "first name") == wanted
    assert (found["outcome"] == "merge") == (wanted == "spelling")


def test_twins_are_two_whatever_their_names_are_taken_for() -> None:
    slip = {"given": "Ema", "middle": None}

    assert decided(slip, {"given": "Emma", "middle": None})["outcome"] == "separate"
    assert decided(slip, OTHER_SOURCE | {"given": "Emma", "middle": None})["outcome"] == "review"
    assert decided(ENDED | slip, OTHER_SOURCE | {"given": "Emma"}, {"given": "Jimena"})["outcome"] == "review"


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("Miller", "Mller", "spelling"),
        ("Miller", "Millar", "another name that is spelt alike"),
        ("Quintanar", "Quintanr", "spelling"),
        ("Kowalski", "Kowalska", "spelling"),
        ("Kowalski", "Kowalsko", "another name that is spelt alike"),
    ],
)
def test_a_last_name_that_many_have_is_no_slip_of_another(one: str, other: str, wanted: str) -> None:
    found = decided(ENDED | {"family": one}, OTHER_SOURCE | {"family": other})

    assert level(found, "last name") == wanted


def test_another_last_name_says_less_than_a_slip() -> None:
    namesake = OTHER_SOURCE | ELSEWHERE | {"family": "Miller", "middle": None}
    slip, another = (decided(ENDED | {"family": name, "middle": None}, namesake) for name in ("Mller", "Millar"))

    assert slip["score"] > another["score"] + 4


@pytest.mark.parametrize(
    ("man", "woman"),
    [
        ("kowalski", "kowalska"), ("sawicki", "sawicka"), ("zawadzki", "zawadzka"), ("novotny", "novotna"),
        ("novak", "novakova"), ("dostoevsky", "dostoevskaya"), ("tolstoy", "tolstaya"), ("petrov", "petrova"),
        ("lebedev", "lebedeva"), ("pushkin", "pushkina"), ("papadopoulos", "papadopoulou"),
        ("kazlauskas", "kazlauskiene"),
    ],
)  # fmt: skip
def test_a_surname_has_a_form_for_men_and_one_for_women(man: str, woman: str) -> None:
    assert forms_of_one(man, woman)
    assert forms_of_one(woman, man)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kowalski", "kowalski"), ("kowalska", "kowalczyk"), ("rivera", "rivero"), ("petrova", "petrovic"),
        ("li", "liova"), ("ov", "ova"), ("hansen", "hanson"), ("garcia", "garci"), ("", ""),
    ],
)  # fmt: skip
def test_other_surnames_are_no_forms_of_one(one: str, other: str) -> None:
    assert not forms_of_one(one, other)
    assert not forms_of_one(other, one)


STAFF: dict[str, Any] = {"kind": "staff", "grade": None, "birth_date": date(1984, 3, 9), "phone": "252-555-0110"}


def test_a_slip_is_one_where_a_phone_is_all_that_is_shared() -> None:
    """Who moved house kept the phone; nobody else of that name and birthday has it."""
    one, other = ENDED | ELSEWHERE | STAFF | {"given": "Marislea", "grade": None}, OTHER_SOURCE | STAFF

    assert decided(one, other)["outcome"] == "merge"
    assert decided(one, other, STAFF | {"given": "Marysela"})["outcome"] == "review"
    assert decided(one, other, STAFF | {"given": "Jimena"})["outcome"] == "review"
    assert decided(one, other, STAFF | {"given": "Jimena", "phone": "252-555-0111"})["outcome"] == "merge"
    assert decided(one | {"active": True, "end": None}, other)["outcome"] == "review"


def test_a_slip_is_none_where_the_home_or_the_phone_knows_another_of_that_day() -> None:
    one, other = ENDED | STAFF | {"given": "Marislea", "grade": None}, OTHER_SOURCE | STAFF

    assert decided(one, other)["outcome"] == "merge"
    assert decided(one, other, STAFF | ELSEWHERE | {"given": "Jimena"})["outcome"] == "review"
    assert decided(one, other, STAFF | {"given": "Jimena", "phone": None})["outcome"] == "review"
