"""A package without the people who were erased: their rows, rows about them, and findings that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from connectors.around import Around
from connectors.protocol import Batch, Package
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Version
from transforms.sheet import is_owner

PEOPLE = "users"
#: Whether a key is that of somebody who was erased.
Erased = Callable[[str], bool]


class Without(Around):
    """``package`` as if the people whom ``erased`` knows had never been in it.

    Its digest is the package's: an erasure is no reason to read it again. So are its keys: whether one comes twice does
    not depend on others.
    """

    def __init__(self, package: Package, erased: Erased) -> None:
        self.package, self._erased = package, erased
        self._files = package_files(package.version)

    @property
    def issues(self) -> pl.DataFrame:
        """The findings that name nobody who was erased."""
        return self._silent(self.package.issues)

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows that are left."""
        for batch in self.package.batches(file, size):
            frame, out = batch.frame, pl.repeat(value=False, n=batch.frame.height, dtype=pl.Boolean, eager=True)
            for column, keeps in self._files.get(file, ()):
                if column in frame.columns:
                    named = _named(frame[column], self._erased, listed=keeps == "items")
                    frame = frame.with_columns(_left(frame[column], named).alias(column)) if keeps else frame
                    out = out if keeps else out | frame[column].is_in(list(named)).fill_null(value=False)
            yield Batch(frame.filter(~out) if out.any() else frame, self._silent(batch.issues))

    def _silent(self, issues: pl.DataFrame) -> pl.DataFrame:
        named = _named(issues["key"], self._erased)
        return issues.filter(~issues["key"].is_in(list(named)).fill_null(value=False)) if named else issues


def package_files(version: Version) -> dict[str, list[tuple[str, str]]]:
    """By file: the columns that name people, and what is kept of a row that names one who was erased.

    "" nothing, "rest" all but that cell, "items" the other items of the list.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for entity in CATALOGUE.all:
        columns = [(f.csv_name or "", _keeps(f)) for f in entity.csv_columns(version) if _names_people(entity, f)]
        if columns and entity.csv_file:
            found[entity.csv_file] = columns
    return found


def _names_people(entity: Entity, field: Field) -> bool:
    if field.name == "sourcedId":
        return PEOPLE in {entity.name, entity.rid_of}
    return field.kind is Kind.REF and field.target == PEOPLE


def _keeps(field: Field) -> str:
    if field.many:
        return "items"
    needed = field.name == "sourcedId" or is_owner(field) or field.rest12.value == "R"
    return "" if needed else "rest"


def _named(values: pl.Series, erased: Erased, *, listed: bool = False) -> dict[str, str | None]:
    """The values that name somebody who was erased, and what is left of each."""
    found: dict[str, str | None] = {}
    for value in values.drop_nulls().unique():
        items = _items(value) if listed else [value]
        left = [item for item in items if not erased(item.strip())]
        if len(left) < len(items):
            found[value] = ",".join(left) or None
    return found


def _items(value: str) -> list[str]:
    return value.replace(";", ",").replace("|", ",").split(",")


def _left(values: pl.Series, named: Mapping[str, str | None]) -> pl.Series:
    return values.replace(list(named), list(named.values())) if named else values
