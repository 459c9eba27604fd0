"""A sheet: one batch of rows of one entity on its way from RAW to CANONICAL, with the findings made on the way.

The steps in ``normalise`` and ``validate`` are plain functions that take a sheet, change its columns and report. A row
that a finding keeps out stays on the sheet (marked in ``out``) until the end, so that all its faults are reported at
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import polars as pl

from transforms import issues
from transforms.catalogue import BASE_NAMES, Entity, Field, Kind, Need, Version
from transforms.issues import Action, Rule
from transforms.marks import beside, blank, certain, empty, nowhere, rows_of

METADATA = "metadata."
_NO_KEYS = pl.Series("key", [], dtype=pl.String)


def no_keys() -> pl.Series:
    """An empty series of keys."""
    return _NO_KEYS.clone()


@dataclass
class Sheet:
    """``frame`` has key, line, a column per field of the version's CSV file and any ``metadata.<name>`` columns.

    ``touched`` are the columns that were set since a look was taken (``transforms.normalise.look``).
    """

    entity: Entity
    version: Version
    frame: pl.DataFrame
    out: pl.Series
    findings: list[pl.DataFrame] = field(default_factory=list)
    deleted: pl.Series = field(default_factory=no_keys)
    touched: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> pl.Series:
        return self.frame.get_column(name)

    def put(self, name: str, values: pl.Series) -> None:
        """Sets the column ``name``."""
        self.touched.add(name)
        if name in self.frame.columns:
            # The columns are shared; only the list of them is another one.
            place = self.frame.get_column_index(name)
            self.frame = self.frame.clone().replace_column(place, values.alias(name))
        else:
            self.frame = self.frame.hstack([values.alias(name)])

    def replace(self, name: str, rows: pl.Series, values: pl.Series) -> None:
        """Sets the column ``name`` in ``rows`` (Boolean) to ``values`` (one per marked row)."""
        self.put(name, spread(self.frame[name], rows, values))

    def report(self, rule: Rule, rows: pl.Series, name: str = "", cause: pl.Series | None = None) -> None:
        """Adds one finding per marked row, and keeps the row out where the rule says so. Null counts as not marked."""
        if not rows.any():
            return
        if rule.action is Action.QUARANTINE:
            self.out = self.out | certain(rows)
        lines = self.frame["line"].filter(rows)
        reason = blank(lines.len(), pl.String) if cause is None else cause.filter(rows)
        found = beside([lines, self.frame["key"].filter(rows), reason.alias("cause")])
        self.findings.append(findings(rule, self.entity, found, name))

    def where(self, rows: pl.Series) -> Sheet:
        """The marked rows as a sheet of their own, without the findings made so far."""
        return Sheet(self.entity, self.version, rows_of(self.frame, rows), self.out.filter(rows))

    @property
    def fields(self) -> tuple[Field, ...]:
        """The catalogue's fields that this sheet has a column for, beside the base fields."""
        return columns(self.entity, self.version)

    def issues(self) -> pl.DataFrame:
        """All findings so far."""
        return issues.collect(self.findings)


def columns(entity: Entity, version: Version) -> tuple[Field, ...]:
    """The CSV columns that are read: neither base fields nor what is never kept (passwords)."""
    return tuple(f for f in entity.csv_columns(version) if f.stored and f.name not in BASE_NAMES)


def required(field_: Field, version: Version) -> bool:
    """Whether a row cannot go on without a value: CSV asks for it and the object cannot be served without it."""
    if field_.csv_need(version) is not Need.REQUIRED:
        return False
    need = field_.rest11 if field_.rest12 is Need.ABSENT else field_.rest12
    return need is Need.REQUIRED or is_owner(field_)


def is_owner(field_: Field) -> bool:
    """Whether the field says which object a component's row nests in."""
    return field_.kind is Kind.REF and field_.rest12 is Need.ABSENT and field_.rest11 is Need.ABSENT


def file_of(entity: Entity) -> str:
    """The file's name as findings show it."""
    return f"{entity.csv_file}.csv"


def findings(rule: Rule, entity: Entity, rows: pl.DataFrame, name: str = "") -> pl.DataFrame:
    """One finding per row of ``rows`` (columns line, key, cause)."""
    same = {"code": rule.code, "entity": entity.name, "file": file_of(entity), "field": name}
    return beside(
        [
            _alone(column, same[column]).new_from_index(0, rows.height) if column in same else rows.get_column(column)
            for column in issues.SCHEMA
        ]
    )


@lru_cache(1_000)  # rules, files and fields of the catalogue are no more
def _alone(column: str, text: str) -> pl.Series:
    return pl.Series(column, [text])


def open_sheet(entity: Entity, version: Version, raw: pl.DataFrame) -> Sheet:
    """The sheet of a RAW frame: columns by field name, missing ones null and passwords left behind."""
    present = set(raw.columns)
    nothing = blank(raw.height, pl.String)
    wanted = [
        (raw.get_column(f.csv_name).cast(pl.String) if f.csv_name in present else nothing).alias(
            "key" if f.name == "sourcedId" else f.name
        )
        for f in entity.csv_columns(version)
        if f.stored and f.csv_name is not None
    ]
    extra = [raw[c].cast(pl.String) for c in sorted(present) if c.startswith(METADATA) and c != METADATA]
    frame = beside([*wanted, *extra, raw["line"].cast(pl.UInt32)])
    texts = (column for column in frame.get_columns() if column.dtype == pl.String and not empty(column))
    if blanks := [column.name for column in texts if (column == "").any()]:
        frame = frame.with_columns(pl.col(blanks).replace("", None))
    return Sheet(entity, version, frame, nowhere(frame.height))


def joined(sheets: Iterable[Sheet]) -> Sheet:
    """Several sheets of one entity as one, findings included."""
    parts = list(sheets)
    first = parts[0]
    return Sheet(
        first.entity,
        first.version,
        pl.concat([s.frame for s in parts], how="diagonal"),
        pl.concat([s.out for s in parts]),
        [finding for s in parts for finding in s.findings],
        pl.concat([s.deleted for s in parts]),
    )


def split(sheet: Sheet, rows: pl.Series) -> tuple[Sheet, Sheet]:
    """The sheet without the marked rows, which keeps the findings, and the marked rows."""
    if not rows.any():
        return sheet, sheet.where(rows)
    rest = sheet.where(~rows)
    rest.findings, rest.deleted = sheet.findings, sheet.deleted
    return rest, sheet.where(rows)


def spread(column: pl.Series, rows: pl.Series, values: pl.Series) -> pl.Series:
    """``column`` with ``values`` in the marked rows."""
    if values.len() == 0:
        return column
    if column.dtype == values.dtype == pl.Boolean and not column.null_count() and not values.null_count():
        marks = column.to_numpy().copy()
        marks[rows.to_numpy()] = values.to_numpy()
        return pl.Series(column.name, marks)
    # The old values and the new ones behind them, taken in the order that puts the new ones in their places.
    order = np.arange(column.len(), dtype=np.uint32)
    order[rows.to_numpy()] = np.arange(column.len(), column.len() + values.len(), dtype=np.uint32)
    return pl.concat([column, values.cast(column.dtype)])[pl.Series(order)]
