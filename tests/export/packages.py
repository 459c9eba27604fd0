"""Making packages in tests, reading them back, and comparing what two districts hold."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson

from hub.crypto import column_key
from hub.export import making
from hub.export.making import Asked, Making
from hub.ids import new_id
from hub.scope.grants import GrantDefinition
from hub.store import exports
from hub.store.database import Database
from hub.store.grants import Grant
from tests.districts import District
from tests.services import MASTER_KEY
from transforms.catalogue import CATALOGUE, Entity, Version
from transforms.references import escaped_bases, spelled_out

EVERY = frozenset(e.name for e in CATALOGUE.entities)
#: All that a district has, gradebook and resources included.
EVERYTHING = GrantDefinition.model_validate(
    {"entities": sorted(EVERY), "privacy": ["contact", "demographic", "credential"]}
)
Rows = dict[str, list[dict[str, str]]]
KEY = column_key(MASTER_KEY)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


async def make(
    district: District, grant: Grant, version: Version, mode: str = "bulk", *, entities: frozenset[str] = EVERY,
    **options: Any,
) -> tuple[bytes, Making]:  # fmt: skip
    """The bytes of a package, and what it is."""
    async with district.db.district(district.district_id, readonly=True) as tx:
        asked = Asked(version, mode, entities)
        made = await making.begin(tx, grant.grant_id, asked, district.clock.now(), key=KEY, **options)
        return b"".join([chunk async for chunk in made.package.chunks()]), made


async def acknowledge(district: District, grant: Grant, version: Version, made: Making) -> UUID:
    """Notes that the app has a package, as if it had been sent to it."""
    number = new_id()
    async with district.db.district(district.district_id) as tx:
        await exports.note(
            tx, number, made.outcome(), grant_id=grant.grant_id, version=version, mode="bulk", entities=EVERY,
            requested_by="test",
        )  # fmt: skip
        await exports.acknowledge(tx, number)
    return number


def texts(data: bytes) -> dict[str, str]:
    """The files of a package as text, by name without ``.csv``."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name.removesuffix(".csv"): archive.read(name).decode() for name in archive.namelist()}


def rows(data: bytes) -> Rows:
    """The rows of each data file."""
    return {name: parsed(text) for name, text in texts(data).items() if name != "manifest"}


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def manifest(data: bytes) -> dict[str, str]:
    """The properties of the manifest."""
    return {row["propertyName"]: row["value"] for row in parsed(texts(data)["manifest"])}


def applied(whole: Rows, delta: Rows) -> Rows:
    """A whole package after a delta was taken over, as its reader would."""
    found = {}
    for file in whole.keys() | delta.keys():
        held = {row["sourcedId"]: row for row in whole.get(file, [])}
        for row in delta.get(file, []):
            if row["status"] == "tobedeleted":
                del held[row["sourcedId"]]  # it must have been there
            else:
                assert row["status"] == "active"
                held[row["sourcedId"]] = row | {"status": "", "dateLastModified": ""}
        if held:
            found[file] = sorted(held.values(), key=lambda row: row["sourcedId"])
    return found


def by_id(found: Rows) -> Rows:
    """The same with the rows of each file in the order of their ids, without blank metadata.

    A package has only those metadata columns in which somebody has a value.
    """
    return {
        file: [
            {name: value for name, value in row.items() if value or not name.startswith("metadata.")}
            for row in sorted(each, key=lambda row: row["sourcedId"])
        ]
        for file, each in found.items()
    }


async def documents(db: Database, district_id: UUID, names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """All active records, by entity and id, with ids replaced by ``names`` and lists without an order sorted."""
    found: dict[str, dict[str, Any]] = {}
    async with db.district(district_id, readonly=True) as tx:
        for entity in CATALOGUE.entities:
            fetched = await tx.fetch(
                f"SELECT sourced_id::text, doc, doc_private FROM {entity.table} WHERE active ORDER BY rid"
            )
            found[entity.name] = dict(_document(entity, *row, names) for row in fetched)
    return found


def _document(entity: Entity, sourced_id: str, doc: str, private: str, names: Mapping[str, str]) -> tuple[str, Any]:
    text = "{" + escaped_bases((spelled_out(doc) + private)[1:]) + "}"
    record = orjson.loads(_ID.sub(lambda m: names.get(m[0], m[0]), text))
    for name in ("children", "orgs", "terms", "agents", "resources"):
        if name in record:
            record[name].sort(key=lambda one: one["sourcedId"])
    if "roles" in record and entity.name == "users":
        record["roles"].sort(key=lambda one: (one["org"]["sourcedId"], one["roleType"], one["role"]))
    return names.get(sourced_id, sourced_id), record


async def origins(db: Database, district_id: UUID) -> dict[str, str]:
    """The hub's ids of a district that was imported from a package, to the ids in that package."""
    found = {}
    async with db.district(district_id, readonly=True) as tx:
        for entity in CATALOGUE.entities:
            if entity.rid_of is None:
                found |= dict(
                    await tx.fetch(
                        f"SELECT t.sourced_id::text, s.key FROM {entity.table} t JOIN source_records s "
                        "USING (district_id, rid) WHERE s.entity = $1", entity.name,
                    )
                )  # fmt: skip
    return found


def lines(data: bytes, files: Iterable[str]) -> list[str]:
    """The first lines of some files."""
    found = texts(data)
    return [found[file].split("\r\n", 1)[0] for file in files]
