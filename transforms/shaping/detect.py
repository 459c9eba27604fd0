"""Which format tables are in, told by their names and headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from transforms.shaping.mapping import CheckedMapping, check_mapping
from transforms.shaping.mappings import BUILT_IN, built_in
from transforms.shaping.steps import Fault

#: Table to the columns of its header.
Tables = Mapping[str, Sequence[str]]
#: A mapping that finds less of what it needs is not taken without a person.
_SURE = 1.0
_LIKELY = 0.8
#: The built-in mapping that is no format but what most people would call their tables.
PATTERN = "dump"


def scores(tables: Tables) -> dict[str, float]:
    """How much of what each built-in mapping cannot do without is there, from 0 to 1, the best first."""
    found = {name: _score(_checked(name), tables) for name in BUILT_IN}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def detected(tables: Tables) -> str | None:
    """The built-in mapping that the tables surely fit: all that it needs is there. The first of several."""
    if _is_oneroster(tables):
        return None
    return next((name for name, score in scores(tables).items() if score >= _SURE), None)


def likely(tables: Tables) -> tuple[str, list[str]] | None:
    """The format that the tables mostly fit, and the tables and columns that it needs beside them."""
    found = next((n for n, score in scores(tables).items() if score >= _LIKELY and n != PATTERN), None)
    if found is None or _is_oneroster(tables):
        return None
    there = {name.lower(): set(columns) for name, columns in tables.items()}
    missing: set[str] = set()
    for table, columns in _needed(_checked(found), set(there)):
        known = there.get(table.lower())
        missing |= {table} if known is None else {f"{table}.{c}" for c in columns - known}
    return found, sorted(missing)


def _checked(name: str) -> CheckedMapping:
    faults: list[Fault] = []
    checked = check_mapping(built_in(name), faults)
    if faults:
        raise ValueError(f"the built-in mapping {name} is broken: {faults[0]}")
    return checked


def _is_oneroster(tables: Tables) -> bool:
    """Columns that only OneRoster has: School Data Sync shares the names of its files, and many of its columns."""
    folded = {name.lower(): set(columns) for name, columns in tables.items()}
    users = folded.get("users", set())
    return "manifest" in folded or "enabledUser" in users or {"status", "dateLastModified"} <= users


def _score(mapping: CheckedMapping, tables: Tables) -> float:
    """The share of needed columns that are there. Two of versions that share their tables: the more telling counts."""
    there = {name.lower(): set(columns) for name, columns in tables.items()}
    needed, met = 0, 0
    for table, wanted in _needed(mapping, set(there)):
        needed += 1 + len(wanted)
        if table.lower() in there:
            met += 1 + len(wanted & there[table.lower()])
    return round(met / needed, 3) if needed else 0.0


def _needed(mapping: CheckedMapping, there: set[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """The tables that each part cannot do without, or that are there, with the columns that they must have."""
    for part in (p for file in mapping.files.values() for p in file.parts):
        optional = {part.part.table} if part.part.optional else set()
        optional |= {j.table for j in part.part.join if j.optional or part.part.optional}
        for table, columns in part.needs.items():
            if table not in optional or table.lower() in there:
                yield table, columns - set(part.part.may_lack)
