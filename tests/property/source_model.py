"""What a source says, what a district shows of it, and how runs change both: row by row, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from transforms.catalogue import CATALOGUE

#: A row of an entity's file, and the rows of other files that are parts of it.
Row = tuple[Mapping[str, Any], tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]]
Rows = dict[str, dict[str, Row]]
#: The column in which the parts of an entity name it.
OWNED_BY = {
    "users": "userSourcedId", "courses": "courseSourcedId", "classes": "classSourcedId",
    "lineItems": "lineItemSourcedId", "results": "resultSourcedId",
}  # fmt: skip


def rows_of(frames: Mapping[str, pl.DataFrame]) -> Rows:
    """A package by entity and key."""
    found: Rows = {}
    for entity in CATALOGUE.entities:
        parts: dict[str, list[tuple[str, tuple[tuple[str, Any], ...]]]] = {}
        for component in CATALOGUE.components_of(entity.name):
            if component.csv_file in frames:
                for row in frames[component.csv_file].iter_rows(named=True):
                    parts.setdefault(row[OWNED_BY[entity.name]], []).append((component.csv_file, tuple(row.items())))
        if entity.csv_file in frames:
            found[entity.name] = {
                row["sourcedId"]: (row, tuple(sorted(parts.get(row["sourcedId"], []), key=repr)))
                for row in frames[entity.csv_file].iter_rows(named=True)
            }
    return found


@dataclass
class SourceModel:
    """``said``: the source's last word. ``shown``: the active records. ``by_hand``: overrides by user and field."""

    said: Rows = field(default_factory=dict)
    shown: Rows = field(default_factory=dict)
    by_hand: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, rows: Rows) -> bool:
        """A package: rows that are new or changed show, those that are gone go, the others stay as they show.

        Whether the source said anything new.
        """
        news = False
        for entity in rows.keys() | self.said.keys():
            old, new = self.said.get(entity, {}), rows.get(entity, {})
            shown = self.shown[entity] = dict(self.shown.get(entity, {}))
            for key in old.keys() - new.keys():
                shown.pop(key, None)
            changed = {key: row for key, row in new.items() if old.get(key) != row}
            shown.update(changed)
            news = news or bool(changed or old.keys() - new.keys())
        self.said = rows
        return news

    def copied(self) -> Rows:
        """What shows now, to be brought back by an undo."""
        return {entity: dict(rows) for entity, rows in self.shown.items()}

    def value(self, entity: str, key: str, column: str) -> Any:
        """What a field of an active record shows."""
        if entity == "users" and (key, column) in self.by_hand:
            return self.by_hand[key, column]
        return self.shown[entity][key][0].get(column)


def difference(before: Rows, after: Rows, frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame] | None:
    """The package of changes between two words of a source, whose whole next package is ``frames``.

    Columns: those of the files, and status. None where parts of a record differ, of which a package of changes names
    only what is there.
    """
    out: dict[str, pl.DataFrame] = {}
    for entity in CATALOGUE.entities:
        old, new = before.get(entity.name, {}), after.get(entity.name, {})
        changed = [key for key in new if old.get(key) != new[key]]
        if any(key in old and old[key][1] != new[key][1] for key in changed):
            return None
        rows = [{**new[key][0], "status": "active"} for key in changed]
        rows += [{**old[key][0], "status": "tobedeleted"} for key in old.keys() - new.keys()]
        if rows:
            out[entity.csv_file] = pl.DataFrame(rows, schema={**frames[entity.csv_file].schema, "status": pl.String})
        fresh = [key for key in changed if key not in old]
        for component in CATALOGUE.components_of(entity.name):
            if fresh and component.csv_file in frames:
                parts = frames[component.csv_file].filter(pl.col(OWNED_BY[entity.name]).is_in(fresh))
                if parts.height:
                    out[component.csv_file] = parts
    return out
