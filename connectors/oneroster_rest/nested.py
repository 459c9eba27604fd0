"""Rows of the files whose content nests in other objects over REST: roles, profiles, links, learning objectives.

Such rows have no ids of their own in JSON. They get ones that are made of their owner's and of what they say, so the
same object has the same rows in every pull.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import polars as pl

from connectors.oneroster_rest.mapping import Members, Objects, Odd, as_keys, framed, texts
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Version
from transforms.nesting import fed, owner
from transforms.normalise.profiles import URN
from transforms.storable import storable

_Entry = Mapping[str, Any]
#: Ids of owners to which a number is added as they are.
_PLAIN, _LONGEST_PLAIN = re.compile(r"[0-9A-Za-z./@_-]+", re.ASCII), 240


def files(entity: Entity, version: Version, pulled: frozenset[str]) -> dict[str, Field]:
    """The files of an entity's nested rows, each with the field that they come from.

    Links to entities that are not ``pulled`` are left out: they would lead nowhere.
    """
    found = {}
    for item in fed(entity):
        component = CATALOGUE[item.component or ""]
        far = item.kind is Kind.REF and item.target not in pulled
        if version in component.versions and not far:
            found[component.csv_file] = item
    return found


@dataclass
class _Found:
    """Entries of one file, side by side: whose each is, its id, and what it says in place of its own members."""

    owners: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    entries: list[_Entry] = field(default_factory=list)
    instead: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, key: str, row_id: str, entry: _Entry, **instead: Any) -> None:
        """One more."""
        self.owners.append(key)
        self.ids.append(row_id)
        self.entries.append(entry)
        for name, value in instead.items():
            self.instead.setdefault(name, []).append(value)

    def numbered(self) -> list[str]:
        """The ids; one that came before gets a number."""
        if len(set(self.ids)) == len(self.ids):
            return self.ids
        seen: dict[str, int] = {}
        out = []
        for one in self.ids:
            seen[one] = seen.get(one, 0) + 1
            out.append(one if seen[one] == 1 else f"{one}.{seen[one]}")
        return out


def rows(
    file: str, item: Field, version: Version, objects: Objects, odd: Odd, *, changes: bool = False
) -> pl.DataFrame:
    """The rows of one file from the objects that are its owners; ``objects`` has no tombstones.

    ``changes``: for a file of changes, whose rows say that they are active.
    """
    component = CATALOGUE.files(version)[file]
    members = Members(objects)
    values = members.of(item.name)
    if values.count(None) == len(values):  # of the files that hang on an entity most systems fill one
        keys, given = list[str | None](), list[list[_Entry]]()
    else:
        keys, given = as_keys(members.of("sourcedId")), [_entries(value, file, item, odd) for value in values]
    if keys and item.name == "roles":
        found = _roles(keys, given, members.of("userProfiles"))
    elif item.name == "userProfiles":
        found = _profiles(keys, given, odd)
    elif item.kind is Kind.REF:
        far = next(f.name for f in component.fields if f.target == item.target and f.stored)
        found = _links(keys, given, far)
    else:
        found = _objectives(keys, given)
    found.instead |= {owner(component).name: found.owners, "sourcedId": found.numbered()}
    found.instead |= dict.fromkeys(("status", "dateLastModified"), [None] * len(found.entries))
    if changes:
        found.instead["status"] = ["active"] * len(found.entries)
    return _frame(component, version, found, odd)


def _entries(value: Any, file: str, item: Field, odd: Odd) -> list[_Entry]:
    """The nested objects of one owner."""
    if not value:
        return []
    given = value if isinstance(value, list) else [value]
    good: list[_Entry] = [one for one in given if isinstance(one, dict)]
    for _ in range(len(given) - len(good)):
        odd.note(file, item.name)
    return good


def _frame(component: Entity, version: Version, found: _Found, odd: Odd) -> pl.DataFrame:
    columns: dict[str, list[str | None]] = {}
    for item in component.csv_columns(version):
        name = item.csv_name or ""
        if not item.stored:
            columns[name] = [None] * len(found.entries)
            continue
        values = found.instead.get(item.name)
        if values is None:
            values = [one.get(item.name) for one in found.entries]
        columns[name] = texts(item, values, partial(odd.note, component.csv_file, name))
    return framed(columns)


def made_id(*parts: object) -> str:
    """An id of what a row says."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _placed_id(key: str, place: int) -> str:
    """The id of one of an owner's rows."""
    return f"{key}.{place}" if len(key) <= _LONGEST_PLAIN and _PLAIN.fullmatch(key) else made_id(key, place)


def _roles(keys: list[str | None], given: list[list[_Entry]], beside: list[Any]) -> _Found:
    found, profiles = _Found(), list[str | None]()
    for key, entries, told in zip(keys, given, beside, strict=True):
        if key is None or not entries:
            continue
        has = [one.get("profileId") for one in told if isinstance(one, dict)] if isinstance(told, list) else ()
        for place, one in enumerate(entries):
            named = one.get("userProfile") if has else None
            profiles.append(profile_key(key, named) if isinstance(named, str) and named in has else None)
            found.owners.append(key)
            found.ids.append(_placed_id(key, place))
            found.entries.append(one)
    found.instead["userProfile"] = profiles
    return found


def profile_key(user: str, profile_id: str) -> str:
    """The id of a profile's row: of a hub's profile such that the same URI comes of it, else made of both ids."""
    key = profile_id.removeprefix(URN)
    return key if profile_id.startswith(URN) and storable(key) else made_id(user, profile_id)


def _profiles(keys: list[str | None], given: list[list[_Entry]], odd: Odd) -> _Found:
    """One row for each account of a profile. A profile without an account has none."""
    found = _Found()
    for key, entries in zip(keys, given, strict=True):
        for one in entries if key is not None else ():
            accounts = one.get("credentials")
            good = [a for a in accounts if isinstance(a, dict)] if isinstance(accounts, list) else []
            odd.profiles += not good
            profile = one.get("profileId")
            for account in good:
                row_id = profile_key(str(key), profile if isinstance(profile, str) else "")
                found.add(str(key), row_id, one, credentialType=account.get("type"), username=account.get("username"))
    return found


def _links(keys: list[str | None], given: list[list[_Entry]], far: str) -> _Found:
    found = _Found()
    for key, entries in zip(keys, given, strict=True):
        for one in entries if key is not None else ():
            found.add(str(key), made_id(key, one.get("sourcedId")), one, **{far: one})
    return found


def _objectives(keys: list[str | None], given: list[list[_Entry]]) -> _Found:
    """The objectives of a line item, or of a result with their scores."""
    found = _Found()
    for key, entries in zip(keys, given, strict=True):
        for one in entries if key is not None else ():
            source = one.get("source")
            results = one.get("learningObjectiveResults") or [
                {"learningObjectiveId": objective} for objective in one.get("learningObjectiveIds") or []
            ]
            for result in (r for r in results if isinstance(r, dict)):
                objective = result.get("learningObjectiveId")
                if isinstance(objective, str) and objective and source == "case" and ":" not in objective:
                    objective = f"urn:uuid:{objective}"
                row_id = made_id(key, source, objective)
                found.add(str(key), row_id, result, source=source, learningObjectiveId=objective)
    return found
