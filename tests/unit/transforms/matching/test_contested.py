"""Names and a birth date that a third record has, too: one person with three records, or two people."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.unit.transforms.matching.test_hard_cases import BASE, ELSEWHERE, ENDED, OTHER_SOURCE, POPULATION, counted
from transforms.matching.few import Few
from transforms.matching.normal import normalised
from transforms.matching.people import PERSON, Policy, decide

#: So that these names are contested, and not too common where nobody else has them.
CONTESTED = Policy(contested=0)
FORMER: dict[str, Any] = ENDED | ELSEWHERE
NOW: dict[str, Any] = OTHER_SOURCE
BEFORE: dict[str, Any] = ENDED | {
    "source": "gym",
    "schools": [3],
    "grade": "06",
    "street": "3 Elm Road",
    "postcode": "27044",
}
BEFORE |= {"begin": ENDED["begin"].replace(year=2021), "end": ENDED["begin"].replace(month=6)}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([BASE | {"rid": rid, "middle": None} | row for rid, row in enumerate(rows, 1)], PERSON)


def told(people: pl.DataFrame | Few, pairs: list[tuple[int, int]], policy: Policy = CONTESTED) -> pl.DataFrame:
    asked = pl.DataFrame(pairs, {"left": pl.UInt32, "right": pl.UInt32}, orient="row")
    return decide(people, asked, population=POPULATION, frequencies=counted(), policy=policy).frame


def outcome(*rows: dict[str, Any], policy: Policy = CONTESTED) -> str:
    """What becomes of the first two of some records, in whatever order all of them are."""
    found = {
        told(frame(*(rows[at] for at in order)), [(order.index(0) + 1, order.index(1) + 1)], policy)["outcome"][0]
        for order in permutations(range(len(rows)))
    }
    assert len(found) == 1
    return str(found.pop())


ACTIVE = {"source": "gym", "schools": [3], "street": "3 Elm Road", "postcode": "27044"}


@pytest.mark.parametrize(
    ("third", "wanted"),
    [
        (BEFORE, "merge"),
        (ACTIVE, "review"),
        (BEFORE | {"middle": "Paloma"}, "merge"),
        (BEFORE | {"sex": "M"}, "review"),
        (BEFORE | {"family": "Petry"}, "merge"),
        (ACTIVE | {"no_match": True}, "merge"),
    ],
)
def test_a_third_of_these_names_is_no_other_where_it_is_joined_to_both(third: dict[str, Any], wanted: str) -> None:
    """Who is at a third school at the same time may be a namesake, of whom the former record may be."""
    assert outcome(FORMER, NOW, third) == wanted


def test_one_third_that_is_not_joined_is_enough() -> None:
    assert outcome(FORMER, NOW, BEFORE) == "merge"
    assert outcome(FORMER, NOW, BEFORE, ACTIVE) == "review"


def test_names_that_are_too_common_are_left_to_people_whoever_is_joined() -> None:
    assert outcome(FORMER, NOW, BEFORE, policy=Policy(contested=0, rarity=0)) == "review"


def test_so_many_namesakes_decide_nothing() -> None:
    many = [BEFORE | {"source": f"gym {number}"} for number in range(20)]

    assert told(frame(FORMER, NOW, *many[:18]), [(1, 2)])["outcome"][0] == "merge"
    assert told(frame(FORMER, NOW, *many), [(1, 2)])["outcome"][0] == "review"


def test_a_person_may_say_that_the_third_is_another_and_then_there_are_two() -> None:
    people = frame(FORMER, NOW, BEFORE)
    cannot = pl.DataFrame({"left": [3], "right": [1]})
    pair = pl.DataFrame({"left": [1], "right": [2]})
    made = decide(people, pair, population=POPULATION, frequencies=counted(), policy=CONTESTED, cannot=cannot)

    assert made.frame["outcome"].to_list() == ["review"]


def test_few_people_are_decided_on_as_all_are() -> None:
    people = frame(FORMER, NOW, BEFORE, ACTIVE)
    every = [(left, right) for left in range(1, 5) for right in range(left + 1, 5)]
    all_of_them = told(normalised(people), every)

    for rid in range(1, 5):
        own = [pair for pair in every if rid in pair]
        mine = all_of_them.filter((pl.col("left") == rid) | (pl.col("right") == rid))
        assert_frame_equal(told(normalised(Few.of(people)), own), mine)
