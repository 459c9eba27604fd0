"""Steps on the rows of one OneRoster file, checked once and then applied to frame after frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from transforms.catalogue import CATALOGUE, Version
from transforms.shaping.definition import Steps
from transforms.shaping.expression import Columns, Expression, parse
from transforms.shaping.tokens import ExpressionError
from transforms.shaping.values import Type

METADATA = "metadata."
LINE = "line"
#: Columns that the reader of a package goes by; nobody else may make them up.
_READERS = frozenset({"status", "dateLastModified"})
_VERSIONS: tuple[Version, ...] = ("1.1", "1.2")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a definition. ``place``: its member, such as ``files.users.set.grades``."""

    place: str
    message: str


class DefinitionError(ValueError):
    """A definition that is refused, with every fault in it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{f.place}: {f.message}" for f in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class CheckedSteps:
    """Steps whose names and expressions are right. ``lists``: columns whose cells hold several items."""

    steps: Steps
    set: Mapping[str, Expression]
    where: Expression | None
    lists: frozenset[str]

    @property
    def written(self) -> frozenset[str]:
        """The columns that may come out changed."""
        steps = self.steps
        return frozenset({*steps.columns, *steps.values, *steps.set, *steps.defaults})

    @property
    def read(self) -> frozenset[str]:
        """The columns that are looked at."""
        found = set(self.steps.columns.values()) | self.written
        for expression in (*self.set.values(), *([self.where] if self.where else [])):
            found |= expression.columns
        return frozenset(found)

    @property
    def keeps_keys(self) -> bool:
        """Whether all rows stay, under their sourcedIds."""
        return self.where is None and "sourcedId" not in self.written


def columns_of(file: str, versions: tuple[Version, ...] = _VERSIONS) -> frozenset[str]:
    """The columns that a file may have in these versions; ``metadata.`` stands for all of the source's own."""
    found = {METADATA}
    for version in versions:
        entity = CATALOGUE.files(version).get(file)
        if entity is not None:
            secret = {f.csv_name for f in entity.fields if not f.stored}
            found |= set(entity.csv_header(version)) - secret
    return frozenset(found)


def known_files() -> frozenset[str]:
    """The data files of either version."""
    return frozenset(file for version in _VERSIONS for file in CATALOGUE.files(version))


def check_steps(file: str, steps: Steps, place: str, faults: list[Fault]) -> CheckedSteps:
    """Checks names and expressions; what is wrong is added to ``faults``."""
    known = columns_of(file)
    for member in ("columns", "values", "set", "defaults"):
        for name in getattr(steps, member):
            fault = wrong_target(file, name, known)
            if fault:
                faults.append(Fault(f"{place}.{member}.{name}", fault))
    for target, source in steps.columns.items():
        if not is_column(source, known):
            faults.append(Fault(f"{place}.columns.{target}", f"{file}.csv has no column {source}."))
    names = Columns(known - {METADATA} | {METADATA})
    made = {t: e for t, sql in steps.set.items() if (e := read(sql, names, f"{place}.set.{t}", faults))}
    where = None
    if steps.where is not None:
        where = read(steps.where, names, f"{place}.where", faults, wanted=Type.BOOLEAN)
    lists = {
        f.csv_name for v in _VERSIONS if file in CATALOGUE.files(v) for f in CATALOGUE.files(v)[file].fields if f.many
    }
    return CheckedSteps(steps, made, where, frozenset(name for name in lists if name))


def is_column(name: str, known: frozenset[str]) -> bool:
    """Whether a file may have this column."""
    return name in known - {METADATA} or (name.startswith(METADATA) and name != METADATA and name.isprintable())


def wrong_target(file: str, name: str, known: frozenset[str]) -> str | None:
    """Why a column cannot be written, or None."""
    if not is_column(name, known):
        return f"{file}.csv has no column of this name. A column of your own is called metadata.<name>."
    if name in _READERS:
        return "This column belongs to the reader of packages. Use `where` to leave rows out."
    return None


def read(
    sql: str, columns: Columns, place: str, faults: list[Fault], *, wanted: Type | None = None
) -> Expression | None:
    """The expression, or None and a fault with line and column."""
    try:
        expression = parse(sql, columns, wanted=wanted)
        _try_out(expression)
    except ExpressionError as error:
        faults.append(Fault(place, str(error)))
        return None
    except pl.exceptions.PolarsError:
        faults.append(Fault(place, "line 1, column 1: This cannot be evaluated. Write it another way."))
        return None
    return expression


def _try_out(expression: Expression) -> None:
    """Evaluates the expression on three rows, so that what cannot be evaluated shows now and not in a run."""
    names = sorted(expression.expr.meta.root_names())
    frame = pl.DataFrame(
        {n: ["", "Az 9", None] for n in names} or {"": ["", "", ""]}, schema_overrides=dict.fromkeys(names, pl.String)
    )
    frame.select(expression.text)


def apply(checked: CheckedSteps, frame: pl.DataFrame, *, marks_left_out: bool = False) -> tuple[pl.DataFrame, int]:
    """The frame after the steps, and how many rows were left out.

    ``marks_left_out``: a frame of changes, where a row that is left out says so: its ``status`` becomes tobedeleted.
    """
    order = [c for c in frame.columns if c != LINE]
    lacking = [c for c in sorted(checked.read) if c not in frame.columns]
    shaped = frame.with_columns(pl.lit(None, pl.String).alias(c) for c in lacking)
    steps = checked.steps
    if steps.columns:
        shaped = shaped.with_columns(pl.col(source).alias(target) for target, source in steps.columns.items())
    for name, values in steps.values.items():
        shaped = shaped.with_columns(_mapped(shaped[name], values, several=name in checked.lists))
    if checked.set:
        shaped = shaped.with_columns(e.text.alias(target) for target, e in checked.set.items())
    if steps.defaults:
        filled = [(n, v) for n, v in steps.defaults.items() if v]
        shaped = shaped.with_columns(pl.col(name).fill_null(pl.lit(value)) for name, value in filled)
    wanted = [*order, *(c for c in lacking if c in checked.written)]
    if checked.where is None:
        return shaped.select(*wanted, LINE), 0
    stays = checked.where.expr.fill_null(value=False)
    if not marks_left_out:
        kept = shaped.filter(stays)
        return kept.select(*wanted, LINE), shaped.height - kept.height
    # The next package of changes will not say again that this row is not to be there.
    status = pl.col("status") if "status" in order else pl.lit(None, pl.String)
    gone = ~stays & status.ne_missing("tobedeleted")
    marked = shaped.with_columns(pl.when(gone).then(pl.lit("tobedeleted")).otherwise(status).alias("status"))
    count = int(shaped.with_columns(gone.alias("gone"))["gone"].sum())
    return marked.select(*wanted, *([] if "status" in wanted else ["status"]), LINE), count


def _mapped(cells: pl.Series, values: Mapping[str, str | None], *, several: bool) -> pl.Series:
    """The cells with their values replaced. Each distinct cell is looked at once."""
    if not values:
        return cells
    if not several:
        return cells.replace(dict(values)).replace("", None).cast(pl.String).alias(cells.name)
    distinct = cells.drop_nulls().unique().to_list()
    items = [[item.strip() for item in cell.split(",")] for cell in distinct]
    changed = [
        (cell, ",".join(v for i in parts if (v := values.get(i, i))) or None)
        for cell, parts in zip(distinct, items, strict=True)
        if any(item in values for item in parts)
    ]
    if not changed:
        return cells
    old, new = [c for c, _ in changed], [n for _, n in changed]
    return cells.replace(pl.Series(old, dtype=pl.String), pl.Series(new, dtype=pl.String))
