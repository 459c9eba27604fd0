"""Values that CSV requires and JSON does not: what stands in for them.

Nothing that the app may not see is told this way. Source: CSV binding 1.2.1 section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from hub.export.layout import File
from hub.export.sight import Sight
from hub.store.extract import Document
from transforms.catalogue import CATALOGUE, Field
from transforms.references import escaped_bases, spelled_out

#: Stands where a text is required and there is none, as over REST. Our own reader takes it for none.
NOTHING = "-"
CLASS_TYPE = "scheduled"
_ACCOUNTS = "accounts"


@dataclass(frozen=True)
class Known:
    """What stands in for references.

    ``of_classes``: by field of classes (course, school, terms) the rid of its (first) target at the index of the
    class's rid. ``root``: the sourcedId of the topmost visible org.
    """

    of_classes: Mapping[str, pl.Series] = field(default_factory=dict)
    root: str | None = None


def documents(file: File, sight: Sight) -> tuple[tuple[str, Document], ...]:
    """The parts of documents that ``complete`` looks at."""
    users = CATALOGUE["users"]
    if file.entity is users and sight.shows("users", "userProfiles"):
        return ((_ACCOUNTS, Document("doc_private", "userProfiles", unless=users["username"])),)
    return ()


def fields(file: File) -> tuple[Field, ...]:
    """The fields that ``complete`` looks at, whether they show or not: they only lead to what does."""
    return tuple(file.entity[name] for name in _LEADING.get(file.entity.name, ()))


def of_classes(files: tuple[File, ...]) -> frozenset[str]:
    """The fields of classes that ``Known.of_classes`` needs for these files."""
    names = {f.entity.name for f in files}
    found = {"course", "school"} if "scoreScales" in names else set[str]()
    return frozenset(found | ({"terms"} if "lineItems" in names else set()))


def complete(file: File, sight: Sight, table: pl.DataFrame, cells: pl.DataFrame, known: Known) -> pl.DataFrame:
    """The cells with what stands in for missing values."""
    fill = _FILL.get(file.entity.name)
    return cells if fill is None else fill(_Filling(file, sight, table, known), cells)


@dataclass(frozen=True)
class _Filling:
    file: File
    sight: Sight
    table: pl.DataFrame
    known: Known

    def of_class(self, name: str) -> pl.Series:
        """What a field of each row's class refers to, where that shows."""
        classes, rids = self.table["class"], self.known.of_classes[name]
        here = pl.select(pl.when(classes < rids.len()).then(classes)).to_series()
        return self.sight.seen(CATALOGUE["classes"][name].target or "", rids.gather(here))


def put(cells: pl.DataFrame, name: str, *instead: pl.Series | str | None) -> pl.DataFrame:
    """The cells with the first of ``instead`` that has a value, where the column ``name`` has none."""
    now = [pl.col(name)] if name in cells.columns else []
    more = [pl.lit(i) if isinstance(i, str) else i for i in instead if i is not None]
    return cells.with_columns(pl.coalesce([*now, *more]).alias(name)) if now or more else cells


def _users(at: _Filling, cells: pl.DataFrame) -> pl.DataFrame:
    stand_ins = [_account(at.table[_ACCOUNTS]) if _ACCOUNTS in at.table.columns else None]
    # 1.1 over REST has no place for the identifier here.
    names = ("email", "identifier") if at.file.version == "1.2" else ("email",)
    stand_ins += [cells[name] if at.sight.whole("users", name) else None for name in names]
    cells = put(cells, "username", *stand_ins, cells["sourcedId"])
    return put(put(cells, "givenName", NOTHING), "familyName", NOTHING)


def _account(profiles: pl.Series) -> pl.Series | None:
    """The user name of the first account in each document."""
    if profiles.null_count() == profiles.len():
        return None
    return pl.Series([None if text is None else _first_name(text) for text in profiles], dtype=pl.String)


def _first_name(text: str) -> str | None:
    accounts = (c for p in member(text, "userProfiles") for c in p.get("credentials", ()))
    return next((c["username"] for c in accounts if c.get("username")), None)


def member(text: str, name: str) -> list[dict[str, Any]]:
    """A list of objects in a part of a document."""
    found: list[dict[str, Any]] = orjson.loads("{" + escaped_bases(spelled_out(text))[1:] + "}")[name]
    return found


def _courses(at: _Filling, cells: pl.DataFrame) -> pl.DataFrame:
    return put(cells, "orgSourcedId", at.known.root)


def _classes(_: _Filling, cells: pl.DataFrame) -> pl.DataFrame:
    return put(cells, "classType", CLASS_TYPE)


def _score_scales(at: _Filling, cells: pl.DataFrame) -> pl.DataFrame:
    return put(put(cells, "courseSourcedId", at.of_class("course")), "orgSourcedId", at.of_class("school"))


def _line_items(at: _Filling, cells: pl.DataFrame) -> pl.DataFrame:
    mine, other = ("academicSession", "gradingPeriod")[:: 1 if at.file.version == "1.2" else -1]
    shown = at.sight.seen("academicSessions", at.table[other]) if at.sight.shows("lineItems", other) else None
    return put(cells, at.file.column(mine), shown, at.of_class("terms"))


_LEADING = {"scoreScales": ("class",), "lineItems": ("class", "academicSession", "gradingPeriod")}
_FILL: dict[str, Callable[[_Filling, pl.DataFrame], pl.DataFrame]] = {
    "users": _users,
    "courses": _courses,
    "classes": _classes,
    "scoreScales": _score_scales,
    "lineItems": _line_items,
}
