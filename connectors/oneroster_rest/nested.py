"""Rows of the files whose content nests in other objects over REST: roles, profiles, links, learning objectives.

Such rows have no ids of their own in JSON. They get ones that are made of what they say, so the same object has the
same rows in every pull.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

import polars as pl

from connectors.oneroster_rest.mapping import Members, Objects, Odd, framed, texts
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Version
from transforms.nesting import fed, owner
from transforms.normalise.profiles import URN
from transforms.validate.identifiers import storable

_Row = dict[str, Any]


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


def rows(
    file: str, item: Field, version: Version, objects: Objects, odd: Odd, *, changes: bool = False
) -> pl.DataFrame:
    """The rows of one file from the objects that are its owners; ``objects`` has no tombstones.

    ``changes``: for a file of changes, whose rows say that they are active.
    """
    component = CATALOGUE.files(version)[file]
    near = owner(component)
    members = Members(objects)
    found: list[_Row] = []
    profiles = members.of("userProfiles") if item.name == "roles" else [None] * len(objects)
    for key, value, beside in zip(members.of("sourcedId"), members.of(item.name), profiles, strict=True):
        if isinstance(key, str) and value:
            entries = value if isinstance(value, list) else [value]
            good = [one for one in entries if isinstance(one, dict)]
            for _ in range(len(entries) - len(good)):
                odd.note(file, item.name)
            more = {near.name: key, "status": "active" if changes else None, "dateLastModified": None}
            found += [{**row, **more} for row in _made(key, good, component, item, beside)]
    return _frame(component, version, found, odd)


def _made(key: str, given: list[_Row], component: Entity, item: Field, beside: Any) -> Iterator[_Row]:
    """The rows of one owner. ``beside``: its profiles, for the roles that name them."""
    if item.name == "roles":
        return _roles(key, given, beside if isinstance(beside, list) else [])
    if item.name == "userProfiles":
        return _profiles(key, given)
    if item.kind is Kind.REF:
        far = next(f.name for f in component.fields if f.target == item.target and f.stored)
        return _numbered((made_id(key, one.get("sourcedId")), {far: one}) for one in given)
    return _objectives(key, given)


def _frame(component: Entity, version: Version, found: list[_Row], odd: Odd) -> pl.DataFrame:
    columns: dict[str, list[str | None]] = {}
    for item in component.csv_columns(version):
        name = item.csv_name or ""
        values = [row.get(item.name) for row in found] if item.stored else [None] * len(found)
        columns[name] = texts(item, values, partial(odd.note, component.csv_file, name))
    return framed(columns)


def made_id(*parts: object) -> str:
    """An id of what a row says."""
    return blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _numbered(found: Iterator[tuple[str, _Row]]) -> Iterator[_Row]:
    """Rows with their ids; a row that says the same as an earlier one gets a number."""
    seen: dict[str, int] = {}
    for key, row in found:
        seen[key] = seen.get(key, 0) + 1
        yield {**row, "sourcedId": key if seen[key] == 1 else f"{key}.{seen[key]}"}


def _roles(user: str, given: list[_Row], profiles: list[Any]) -> Iterator[_Row]:
    known = {_text(one.get("profileId")) for one in profiles if isinstance(one, dict)}

    def each() -> Iterator[tuple[str, _Row]]:
        for one in given:
            org = one.get("org")
            profile = _text(one.get("userProfile"))
            row = {**one, "userProfile": profile_key(user, profile) if profile in known and profile else None}
            yield made_id(user, org.get("sourcedId") if isinstance(org, dict) else org, one.get("role")), row

    return _numbered(each())


def profile_key(user: str, profile_id: str) -> str:
    """The id of a profile's row: of a hub's profile such that the same URI comes of it, else made of both ids."""
    key = profile_id.removeprefix(URN)
    return key if profile_id.startswith(URN) and storable(key) else made_id(user, profile_id)


def _profiles(user: str, given: list[_Row]) -> Iterator[_Row]:
    """One row for each account of a profile. A profile without an account has none."""

    def each() -> Iterator[tuple[str, _Row]]:
        for one in given:
            accounts = one.get("credentials")
            for account in accounts if isinstance(accounts, list) else []:
                if isinstance(account, dict):
                    row = {**one, "credentialType": account.get("type"), "username": account.get("username")}
                    yield profile_key(user, _text(one.get("profileId")) or ""), row

    return _numbered(each())


def _objectives(key: str, given: list[_Row]) -> Iterator[_Row]:
    """The objectives of a line item, or of a result with their scores."""

    def each() -> Iterator[tuple[str, _Row]]:
        for one in given:
            source = one.get("source")
            results = one.get("learningObjectiveResults") or [
                {"learningObjectiveId": objective} for objective in one.get("learningObjectiveIds") or []
            ]
            for result in (r for r in results if isinstance(r, dict)):
                objective = _text(result.get("learningObjectiveId"))
                if objective and source == "case" and ":" not in objective:
                    objective = f"urn:uuid:{objective}"
                row: Mapping[str, Any] = {**result, "source": source, "learningObjectiveId": objective}
                yield made_id(key, source, objective), dict(row)

    return _numbered(each())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
