"""Tables of a digest of OneRoster 1.1, for which there is no OpenAPI document, as schemas of what may be answered.

The digest is Markdown with a table for each object: a column that names fields, one that says how often 1.1 has them
(``1``, ``0..1``, ``0..*``, ``1..*``, ``-``), and one for the type or the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_WORD = re.compile(r"`([^`]+)`")
_CODE = r"[A-Za-z0-9._-]+"
_FORMS = {
    "date-time": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "date": r"^\d{4}-\d\d-\d\d$",
    "string `YYYY`": r"^\d{4}$",
}
_REFERENCE = {"href", "sourcedId", "type"}
Schema = dict[str, Any]
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """One table and the heading that it stands under."""

    heading: str
    rows: list[Row]

    def of(self, *columns: str) -> bool:
        """Whether it has these columns."""
        return bool(self.rows) and set(columns) <= self.rows[0].keys()


def tables(text: str) -> Iterator[Table]:
    """All tables of a page."""
    heading, lines = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            lines.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        if len(lines) > 2:
            yield Table(heading, [dict(zip(lines[0], cells, strict=False)) for cells in lines[2:]])
        lines = []
        if line.startswith("#"):
            heading = line.lstrip("# ")


def words(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return _WORD.findall(cell)


def objects(found: Iterable[Table]) -> dict[str, Schema]:
    """The schema of each object of 1.1 by its name in the headings, in lower case: ``user``, ``lineitem``."""
    base: dict[str, tuple[bool, Schema]] = {}
    out: dict[str, dict[str, tuple[bool, Schema]]] = {}
    for table in found:
        if table.of("Field", "Card.", "Type", "Rule") and "every object" in table.heading:
            base = dict(_members(table))
        elif table.of("Field") and any("1.1" in column for column in table.rows[0]):
            out[table.heading.split(" ")[1].lower()] = dict(_members(table))
    return {name: _object(base | members) for name, members in out.items()}


def _object(members: dict[str, tuple[bool, Schema]]) -> Schema:
    return {
        "type": "object",
        "required": sorted(name for name, (required, _) in members.items() if required),
        "properties": {name: schema for name, (_, schema) in members.items()},
        "additionalProperties": False,
    }


def _members(table: Table) -> Iterator[tuple[str, tuple[bool, Schema]]]:
    """The members that 1.1 has: name, whether it is required, schema."""
    columns = list(table.rows[0])
    often = next(c for c in ("1.1", *(c for c in columns if c.startswith("Card."))) if c in columns)
    kind = next(column for column in columns if column.startswith("Type"))
    for row in table.rows:
        count = row[often].strip("*").split(" ")[0]
        if count != "-":
            for name in words(row["Field"]):
                yield name, (count.startswith("1"), _typed(row[kind].replace("**", ""), name))


def _typed(cell: str, name: str) -> Schema:
    """The schema for a type, as a cell says it in words."""
    for many in ("array of ", "arrays of ", "array: "):
        if cell.startswith(many):
            return {"type": "array", "items": _typed(cell.removeprefix(many), name)}
    if cell.startswith("ref "):
        return _reference(cell.split(" ")[1].split(",", maxsplit=1)[0])
    if cell.startswith("`{"):
        members = re.findall(r'"(\w+)": string', cell)
        return _object({member: (True, {"type": "string", "minLength": 1}) for member in members})
    for form, pattern in _FORMS.items():
        if cell.startswith(form):
            return {"type": "string", "pattern": pattern}
    if cell.startswith("boolean"):
        return {"enum": ["true", "false"]}
    if cell.startswith(("number", "object")):
        return {"type": cell.split(" ", maxsplit=1)[0].split(",", maxsplit=1)[0]}
    if cell.startswith("string"):
        return {"type": "string", "minLength": 1}
    return _vocabulary(cell.partition("1.2")[0], name)


def _vocabulary(cell: str, name: str) -> Schema:
    """A closed list of words, or an open one; what is said of 1.2 is cut off."""
    found = words(cell)
    if not found:
        raise ValueError(f"{name}: nothing is known of the type {cell!r}")
    closed: Schema = {"enum": [word for word in found if word != "ext:*"]}
    return {"anyOf": [closed, {"pattern": f"^ext:{_CODE}$"}]} if "ext:*" in found else closed


def _reference(target: str) -> Schema:
    """A reference, of which the type is fixed by its place."""
    plural = {"class": "classes", "category": "categories"}.get(target, f"{target}s")
    properties: Schema = {
        "href": {"pattern": rf"^https?://.+/ims/oneroster/v1p1/{plural}/[^/?]+$"},
        "sourcedId": {"type": "string", "pattern": r"^[0-9A-Za-z._/@-]{1,255}$"},
        "type": {"enum": [target]},
    }
    return {"type": "object", "required": sorted(_REFERENCE), "properties": properties, "additionalProperties": False}
