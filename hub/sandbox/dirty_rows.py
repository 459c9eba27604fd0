"""Dirt of whole rows: people without a school, orphans, rows twice, ids twice, and one person under two ids."""

from __future__ import annotations

import numpy as np
import polars as pl

from hub.sandbox.bench import Bench
from hub.sandbox.drawing import BLANK, Ints, chance
from hub.sandbox.identifiers import make_ids
from hub.sandbox.names import NICKNAMES, plain

#: Far beyond any id in use, so that made-up references point nowhere.
_NOWHERE = 10_000_000


def plant_rows(bench: Bench) -> None:
    """All defects of this file. Those that keep users out come first; rows of these users are then left alone."""
    _unknown_school(bench)
    _nameless(bench)
    _same_id_differs(bench, "users", 0.05)
    for file, column in (
        ("enrollments", "userSourcedId"), ("demographics", "sourcedId"), ("roles", "userSourcedId"),
        ("results", "studentSourcedId"),
    ):  # fmt: skip
        if file in bench.clean:
            lost = [n["row"] for n in bench.notes["users"] if n["row"] < bench.clean["users"].height]
            bench.block(file, column, bench.clean["users"]["sourcedId"].gather(lost))
    _same_row_twice(bench, "users", 0.08)
    _orphans(bench)
    _same_id_differs(bench, "enrollments", 0.08)
    _same_row_twice(bench, "enrollments", 0.15)
    _missing_titles(bench)
    _demographics_of_nobody(bench)
    _people_twice(bench)


def _plain_students(bench: Bench) -> pl.Series:
    """Users who are students of one school: everybody else's rows carry more than one defect can explain."""
    users = bench.clean["users"]
    student = users["grades"].is_not_null()
    if bench.version == "1.1":
        return student & ~users["orgSourcedIds"].str.contains(",", literal=True)
    roles = bench.clean["roles"]["userSourcedId"]
    return student & ~users["sourcedId"].is_in(roles.filter(roles.is_duplicated()).implode())


def _unknown_school(bench: Bench) -> None:
    """Students of a school that is not in the package: one missing school, many victims."""
    rows = bench.take("users", 0.05, _plain_students(bench))
    missing = make_ids(bench.rng, "orgs", 1, bench.seed, after=_NOWHERE)[0]
    wrong = [missing] * len(rows)
    if bench.version == "1.1":
        bench.spoil("users", "orgSourcedIds", rows, wrong)
        bench.note(
            "unknown_school", "users", rows, "orgSourcedIds", codes=("ORG-001",), outcome="quarantined", cause=wrong
        )
        return
    bench.spoil("users", "primaryOrgSourcedId", rows, wrong)
    bench.note(
        "unknown_school",
        "users",
        rows,
        "primaryOrgSourcedId",
        codes=("USR-001", "REF-002"),
        outcome="quarantined",
        cause=wrong,
    )
    keys = bench.clean["users"]["sourcedId"].gather(rows)
    at = np.flatnonzero(bench.clean["roles"]["userSourcedId"].is_in(keys.implode()).to_numpy())
    bench.free["roles"][at] = False
    bench.spoil("roles", "orgSourcedId", at, wrong)
    bench.note("unknown_school", "roles", at, "orgSourcedId", codes=("ORG-001",), outcome="quarantined", cause=wrong)


def _nameless(bench: Bench) -> None:
    """Neither given nor family name."""
    rows = bench.take("users", 0.03, _plain_students(bench))
    for column in ("givenName", "familyName"):
        bench.spoil("users", column, rows, [None] * len(rows))
    bench.note("missing_cell", "users", rows, "familyName", codes=("REQ-001",), outcome="quarantined")


def _same_id_differs(bench: Bench, file: str, share: float) -> None:
    """Two rows with one sourcedId that say different things: which one is right nobody can know."""
    eligible = _plain_students(bench) if file == "users" else bench.clean[file]["role"] == "student"
    rows = bench.take(file, share, eligible)
    frame = bench.clean[file][rows]
    others = bench.clean[file][bench.rng.integers(0, bench.clean[file].height, len(rows))]
    if file == "users":
        twin = frame.with_columns(others["givenName"] + " M", others["familyName"], pl.col("username") + "x")
    else:
        twin = frame.with_columns(others["classSourcedId"], others["schoolSourcedId"], beginDate=pl.lit("2026-09-01"))
    both = np.concatenate([rows, bench.add(file, twin)])
    bench.note("same_id_differs", file, both, "sourcedId", codes=("ID-003",), outcome="quarantined")


def _same_row_twice(bench: Bench, file: str, share: float) -> None:
    """An exact second copy: it is dropped, the record goes on."""
    rows = bench.take(file, share)
    copies = bench.add(file, bench.clean[file][rows])
    bench.note(
        "same_row_twice", file, copies, "sourcedId", codes=("ID-002",), outcome="dropped", twin_row=rows.tolist()
    )


def _orphans(bench: Bench) -> None:
    """Enrollments whose class or user is not in the package; a few missing classes account for all."""
    student = bench.clean["enrollments"]["role"] == "student"
    for column, kind in (("classSourcedId", "classes"), ("userSourcedId", "students")):
        rows = bench.take("enrollments", 0.1, student)
        missing = make_ids(bench.rng, kind, 1 + len(rows) // 20, bench.seed, after=_NOWHERE)
        wrong = missing.gather(bench.rng.integers(0, len(missing), len(rows))).to_list()
        bench.spoil("enrollments", column, rows, wrong)
        bench.note("orphan", "enrollments", rows, column, codes=("REF-001",), outcome="quarantined", cause=wrong)


def _missing_titles(bench: Bench) -> None:
    """A class and a course without a title. Nothing refers to them, so nothing falls with them."""
    for file in ("classes", "courses"):
        row = bench.clean[file][:1].with_columns(
            make_ids(bench.rng, file, 1, bench.seed, after=_NOWHERE + 1).alias("sourcedId"),
            title=pl.lit(None, pl.String),
        )
        bench.note("missing_cell", file, bench.add(file, row), "title", codes=("REQ-001",), outcome="quarantined")


def _demographics_of_nobody(bench: Bench) -> None:
    """Demographics of users that are not in the package."""
    count = max(1, round(bench.rate * 0.1 * bench.clean["demographics"].height))
    rows = bench.clean["demographics"][bench.rng.integers(0, bench.clean["demographics"].height, count)]
    nobody = make_ids(bench.rng, "students", count, bench.seed, after=2 * _NOWHERE)
    added = bench.add("demographics", rows.with_columns(nobody.alias("sourcedId")))
    bench.note(
        "orphan", "demographics", added, "sourcedId", codes=("REF-001",), outcome="quarantined", cause=nobody.to_list()
    )


def _people_twice(bench: Bench) -> None:
    """Students entered a second time under another id, with the slips that clerks make."""
    rows = bench.take("users", 0.2, _plain_students(bench))
    count = len(rows)
    originals = bench.clean["users"][rows]
    keys = make_ids(bench.rng, "students", count, bench.seed, after=3 * _NOWHERE)
    slips, given, family = [], [], []
    for first, last in originals.select("givenName", "familyName").iter_rows():
        slip, new_first, new_last = _slip(bench.rng, first, last)
        slips.append(slip)
        given.append(new_first)
        family.append(new_last)
    local = pl.Series(8_000_000 + np.arange(count)).cast(pl.String)
    known = pl.Series(chance(bench.rng, count, 0.4))  # the clerk copied the state id
    changes = {
        "sourcedId": keys, "givenName": pl.Series(given), "familyName": pl.Series(family), "identifier": local,
        "username": originals["username"].str.replace(r"[0-9]+$", "") + local,
        "userIds": originals["userIds"].zip_with(known, BLANK),
        "userMasterIdentifier": None, "email": None, "phone": None, "middleName": None, "agentSourcedIds": None,
    }  # fmt: skip
    copies = originals.with_columns(
        (v.alias(k) if isinstance(v, pl.Series) else pl.lit(None, pl.String).alias(k))
        for k, v in changes.items()
        if k in originals.columns
    )
    bench.add("users", copies)
    _companions(bench, originals["sourcedId"], keys)
    same_state = known.to_list()
    for i, (a, b) in enumerate(zip(originals["sourcedId"], keys, strict=True)):
        bench.duplicates.append({"sourcedIds": [a, b], "slip": slips[i], "same_state_id": same_state[i]})


def _companions(bench: Bench, originals: pl.Series, keys: pl.Series) -> None:
    """Role, demographics and two enrollments for each second record."""
    pairs = pl.DataFrame({"original": originals, "second": keys})
    tables = (("roles", "userSourcedId", 1), ("demographics", "sourcedId", 1), ("enrollments", "userSourcedId", 2))
    for file, column, most in tables:
        if file not in bench.clean:
            continue
        rows = _rows_of(bench, file, column, originals, most)
        bench.free[file][rows] = False
        frame = bench.clean[file][rows].rename({column: "original"}).join(pairs, on="original", maintain_order="left")
        frame = frame.drop("original").rename({"second": column})
        if column != "sourcedId":
            kind = file if file == "roles" else "enrollments"
            frame = frame.with_columns(
                make_ids(bench.rng, kind, frame.height, bench.seed, after=3 * _NOWHERE).alias("sourcedId")
            )
        bench.add(file, frame)


def _rows_of(bench: Bench, file: str, column: str, keys: pl.Series, most: int) -> Ints:
    """Up to ``most`` rows of each of ``keys``."""
    column_values = bench.clean[file][column]
    found = column_values.is_in(keys.implode()).arg_true()
    picked = pl.DataFrame({"row": found, "key": column_values.gather(found)})
    return picked.group_by("key", maintain_order=True).head(most)["row"].to_numpy().astype(np.int64)


def _slip(rng: np.random.Generator, given: str, family: str) -> tuple[str, str, str]:
    """What went wrong the second time, and the names that came of it."""
    if given in NICKNAMES and rng.random() < 0.6:
        return "nickname", NICKNAMES[given], family
    if plain(family) and not family.isascii():
        return "diacritics", given, " ".join(plain(part).title() for part in family.split())
    if "-" in family or " " in family:
        return "surname_join", given, family.replace("-", "~").replace(" ", "-").replace("~", " ")
    if len(family) > 4 and rng.random() < 0.7:
        at = int(rng.integers(1, len(family) - 2))
        return "letters_swapped", given, family[:at] + family[at + 1] + family[at] + family[at + 2 :]
    return "none", given, family
