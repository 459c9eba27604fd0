"""From tables with headers of their own to the rows of OneRoster files.

Each row of a part's table gives one row of the file, or none: joins look up one partner, so that a row's line is that
of its table. Pure: frames in, frames out; ``connectors.table_csv`` reads the tables.

Frames of tables hold their columns under ``t:`` and joined ones under ``j:name.``, so that no name of a source's can
be mistaken for anything else.
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from transforms.catalogue import CATALOGUE, Version
from transforms.shaping.definition import Join, MappedFile, Mapping, Part
from transforms.shaping.expression import Columns, Expression
from transforms.shaping.mappings import BUILT_IN, built_in
from transforms.shaping.steps import LINE, CheckedSteps, Fault, check_steps, columns_of, read, wrong_target
from transforms.shaping.values import Type

OWN = "t:"
JOINED = "j:"
AUTO = "auto"
_SECRETS = frozenset({"password", "passwd", "pwd", "passwort", "passworthash", "passwordhash", "ssn"})


@dataclass(frozen=True, slots=True)
class CheckedPart:
    """A part whose names and expressions are right."""

    part: Part
    where: Expression | None
    set: Lookup[str, Expression]
    needs: Lookup[str, frozenset[str]]  # by table: the columns that are read of it

    @property
    def targets(self) -> tuple[str, ...]:
        """The OneRoster columns that this part gives, sorted."""
        return tuple(sorted({*self.part.columns, *self.set}))


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One OneRoster file made from tables."""

    file: str
    parts: tuple[CheckedPart, ...]
    steps: CheckedSteps

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its rows before the steps, sorted."""
        return tuple(sorted({"sourcedId", *(target for part in self.parts for target in part.targets)}))


@dataclass(frozen=True, slots=True)
class CheckedMapping:
    """All files of a mapping, in the catalogue's order."""

    version: Version
    files: Lookup[str, CheckedFile] = field(default_factory=dict)

    @property
    def tables(self) -> frozenset[str]:
        """All tables that are read."""
        return frozenset(t for f in self.files.values() for p in f.parts for t in p.needs)

    @property
    def columns(self) -> dict[str, frozenset[str]]:
        """The columns that are read of each table."""
        found: dict[str, set[str]] = {}
        for part in (p for f in self.files.values() for p in f.parts):
            for table, names in part.needs.items():
                found.setdefault(table, set()).update(names)
        return {table: frozenset(names) for table, names in found.items()}


def is_secret(column: str) -> bool:
    """Whether a column is never read, whatever the mapping says."""
    return "".join(c for c in column.lower() if c.isalnum()) in _SECRETS


def whole(mapping: Mapping, faults: list[Fault]) -> dict[str, MappedFile]:
    """All files of a mapping: those of its base, replaced by its own."""
    if mapping.base is None or mapping.base == AUTO:
        return dict(mapping.files)
    if mapping.base not in BUILT_IN:
        faults.append(Fault("mapping.base", f"There is no such mapping. Known: {', '.join([AUTO, *BUILT_IN])}."))
        return dict(mapping.files)
    return {**built_in(mapping.base).files, **mapping.files}


def check_mapping(mapping: Mapping, faults: list[Fault]) -> CheckedMapping:
    """Checks a whole mapping; what is wrong is added to ``faults``."""
    files = whole(mapping, faults)
    known = CATALOGUE.files(mapping.version)
    unknown = sorted(set(files) - set(known))
    faults += [Fault(f"mapping.files.{f}", f"OneRoster {mapping.version} has no file {f}.csv.") for f in unknown]
    if not files and mapping.base != AUTO:
        faults.append(Fault("mapping", "Say in `files` which tables give which file, or name a `base`."))
    checked = {file: _check_file(file, files[file], mapping.version, faults) for file in known if file in files}
    return CheckedMapping(mapping.version, checked)


def _check_file(file: str, mapped: MappedFile, version: Version, faults: list[Fault]) -> CheckedFile:
    place = f"mapping.files.{file}"
    known = columns_of(file, (version,))
    parts = tuple(_check_part(file, known, part, f"{place}.from[{n}]", faults) for n, part in enumerate(mapped.parts))
    steps = check_steps(file, mapped, place, faults)
    for n, part in enumerate(parts):
        if "sourcedId" not in {*part.targets, *steps.written}:
            faults.append(Fault(f"{place}.from[{n}]", "Nothing gives the column sourcedId."))
    return CheckedFile(file, parts, steps)


def _check_part(file: str, known: frozenset[str], part: Part, place: str, faults: list[Fault]) -> CheckedPart:
    for member in ("columns", "set"):
        for name in getattr(part, member):
            fault = wrong_target(file, name, known)
            if fault:
                faults.append(Fault(f"{place}.{member}.{name}", fault))
    both = sorted(set(part.columns) & set(part.set))
    faults += [Fault(f"{place}.set.{name}", "`columns` gives this column already.") for name in both]
    names: list[str] = []
    for n, join in enumerate(part.join):
        if join.name in names:
            faults.append(Fault(f"{place}.join[{n}].name", "Another join has this name."))
        for own in join.on:
            _check_alias(own, names, part, f"{place}.join[{n}].on", faults)
        names.append(join.name)
    columns = Columns(None, lambda name: frame_name(name, names))
    made = {t: e for t, sql in part.set.items() if (e := read(sql, columns, f"{place}.set.{t}", faults))}
    where = None if part.where is None else read(part.where, columns, f"{place}.where", faults, wanted=Type.BOOLEAN)
    needs = _needs(part, names, [*made.values(), *([where] if where else [])])
    for table, wanted in needs.items():
        secret = sorted(filter(is_secret, wanted))
        faults += [Fault(place, f"The column {name} of {table} is a secret, and is never read.") for name in secret]
    return CheckedPart(part, where, made, needs)


def _check_alias(name: str, before: Sequence[str], part: Part, place: str, faults: list[Fault]) -> None:
    alias = name.partition(".")[0]
    if "." in name and alias in {j.name for j in part.join} and alias not in before:
        faults.append(Fault(place, f"{alias} is joined later. Put that join first."))


def frame_name(name: str, joins: Sequence[str]) -> str:
    """The column of a frame that a definition's ``name`` means: ``name.column`` of a join, else the table's own."""
    return f"{JOINED}{name}" if name.partition(".")[0] in joins and "." in name else f"{OWN}{name}"


def _needs(part: Part, joins: list[str], expressions: list[Expression]) -> dict[str, frozenset[str]]:
    used = {*part.columns.values(), *(c for e in expressions for c in e.columns), *(c for j in part.join for c in j.on)}
    found: dict[str, set[str]] = {part.table: set()}
    tables = {j.name: j.table for j in part.join}
    for join in part.join:
        found.setdefault(join.table, set()).update(join.on.values())
    for name in used:
        alias, _, column = name.partition(".")
        if column and alias in joins:
            found[tables[alias]].add(column)
        else:
            found[part.table].add(name)
    return {table: frozenset(columns) for table, columns in found.items()}


def taken(part: CheckedPart, join: Join) -> list[str]:
    """The columns of a joined table that the part uses, sorted."""
    prefix = f"{join.name}."
    expressions = [*part.set.values(), *([part.where] if part.where else [])]
    used = {*part.part.columns.values(), *(c for e in expressions for c in e.columns)}
    used |= {c for j in part.part.join for c in j.on}
    return sorted(c.removeprefix(prefix) for c in used if c.startswith(prefix))


_SEVERAL = "several"


def partners(part: CheckedPart, join: Join, table: pl.DataFrame) -> pl.DataFrame:
    """The partners that rows find, one for each key: ``table`` has its columns under ``t:``.

    The order of its rows changes nothing. ``j:name.`` itself says whether several rows of a key disagree.
    """
    keys = {f"k:{n}": pl.col(OWN + theirs) for n, theirs in enumerate(join.on.values())}
    columns = taken(part, join)
    rows = table.select(**keys, **{f"{JOINED}{join.name}.{c}": pl.col(OWN + c) for c in columns})
    rows = rows.drop_nulls(list(keys))
    values = [c for c in rows.columns if c not in keys]
    disagree = pl.lit(value=False)
    if join.many == "list":
        made = [pl.col(c).drop_nulls().unique().sort().str.join(",").replace("", None) for c in values]
    else:
        made = [pl.col(c).min() for c in values]
        disagree = pl.any_horizontal(disagree, *(pl.col(c).drop_nulls().n_unique() > 1 for c in values))
    return rows.group_by(list(keys)).agg(*made, disagree.alias(f"{JOINED}{join.name}"))


@dataclass(frozen=True, slots=True)
class Mapped:
    """OneRoster rows made of a table's.

    ``frame``: the columns asked for and line. ``lost``: rows whose partner may be among rows that cannot be read.
    ``several``: how many rows found partners that disagree.
    """

    frame: pl.DataFrame
    lost: pl.Series
    several: int


def mapped(
    part: CheckedPart,
    columns: Sequence[str],
    rows: pl.DataFrame,
    lookups: Sequence[pl.DataFrame],
    unsure: Sequence[bool],
) -> Mapped:
    """The OneRoster rows that rows of the part's table give.

    ``lookups``: the partners of each join. ``unsure``: whether a join's table has rows that could not be read.
    """
    lost = several = pl.lit(value=False)
    for join, lookup, doubtful in zip(part.part.join, lookups, unsure, strict=True):
        names = [j.name for j in part.part.join]
        left = [pl.col(frame_name(own, names)).alias(f"k:{n}") for n, own in enumerate(join.on)]
        on = [f"k:{n}" for n in range(len(left))]
        rows = rows.with_columns(left).join(lookup, on=on, how="left", maintain_order="left").drop(on)
        several = several | pl.col(f"{JOINED}{join.name}").fill_null(value=False)
        if doubtful:
            lost = lost | pl.col(f"{JOINED}{join.name}").is_null()
    if part.where is not None:
        rows = rows.filter(part.where.expr)
    names = [j.name for j in part.part.join]
    made = {t: pl.col(frame_name(source, names)) for t, source in part.part.columns.items()}
    made |= {t: e.text for t, e in part.set.items()}
    blank = pl.lit(None, pl.String)
    marks = lost.alias("lost"), several.alias(_SEVERAL)
    frame = rows.with_columns(*marks, *(made.get(c, blank).alias(c) for c in columns))
    return Mapped(frame.select(*columns, LINE), frame["lost"], int(frame[_SEVERAL].sum()))
