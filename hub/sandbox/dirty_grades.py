"""Dirt of gradebooks and resources that no single cell shows: it lies between rows, or between files."""

from __future__ import annotations

import numpy as np
import polars as pl

from hub.sandbox.bench import Bench, Outcome
from hub.sandbox.identifiers import make_ids

#: Far beyond any id in use, so that made-up references point nowhere.
_NOWHERE = 10_000_000


def plant_grades(bench: Bench) -> None:
    """All defects of this file, once enrollments have theirs."""
    _unexplained(bench)
    _bounds_reversed(bench)
    _extra_credit(bench)
    _orphans(bench)
    _results_twice(bench)
    _wrong_class(bench)


def _unexplained(bench: Bench) -> None:
    """Keeps off results of students whose enrollment in the class lost its class or user to dirt, and tells of them."""
    told = {"classSourcedId", "userSourcedId"}
    seats, results = bench.clean["enrollments"], bench.clean["results"]
    rows = sorted(n["row"] for n in bench.notes["enrollments"] if n["column"] in told and n["row"] < seats.height)
    lost = seats[rows].select("classSourcedId", studentSourcedId="userSourcedId", enrollment="sourcedId")
    items = bench.clean["lineItems"].select("classSourcedId", lineItemSourcedId="sourcedId")
    of_class = results.select("lineItemSourcedId", "studentSourcedId", row=pl.int_range(pl.len()))
    of_class = of_class.join(items, on="lineItemSourcedId", maintain_order="left")
    found = of_class.join(lost, on=["classSourcedId", "studentSourcedId"], maintain_order="left")
    bench.free["results"][found["row"].to_numpy()] = False
    bench.follow("results", found["row"], "studentSourcedId", "reported", found["enrollment"].to_list())


def _bounds_reversed(bench: Bench) -> None:
    """Lowest and highest score in each other's column."""
    items = bench.clean["lineItems"]
    rows = bench.take("lineItems", 1, items["resultValueMax"].is_not_null())
    for column, other in (("resultValueMin", "resultValueMax"), ("resultValueMax", "resultValueMin")):
        bench.spoil("lineItems", column, rows, items[other].gather(rows).to_list())
    bench.note("bounds_reversed", "lineItems", rows, "resultValueMin", codes=("GRB-005",), outcome="dropped")


def _extra_credit(bench: Bench) -> None:
    """More than can be reached, which teachers give and the standard does not foresee."""
    items, results = bench.clean["lineItems"], bench.clean["results"]
    bounded = items.filter(pl.Series(bench.free["lineItems"]) & pl.col("resultValueMax").is_not_null())["sourcedId"]
    rows = bench.take("results", 0.2, results["lineItemSourcedId"].is_in(bounded.implode()) & (results["score"] != "0"))
    bench.spoil("results", "score", rows, ["101"] * len(rows))
    bench.note("extra_credit", "results", rows, "score", codes=("GRB-006",), outcome="reported")


def _orphans(bench: Bench) -> None:
    """Results of line items, and links to resources, that are not in the package."""
    places: tuple[tuple[str, str, str, tuple[str, ...], Outcome], ...] = (
        ("results", "lineItemSourcedId", "lineItems", ("REF-001",), "quarantined"),
        ("classResources", "resourceSourcedId", "resources", ("REF-002",), "dropped"),
    )
    for file, column, kind, codes, outcome in places:
        rows = bench.take(file, 0.1)
        wrong = make_ids(bench.rng, kind, len(rows), bench.seed, after=_NOWHERE).to_list()
        bench.spoil(file, column, rows, wrong)
        bench.note("orphan", file, rows, column, codes=codes, outcome=outcome, cause=wrong)


def _results_twice(bench: Bench) -> None:
    """A second result of the same student for the same line item, which the standard does not forbid."""
    rows = bench.take("results", 0.1)
    keys = make_ids(bench.rng, "results", len(rows), bench.seed, after=_NOWHERE)
    again = bench.clean["results"][rows].with_columns(keys.alias("sourcedId"))
    added = bench.add("results", again)
    # The one whose id sorts later is told.
    later = np.where((keys > bench.clean["results"]["sourcedId"].gather(rows)).to_numpy(), added, rows)
    bench.note("result_twice", "results", later, "lineItemSourcedId", codes=("GRB-009",), outcome="reported")


def _wrong_class(bench: Bench) -> None:
    """A result that names another class than its line item."""
    if bench.version == "1.1":
        return
    rows = bench.take("results", 0.1)
    classes = bench.clean["classes"]["sourcedId"]
    said = bench.clean["results"]["classSourcedId"].gather(rows)
    other = classes.gather((said.replace_strict(classes, np.arange(len(classes))) + 1) % len(classes)).to_list()
    bench.spoil("results", "classSourcedId", rows, other)
    bench.note("wrong_class", "results", rows, "classSourcedId", codes=("GRB-007",), outcome="dropped")
