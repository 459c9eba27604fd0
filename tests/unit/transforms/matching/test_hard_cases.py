"""Every row of the table of hard cases: what becomes of two records among many others."""

from __future__ import annotations

import json
from datetime import date
from functools import cache
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hub.sandbox.rosterbench import TUNING_SEEDS, RosterPlan, rosterbench
from transforms.matching.few import Few
from transforms.matching.people import PERSON, Frequencies, Policy, decide, frequencies, normalised, plain

POPULATION = 65_000
BASE: dict[str, Any] = {
    "source": "sis", "kind": "student", "given": "Marisela", "middle": "Inez", "family": "Quintanar", "sex": "F",
    "birth_date": date(2012, 5, 17), "grade": "09", "street": "14 Oak Street", "postcode": "27601", "schools": [1],
    "begin": date(2025, 8, 20), "active": True, "no_match": False,
}  # fmt: skip
ELSEWHERE = {"street": "902 Mill Road", "postcode": "27013", "schools": [2]}
ENDED = {"active": False, "begin": date(2023, 8, 20), "end": date(2025, 6, 10), "grade": "08"}
STATE = {"ids": [{"type": "state", "identifier": "8812345"}]}


@cache
def counted() -> Frequencies:
    """How common names are in a district, so that two records say as much as they do among many."""
    return frequencies(normalised(rosterbench(RosterPlan(8_000, TUNING_SEEDS[0])).people))


def decided(
    one: dict[str, Any], other: dict[str, Any], policy: Policy | None = None, **settings: Any
) -> dict[str, Any]:  # fmt: skip
    rows = [BASE | {"rid": 1} | one, BASE | {"rid": 2} | other]
    pair = pl.DataFrame({"left": [1], "right": [2]})
    made = decide(
        pl.DataFrame(rows, PERSON),
        pair,
        population=POPULATION,
        frequencies=counted(),
        policy=policy or Policy(),
        **settings,
    )
    return made.frame.row(0, named=True)


def outcome(one: dict[str, Any], other: dict[str, Any], **settings: Any) -> str:
    found = decided(one, other, **settings)
    assert decided(other, one, **settings)["outcome"] == found["outcome"]
    return str(found["outcome"])


OTHER_SOURCE = {"source": "directory"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "the same twice, in two sources": ({}, OTHER_SOURCE, "merge"),
    "twins with different first names": ({}, {"given": "Jimena", "middle": None}, "separate"),
    "twins with different first names, in two sources": ({}, OTHER_SOURCE | {"given": "Rocío"}, "separate"),
    "twins with names that are nearly equal, both active": ({"given": "Jayden"}, {"given": "Jaden"}, "separate"),
    "twins with names that are nearly equal, in two sources": (
        {"given": "Jayden"}, OTHER_SOURCE | {"given": "Jaden"}, "review",
    ),
    "twins with two common names of which one is short for the other": (
        ENDED | {"given": "William", "middle": None}, OTHER_SOURCE | {"given": "Liam", "middle": None}, "review",
    ),
    "twins of whom one has a double name": ({"given": "Ana"}, OTHER_SOURCE | {"given": "Ana Sofía"}, "review"),
    "a slip in the first name, the one ended before the other began": (
        ENDED | {"given": "Marislea"}, OTHER_SOURCE, "merge",
    ),
    "a slip in the first name, both at once": ({"given": "Marislea"}, OTHER_SOURCE, "review"),
    "cousins of one name and birth date": ({"middle": None}, {"middle": None} | ELSEWHERE, "review"),
    "cousins of one name and birth date in two sources": (
        {"middle": "Inez"}, OTHER_SOURCE | ELSEWHERE | {"middle": "Paloma"}, "review",
    ),
    "father and son of one name": (
        {"kind": "guardian", "birth_date": date(1980, 2, 3), "grade": None}, OTHER_SOURCE, "separate",
    ),
    "father and son of one name without a birth date": (
        {"kind": "guardian", "birth_date": None, "grade": None, "schools": None, "middle": None},
        OTHER_SOURCE | {"suffix": "Jr"},
        "review",
    ),
    "staff who is a guardian, by phone and name": (
        {"kind": "staff", "birth_date": date(1980, 2, 3), "phone": "252-555-0110", "grade": None},
        {"kind": "guardian", "birth_date": None, "phone": "+1 252 555 0110", "grade": None, "schools": None}, "review",
    ),
    "staff who is a guardian, by identifier": (
        {"kind": "staff", "birth_date": None, "grade": None} | STATE,
        {"kind": "guardian", "birth_date": None, "grade": None} | STATE, "merge",
    ),
    "staff who was a student": (
        ENDED | {"birth_date": date(2001, 4, 5)},
        {"kind": "staff", "birth_date": date(2001, 4, 5), "grade": None} | ELSEWHERE,
        "review",
    ),
    "staff who was a student, by identifier": (
        ENDED | STATE, {"kind": "staff", "birth_date": None, "grade": None} | ELSEWHERE | STATE, "merge",
    ),
    "shared time at two schools, one state id": (STATE, STATE | {"schools": [2]}, "merge"),
    "names and a birth date alone, at two schools at once and living apart": (
        {"middle": None}, OTHER_SOURCE | ELSEWHERE | {"middle": None}, "review",
    ),
    "a middle name as well, at two schools at once and living apart": ({}, OTHER_SOURCE | ELSEWHERE, "merge"),
    "a middle name as well, a last name that is the other's first name, at two schools at once and living apart": (
        {}, OTHER_SOURCE | ELSEWHERE | {"family": "Marisela"}, "review",
    ),
    "a last name that is the other's first name, moved house": (
        ENDED, OTHER_SOURCE | ELSEWHERE | {"family": "Marisela"}, "merge",
    ),
    "names alone, a slip in the birth date, moved house": (
        ENDED | ELSEWHERE | {"middle": None, "birth_date": date(2012, 5, 18)}, OTHER_SOURCE | {"middle": None},
        "review",
    ),
    "a middle name as well, a slip in the birth date, at two schools at once": (
        {"birth_date": date(2012, 5, 18)}, OTHER_SOURCE | ELSEWHERE, "review",
    ),
    "a middle name as well, a slip in the birth date, moved house": (
        ENDED | ELSEWHERE | {"birth_date": date(2012, 5, 18)}, OTHER_SOURCE, "merge",
    ),
    "a first name, a middle name and a birth date, moved house": (
        ENDED | ELSEWHERE | {"family": "Petry"}, OTHER_SOURCE, "review",
    ),
    "an identifier that was given again to another of that first name": (
        ENDED | ELSEWHERE | STATE | {"family": "Petry", "birth_date": date(2006, 1, 9)}, OTHER_SOURCE | STATE,
        "review",
    ),
    "an identifier, another last name": (
        ENDED | ELSEWHERE | STATE | {"family": "Petry"}, OTHER_SOURCE | STATE, "merge",
    ),
    "a transfer, moved house": (ENDED | ELSEWHERE, OTHER_SOURCE, "merge"),
    "an identifier of somebody else": (
        STATE,
        OTHER_SOURCE | STATE | {"given": "Wolfgang", "family": "Petry", "birth_date": date(2009, 1, 9)} | ELSEWHERE,
        "separate",
    ),
    "all ids changed at a migration": (ENDED, {"ids": [{"type": "new", "identifier": "5"}]}, "merge"),
    "two state ids": (STATE, OTHER_SOURCE | {"ids": [{"type": "state", "identifier": "4490077"}]}, "review"),
    "a state id with a slip": (STATE, OTHER_SOURCE | {"ids": [{"type": "state", "identifier": "8812354"}]}, "merge"),
    "twins whose state ids were mixed up": (STATE, OTHER_SOURCE | STATE | {"given": "Jimena"}, "review"),
    "a preferred name": ({"preferred": "Ximena"}, OTHER_SOURCE | {"given": "Ximena", "schools": [2]}, "review"),
    "a preferred name, with an identifier": (
        {"preferred": "Ximena"} | STATE, OTHER_SOURCE | STATE | {"given": "Ximena"}, "merge",
    ),
    "first and middle name swapped": ({}, OTHER_SOURCE | {"given": "Inez", "middle": "Marisela"}, "merge"),
    "a double surname with a hyphen": (
        {"family": "Quintanar Ruelas"}, OTHER_SOURCE | {"family": "Quintanar-Ruelas"}, "merge",
    ),
    "a double surname in the other order": (
        {"family": "Quintanar Ruelas"}, OTHER_SOURCE | {"family": "Ruelas Quintanar"}, "merge",
    ),
    "one of two surnames": ({"family": "Quintanar de la Ruela"}, OTHER_SOURCE, "merge"),
    "a particle that is written as part of the name": (
        {"family": "De la Quintanar"}, OTHER_SOURCE | {"family": "DelaQuintanar"}, "merge",
    ),
    "a particle": ({"family": "De la Quintanar"}, OTHER_SOURCE, "merge"),
    "an initial that is written as two letters elsewhere": (
        {"middle": "Þórdís"}, OTHER_SOURCE | {"middle": "Þ."}, "merge",
    ),
    "a slip in a name of three letters": (
        ENDED | ELSEWHERE | {"given": "Ava"}, OTHER_SOURCE | {"given": "Avq"}, "merge",
    ),
    "a slip in a name of three letters, of which two are left": (
        ENDED | ELSEWHERE | {"given": "Ava"}, OTHER_SOURCE | {"given": "Av"}, "merge",
    ),
    "two names of three letters": (
        ENDED | ELSEWHERE | {"given": "Ava"}, OTHER_SOURCE | {"given": "Eva"}, "separate",
    ),
    "two names of three letters that nobody else has": (
        ENDED | ELSEWHERE | {"given": "Uxa"}, OTHER_SOURCE | {"given": "Uxi"}, "separate",
    ),
    "no birth date, a pupil who comes when another of that name leaves": (
        ENDED | ELSEWHERE | {"birth_date": None}, OTHER_SOURCE, "merge",
    ),
    "no birth date, a pupil of the name of one who left a long time ago": (
        ENDED | ELSEWHERE | {"birth_date": None, "begin": date(1996, 8, 20), "end": date(2000, 6, 10), "grade": "12"},
        OTHER_SOURCE, "review",
    ),
    "no birth date, a pupil of the name of one who left, of another grade": (
        ENDED | ELSEWHERE | {"birth_date": None, "grade": "12"}, OTHER_SOURCE, "review",
    ),
    "a nickname": ({"given": "Guadalupe"}, OTHER_SOURCE | {"given": "Lupe"}, "merge"),
    "protected": ({"no_match": True} | STATE, OTHER_SOURCE | STATE, "separate"),
    "a placeholder": (
        {"given": "Test", "family": "Student"}, OTHER_SOURCE | {"given": "Test", "family": "Student"}, "separate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    one, other, wanted = CASES[case]

    assert outcome(one, other) == wanted


def among(one: dict[str, Any], other: dict[str, Any], third: dict[str, Any], policy: Policy | None = None) -> str:
    """What becomes of two records when there is a third."""
    rows = [BASE | {"rid": rid} | row for rid, row in enumerate((one, other, third), 1)]
    pair = pl.DataFrame({"left": [1], "right": [2]})
    made = decide(
        pl.DataFrame(rows, PERSON), pair, population=POPULATION, frequencies=counted(), policy=policy or Policy()
    )
    return str(made.frame["outcome"][0])


@pytest.mark.parametrize(
    ("third", "wanted"),
    [
        ({"given": "Marysela", "source": "gym"}, "review"),
        ({"given": "Jimena"}, "review"),
        ({"given": "Marisela", "source": "gym"}, "merge"),
        ({"given": "Jimena", "birth_date": date(2014, 5, 17)}, "merge"),
        ({"given": "Jimena", "no_match": True}, "merge"),
        ({"given": "Jimena"} | ELSEWHERE, "merge"),
    ],
)
def test_a_slip_is_none_where_the_home_knows_another_child_of_that_day(third: dict[str, Any], wanted: str) -> None:
    """Twins, and one of them spelt oddly: of whom the odd name is, nobody can tell."""
    assert among(ENDED | {"given": "Marislea"}, OTHER_SOURCE, third) == wanted


def test_names_and_a_birth_date_that_a_third_record_has_have_to_be_rarer() -> None:
    """Where three records are of one name and birth date there are two people sooner than where two are."""
    one, other = ENDED | ELSEWHERE | {"middle": None}, OTHER_SOURCE | {"middle": None}
    third = {"source": "gym", "middle": None, "street": "3 Elm Road", "postcode": "27044", "schools": [3]}
    common = Policy(contested=0)

    assert among(one, other, third | {"family": "Petry"}, common) == "merge"
    assert among(one, other, third, common) == "review"
    assert among(one, other, third) == "merge"


FORMER = ENDED | STATE | {"middle": None, "email": "mq@district.example"}
NAMESAKE = OTHER_SOURCE | ELSEWHERE | {"middle": None}


@pytest.mark.parametrize(
    ("third", "wanted"),
    [
        ({"source": "gym"} | STATE, "review"),
        ({"source": "gym", "email": "mq@district.example"}, "review"),
        ({"source": "gym", "given": "Marisella"} | STATE, "merge"),
        ({"source": "gym"}, "merge"),
        ({"source": "gym", "ids": [{"type": "state", "identifier": "4490077"}]}, "merge"),
        ({"source": "gym", "schools": [2]} | STATE, "merge"),
        (ENDED | {"begin": date(2022, 8, 20), "end": date(2023, 6, 10), "grade": "06"} | STATE, "merge"),
    ],
)
def test_names_do_not_join_to_one_who_is_known_to_be_another_by_an_identifier(
    third: dict[str, Any], wanted: str
) -> None:
    """The namesake came when the other left, but who left is at another school now, as an identifier says."""
    third |= {"middle": None}

    assert among(FORMER, NAMESAKE, third) == wanted
    assert among(NAMESAKE, FORMER, third) == wanted
    assert among(FORMER, NAMESAKE | {"street": BASE["street"], "postcode": BASE["postcode"]}, third) == "merge"


def test_few_people_have_thirds_as_many_do() -> None:
    """All pairs of a district, and those of one who changed, whose pairs are not those of the others."""
    rows = [
        BASE | {"rid": rid, "middle": None} | row
        for rid, row in enumerate((FORMER, NAMESAKE, {"source": "gym"} | STATE), 1)
    ]
    people = pl.DataFrame(rows, PERSON)
    every = pl.DataFrame({"left": [1, 1, 2], "right": [2, 3, 3]})

    def told(found: pl.DataFrame | Few, pairs: pl.DataFrame) -> pl.DataFrame:
        return decide(normalised(found), pairs, population=POPULATION, frequencies=counted()).frame

    all_of_them = told(people, every)
    assert all_of_them["outcome"].to_list() == ["review", "merge", "review"]
    for rid in (1, 2, 3):
        own = (pl.col("left") == rid) | (pl.col("right") == rid)
        assert_frame_equal(told(Few.of(people), every.filter(own)), all_of_them.filter(own))


def test_a_person_may_say_that_the_third_is_another() -> None:
    rows = [
        BASE | {"rid": rid, "middle": None} | row
        for rid, row in enumerate((FORMER, NAMESAKE, {"source": "gym"} | STATE), 1)
    ]
    cannot = pl.DataFrame({"left": [3], "right": [1]})
    made = decide(
        pl.DataFrame(rows, PERSON), pl.DataFrame({"left": [1], "right": [2]}), population=POPULATION,
        frequencies=counted(), cannot=cannot,
    )  # fmt: skip

    assert made.frame["outcome"].to_list() == ["merge"]


def test_two_names_that_are_crossed_say_more_than_one() -> None:
    swapped = decided({}, OTHER_SOURCE | {"given": "Inez", "middle": "Marisela"})
    one = decided({}, OTHER_SOURCE | {"given": "Inez", "middle": None})

    assert swapped["score"] > one["score"] + 8


def test_what_only_some_names_can_come_to_says_more_of_those() -> None:
    """One half of a double surname, or a nickname, is told of people who have such a name, so that it is not rare."""
    double = {"family": "Quintanar Ruelas"}
    whole, half = decided(double, OTHER_SOURCE | double), decided(double, OTHER_SOURCE)
    one, nickname = ({"given": given} for given in ("Guadalupe", "Lupe"))

    assert _bits(whole, "last name") - _bits(half, "last name") < 3
    assert (
        _bits(decided(one, OTHER_SOURCE | nickname), "first name")
        > _bits(decided(one, OTHER_SOURCE | one), "first name") - 5
    )


def _bits(found: dict[str, Any], field: str) -> float:
    """What a field is worth."""
    return float(next(item["bits"] for item in json.loads(found["evidence"]) if item["what"] == field))


def test_an_identifier_of_somebody_else_is_told_as_suspect() -> None:
    one, other, _ = CASES["an identifier of somebody else"]

    assert decided(one, other)["tier"] == "D"


def test_a_surname_that_is_a_dash_is_missing() -> None:
    found = decided({"family": "-"}, OTHER_SOURCE | {"family": "-"})

    assert "last name" not in found["evidence"]


def test_first_of_january_says_less_than_another_day() -> None:
    common = pl.DataFrame({"rid": range(2000), "birth_date": [date(2012, 1, 1)] * 2000}, strict=False)
    rows = [
        BASE | {"rid": r, "given": None, "family": f"Name{chr(97 + r % 26)}", "birth_date": d} for r, d in common.rows()
    ]
    many = frequencies(normalised(pl.DataFrame(rows, PERSON)))
    new_year, other = (
        decide(
            pl.DataFrame(
                [row | {"birth_date": day} for row in (BASE | {"rid": 1}, BASE | OTHER_SOURCE | {"rid": 2})], PERSON
            ),
            population=POPULATION, frequencies=many,
        ).frame["score"][0]
        for day in (date(2012, 1, 1), date(2012, 5, 17))
    )  # fmt: skip

    assert new_year < other - 8


def test_an_address_of_the_district_joins_and_one_that_two_have_does_not() -> None:
    staff = {"kind": "staff", "birth_date": None, "grade": None, "email": "mq@district.example", "middle": None}
    people = pl.DataFrame(
        [BASE | {"rid": 1} | staff, BASE | OTHER_SOURCE | {"rid": 2} | staff | ELSEWHERE, BASE | {"rid": 3} | staff],
        PERSON,
    )
    pair = pl.DataFrame({"left": [1], "right": [2]})

    def tiers(frame: pl.DataFrame) -> list[tuple[str, str]]:
        made = decide(frame, pair, population=POPULATION, frequencies=counted()).frame
        return [(row["outcome"], row["tier"]) for row in made.rows(named=True)]

    assert tiers(people.head(2)) == [("merge", "C")]
    assert tiers(people)[0][1] == "score"


def test_an_address_at_a_mail_provider_says_no_more_than_a_phone() -> None:
    one = {"email": "mq@gmail.com", "birth_date": None, "grade": None, "kind": "staff"}

    assert decided(one, OTHER_SOURCE | one)["tier"] != "C"


def test_an_address_joins_two_roles_only_in_domains_that_the_district_names() -> None:
    staff = {"kind": "staff", "birth_date": None, "grade": None, "email": "mq@district.example"}
    parent = staff | {"kind": "guardian", "schools": None}

    assert outcome(staff, parent) == "review"
    assert outcome(staff, parent, policy=Policy(email_domains=frozenset({"district.example"}))) == "merge"
    assert (
        outcome(staff | {"kind": "student"}, parent, policy=Policy(email_domains=frozenset({"district.example"})))
        == "review"
    )


def test_what_a_person_kept_apart_stays_apart() -> None:
    cannot = pl.DataFrame({"left": [2], "right": [1]})
    found = decided(STATE, OTHER_SOURCE | STATE, cannot=cannot)

    assert found["outcome"] == "separate"
    assert "A person decided that these are two people." in plain(found["evidence"])


def test_evidence_names_fields_and_levels_and_never_a_value() -> None:
    found = decided({"given": "Guadalupe"}, OTHER_SOURCE | {"given": "Lupe"})

    assert '{"what":"first name","level":"nickname","bits":' in found["evidence"]
    assert not [word for word in ("guadalupe", "lupe", "quintanar", "2012", "oak") if word in found["evidence"].lower()]
    assert "Birth date: equal (very strong, speaks for one person)." in plain(found["evidence"])
    assert found["model"] != ""
