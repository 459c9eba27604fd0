"""Values that a person sets in place of what sources say: they survive syncs, have an owner, may end by themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import columns, doubles, people, runs, statements
from hub.store.database import Database, LockTimeoutError, Transaction
from hub.store.runs import Run
from hub.store.statements import Override
from hub.sync.metadata import METADATA, member
from transforms.canonical import body
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need
from transforms.faults import described
from transforms.normalise.userids import is_social_security
from transforms.objects import read

#: The kinds of values that a person may set, one or a list of them.
KINDS = frozenset({
    Kind.STRING, Kind.ENUM, Kind.BOOLEAN, Kind.FLOAT, Kind.DATE, Kind.DATETIME, Kind.YEAR, Kind.REF, Kind.USER_ID,
})  # fmt: skip
ROLES = "roles"
_NO_NUMBERS = "The hub never stores social security numbers."


def fields(entity: Entity) -> tuple[str, ...]:
    """The fields of an entity that may be overridden, beside the members of its metadata.

    Of the nested ones roles: profiles hold credentials, and sources' roles name the profiles of their own source.
    """
    return tuple(f.name for f in body(entity) if (f.kind in KINDS or f.name == ROLES) and not f.derived)


async def override(
    tx: Transaction, *, entity: str, sourced_id: UUID, field: str, value: Any, owner: str, reason: str,
    until: datetime | None,
) -> tuple[Override, Run]:  # fmt: skip
    """Sets a field of a record and queues the run that applies it. ``value`` None empties the field.

    Raises HubError(NOT_FOUND) for a record that there is not, HubError(INVALID_REQUEST) for a field or value that
    cannot be set, HubError(CONFLICT) where the field is overridden already.
    """
    rid = await record(tx, entity, sourced_id)
    checked = await _checked(tx, CATALOGUE[entity], field, value)
    made = await statements.override(
        tx, new_id(), entity=entity, rid=rid, field=field, value=checked, owner=owner, reason=reason, until=until
    )
    await statements.note_next_end(tx)
    return made, await _queue(tx, entity, [rid], owner)


async def end(tx: Transaction, override_id: UUID, *, by: str) -> tuple[Override, Run]:
    """Ends an override and queues the run that gives the field back to the sources. Raises HubError(NOT_FOUND)."""
    ended = await statements.end_override(tx, override_id, by=by)
    await statements.note_next_end(tx)
    return ended, await _queue(tx, ended.entity, [ended.rid], by)


async def queue_ended(db: Database) -> None:
    """Ends the overrides whose time is over and queues the runs that give their fields back."""
    for district_id in await statements.ending(db):
        # A run that is being applied holds the district's row: the next look finds what is left, others do not wait.
        with contextlib.suppress(LockTimeoutError):
            async with db.district(district_id, wait_seconds=30, lock_seconds=runs.LOCK_SECONDS) as tx:
                for ended in await statements.end_due(tx):
                    await _queue(tx, ended.entity, [ended.rid], "hub")


async def _queue(tx: Transaction, entity: str, rids: list[int], by: str) -> Run:
    """Of a record that ended in a merge the one is merged anew that speaks of the person."""
    rids = sorted((await places(tx, entity, rids)).values())
    return await runs.request(
        tx, new_id(), source_id=None, upload_id=None, dry_run=False, requested_by=by, kind="override",
        task={"records": {entity: rids}},
    )  # fmt: skip


async def places(tx: Transaction, entity: str, rids: Collection[int]) -> dict[int, int]:
    """By record, the one that speaks of its person: itself, but for people who were merged."""
    led = await people.into(tx, rids) if doubles.is_person(CATALOGUE[entity]) else {}
    return {rid: led.get(rid, rid) for rid in rids}


async def resting(tx: Transaction, living: Sequence[Override]) -> frozenset[UUID]:
    """Those of all living overrides that are not in force, since the record of their person has others that are."""
    led = await people.into(tx, {one.rid for one in living if doubles.is_person(CATALOGUE[one.entity])})
    return statements.in_force(living, led)[1] if led else frozenset()


async def record(tx: Transaction, entity: str, sourced_id: UUID) -> int:
    """The rid of a record. Raises HubError(NOT_FOUND)."""
    found = await columns.rids_of(tx, CATALOGUE[entity], [str(sourced_id)])
    if not found:
        raise HubError(Code.NOT_FOUND, "This district has no such record.")
    return found[str(sourced_id)]


async def _checked(tx: Transaction, entity: Entity, name: str, value: Any) -> Any:
    """The JSON 1.2 member that a value becomes, None for an empty one. Raises HubError(INVALID_REQUEST)."""
    if member(name) is not None and METADATA in entity:
        return _checked_metadata(entity, name.removeprefix(f"{METADATA}."), value)
    if name not in fields(entity):
        allowed = [*fields(entity), *([f"{METADATA}.<name>"] if METADATA in entity else [])]
        raise HubError(
            Code.INVALID_REQUEST, f"{name} cannot be overridden. Of {entity.name} can: {', '.join(allowed)}."
        )
    field = entity[name]
    if value in (None, "", []):
        if field.rest12 is Need.REQUIRED:
            raise HubError(Code.INVALID_REQUEST, f"{name} must have a value.")
        return None
    others = frozenset(f.name for f in body(entity))
    written = read(entity, "1.2", {name: value}, place=entity.singular, filled=others)
    if written.faults:
        raise HubError(Code.INVALID_REQUEST, f"The value does not fit: {described(written.faults)}.")
    if name not in written.values:  # nothing but blanks
        raise HubError(Code.INVALID_REQUEST, f"The value of {name} is blank. Send null to empty the field.")
    canonical = written.values[name]
    items = list(canonical) if field.many else [canonical]
    await _fits(tx, field, items)
    members = [_member(field, item) for item in items]
    return members if field.many else members[0]


def _checked_metadata(entity: Entity, name: str, value: Any) -> Any:
    """The value of a member of the metadata, None for an empty one. Raises HubError(INVALID_REQUEST)."""
    if not name.strip():
        raise HubError(Code.INVALID_REQUEST, "Name the member of the metadata, as in metadata.house.")
    if is_social_security(name):
        raise HubError(Code.INVALID_REQUEST, _NO_NUMBERS)
    others = frozenset(f.name for f in body(entity))
    written = read(entity, "1.2", {METADATA: {name: value}}, place=entity.singular, filled=others)
    if written.faults:
        raise HubError(Code.INVALID_REQUEST, f"The value does not fit: {described(written.faults)}.")
    return None if value == "" else value


async def _fits(tx: Transaction, field: Field, items: list[Any]) -> None:
    """Raises HubError(INVALID_REQUEST) for items that cannot stand together, or name what the district has not."""
    if any(items.count(item) > 1 for item in items):
        raise HubError(Code.INVALID_REQUEST, f"{field.name} names something twice.")
    if field.kind is Kind.REF:
        await _known(tx, field, items)
    elif field.kind is Kind.USER_ID and any(is_social_security(one["type"]) for one in items):
        raise HubError(Code.INVALID_REQUEST, _NO_NUMBERS)
    elif field.name == ROLES:
        await _known(tx, CATALOGUE[ROLES]["org"], [role["org"] for role in items])
        primary = [role["org"] for role in items if role["roleType"] == "primary"]
        if len(primary) != len(set(primary)):
            raise HubError(Code.INVALID_REQUEST, "roles has several primary roles in one org. Mark one as primary.")
        if any(role["userProfile"] is not None for role in items):
            raise HubError(Code.INVALID_REQUEST, "A role that is set by hand names no userProfile. Take it out.")


async def _known(tx: Transaction, field: Field, wanted: list[str]) -> None:
    try:
        ids = [str(UUID(one)) for one in wanted]
    except ValueError:
        ids = []
    found = await columns.rids_of(tx, CATALOGUE[field.target or ""], ids)
    if set(wanted) - found.keys():
        raise HubError(Code.INVALID_REQUEST, f"{field.name} must name {field.target} of this district by sourcedId.")


def _member(field: Field, value: Any) -> Any:
    """A canonical value as JSON 1.2 has it."""
    if field.kind is Kind.COMPONENT:
        parts = CATALOGUE[field.name]
        return {name: _member(parts[name], part) for name, part in value.items() if part is not None}
    if field.kind is Kind.REF:
        return {"sourcedId": str(value)}
    if field.kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"
    return value.isoformat() if isinstance(value, date) else value
