"""From the objects of a page to the RAW columns that a CSV file of the same version has. Derived from the catalogue.

Whole columns at a time: a value is looked at by itself only where its column holds something that OneRoster would not.
Sources: OneRoster 1.2 and 1.1 information models (JSON), CSV binding 1.2.1 (cells).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import orjson
import polars as pl

from connectors.spool import METADATA
from transforms.catalogue import BASE_NAMES, Entity, Field, Kind, Need, Version
from transforms.catalogue import vocabularies as voc
from transforms.normalise.vocabulary import token_reader

Objects = Sequence[Mapping[str, Any]]
#: Members by which some servers call a field.
_ALIASES = {"grades": ("grade",), "orgs": ("org",), "terms": ("term",)}
_SAMPLE = 50
_PAIRS = {Kind.USER_ID: ("type", "identifier"), Kind.SCALE_VALUE: ("itemValueLHS", "itemValueRHS")}
_NOT_IN_PAIRS = re.compile(r"[{},]")


@dataclass
class Odd:
    """Values that were dropped, by (file, column): how many. ``profiles``: those that name no account."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    profiles: int = 0

    def note(self, file: str, column: str) -> None:
        """Counts one."""
        self.counts[file, column] = self.counts.get((file, column), 0) + 1


class Members:
    """The members of a page's objects by the names of the catalogue, whatever their letters' case there."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        names = {name for one in objects[:_SAMPLE] for name in one}
        self._names, self._folded = names, {name.lower(): name for name in names}

    @cached_property
    def _met(self) -> frozenset[str]:
        return frozenset().union(*self.objects)

    def has(self, name: str) -> bool:
        """Whether any object has a member."""
        return self._called(name) in self._met

    def of(self, name: str) -> list[Any]:
        """The values of one member, one for each object."""
        called = self._called(name)
        return [one.get(called) for one in self.objects]

    def _called(self, name: str) -> str:
        if name in self._names:
            return name
        for other in (name, *_ALIASES.get(name, ())):
            if other.lower() in self._folded:
                return self._folded[other.lower()]
        return name


def statuses(objects: Objects) -> list[str]:
    """The status of each object; one without a status is active. A word that nobody knows stays as it is."""
    read = token_reader(voc.STATUS)
    given = Members(objects).of("status")
    if not set(map(type, given)) <= {str} or "" in given:
        given = [_plain(value) or "active" for value in given]
    meant = {word: read(word) or word for word in set(given)}
    return [meant[word] for word in given]


def rows(
    entity: Entity, version: Version, objects: Objects, odd: Odd, *, metadata: int = 512, changes: bool = False
) -> pl.DataFrame:
    """The rows of the entity's own file: String columns under the standard's header and ``metadata.<name>`` ones.

    ``changes``: for a file of changes, which says of each row whether it is active. ``metadata``: most names.
    """
    members = Members(objects)
    columns: dict[str, list[str | None]] = {}
    for item in entity.csv_columns(version):
        name = item.csv_name or ""
        if item.name in BASE_NAMES:
            continue
        if item.stored and item.rest_need(version) is not Need.ABSENT and members.has(item.name):
            columns[name] = texts(item, members.of(item.name), partial(odd.note, entity.csv_file, name))
    columns["sourcedId"] = as_keys(members.of("sourcedId"))
    told = statuses(objects)
    if changes:
        columns["status"] = list(told)
        columns["dateLastModified"] = [_plain(value) for value in members.of("dateLastModified")]
    elif set(told) - {"active"}:
        columns["status"] = [None if status == "active" else status for status in told]
    found = _metadata(members.of("metadata"), metadata) if "metadata" in entity else {}
    header = entity.csv_header(version)
    nothing: list[str | None] = [None] * len(objects)
    return framed({name: columns.get(name, nothing) for name in header} | dict(sorted(found.items())))


def titled(classes: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Classes of which those without a title are called by their code, or else their id; how many there were.

    Of what the object itself says alone, so that a title does not depend on what else a pull brings.
    """
    titles = classes["title"].str.strip_chars().replace("", None)
    if not titles.null_count():
        return classes, 0
    found = classes.with_columns(titles).with_columns(pl.coalesce("title", "classCode", "sourcedId").alias("title"))
    return found, titles.null_count()


def framed(columns: Mapping[str, Sequence[str | None]]) -> pl.DataFrame:
    """String columns, blank cells as null."""
    frame = pl.DataFrame({name: _series(values) for name, values in columns.items()})
    if not frame.height:
        return frame
    blank = [name for name, some in frame.select((pl.all() == "").any()).row(0, named=True).items() if some]
    return frame.with_columns(pl.col(blank).replace("", None)) if blank else frame


def _series(values: Sequence[str | None]) -> pl.Series:
    """Half of a standard's columns have nothing in them, which is known sooner than it is read."""
    if values and values[0] is None and values.count(None) == len(values):
        return pl.repeat(None, len(values), dtype=pl.String, eager=True)
    return pl.Series(values, dtype=pl.String)


def texts(item: Field, values: list[Any], odd: Callable[[], None]) -> list[str | None]:
    """The cells of one field."""
    if item.kind is Kind.REF:
        return [_listed(value, as_key, odd) for value in values] if item.many else _each(values, as_key, odd)
    if item.kind in _PAIRS:
        left, right = _PAIRS[item.kind]
        return [_listed(value, lambda one: _pair(one, left, right), odd) for value in values]
    if item.many:
        return [_listed(value, _item, odd) for value in values]
    if item.kind is Kind.DATETIME:  # CSV has days here
        return [text[:10] if text and text[10:11] == "T" else text for text in _each(values, _plain, odd)]
    return _each(values, _plain, odd)


def _each(values: list[Any], read: Callable[[Any], str | None], odd: Callable[[], None]) -> list[str | None]:
    if set(map(type, values)) <= {str, type(None)}:
        return values
    found = [read(value) for value in values]
    if found.count(None) > values.count(None):
        for value, text in zip(values, found, strict=True):
            if text is None and value not in (None, "", [], {}):
                odd()
    return found


def _plain(value: Any) -> str | None:
    """A cell of a value in any form that servers have been seen to use; None for what has no reading."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return None


def as_key(value: Any) -> str | None:
    """The id that a reference leads to, or an id itself. The address beside it is never looked at."""
    if type(value) is dict:
        value = value.get("sourcedId")
    return value if type(value) is str else str(value) if type(value) is int else None


def as_keys(values: list[Any]) -> list[str | None]:
    """The same of many."""
    return values if set(map(type, values)) <= {str} else [as_key(value) for value in values]


def _item(value: Any) -> str | None:
    """One of several values in a cell, where a comma divides them."""
    text = _plain(value)
    return text.replace(",", " ") if text is not None else None


def _pair(value: Any, left: str, right: str) -> str | None:
    if type(value) is not dict:
        return None
    one, other = _plain(value.get(left)) or "", _plain(value.get(right)) or ""
    if _NOT_IN_PAIRS.search(one + other) or ":" in one:
        one, other = (_NOT_IN_PAIRS.sub(" ", side).strip() for side in (one.replace(":", ""), other))
    return f"{{{one}:{other}}}" if one and other else None


def _listed(value: Any, read: Callable[[Any], str | None], odd: Callable[[], None]) -> str | None:
    """A list in one cell; a value by itself is a list of one, and a text with commas is one already."""
    if value is None or value == "":
        return None
    if type(value) is list and len(value) == 1:
        text = read(value[0])
        if text:
            return text
    if isinstance(value, str) and read is _item:
        return value
    found = [read(one) for one in (value if isinstance(value, list) else [value])]
    if None in found:
        odd()
    return ",".join(text for text in found if text) or None


def _metadata(values: Iterable[Any], most: int) -> dict[str, list[str | None]]:
    """The columns of metadata: values that are no texts as JSON. Of more names than ``most`` the first ones."""
    given = [value if isinstance(value, dict) else {} for value in values]
    names = sorted({name for one in given for name in one if name and name.isprintable()})[:most]
    return {METADATA + name: [_json(one.get(name)) for one in given] for name in names}


def _json(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
