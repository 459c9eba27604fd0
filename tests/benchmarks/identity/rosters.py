"""rosterbench: what is joined, what is left to people, twins, origins; how long it takes and how much memory."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from hub.allocator import give_back_freed_memory
from hub.sandbox.rosterbench import CASES, ORIGIN_NAMES, RosterBench, RosterPlan, rosterbench
from tests.benchmarks.identity.measures import Score, Share, pairs_of, scored
from transforms.matching.people import (
    Decisions,
    candidates,
    clusters,
    decide,
    frequencies,
    keys,
    normalised,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Counts of one or several seeds. ``by_case`` and ``by_origin``: recall, automatic and after review."""

    records: int
    automatic: Score
    reviewed: Score
    review: Share
    twins: Share
    by_case: dict[str, tuple[Share, Share]]
    by_origin: dict[str, tuple[Share, Share]]

    def __add__(self, other: Outcome) -> Outcome:
        def both(
            one: dict[str, tuple[Share, Share]], two: dict[str, tuple[Share, Share]]
        ) -> dict[str, tuple[Share, Share]]:
            none = (Share(0, 0), Share(0, 0))
            return {
                k: (one.get(k, none)[0] + two.get(k, none)[0], one.get(k, none)[1] + two.get(k, none)[1])
                for k in one | two
            }

        return Outcome(
            self.records + other.records, self.automatic + other.automatic, self.reviewed + other.reviewed,
            self.review + other.review, self.twins + other.twins, both(self.by_case, other.by_case),
            both(self.by_origin, other.by_origin),
        )  # fmt: skip


def measured(bench: RosterBench) -> Outcome:
    """Everything that the table of the issue asks for, of one seed."""
    decisions = decide(normalised(bench.people), population=bench.people.height)
    groups = clusters(decisions, bench.people)
    found = pairs_of(groups, "cluster")
    reviews = decisions.frame.filter(pl.col("outcome") == "review").select("left", "right")
    reviews = reviews.join(found, on=["left", "right"], how="anti")
    return judged(bench, found, reviews)


def judged(bench: RosterBench, found: pl.DataFrame, reviews: pl.DataFrame) -> Outcome:
    """Pairs that are joined, and those that people are asked about, against the truth."""
    # Nobody is not a person: a pair of placeholders that is joined is wrong, and none is missed.
    real = bench.truth.filter(pl.col("cases") & (1 << CASES.index("placeholder")) == 0)
    true = pairs_of(real, "person")
    after = pl.concat([found, reviews.join(true, on=["left", "right"], how="semi")]).unique()
    twins = pairs_of(real.filter(pl.col("twins") > 0), "twins").join(true, on=["left", "right"], how="anti")
    cases = real.select("rid", "cases", "origin")
    told = (
        true.join(cases, left_on="left", right_on="rid")
        .join(cases.select("rid", other="cases"), left_on="right", right_on="rid")
        .with_columns(cases=pl.col("cases") | pl.col("other"))
        .join(found.with_columns(found=1), on=["left", "right"], how="left")
        .join(after.with_columns(after=1), on=["left", "right"], how="left")
    )

    def shares(rows: pl.DataFrame) -> tuple[Share, Share]:
        return Share(rows["found"].count(), rows.height), Share(rows["after"].count(), rows.height)

    return Outcome(
        bench.people.height, scored(found, true), scored(after, true), scored(reviews, true).precision,
        Share(twins.join(found, on=["left", "right"], how="semi").height, twins.height),
        {name: shares(told.filter(pl.col("cases") & (1 << bit) > 0)) for bit, name in enumerate(CASES)},
        {name: shares(told.filter(pl.col("origin") == at)) for at, name in enumerate(ORIGIN_NAMES)},
    )  # fmt: skip


def nightly(bench: RosterBench, share: float = 0.01) -> Share:
    """A night in which a share of records is new: pairs for review with these, of all records."""
    rng = np.random.default_rng(5)
    fresh = bench.people["rid"].gather(rng.permutation(bench.people.height)[: round(bench.people.height * share)])
    people = normalised(bench.people)
    counts = frequencies(people)
    index = keys(people)
    pairs = candidates(index.filter(pl.col("rid").is_in(fresh.implode())), index)
    made = decide(people, pairs, population=people.height, frequencies=counts).frame
    return Share(made.filter(pl.col("outcome") == "review").height, people.height)


def one_by_one(bench: RosterBench, tries: int = 300) -> tuple[float, float, float]:
    """Milliseconds of one changed person against all: median, 99th percentile, median of the processor.

    The index has answered already; it is the hub's.
    """
    people = normalised(bench.people)
    counts, index = frequencies(people), keys(people)
    rng = np.random.default_rng(5)
    chosen = bench.people["rid"].gather(rng.permutation(people.height)[:tries])
    plain = bench.people.sort("rid")
    prepared = []
    for rid in chosen:
        own = index.filter(pl.col("rid") == rid)
        others = index.filter(pl.col("hash").is_in(own["hash"].implode())).join(own, on=["kind", "hash"], how="semi")
        rows = plain.filter(pl.col("rid").is_in(others["rid"].unique().implode()))
        few = normalised(rows)
        prepared.append((plain.filter(pl.col("rid") == rid), others, rows, frequencies_of(few, counts)))
    times, processor = [], []
    for mine, others, rows, known in prepared:
        start, used = time.perf_counter(), time.process_time()
        pairs = candidates(keys(normalised(mine)), others)
        decide(normalised(rows), pairs, population=people.height, frequencies=known)
        times.append((time.perf_counter() - start) * 1000)
        processor.append((time.process_time() - used) * 1000)
    return float(np.median(times)), float(np.quantile(times, 0.99)), float(np.median(processor))


def frequencies_of(people: pl.DataFrame, counts):  # noqa: ANN001, ANN201
    """The rows of ``counts`` that some records need, as a database would give them."""
    wanted = frequencies(people).counts
    return type(counts)(counts.total, counts.counts.join(wanted, on=["kind", "hash"], how="semi"))


def first_load(people: pl.DataFrame) -> Decisions:
    """All of a first load."""
    decisions = decide(normalised(people), population=people.height)
    clusters(decisions, people)
    return decisions


def main() -> None:
    """In a process of its own: seconds, seconds of the processor, and peak memory of a first load from a file."""
    give_back_freed_memory()  # as a worker does
    people = pl.read_parquet(sys.argv[1], memory_map=False)
    before = _peak()
    wall, processor = time.perf_counter(), time.process_time()
    first_load(people)
    peak = _peak()
    print(people.height, time.perf_counter() - wall, time.process_time() - processor, before / 1024, peak / 1024)


def _peak() -> float:
    """Most memory that this process had, in kB; what it was forked from does not count."""
    return float(Path("/proc/self/status").read_text(encoding="ascii").partition("VmHWM:")[2].split()[0])


def made(records: int, seed: int, *, identifiers: bool) -> RosterBench:
    """A roster of the bench."""
    return rosterbench(RosterPlan(records, seed, identifiers))


if __name__ == "__main__":
    main()
