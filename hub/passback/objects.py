"""What is sent of a record: OneRoster's object in the target's version, with the ids that the target knows. Pure.

What came from the target's source is known there by the source's own keys; what apps wrote, by the hub's ids, once it
was delivered. Sources: OneRoster 1.2 and 1.1 Gradebook information models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import orjson

from hub.passback.codes import Trouble
from hub.scope.v1p1.documents import Documents, Style
from hub.store.grade_deliveries import Document, Due, Known, Note
from hub.store.grade_targets import GradeTarget
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need, Service, Version
from transforms.references import escaped_bases, spelled_out

Record = dict[str, Any]
_GRADEBOOK_PATH = "/gradebook/v1p2"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request to a target. ``body`` is None for a DELETE."""

    due: Due
    url: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Held:
    """An object that cannot be sent. ``wanted``: what has to be queued first, although it was written before."""

    due: Due
    note: Note
    wanted: tuple[str, int] | None = None


def url(target: GradeTarget, due: Due) -> str:
    """The address of an object at a target."""
    return f"{target.url.rstrip('/')}/{due.entity}/{quote(due.sourced_id, safe='')}"


def record(target: GradeTarget, due: Due, document: Document) -> Record | None:
    """A record as an object of the target's version, with the hub's ids; None for what the version has no words for."""
    entity = CATALOGUE[due.entity]
    modified = f"{document.modified:%Y-%m-%dT%H:%M:%S}.{document.modified.microsecond // 1000:03d}Z"
    head = f'{{"sourcedId":"{due.sourced_id}","status":"active","dateLastModified":"{modified}"'
    text: str | None = head + spelled_out(document.doc) + document.doc_private + "}"
    if target.version == "1.1":
        text = _documents(entity).make(str(text))
    made: Record | None = None if text is None else orjson.loads(escaped_bases(text))
    return made


@cache
def _documents(entity: Entity) -> Documents:
    return Documents(entity, Style(), frozenset(f.name for f in entity.body))


def references(target: GradeTarget, entity: Entity, made: Record) -> Iterator[tuple[Field, str]]:
    """The fields of an object that refer to others, each with the hub's id of the other one."""
    for field in entity.members(_version(target)):
        if field.kind is Kind.REF and field.name in made:
            yield field, made[field.name]["sourcedId"]


def addressed(
    target: GradeTarget, due: Due, made: Record | None, known: Mapping[tuple[str, str], Known]
) -> Parcel | Held:
    """The request that puts an object, or why it cannot be sent."""
    if made is None:
        return Held(due, Note(Trouble.NO_SCORE))
    entity = CATALOGUE[due.entity]
    for field, sourced_id in list(references(target, entity, made)):
        other = CATALOGUE[field.target or ""]
        key, why = _key(target, field, sourced_id, known.get((other.name, sourced_id)))
        if why is not None:
            return Held(due, *why)
        if key is not None:
            base = _base(target, other.service)
            href = f"{base}/{other.name}/{quote(key, safe='')}"
            made[field.name] = {"href": href, "sourcedId": key, "type": other.singular}
        elif field.rest_need(_version(target)) is Need.REQUIRED:
            return Held(due, Note(Trouble.NOT_KNOWN_THERE, field=field.name))
        else:
            del made[field.name]  # what may be missing and is not known there is left out
    return Parcel(due, url(target, due), orjson.dumps({entity.singular: made}))


def _key(
    target: GradeTarget, field: Field, sourced_id: str, known: Known | None
) -> tuple[str | None, tuple[Note, tuple[str, int] | None] | None]:
    """What the target calls an object, or why that one has to come first; (None, None) where it will never know it."""
    if known is None or known.app_id is None:
        return (None if known is None else known.key), None
    if known.there or known.state == "skipped":
        return sourced_id, None
    entity = field.target or ""
    goes = entity in target.entities and (target.apps is None or known.app_id in target.apps)
    if known.state is None and not goes:
        return None, None
    place = (entity, known.rid)
    note = Note(Trouble.BLOCKED, field=field.name, blocked_by=place)
    return None, (note, place if known.state is None else None)


def _base(target: GradeTarget, service: Service) -> str:
    """The address of one of the target's services, by the usual paths."""
    address = target.url.rstrip("/")
    if target.version == "1.2" and address.endswith(_GRADEBOOK_PATH):
        return f"{address.removesuffix(_GRADEBOOK_PATH)}/{service}/v1p2"
    return address


def _version(target: GradeTarget) -> Version:
    return "1.1" if target.version == "1.1" else "1.2"
