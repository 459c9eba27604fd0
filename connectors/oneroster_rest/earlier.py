"""People of OneRoster 1.2 under the numbers that they had in the same system's 1.1.

Infinite Campus has a sourcedId of its own for each person in 1.2, and says in ``metadata.ic.legacysourceId`` what the
person's records were called in 1.1, without the letter of the role (kb.infinitecampus.com, "OneRoster - What's new in
1.2"). What 1.2's own ids look like is not said. People are called by that number where the server tells it, as
``connectors.oneroster_rest.people`` calls them in 1.1, so that a district which goes on to 1.2 keeps its ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.oneroster_rest.mapping import Members, Objects, as_key
from transforms.catalogue import Entity, Kind, Version

_KEY = "sourcedId"
#: What an object's metadata calls the number: one name, or a name inside of another.
_NAME = ("ic", "legacysourceid")
#: Of more people without a number the cursor keeps none: who gets one later is found by the next pull of everything.
_MOST_WITHOUT = 10_000


@dataclass
class Earlier:
    """The numbers of one pull. ``told``: whether the server has named any when ids were last gone through.

    ``without``: ids of people without a number of their own, where others have one. ``known``: whether all users were
    seen.
    """

    told: bool = False
    without: frozenset[str] = frozenset()
    known: bool = False
    _numbers: dict[str, str | None] = field(default_factory=dict, repr=False)
    _names: dict[str, str] = field(default_factory=dict, repr=False)

    def begin_again(self) -> None:
        """Forgets all users: they are read from the beginning."""
        self._numbers, self.known = {}, False

    def take(self, objects: Objects) -> None:
        """The users of one more page."""
        members = Members(objects)
        for key, metadata in zip(members.of(_KEY), members.of("metadata"), strict=True):
            own = as_key(key)
            if own is not None:
                self._numbers[own] = _number(metadata)

    def finish(self) -> bool:
        """Ends the users; whether others than before have numbers, so that what refers to them says another id."""
        told = {own: number for own, number in self._numbers.items() if number is not None and number != own}
        self._names = _of_one(told, self._numbers)
        twice = told.keys() - self._names.keys()
        before, now = self.told, bool(self._names)
        renamed = before != now or bool(self.without & self._names.keys()) or bool(twice - self.without)
        none = {own for own, number in self._numbers.items() if number is None}
        kept = (twice | none if len(twice | none) <= _MOST_WITHOUT else twice) if now else ()
        self.told, self.without = now, frozenset(kept)
        self.known, self._numbers = True, {}
        return renamed

    def led(self, entity: Entity, version: Version, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of an entity's own file with numbers in place of ids of people."""
        columns = [
            item.csv_name for item in entity.csv_columns(version)
            if item.kind is Kind.REF and item.target == "users" and item.csv_name
        ]  # fmt: skip
        columns += [_KEY] if entity.name in {"users", "demographics"} else []
        return self.nested(frame, columns)

    def nested(self, frame: pl.DataFrame, columns: Iterable[str] = ("userSourcedId",)) -> pl.DataFrame:
        """Rows with numbers in some columns, lists between commas among them."""
        if not self._names:
            return frame
        return frame.with_columns(self._read(frame, name) for name in columns if name in frame.columns)

    def keys(self, entity: Entity, keys: pl.Series) -> pl.Series:
        """Ids as rows of the entity have them."""
        return self.nested(keys.to_frame(_KEY), [_KEY])[_KEY] if entity.name == "demographics" else keys

    def _read(self, frame: pl.DataFrame, name: str) -> pl.Series:
        if not name.endswith("Ids"):
            return frame[name].replace(self._names)
        lists = frame[name].str.split(",").list.eval(pl.element().replace(self._names)).list.join(",")
        return lists.alias(name)


def _of_one(told: Mapping[str, str], everybody: Iterable[str]) -> dict[str, str]:
    """The numbers by which one alone is called: one of two people says nothing, nor does one that is another's id."""
    names = dict(told)
    while True:
        called = Counter(names.get(own, own) for own in everybody)
        twice = [own for own, number in names.items() if called[number] > 1]
        if not twice:
            return names
        for own in twice:  # they go by their own ids, which may be somebody's number again
            del names[own]


def _number(metadata: Any) -> str | None:
    """The number in an object's metadata, however deep it writes the name."""
    if not isinstance(metadata, Mapping):
        return None
    for name, value in metadata.items():
        if str(name).lower() == ".".join(_NAME):
            return as_key(value) or None
        if str(name).lower() == _NAME[0] and isinstance(value, Mapping):
            inner = next((v for n, v in value.items() if str(n).lower() == _NAME[1]), None)
            return as_key(inner) or None
    return None
