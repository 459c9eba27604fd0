"""One pull: everything. Qmlativ shows no deletions, so whatever is pulled less often would stay where it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.protocol import ConnectorError, Intent, Pull
from connectors.roster import Roster
from connectors.skyward_qmlativ import mapping, people, rules
from connectors.skyward_qmlativ.client import ACCESS, Client
from connectors.skyward_qmlativ.objects import (
    COURSES,
    EMAILS,
    ENTITIES,
    GUARDIANS,
    LOGINS,
    NAMES,
    SEATS,
    SECTIONS,
    STAFF,
    STAFF_YEARS,
    STUDENT_YEARS,
    STUDENTS,
    TEACHING,
    TERMS,
    YEARS,
    Kind,
)
from connectors.skyward_qmlativ.people import Held
from connectors.skyward_qmlativ.walk import Asked, Part, Table, table
from transforms import issues
from transforms.issues import Rule

_ROWS = 5_000
#: Of more people, or seats, a part at a time is joined.
_PART_ROWS = 20_000
_AGENTS = {"user": pl.String, "agent": pl.String}


def wanted(client: Client) -> list[Kind]:
    """The kinds of objects that a pull reads."""
    config, found = client.config, [ENTITIES, YEARS]
    if config.asks("academicSessions", "classes"):
        found.append(TERMS)
    if config.asks("courses", "classes"):
        found.append(COURSES)
    if config.asks("classes", "enrollments"):
        found.append(SECTIONS)
    if config.asks("enrollments"):
        found += [SEATS, TEACHING]
    if config.asks("users", "enrollments", "demographics"):
        found += [STUDENTS, STUDENT_YEARS, STAFF, STAFF_YEARS]
    if config.asks("users", "demographics"):
        found.append(NAMES)
    if config.asks("users"):
        found += [EMAILS, LOGINS, *([GUARDIANS] if config.guardians else [])]
    return [kind for kind in found if kind.path not in config.leave_out]


def current_year(years: pl.DataFrame, client: Client) -> dict[str, str | None]:
    """The school year that is pulled. Raises ConnectorError (``no_year``)."""
    stated = client.config.school_year
    chosen = pl.col("SchoolYearID") == str(stated) if stated else mapping.flag("IsCurrentYearForProvidedEntity")
    found = years.filter(chosen & pl.col("NumericYear").cast(pl.Int32, strict=False).is_between(1900, 2200))
    if found.height != 1:
        text = (
            f"Qmlativ names {found.height} school years as the one of entity {client.config.entity}. State its id as "
            "school_year in the source's settings."
        )
        raise ConnectorError("no_year", text, intent=Intent.ASK_HUMAN)
    return found.row(0, named=True)


@dataclass
class Pulling:
    """One pull. ``tables``: what was read, by kind. ``counts``: how often each rule was met, by its file."""

    client: Client
    roster: Roster
    tables: dict[Kind, Table] = field(default_factory=dict)
    counts: dict[tuple[Rule, str], int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    async def run(self) -> Pull:
        """The whole pull. Raises ConnectorError; nothing is left out of what it returns."""
        await self._read(ENTITIES, None)
        await self._read(YEARS, None)
        year = current_year(await asyncio.to_thread(self._of, YEARS), self.client)
        for kind in wanted(self.client):
            if kind not in self.tables:
                await self._read(kind, year["SchoolYearID"])
        await asyncio.to_thread(self._made, year)
        self.roster.findings += [
            issues.one(rule, file=f"{file}.csv", cause=f"{count:,}")
            for (rule, file), count in sorted(self.counts.items(), key=lambda one: one[0][0].code) if count
        ]  # fmt: skip
        self.roster.findings += [issues.one(rules.NO_FIELD, cause=name) for name in sorted(self.missing)]
        return Pull(self.roster.package("Skyward Qmlativ"), None, objects=True)

    async def _read(self, kind: Kind, year: str | None) -> None:
        asked = await Asked.of(self.client, kind)
        self.missing += [f"{kind.path}: {name}" for name in asked.missing]
        self.tables[kind] = await table(self.client, kind, asked, year, self.roster.folder)

    def _of(self, kind: Kind, *columns: str, part: Part | None = None) -> pl.DataFrame:
        """What was read of a kind; nothing where it was not asked for."""
        return self.tables.get(kind, Table(kind, self.roster.folder)).read(*columns, part=part)

    def _parts(self, by: str, *kinds: Kind) -> Iterator[Part]:
        """As many parts as it takes for none to be large."""
        rows = sum(self.tables[kind].rows for kind in kinds if kind in self.tables)
        of = max(1, -(-rows // _PART_ROWS))
        return (Part(by, number, of) for number in range(of))

    def _made(self, year: Mapping[str, str | None]) -> None:
        """All files of the tables. CPU-bound, and writes to disk."""
        config, district = self.client.config, str(self.client.config.entity)
        for file in (*config.entities, *(("roles",) if config.asks("users") else ())):
            self.roster.begin(file)
        orgs = mapping.orgs(mapping.entities(self._of(ENTITIES), district), district)
        if not (orgs["type"] == "district").any():
            text = f"Qmlativ lists no entity {district}. {ACCESS}"
            raise ConnectorError("no_entity", text, intent=Intent.ASK_HUMAN)
        known, key = orgs["sourcedId"], str(year["SchoolYearID"])
        sessions, undated = mapping.sessions(year, self._of(TERMS))
        courses = mapping.courses(self._of(COURSES), known, district)
        classes, no_term = mapping.classes(self._of(SECTIONS), courses, sessions["sourcedId"], key, known)
        self._put({"orgs": orgs, "academicSessions": sessions, "courses": courses, "classes": classes})
        self.counts[rules.UNDATED, "academicSessions"] = undated
        self.counts[rules.NO_TERM, "classes"] = no_term
        pupils = people.students(self._of(STUDENTS, "NameID"), self._of(STUDENT_YEARS), known, key)
        staff = people.staff(self._of(STAFF), self._of(STAFF_YEARS), known, key, config)
        there = {"StudentID": pupils.ids, "StaffID": staff.ids}
        for part in self._parts("SectionID", SEATS):
            seats, taught = self._of(SEATS, part=part), self._of(TEACHING, part=part)
            self._put({"enrollments": mapping.enrollments(seats, taught, classes, there)})
        self._people(pupils, staff)
        for file in self.roster.spools:
            self.roster.finish(file)
        for one in self.tables.values():
            one.begin_again()

    def _people(self, pupils: Held, staff: Held) -> None:
        config, agents = self.client.config, pl.DataFrame(schema=_AGENTS)
        held = [pupils.rows, staff.rows]
        if config.guardians:
            others, agents = people.guardians(self._of(GUARDIANS), pupils, config)
            held.append(others.rows)
        every = pl.concat(held)
        for part in self._parts("NameID", STUDENTS, STAFF, GUARDIANS):
            names, some = self._of(NAMES, part=part), every.filter(part.has())
            tables = {
                "names": names, "emails": self._of(EMAILS, part=part), "logins": self._of(LOGINS, part=part),
                "students": _once(self._of(STUDENTS, part=part), pupils.ids, "StudentID").select(
                    "NameID", "StudentNumber", "Grade", "CalculatedStudentStateID"
                ),
                "staff": _once(self._of(STAFF, part=part), staff.ids, "StaffID").select("NameID", "StaffNumber"),
            }  # fmt: skip
            theirs = agents.filter(Part("user", part.number, part.of).has())
            users, nameless, unnamed = people.users(some, tables, theirs, config)
            roles = people.roles(some.join(users.select(NameID="sourcedId"), on="NameID", how="semi"))
            students = pupils.ids.filter(part.has())
            self._put({"users": users, "roles": roles, "demographics": people.demographics(students, names)})
            if config.asks("users"):
                self._count(rules.NO_NAME, nameless)
                self._count(rules.NO_USERNAME, unnamed)

    def _count(self, rule: Rule, more: int) -> None:
        self.counts[rule, "users"] = self.counts.get((rule, "users"), 0) + more

    def _put(self, files: Mapping[str, pl.DataFrame]) -> None:
        for file, rows in files.items():
            if file in self.roster.spools:
                for some in rows.iter_slices(_ROWS):
                    columns: dict[str, Any] = some.to_dict(as_series=False)
                    self.roster.add(file, columns)


def _once(rows: pl.DataFrame, ids: pl.DataFrame, key: str) -> pl.DataFrame:
    """Of rows that count, one for each person."""
    return rows.join(ids, on=key, how="semi", maintain_order="left").unique("NameID", keep="first", maintain_order=True)
