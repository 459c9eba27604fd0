"""Who the users of 1.1 are for one app, and which records 1.1 has no words for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from pyroaring import BitMap

from hub.api.caches import ByteCache
from hub.api.oneroster.order import Selections
from hub.api.oneroster.reading import Reading
from hub.scope.numbering import Numbering, Person, number
from hub.scope.personas import Entry, RoleNames
from hub.scope.view import EntityView
from hub.store import conditions as sql
from hub.store.user_roles import RoleRow, role_rows
from transforms.catalogue import CATALOGUE

USERS = CATALOGUE["users"]
Numberings = ByteCache[tuple[object, ...], tuple[Numbering, EntityView]]

_BYTES_EACH = 500
#: The reference to the user whom a record is about, by entity. Demographics have their user's rid.
_ABOUT = {"enrollments": "user", "results": "student"}


async def people(reading: Reading, names: RoleNames, cache: Numberings) -> tuple[Numbering, EntityView]:
    """The users of 1.1 of a reading's step, and the sets of them. Raises gate.ClosedError.

    A view in which nobody ever had several roles costs no look at the database.
    """
    users, known = reading.then("users"), reading.ever_shown()
    grown = sum(map(len, known.values()))  # they only ever grow, also without a step of the feed
    key = (*reading.key, names, grown)
    held = cache.get(key)
    if held is not None:
        return held
    wanted = BitMap.union(*known.values()) & users.listed if known else BitMap()
    if names.leaves_out:
        wanted |= await reading.matching(USERS, sql.WITH_UNSURE_ROLE)
    numbering = Numbering()
    if wanted:
        rows = await role_rows(
            reading.tx, reading.gate, USERS, list(wanted), before=reading.before(USERS)
        )  # fmt: skip
        shown = await reading.lens.identifiers.names(reading.tx, [row.sourced_id for row in rows])
        numbering = await asyncio.to_thread(number, list(_persons(reading, rows, shown)), users, known, names)
    found = numbering, numbering.view_of(users)
    layers = 0 if numbering.plain else found[1].stamps.layers.nbytes
    cache.put(key, found, 1_000 + _BYTES_EACH * len(wanted) + layers)
    return found


def _persons(reading: Reading, rows: Iterable[RoleRow], shown: Mapping[str, str]) -> Iterable[Person]:
    """The role entries that show, the primary org where it does, and the ids by which the app knows these people."""
    orgs, admitted = reading.then("orgs").present, reading.view.definition.admitted_roles
    known_by = orgs if "primaryOrg" in reading.view.projections["users"].visible else BitMap()
    for row in rows:
        entries = [
            Entry(role, kind == "primary", org)
            for role, kind, org in zip(row.roles, row.types, row.orgs, strict=True)
            if org in orgs and (admitted is None or role in admitted)
        ]
        primary_org = row.primary_org if row.primary_org is not None and row.primary_org in known_by else None
        yield Person(row.rid, shown.get(row.sourced_id, row.sourced_id), entries, primary_org)


async def narrowed(
    reading: Reading, name: str, numbering: Numbering, names: RoleNames, cache: Selections
) -> EntityView | None:  # fmt: skip
    """The sets of an entity without the present records that 1.1 cannot show; None where it can show all.

    These are results without a number and, where the app wants some roles left out, what is about people who have no
    role then, and enrollments with such a role.
    """
    if name not in {"enrollments", "results", "demographics"}:
        return None
    key = (*reading.key, "left out", name, names)
    out = cache.get(key)
    if not isinstance(out, BitMap):
        out = await _left_out(reading, name, numbering, names)
        cache.put(key, out, 2 * len(out.serialize()))
    view = reading.then(name)
    return EntityView(view.present - out, view.gone, view.trimmed, view.stamps) if out else None


async def _left_out(reading: Reading, name: str, numbering: Numbering, names: RoleNames) -> BitMap:
    entity = CATALOGUE[name]
    if name == "demographics":
        return numbering.absent
    out = BitMap()
    if name == "results":
        if "score" not in reading.view.projections[name].visible:
            return reading.present(entity)
        out |= await reading.matching(entity, sql.there_is_none(sql.column(entity["score"])))
    elif names.extension is None:
        out |= await reading.matching(entity, sql.WITH_EXTENDED_ROLE)
    if numbering.absent:
        out |= await reading.matching(entity, sql.refers(entity[_ABOUT[name]], list(numbering.absent)))
    return out
