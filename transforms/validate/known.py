"""Which keys a reference may point to, and why a key is missing, collected while a run goes through the entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

import polars as pl

from transforms.catalogue import CATALOGUE, Kind
from transforms.lookup import lookup
from transforms.marks import as_list, beside, distinct, nowhere, stacked
from transforms.shapes import dtype
from transforms.sheet import is_owner, no_keys
from transforms.validate.hashed import Marks
from transforms.validate.people import People

#: Columns of other entities that later checks look at, beside the key.
REMEMBERED: dict[str, tuple[str, ...]] = {
    "orgs": ("type",), "academicSessions": ("type", "startDate", "endDate"), "classes": ("school", "terms"),
    "lineItems": ("class", "resultValueMin", "resultValueMax"),
}  # fmt: skip
#: Entities that others refer to; of those that only their own components name no keys are remembered.
TARGETS = frozenset(
    f.target for e in CATALOGUE.all for f in e.fields if f.kind is Kind.REF and f.target and not is_owner(f)
)

_SHOWN = pl.when(pl.col("key").str.len_bytes() <= 255).then(pl.col("key")).otherwise(pl.lit("?"))


@cache
def _remembered(entity: str) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The columns of ``Known.rows``."""
    return {"key": pl.String, **{name: dtype(CATALOGUE[entity][name]) for name in REMEMBERED.get(entity, ())}}


def _no_keys(_entity: str) -> pl.Series:
    return no_keys()


@dataclass
class Known:
    """``held(entity)`` gives the keys of the active records that the store already has from this source.

    A bulk file replaces what is held, so a held key stays valid only where its row was kept out; a file that did not
    come or that holds changes only leaves what is held valid.
    """

    held: Callable[[str], pl.Series] = _no_keys
    _keys: dict[str, pl.Series] = field(default_factory=dict)
    _rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    _causes: dict[str, pl.DataFrame] = field(default_factory=dict)
    _students: list[pl.Series] = field(default_factory=list)
    _enrolled: Marks | None = None
    _classes: pl.DataFrame | None = None
    people: People = field(default_factory=People)

    def keys(self, entity: str) -> pl.Series:
        """All keys of ``entity`` that a reference may point to."""
        if entity not in self._keys:
            self._keys[entity] = self.held(entity).rename("key").cast(pl.String)
        return self._keys[entity]

    def rows(self, entity: str) -> pl.DataFrame:
        """The good rows of this run with their ``REMEMBERED`` columns; empty where the entity did not come."""
        return self._rows[entity] if entity in self._rows else pl.DataFrame(schema=_remembered(entity))

    def remember(self, entity: str, rows: pl.DataFrame) -> None:
        """Sets what ``rows`` gives for an entity that did not come with this run, or of which only changes come."""
        self._rows[entity] = rows

    def classes(self) -> pl.DataFrame:
        """The good classes of this run: key, of_class (the school), begins and ends (of their terms).

        Both are null where a term is not of this run.
        """
        if self._classes is None:
            rows, sessions = self.rows("classes"), self.rows("academicSessions")
            sessions = sessions.select("startDate", "endDate", terms="key")
            spans = rows.select("key", "terms").explode("terms").join(sessions, on="terms", how="left")
            known = ~pl.col("startDate").is_null().any()
            bounds = spans.group_by("key").agg(
                begins=pl.when(known).then(pl.col("startDate").min()), ends=pl.when(known).then(pl.col("endDate").max())
            )
            schools = rows.select("key", of_class="school")
            self._classes = schools.join(bounds, on="key", how="left", maintain_order="left")
        return self._classes

    def settle(
        self, entity: str, good: Iterable[pl.DataFrame], quarantined: pl.Series, deleted: pl.Series, causes:
        pl.DataFrame, *, delta: bool,
    ) -> None:  # fmt: skip
        """Notes an entity's result: good rows (key and remembered columns), keys kept out and deleted, and why."""
        if entity not in TARGETS:
            return
        self._classes = None
        schema = _remembered(entity)
        rows = stacked([pl.DataFrame(schema=schema), *(g[list(schema)] for g in good)])
        held = self.keys(entity)
        which = deleted if delta else quarantined
        named = held.is_in(as_list(which)) if held.len() and which.len() else nowhere(held.len())
        stays = held.filter(~named if delta else named)
        self._keys[entity] = distinct(stacked([rows["key"], stays])) if stays.len() else rows["key"]
        before = self.rows(entity).filter(pl.col("key").is_in(as_list(stays))) if delta else rows.clear()
        if before.height:
            rows = pl.concat([rows, before.filter(~pl.col("key").is_in(as_list(rows["key"])))])
        self._rows[entity] = rows
        # The first by text, not by line: it must not depend on how the file was cut into batches.
        if causes.height:
            causes = causes.sort("key", "cause").unique("key", keep="first", maintain_order=True)
        self._causes[entity] = causes

    def enroll(self, classes: pl.Series, students: pl.Series) -> None:
        """Notes enrollments of students, aligned; those of rows that are kept out too, for an older version stays."""
        self._students.append(_pairs(classes, students))
        self._enrolled = None

    def enrolled(self, classes: pl.Series, students: pl.Series) -> pl.Series | None:
        """Where a student is enrolled in a class; None where no enrollments came with this run.

        Pairs are known by their hash: a chance collision hides a warning.
        """
        if not self._students:
            return None
        if self._enrolled is None:
            self._enrolled = Marks(self._students)
        return self._enrolled.among(_pairs(classes, students))

    def cause(self, entity: str, keys: pl.Series) -> pl.Series:
        """Why each of ``keys`` is missing: the cause of its own row being kept out, else that it is nowhere."""
        causes = self._causes.get(entity)
        rows = keys.alias("key").to_frame()
        itself = pl.lit(f"{entity}:") + _SHOWN
        if causes is None or not causes.height:
            return rows.select_seq(itself.alias("cause")).to_series()
        found = rows.hstack([causes["cause"][lookup(causes).places(keys)]])
        return found.select_seq(pl.col("cause").fill_null(itself)).to_series()


def _pairs(classes: pl.Series, students: pl.Series) -> pl.Series:
    return beside([classes.alias("class"), students.alias("student")]).hash_rows(0)
