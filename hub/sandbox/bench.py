"""Where clean frames get their dirt: rows are taken once at most, cells spoilt, rows added, all of it written down.

Nothing is changed in place until ``finish``, so a recipe always sees clean values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import Ints
from hub.sandbox.package import FileForm
from transforms.catalogue import CATALOGUE, Version

#: What a good importer does: mends the cell; leaves the value (or the surplus row) out and goes on; keeps the row out;
#: goes on and says so.
Outcome = Literal["fixed", "dropped", "quarantined", "reported"]
#: Makes faulty values out of clean ones; ``None`` is a blank cell.
_PLACES = 40
Spoil = Callable[[np.random.Generator, list[str]], Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Truth:
    """All that is wrong with a package, each item as truth.json shows it.

    ``defects`` were planted. ``knock_on`` are sound rows that cannot stand without a row that is kept out.
    ``duplicates`` are pairs of ids of one person.
    """

    defects: list[dict[str, Any]]
    knock_on: list[dict[str, Any]]
    duplicates: list[dict[str, Any]]

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """The three lists by name."""
        return {"defects": self.defects, "knock_on": self.knock_on, "duplicates": self.duplicates}


@dataclass(frozen=True, slots=True)
class Dirty:
    """Frames with dirt, how their bytes depart from the standard, and the truth about both.

    ``touched`` holds per file the sourcedIds of rows with a defect or a knock-on.
    """

    frames: dict[str, pl.DataFrame]
    forms: dict[str, FileForm]
    truth: Truth
    touched: dict[str, set[str]]


@dataclass
class Bench:
    """One district being spoilt. ``free`` marks, per file, the rows that no recipe has taken yet."""

    version: Version
    seed: int
    rng: np.random.Generator
    clean: dict[str, pl.DataFrame]
    rate: float
    forms: dict[str, FileForm] = field(default_factory=dict)
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    free: dict[str, NDArray[np.bool_]] = field(init=False)
    cells: dict[str, list[tuple[str, Ints, Sequence[str | None]]]] = field(init=False)
    added: dict[str, list[pl.DataFrame]] = field(init=False)
    notes: dict[str, list[dict[str, Any]]] = field(init=False)
    followers: dict[str, list[tuple[int, dict[str, Any]]]] = field(init=False)

    def __post_init__(self) -> None:
        self.free = {name: np.ones(frame.height, np.bool_) for name, frame in self.clean.items()}
        self.cells = {name: [] for name in self.clean}
        self.added = {name: [] for name in self.clean}
        self.notes = {name: [] for name in self.clean}
        self.followers = {name: [] for name in self.clean}

    def take(self, file: str, share: float, eligible: pl.Series | None = None) -> Ints:
        """Random free rows: ``share`` of the rows that the dirt rate allows, one at least where any is eligible."""
        possible = self.free[file] if eligible is None else self.free[file] & eligible.fill_null(value=False).to_numpy()
        rows = np.flatnonzero(possible)
        count = min(len(rows), max(1, round(self.rate * share * self.clean[file].height)))
        taken = np.sort(self.rng.choice(rows, count, replace=False))
        self.free[file][taken] = False
        return taken

    def block(self, file: str, column: str, keys: pl.Series) -> None:
        """Keeps recipes away from the rows whose ``column`` is one of ``keys``."""
        self.free[file] &= ~self.clean[file][column].is_in(keys.implode()).fill_null(value=False).to_numpy()

    def spoil(self, file: str, column: str, rows: Ints, values: Sequence[str | None]) -> None:
        """Sets cells; a note is the caller's business."""
        self.cells[file].append((column, rows, values))

    def add(self, file: str, frame: pl.DataFrame) -> Ints:
        """Adds rows somewhere in the file; returns numbers that ``note`` takes for them."""
        start = self.clean[file].height + sum(f.height for f in self.added[file])
        self.added[file].append(frame.select(self.clean[file].columns))
        return np.arange(start, start + frame.height)

    def note(
        self, kind: str, file: str, rows: Iterable[int], column: str, *, codes: tuple[str, ...], outcome: Outcome,
        **more: Sequence[Any],
    ) -> None:  # fmt: skip
        """Writes down one defect per row; ``more`` holds one value per row each."""
        for i, row in enumerate(rows):
            extra = {name: values[i] for name, values in more.items()}
            self.notes[file].append(
                {"kind": kind, "row": int(row), "column": column, "codes": list(codes), "outcome": outcome, **extra}
            )

    def follow(self, file: str, rows: Iterable[int], column: str, outcome: Outcome, causes: Sequence[str]) -> None:
        """Writes down sound rows that something is said of because of another row, with that row's sourcedId."""
        field_ = {f.csv_name: f.name for f in CATALOGUE.files(self.version)[file].csv_columns(self.version)}[column]
        for row, cause in zip(rows, causes, strict=True):
            about = {"column": column, "field": field_, "outcome": outcome, "cause": cause}
            self.followers[file].append((int(row), about))


def finish(bench: Bench, whole_files: list[dict[str, Any]]) -> Dirty:
    """Applies everything at once and turns row numbers into lines; ``whole_files`` are defects without a row."""
    frames: dict[str, pl.DataFrame] = {}
    defects = list(whole_files)
    lines: dict[str, Ints] = {}
    for file, clean in bench.clean.items():
        frames[file], lines[file] = _finished(bench, file, clean)
        keys = pl.concat([clean["sourcedId"], *(f["sourcedId"] for f in bench.added[file])])
        fields = {f.csv_name: f.name for f in CATALOGUE.files(bench.version)[file].csv_columns(bench.version)}
        for note in sorted(bench.notes[file], key=lambda n: int(lines[file][n["row"]])):
            row, column = note["row"], note["column"]
            place = {"kind": note["kind"], "file": f"{file}.csv", "line": int(lines[file][row]), "sourcedId": keys[row]}
            rest = {k: v for k, v in note.items() if k not in {"kind", "row", "column", "twin_row"}}
            if "twin_row" in note:  # of two equal rows the later one is surplus
                pair = sorted((place["line"], int(lines[file][note["twin_row"]])))
                place["line"], rest["first_line"] = pair[1], pair[0]
            defects.append(place | {"column": column, "field": fields.get(column, "")} | rest)
    knock_on = _knock_on(bench, frames, defects)
    for file, followers in bench.followers.items():
        keys = bench.clean[file]["sourcedId"]
        for row, about in followers:
            place = {"file": f"{file}.csv", "line": int(lines[file][row]), "sourcedId": keys[row]}
            knock_on.append({"kind": "knock_on"} | place | about)
    touched: dict[str, set[str]] = {file: set() for file in frames}
    for item in [*defects, *knock_on]:
        touched[item["file"].removesuffix(".csv")].add(item["sourcedId"])
    return Dirty(frames, bench.forms, Truth(defects, knock_on, bench.duplicates), touched)


def _finished(bench: Bench, file: str, clean: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """One file with its dirt, and the line in it of every clean and then every added row."""
    columns: dict[str, pl.Series] = {}
    for column, rows, values in bench.cells[file]:
        series = columns.get(column, clean[column]).clone()
        columns[column] = series.scatter(rows, pl.Series(values, dtype=pl.String))
    frame = clean.with_columns(series.alias(name) for name, series in columns.items()) if columns else clean
    if not bench.added[file]:
        return frame, np.arange(clean.height) + 2
    extra = pl.concat(bench.added[file])
    # A few places only: pieces of a large frame cost no memory, a new order of its rows would.
    places = np.sort(bench.rng.integers(0, clean.height + 1, min(_PLACES, extra.height)))
    cuts = [0, *places.tolist(), clean.height]
    shares = np.array_split(np.arange(extra.height), len(places))
    pieces, order = [], []
    for i, (start, end) in enumerate(itertools.pairwise(cuts)):
        pieces.append(frame[start:end])
        order.append(np.arange(start, end))
        if i < len(shares):
            pieces.append(extra[shares[i]])
            order.append(shares[i] + clean.height)
    lines = np.empty(clean.height + extra.height, np.int64)
    lines[np.concatenate(order)] = np.arange(len(lines)) + 2
    return pl.concat(pieces, rechunk=False), lines


#: Columns that point to users: file, column, what becomes of a row whose user is kept out.
_USER_COLUMNS: tuple[tuple[str, str, Outcome], ...] = (
    ("enrollments", "userSourcedId", "quarantined"),
    ("demographics", "sourcedId", "quarantined"),
    ("roles", "userSourcedId", "quarantined"),
    ("userProfiles", "userSourcedId", "quarantined"),
    ("users", "agentSourcedIds", "dropped"),
    ("results", "studentSourcedId", "quarantined"),
)


def _knock_on(bench: Bench, frames: dict[str, pl.DataFrame], defects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that fall, or lose a value, because their user is kept out."""
    lost = pl.Series(
        [d["sourcedId"] for d in defects if d["file"] == "users.csv" and d["outcome"] == "quarantined"], dtype=pl.String
    )
    known = {(d["file"], d["line"]) for d in defects}
    found = []
    for file, column, outcome in _USER_COLUMNS:
        if file not in frames or lost.is_empty():
            continue
        rows = frames[file].select("sourcedId", column=pl.col(column), line=pl.int_range(2, pl.len() + 2))
        rows = rows.with_columns(pl.col("column").str.split(",")).explode("column", empty_as_null=True)
        rows = rows.filter(pl.col("column").is_in(lost.implode()))
        fields = {f.csv_name: f.name for f in CATALOGUE.files(bench.version)[file].csv_columns(bench.version)}
        for key, user, line in rows.iter_rows():
            if (f"{file}.csv", line) not in known:
                found.append(
                    {"kind": "knock_on", "file": f"{file}.csv", "line": line, "sourcedId": key, "column": column,
                     "field": fields[column], "outcome": outcome, "cause": user}
                )  # fmt: skip
    return found
