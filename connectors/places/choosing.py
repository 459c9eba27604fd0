"""Which files at a place are the package to take: the newest that is whole, and none older than what was applied.

Pure: names from a place are compared, and become local names only where they are plain.
"""

from __future__ import annotations

import fnmatch
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.names import is_unsafe
from connectors.places.place import Place
from connectors.places.store import Entry

#: The file, or table, that a name stands for; None for what is neither.
Wanted = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Files that are one package. ``marked``: the marker of a place that has one is there and not older."""

    entries: tuple[Entry, ...]
    marked: bool

    @property
    def at(self) -> float:
        """When the newest of its files was written."""
        return max(entry.at for entry in self.entries)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.entries)

    def cursor(self) -> dict[str, Any]:
        """What it is known by."""
        return {"files": [[e.name, e.size, e.stamp] for e in self.entries], "at": self.at}

    def fits(self, cursor: Mapping[str, Any] | None) -> bool:
        """Whether it is the very package that the cursor stands for."""
        return cursor is not None and cursor.get("files") == self.cursor()["files"]


def candidates(entries: Iterable[Entry], place: Place, wanted: Wanted) -> list[Candidate]:
    """The packages at a place, newest first; of two written at once the one whose name comes later."""
    plain = {entry.name: entry for entry in entries if _is_plain(entry.name)}
    if place.package == "folder":
        parts = tuple(sorted((e for e in plain.values() if wanted(e.name) is not None), key=lambda e: e.name))
        return [Candidate(parts, _marked(parts, "package", plain, place))] if parts else []
    archives = [e for e in plain.values() if fnmatch.fnmatchcase(e.name, place.pattern) and not _is_marker(e, place)]
    archives.sort(key=lambda e: (e.at, e.name), reverse=True)
    return [Candidate((e,), _marked((e,), e.name, plain, place)) for e in archives]


def whole(first: list[Candidate], second: list[Candidate], place: Place, after: float | None) -> Candidate | None:
    """The newest package that is whole by two looks, and not older than ``after``; None where none is.

    A marker makes one whole, too, that was not there at the first look.
    """
    before = {candidate.entries for candidate in first}
    for candidate in second:
        if after is not None and candidate.at < after:
            return None
        if candidate.marked and (place.marker is not None or candidate.entries in before):
            return candidate
    return None


def _is_plain(name: str) -> bool:
    """Whether a name is that of a file in this very folder, and one that a local copy may have."""
    return "/" not in name and not name.startswith(".") and not is_unsafe(name) and len(name.encode()) <= 200


def _is_marker(entry: Entry, place: Place) -> bool:
    if place.marker is None:
        return False
    before, name, after = place.marker.partition("{name}")
    if not name:
        return entry.name == place.marker
    return len(entry.name) > len(before) + len(after) and entry.name.startswith(before) and entry.name.endswith(after)


def _marked(parts: tuple[Entry, ...], name: str, plain: Mapping[str, Entry], place: Place) -> bool:
    """Whether the marker says that these files are whole; so without a marker to look for."""
    if place.marker is None:
        return True
    found = plain.get(unicodedata.normalize("NFC", place.marker.replace("{name}", name)))
    return found is not None and all(found.at >= entry.at for entry in parts)
