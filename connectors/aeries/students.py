"""The students that Aeries named as changed, asked for one by one.

That is exact where they are there still: a student's rows come of the student's own records and contacts, and at a
school without a master schedule so does the seat in a class. Where one of them is gone, everything is pulled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from connectors.aeries import mapping, people
from connectors.aeries.client import Client, MissingError
from connectors.aeries.fields import CONTACTS, STUDENTS, TEACHERS, Objects, number, positive, text, value
from connectors.aeries.mapping import Classes, Row, code_of, is_active
from connectors.aeries.people import People

#: More of them are more work than all students of most districts: everything is pulled instead.
MOST_STUDENTS = 300


@dataclass
class Changed:
    """The rows of some students. ``ended``: by file what they may have had before, and have no more."""

    people: People = field(default_factory=lambda: People([], [], []))
    seats: Classes = field(default_factory=Classes)
    ended: dict[str, list[str]] = field(default_factory=lambda: {"enrollments": [], "demographics": []})


async def changed_students(client: Client, schools: Objects, keys: Collection[str]) -> Changed | None:
    """The rows of some students; None where everything has to be pulled to know them. Raises ConnectorError."""
    if len(keys) > MOST_STUDENTS:
        return None
    found, codes = Changed(), {code_of(school) for school in schools}
    teachers: dict[int, Objects] = {}
    elementary = {code_of(school) for school in schools if mapping.is_elementary(school)}
    for key in sorted(keys):
        try:
            records = await client.objects(STUDENTS, f"{STUDENTS.at(min(codes))}/{key}")
        except MissingError:
            return None
        if not records or any(text(one, "student") != key for one in records):
            return None
        here = sorted((one for one in records if number(one, "school") in codes), key=code_of)
        active = [one for one in here if is_active(one)]
        if not active:
            return None
        await _rows(client, found, key, active)
        for code, some in groupby(here, code_of) if client.config.asks("enrollments") else ():
            if code in elementary:
                if code not in teachers:
                    teachers[code] = await client.of_school(TEACHERS, code)
                if not _seated(client, found, list(some), code, teachers[code]):
                    return None
    return found


async def _rows(client: Client, found: Changed, key: str, active: list[Mapping[str, Any]]) -> None:
    config, contacts = client.config, dict[str, list[Mapping[str, Any]]]()
    if config.contacts and config.asks("users"):
        try:
            given = await client.objects(CONTACTS, f"{CONTACTS.at(code_of(active[0]))}/{key}")
        except MissingError:
            given = []
        contacts = people.contact_lists(given)
    made = [people.students(list(some), code, contacts, config) for code, some in groupby(active, code_of)]
    others = people.contacts(contacts, [key], config)
    told = _first([one.demographics for one in made])
    found.people.users += [*_first([one.users for one in made]), *others.users]
    found.people.roles += [row for one in (*made, others) for row in one.roles]
    found.people.demographics += told
    if not told:
        found.ended["demographics"].append(key)


def _first(schools: list[list[Row]]) -> list[Row]:
    """A student's row of the first school that has any; the last one there, as a pull of everything has it."""
    return next(([rows[-1]] for rows in schools if rows), [])


def _seated(client: Client, found: Changed, records: Objects, code: int, teachers: Objects) -> bool:
    """Gives a student the seat that each active record has at a school without a master schedule, and takes all others.

    False where that changes the classes as well: those of teachers whose grades are those of their students.
    """
    config, key = client.config, str(text(records[0], "student"))
    seats = {seat[0] for one in records if is_active(one) and (seat := mapping.homeroom(one, config)) is not None}
    numbers = {positive(value(each, "teacher")) for each in teachers if is_active(each)}
    if any(not mapping.has_grades(each, config) for each in teachers if is_active(each)):
        return False
    for given in sorted(filter(None, numbers)):
        klass = f"{code}_TN_{given}"
        if given in seats:
            found.seats.enroll(code, klass, key, "student")
        else:
            found.ended["enrollments"].append(f"{klass}_{key}")
    return True
