"""Properties of matching on small rosters: order, symmetry, one scorer for one person and for all, clusters."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hub.sandbox.rosterbench import CASES, TUNING_SEEDS, RosterBench, RosterPlan, rosterbench
from tests.benchmarks.identity.measures import pairs_of, scored
from transforms.matching.people import (
    KEYS,
    KINDS,
    PERSON,
    Decisions,
    candidates,
    clusters,
    decide,
    frequencies,
    keys,
    normalised,
)  # fmt: skip

RECORDS = 4_000


@pytest.fixture(scope="module")
def bench() -> RosterBench:
    return rosterbench(RosterPlan(RECORDS, TUNING_SEEDS[1], identifiers=True))


@pytest.fixture(scope="module")
def people(bench: RosterBench) -> pl.DataFrame:
    return normalised(bench.people)


@pytest.fixture(scope="module")
def decisions(people: pl.DataFrame) -> Decisions:
    return decide(people, population=RECORDS)


def test_the_generator_makes_the_same_people_of_the_same_plan(bench: RosterBench) -> None:
    again = rosterbench(RosterPlan(RECORDS, TUNING_SEEDS[1], identifiers=True))

    assert_frame_equal(again.people, bench.people)
    assert_frame_equal(again.truth, bench.truth)
    assert bench.people.schema == PERSON
    met = {name for bit, name in enumerate(CASES) if bench.truth.filter(pl.col("cases") & (1 << bit) > 0).height}
    assert met == set(CASES)


def test_joined_are_those_who_are_one(bench: RosterBench, decisions: Decisions) -> None:
    """Bounds far from what is measured: they tell a broken rule from a weak one."""
    real = bench.truth.filter(pl.col("cases") & (1 << CASES.index("placeholder")) == 0)
    true = pairs_of(real, "person")
    found = pairs_of(clusters(decisions, bench.people), "cluster")
    twins = pairs_of(real.filter(pl.col("twins") > 0), "twins").join(true, on=["left", "right"], how="anti")

    assert scored(found, true).precision.value > 0.99
    assert scored(found, true).recall.value > 0.85
    assert twins.height > 50
    assert twins.join(found, on=["left", "right"], how="semi").height == 0


def test_order_of_rows_makes_no_difference(people: pl.DataFrame, decisions: Decisions) -> None:
    shuffled = people.sample(fraction=1, shuffle=True, seed=3)
    again = decide(shuffled, population=RECORDS)

    assert_frame_equal(again.frame, decisions.frame)
    assert_frame_equal(clusters(Decisions(again.frame.reverse()), shuffled), clusters(decisions, people))


def test_sides_of_a_pair_make_no_difference(people: pl.DataFrame, decisions: Decisions) -> None:
    turned = decisions.frame.select(left="right", right="left").sample(fraction=1, shuffle=True, seed=4)
    mirrored = people.with_columns(rid=(RECORDS * 2 - pl.col("rid")).cast(pl.UInt32))
    counts = frequencies(people)
    asked = turned.select((RECORDS * 2 - pl.col(side)).cast(pl.UInt32).alias(side) for side in ("left", "right"))

    assert_frame_equal(decide(people, turned, population=RECORDS, frequencies=counts).frame, decisions.frame)
    swapped = decide(mirrored, asked, population=RECORDS, frequencies=counts).frame
    back = swapped.with_columns(
        left=(RECORDS * 2 - pl.col("right")).cast(pl.UInt32), right=(RECORDS * 2 - pl.col("left")).cast(pl.UInt32)
    )
    assert_frame_equal(back.sort("left", "right"), decisions.frame, rel_tol=1e-6)


def test_one_changed_person_is_decided_as_in_the_batch(people: pl.DataFrame, decisions: Decisions) -> None:
    """By keys against an index, with the rows of candidates alone."""
    index, counts = keys(people), frequencies(people)
    assert index.schema == KEYS
    for rid in decisions.frame["left"].unique().sort().head(20):
        mine = people.filter(pl.col("rid") == rid)
        own = keys(mine)
        others = index.join(own, on=["kind", "hash"], how="semi")
        pairs = candidates(own, others)
        few = people.filter(pl.col("rid").is_in([*pairs["left"], *pairs["right"]]))
        found = decide(few, pairs, population=RECORDS, frequencies=counts).frame
        batch = decisions.frame.filter((pl.col("left") == rid) | (pl.col("right") == rid))

        assert_frame_equal(found.join(batch, on=["left", "right"], how="semi"), batch)
        assert found.join(batch, on=["left", "right"], how="anti")["outcome"].unique().to_list() in ([], ["separate"])


def test_candidates_are_the_same_by_keys_and_within_the_batch(people: pl.DataFrame, decisions: Decisions) -> None:
    by_keys = candidates(keys(people))

    assert decisions.frame.join(by_keys, on=["left", "right"], how="anti").height == 0
    assert by_keys.filter(pl.col("left") >= pl.col("right")).height == 0


def test_blocks_bigger_than_their_cap_are_left_out() -> None:
    cap = KINDS[8].cap
    rows = [{"rid": r, "kind": 8, "hash": 1} for r in range(cap + 1)]

    assert candidates(pl.DataFrame(rows[:cap], KEYS)).height == cap * (cap - 1) // 2
    assert candidates(pl.DataFrame(rows, KEYS)).height == 0
    assert candidates(pl.DataFrame(rows[:1], KEYS), pl.DataFrame(rows[1:], KEYS)).height == 0


def test_hashes_of_keys_are_those_that_are_kept_in_databases() -> None:
    """A change here makes every kept index worthless: it needs a step that makes the keys anew."""
    row = {"rid": 1, "given": "Zoë", "family": "De la Cruz", "birth_date": date(2012, 5, 17)}
    made = keys(normalised(pl.DataFrame([row], PERSON))).filter(pl.col("kind").is_in([0, 1, 2]))

    assert made.rows() == KEPT


KEPT = [(1, 0, -755168517541938282), (1, 1, 3268838614544665532), (1, 2, -2607806136540273808)]


def chained(*rows: tuple[int, int, str, str, float]) -> Decisions:
    schema = {"left": pl.UInt32, "right": pl.UInt32, "outcome": pl.String, "tier": pl.String, "posterior": pl.Float64}
    return Decisions(pl.DataFrame(rows, schema, orient="row"))


def records(*sources: str, active: bool = True) -> pl.DataFrame:
    rows = [{"rid": at, "source": source, "kind": "student", "active": active} for at, source in enumerate(sources, 1)]
    return pl.DataFrame(rows, PERSON)


def grouped(decisions: Decisions, people: pl.DataFrame, cannot: pl.DataFrame | None = None) -> list[int]:
    return clusters(decisions, people, cannot)["cluster"].to_list()


def test_two_ends_of_a_chain_that_are_two_people_are_not_joined_by_the_middle() -> None:
    chain = chained(
        (1, 2, "merge", "score", 0.99999), (2, 3, "merge", "score", 0.9999), (1, 3, "separate", "score", 1e-6)
    )

    assert grouped(chain, records("a", "b", "c")) == [1, 1, 3]


def test_names_do_not_join_a_person_of_whom_one_record_denies_it_and_an_identifier_does() -> None:
    one = ((1, 2, "merge", "C", 0.9999999), (1, 3, "merge", "C", 0.9999999), (2, 3, "merge", "C", 0.9999999))
    denied = ((1, 4, "merge", "E", 0.99996), (2, 4, "merge", "E", 0.99996), (3, 4, "separate", "score", 0.8))
    joined = ((1, 4, "merge", "B", 0.99996), *denied[1:])

    assert grouped(chained(*one, *denied), records("a", "b", "c", "d")) == [1, 1, 1, 4]
    assert grouped(chained(*one, *joined), records("a", "b", "c", "d")) == [1, 1, 1, 1]


def test_a_chain_without_a_doubt_is_one_person() -> None:
    chain = chained((1, 2, "merge", "E", 0.999999), (2, 3, "merge", "E", 0.999999))

    assert grouped(chain, records("a", "b", "c")) == [1, 1, 1]


def test_what_must_stay_apart_does_so_over_any_way() -> None:
    chain = chained((1, 2, "merge", "E", 0.999999), (2, 3, "merge", "B", 0.9999999), (1, 3, "separate", "score", 0.9))
    cannot = pl.DataFrame({"left": [3], "right": [1]})

    assert grouped(chain, records("a", "b", "c"), cannot) == [1, 2, 2]


def test_one_source_has_one_active_record_of_a_person_unless_an_identifier_says_so() -> None:
    by_name = chained((1, 2, "merge", "E", 0.999999), (2, 3, "merge", "E", 0.999999), (1, 3, "merge", "E", 0.999999))
    by_id = chained((1, 3, "merge", "B", 0.999999))

    assert grouped(by_name, records("a", "b", "a")) == [1, 1, 3]
    assert grouped(by_name, records("a", "b", "a", active=False)) == [1, 1, 1]
    assert grouped(by_id, records("a", "b", "a")) == [1, 2, 1]
    assert grouped(chained((1, 3, "merge", "E", 0.9999999)), records("a", "b", "a")) == [1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_clusters_keep_what_is_asked_of_them(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 8))
    every = [(left, right) for left in range(1, size + 1) for right in range(left + 1, size + 1)]
    chosen = data.draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    rows = [
        (*pair, data.draw(st.sampled_from(["merge", "separate", "review"])),
         data.draw(st.sampled_from(["B", "E", "score"])),
         data.draw(st.sampled_from([1e-6, 0.5, 0.999, 0.9999999])))
        for pair in chosen
    ]  # fmt: skip
    apart = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=3))
    cannot = pl.DataFrame(apart, {"left": pl.UInt32, "right": pl.UInt32}, orient="row")
    people = records(*data.draw(st.lists(st.sampled_from("abc"), min_size=size, max_size=size)))
    made = clusters(chained(*rows), people, cannot)
    again = clusters(chained(*data.draw(st.permutations(rows))), people.reverse(), cannot)
    of = dict(made.iter_rows())
    sure = {tuple(row[:2]) for row in rows if row[2] == "merge" and row[3] == "B"}

    assert_frame_equal(made, again)
    assert not [pair for pair in apart if of[pair[0]] == of[pair[1]]]
    sources = dict(people.select("rid", "source").iter_rows())
    assert not [p for p in every if of[p[0]] == of[p[1]] and sources[p[0]] == sources[p[1]] and p not in sure]
    assert all(of[of[rid]] == of[rid] <= rid for rid in of)
