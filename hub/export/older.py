"""Rows of OneRoster 1.1: what becomes another value there. The readings are those of 1.1 over REST (hub.scope.v1p1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from hub.export.complete import put
from hub.export.layout import File
from hub.export.people import People, users
from hub.export.sight import Sight
from hub.scope.personas import EXTENSION
from hub.scope.v1p1 import CLASS_TYPE, LEAST, MOST, SCORE_STATUS, Style, can_be_extra
from transforms.catalogue import Field, Kind
from transforms.catalogue import vocabularies as voc

_SCALAR = {Kind.STRING, Kind.ENUM, Kind.BOOLEAN, Kind.DATE, Kind.FLOAT}


def extras(file: File, sight: Sight, style: Style) -> tuple[Field, ...]:
    """The fields that 1.1 does not know and that stand in metadata columns, for an app that wants them."""
    if file.version == "1.2" or not style.extra_fields or file.field is not None:
        return ()
    shown = (f for f in file.entity.body if sight.shows(file.owner.name, f.name))
    return tuple(f for f in shown if can_be_extra(f) and f.kind in _SCALAR and not f.many)


def converted(
    file: File, sight: Sight, style: Style, people: People, table: pl.DataFrame, cells: pl.DataFrame
) -> pl.DataFrame:  # fmt: skip
    """The rows of a file of 1.1, from the cells of its columns; rows that 1.1 has no place for are not among them."""
    convert = _CONVERT.get(file.entity.name)
    for extra in extras(file, sight, style):
        cells = cells.with_columns(table[extra.name].alias(f"metadata.{extra.name}"))
    return cells if convert is None else convert(_At(file, sight, style, people, table), cells)


@dataclass(frozen=True)
class _At:
    file: File
    sight: Sight
    style: Style
    people: People
    table: pl.DataFrame


def _users(at: _At, cells: pl.DataFrame) -> pl.DataFrame:
    return users(at.sight, at.style.names, at.people, at.table, cells)


def _classes(_: _At, cells: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("classType").is_in(voc.CLASS_TYPE.both)
    return cells.with_columns(pl.when(known).then("classType").otherwise(pl.lit(CLASS_TYPE)).alias("classType"))


def _enrollments(at: _At, cells: pl.DataFrame) -> pl.DataFrame:
    extended = pl.lit(value=False) if at.style.names.keeps else pl.col("role").str.starts_with(EXTENSION)
    instead, wanted = (pl.lit(role, pl.String) for role in (at.style.enrolled_as, at.style.names.extension))
    as_users = cells.select(pl.when(extended).then(wanted).otherwise("role").alias("role"))["role"]
    user = at.people.persona(at.table["user"], cells["userSourcedId"], as_users)
    cells = cells.with_columns(pl.when(extended).then(instead).otherwise("role").alias("role"))
    return cells.with_columns(user.alias("userSourcedId")).drop_nulls("role")


def _demographics(_: _At, cells: pl.DataFrame) -> pl.DataFrame:
    if "sex" not in cells.columns:
        return cells
    return cells.with_columns(pl.when(pl.col("sex").is_in(voc.SEX.tokens("1.1"))).then("sex").alias("sex"))


def _line_items(_: _At, cells: pl.DataFrame) -> pl.DataFrame:
    return put(put(cells, "resultValueMin", str(LEAST)), "resultValueMax", str(MOST))


def _results(at: _At, cells: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("scoreStatus").is_in(voc.SCORE_STATUS.both)
    status = pl.when(known).then("scoreStatus").otherwise(pl.lit(SCORE_STATUS)).alias("scoreStatus")
    role = pl.repeat("student", cells.height, dtype=pl.String, eager=True)
    student = at.people.persona(at.table["student"], cells["studentSourcedId"], role)
    return cells.with_columns(status, student.alias("studentSourcedId"))


def _resources(at: _At, cells: pl.DataFrame) -> pl.DataFrame:
    if (
        at.style.names.keeps
        or "roles" not in cells.columns
        or not cells["roles"].str.contains(EXTENSION, literal=True).any()
    ):
        return cells
    instead = at.style.resource_role(EXTENSION)
    known = pl.when(pl.element().str.starts_with(EXTENSION)).then(pl.lit(instead)).otherwise(pl.element())
    lists = pl.col("roles").str.split(",").list.eval(known).list.unique(maintain_order=True).list.join(",")
    return cells.with_columns(lists.alias("roles"))


_CONVERT: dict[str, Callable[[_At, pl.DataFrame], pl.DataFrame]] = {
    "users": _users,
    "classes": _classes,
    "enrollments": _enrollments,
    "demographics": _demographics,
    "lineItems": _line_items,
    "results": _results,
    "resources": _resources,
}
