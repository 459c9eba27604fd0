"""``make bench-identity``: the table of identity, side by side with Splink in the same process on the same data.

make bench-identity                                      all: some minutes
make bench-identity ARGS="--sizes 65000 --seeds 1"       the short one
make bench-identity ARGS="--only febrl"                  one part: febrl, rosters, splink, speed, one, index, whole
make bench-identity ARGS="--only whole --indexed 1000000"  one changed person from end to end, against so many
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from functools import reduce
from operator import add
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from hub.sandbox.rosterbench import RELEASE_SEEDS
from tests.benchmarks.identity import index, rosters, whole
from tests.benchmarks.identity.febrl import SETS, febrl
from tests.benchmarks.identity.measures import Score, Share, difference, pairs_of, scored
from transforms.matching.people import REGISTER, REGISTER_WEIGHTS, ROSTER, clusters, decide

PARTS = ("febrl", "rosters", "splink", "speed", "one", "index", "whole")
CONSOLE = Console(width=150 if not sys.stdout.isatty() else None)
#: Rosters are this big where they are judged.
JUDGED = 65_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-identity", description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[65_000, 327_000, 1_000_000], help="records that are timed"
    )
    parser.add_argument("--seeds", type=int, default=len(RELEASE_SEEDS), help="how many seeds for release are judged")
    parser.add_argument("--indexed", type=int, default=100_000, help="people in the index that is asked for one")
    parser.add_argument("--only", choices=PARTS, action="append", help="just this part; may be repeated")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # what other libraries warn of is not ours to mend
    parts = arguments.only or PARTS
    seeds = RELEASE_SEEDS[: arguments.seeds]
    if "febrl" in parts:
        of_febrl()
    if "rosters" in parts:
        of_rosters(seeds)
    if "splink" in parts:
        of_splink(seeds[0])
    if "speed" in parts:
        of_speed(arguments.sizes)
    if "one" in parts:
        of_one(max(arguments.sizes))
    if "index" in parts:
        of_index(arguments.indexed)
    if "whole" in parts:
        of_whole(arguments.indexed)


def of_febrl() -> None:
    """FEBRL 1 to 4, with and without the id, one configuration for all; Splink beside it."""
    from tests.benchmarks.identity.beside import splink

    table = Table(
        "set", "national id", "ours: F1 [95 %]", "P", "R", "s", "Splink at .95", "at .5", "s", "roster policy: P / R"
    )
    for identifier in (True, False):
        for number in SETS:
            data = febrl(number, identifier=identifier)
            start = time.perf_counter()
            made = decide(data.people, population=data.people.height, policy=REGISTER, weights=REGISTER_WEIGHTS)
            ours = scored(pairs_of(clusters(made, data.people, policy=REGISTER), "cluster"), data.true)
            took = time.perf_counter() - start
            careful = decide(data.people, population=data.people.height, policy=ROSTER)
            roster = scored(pairs_of(clusters(careful, data.people), "cluster"), data.true)
            start = time.perf_counter()
            other = splink(data.raw, identifier=identifier, fields="febrl")
            beside = time.perf_counter() - start
            low, high = ours.f1_interval()
            table.add_row(
                f"FEBRL {number}", "yes" if identifier else "no", f"{ours.f1:.5f} [{low:.5f}, {high:.5f}]",
                f"{ours.precision.value:.5f}", f"{ours.recall.value:.5f}", f"{took:.2f}",
                *(f"{scored(pairs_of(groups, 'cluster'), data.true).f1:.5f}" for groups in other.values()),
                f"{beside:.1f}",
                f"{roster.precision.value:.4f} / {roster.recall.value:.3f}",
            )  # fmt: skip
    CONSOLE.print(table)


def of_rosters(seeds: tuple[int, ...]) -> None:
    """Rosters of the seeds for release, which nothing was tuned on."""
    for identifiers in (False, True):
        name = "state id of 60 %, e-mail of 50 %" if identifiers else "no identifiers"
        outcome = reduce(add, (rosters.measured(rosters.made(JUDGED, seed, identifiers=identifiers)) for seed in seeds))
        table = Table(f"rosterbench, {len(seeds)} times {JUDGED:,} records, {name}", "value [95 %]")
        table.add_row("automatic: precision", str(outcome.automatic.precision))
        table.add_row("automatic: recall", str(outcome.automatic.recall))
        table.add_row("recall after review", str(outcome.reviewed.recall))
        table.add_row("wrong twin merges, of twin pairs", str(outcome.twins))
        load = Share(outcome.review.total, outcome.records)
        low, high = load.interval
        table.add_row(
            "pairs for review per 10,000 records", f"{load.value * 1e4:.1f} [{low * 1e4:.1f}, {high * 1e4:.1f}]"
        )
        table.add_row("truly the same among them", str(outcome.review))
        spread = [auto for auto, _ in outcome.by_origin.values() if auto.total >= 300]
        most, least = max(spread, key=lambda s: s.value), min(spread, key=lambda s: s.value)
        low, high = difference(most, least)
        gap = f"{(most.value - least.value) * 100:.1f} [{low * 100:.1f}, {high * 100:.1f}] points"
        table.add_row("gap of recall between origins with 300 pairs", gap)
        CONSOLE.print(table)
        details = Table("pairs of", "automatic recall [95 %]", "after review")
        for case, (auto, after) in (outcome.by_case | outcome.by_origin).items():
            if auto.total:
                details.add_row(case, str(auto), f"{after.value:.3f}")
        CONSOLE.print(details)
    night = rosters.nightly(rosters.made(JUDGED, seeds[0], identifiers=False))
    CONSOLE.print(
        f"a night in which 1 % of records are new: {night.value * 1e4:.1f} pairs for review per 10,000 records"
    )


def of_splink(seed: int) -> None:
    """Splink on a roster of the same seed, with and without the home."""
    from tests.benchmarks.identity.beside import of_people, splink

    bench = rosters.made(JUDGED, seed, identifiers=False)
    ours = rosters.measured(bench)
    table = Table("65,000 records, no identifiers", "precision", "recall", "wrong twin merges", "s")
    start = time.perf_counter()
    rosters.first_load(bench.people)
    took = time.perf_counter() - start
    table.add_row("ours", *_row(ours.automatic, ours.twins), f"{took:.1f}")
    for fields in ("roster", "roster without home"):
        start = time.perf_counter()
        found = splink(of_people(bench.people), identifier=False, fields=fields)
        took = time.perf_counter() - start
        for threshold, groups in found.items():
            other = rosters.judged(bench, pairs_of(groups, "cluster"), ours_none())
            table.add_row(f"Splink, {fields}, at {threshold}", *_row(other.automatic, other.twins), f"{took:.1f}")
    CONSOLE.print(table)


def ours_none() -> pl.DataFrame:
    """No pairs."""
    return pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})


def _row(score: Score, twins: Share) -> tuple[str, str, str]:
    return f"{score.precision.value:.4f}", f"{score.recall.value:.4f}", f"{twins.hits} of {twins.total:,}"


def of_speed(sizes: list[int]) -> None:
    """First loads, each in a process of its own."""
    table = Table("first load, records", "s", "s of the processor", "MB before", "MB at most", "records per s")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.parquet"
            rosters.made(size, RELEASE_SEEDS[0], identifiers=False).people.write_parquet(path)
            command = [sys.executable, "-m", "tests.benchmarks.identity.rosters", str(path)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            records, wall, processor, before, peak = (float(value) for value in output.split())
            table.add_row(
                f"{records:,.0f}",
                f"{wall:.1f}",
                f"{processor:.1f}",
                f"{before:.0f}",
                f"{peak:.0f}",
                f"{records / wall:,.0f}",
            )
    CONSOLE.print(table)


def of_one(records: int) -> None:
    """One changed person: normalise, keys, candidates of the index's answer, decide. The index itself is the hub's."""
    median, most, used = rosters.one_by_one(rosters.made(records, RELEASE_SEEDS[0], identifiers=False))
    CONSOLE.print(
        f"one changed person against {records:,}, without the database: "
        f"median {median:.1f} ms, p99 {most:.1f} ms; median {used:.1f} ms of the processor"
    )


def of_index(records: int) -> None:
    """The same with an index in PostgreSQL, and without it beside: both are what a change takes."""
    bench = rosters.made(records, RELEASE_SEEDS[0], identifiers=True)
    CONSOLE.print(
        f"one changed person against {records:,}, ms of the database (median, p99): {index.looked(bench).told}"
    )
    median, most, used = rosters.one_by_one(bench)
    CONSOLE.print(
        f"the rest of it, in the same run: median {median:.1f} ms, p99 {most:.1f} ms; "
        f"median {used:.1f} ms of the processor"
    )


def of_whole(records: int) -> None:
    """All that a worker does when one person changed, with PostgreSQL. How far it is goes to standard error."""
    start = time.perf_counter()

    def told(progress: str) -> None:
        print(f"{time.perf_counter() - start:6.0f} s  {progress}", file=sys.stderr, flush=True)

    found = whole.whole(rosters.made(records, RELEASE_SEEDS[0], identifiers=True), told)
    CONSOLE.print(f"one changed person against {records:,} from end to end: {found.told}")


if __name__ == "__main__":
    main()
