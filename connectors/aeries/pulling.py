"""One pull: everything, or the students that changed where nothing else did."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.aeries import changes, mapping, people, rules
from connectors.aeries.changes import Server, Since
from connectors.aeries.client import Client
from connectors.aeries.fields import (
    CONTACTS,
    COURSES,
    SCHEDULES,
    SCHOOLS,
    SECTIONS,
    STAFF,
    TEACHERS,
    Objects,
    listed,
    positive,
    text,
    value,
)
from connectors.aeries.mapping import Classes, Columns, Terms, code_of
from connectors.aeries.people import People
from connectors.aeries.students import changed_students
from connectors.aeries.values import school_year
from connectors.aeries.walk import students
from connectors.protocol import ConnectorError, Intent, Mode, Pull
from connectors.roster import Roster
from transforms import issues
from transforms.issues import Rule

_PEOPLE = ("users", "roles", "demographics")
_ROWS = 5_000
_ROSTERED = ("classes", "enrollments")
COURSE_COLUMNS = ("sourcedId", "title", "orgSourcedId", "grades")
CLASS_COLUMNS = ("sourcedId", "title", "classType", "classCode", "courseSourcedId", "schoolSourcedId", "termSourcedIds",
                 "location", "grades", "periods")  # fmt: skip
ENROLLMENT_COLUMNS = ("sourcedId", "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary", "beginDate",
                      "endDate")  # fmt: skip


@dataclass
class _School:
    """The students of one school while they are read. Nothing of it is a row before the walk counts."""

    work: Pulling
    code: int
    contacts: Mapping[str, Objects]
    pages: list[dict[str, pl.DataFrame]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    pupils: dict[int, list[tuple[str, str | None]]] = field(default_factory=dict)
    unnamed: int = 0
    split: int = 0

    def begin(self) -> None:
        """Forgets everything."""
        self.pages, self.keys, self.pupils = [], set(), {}
        self.unnamed = self.split = 0

    def take(self, objects: Objects) -> None:
        """Some more records."""
        config = self.work.client.config
        made = people.students(objects, self.code, self.contacts, config)
        keys = [str(row["sourcedId"]) for row in made.users]
        self.keys |= {*keys}
        for page in (made, people.contacts(self.contacts, keys, config)):
            self.pages.append(page.frames)
            self.unnamed, self.split = self.unnamed + page.unnamed, self.split + page.split
        for one in objects:
            seat = mapping.homeroom(one, config) if mapping.is_active(one) else None
            if seat is not None:
                self.pupils.setdefault(seat[0], []).append(seat[1])


@dataclass
class Pulling:
    """One pull. ``counts``: how often each rule was met, by the file that it is about.

    ``teaching``: by sourcedId of the staff the schools at which somebody teaches. ``seen``: by file hashes of the ids
    of students and contacts, of the schools so far.
    """

    client: Client
    roster: Roster
    terms: Terms = field(default_factory=Terms)
    titles: dict[str, str | None] = field(default_factory=dict)
    staff: frozenset[str] = frozenset()
    teaching: dict[str, set[int]] = field(default_factory=dict)
    seen: dict[str, pl.Series] = field(default_factory=dict)
    counts: dict[tuple[Rule, str], int] = field(default_factory=dict)

    async def run(self, cursor: Mapping[str, Any] | None) -> Pull:
        """The whole pull. Raises ConnectorError; nothing is left out of what it returns."""
        now = await changes.server(self.client)
        found = await self.client.whole(SCHOOLS, SCHOOLS.path)
        schools = mapping.pulled_schools(found, self.client.config)
        if not schools:
            said = (
                "Aeries lists no active school that is to be pulled. Check schools and exclude_schools in the settings."
            )
            raise ConnectorError("no_schools", said, intent=Intent.ASK_HUMAN)
        mark = await asyncio.to_thread(_mark, found)
        since = Since.of(cursor)
        if since is not None and now.clock is not None and (since.year, since.schools) == (now.year, mark):
            named = await changes.changed(self.client, since.minute(now.clock))
            if named is not None and not named[1]:
                some = await changed_students(self.client, schools, named[0])
                if some is not None:
                    await asyncio.to_thread(self._changed, some.people, some.seats, some.ended)
                    return self._pull(Since(now.clock, now.year, mark).cursor())
        return await self._everything(found, schools, now, mark)

    async def _everything(self, found: Objects, schools: Objects, now: Server, mark: str) -> Pull:
        config = self.client.config
        year = school_year(now.year, (self.client.started or self.client.context.now()).date())
        self.terms = Terms.of(schools, year)
        for file in (*config.entities, *(("roles",) if config.asks("users") else ())):
            self.roster.begin(file)
        made, missing = mapping.orgs(found, schools, config)
        self.counts[rules.MADE_DISTRICT, "orgs"] = int(missing)
        self.counts[rules.UNDATED_TERM, "academicSessions"] = self.terms.undated
        await asyncio.to_thread(self._put, {"orgs": made, "academicSessions": self.terms.columns()})
        if config.asks("courses", "classes"):
            await self._courses()
        staff = await self.client.whole(STAFF, STAFF.path) if config.asks("users", "enrollments") else []
        self.staff = frozenset(filter(None, (mapping.staff_id(value(one, "staff")) for one in staff
                                             if mapping.is_active(one))))  # fmt: skip
        for school in schools:
            await self._school(school)
        codes = frozenset(code_of(school) for school in schools)
        await asyncio.to_thread(self._people, people.staff(staff, self.teaching, codes, config))
        told = config.changes and await changes.told(self.client, now.clock)
        for file in list(self.roster.spools):
            await asyncio.to_thread(self.roster.finish, file)
        if config.changes and not told:
            self.roster.findings.append(issues.one(rules.NO_CHANGES))
        if self.client.missing:
            cause = f"{self.client.missing:,}"
            self.roster.findings.append(issues.one(rules.MISSING_LIST, cause=cause))
        return self._pull(Since(now.clock, now.year, mark).cursor() if told and now.clock else None)

    async def _courses(self) -> None:
        found = await self.client.whole(COURSES, COURSES.path)
        columns = mapping.courses(found, self.client.config)
        self.titles = {str(key): title for key, title in zip(columns["sourcedId"], columns["title"], strict=True)}
        await asyncio.to_thread(self._put, {"courses": columns})

    async def _school(self, school: Mapping[str, Any]) -> None:
        config, code = self.client.config, code_of(school)
        given: Objects = []
        if config.contacts and config.asks("users"):
            given = await self.client.of_school(CONTACTS, code)
        here = _School(self, code, people.contact_lists(given))
        if config.asks("users", "demographics", "enrollments"):
            await students(self.client, code, here.begin, here.take)
            await asyncio.to_thread(self._students, here)
        if not config.asks("users", "courses", "classes", "enrollments"):
            return
        teachers = await self.client.of_school(TEACHERS, code)
        self._teaching(code, (key for one in teachers if mapping.is_active(one) for key in mapping.teacher_staff(one)))
        classes = await self._classes(school, teachers, here)
        self._teaching(code, classes.teachers)
        await asyncio.to_thread(self._classes_of, classes)

    async def _classes(self, school: Mapping[str, Any], teachers: Objects, here: _School) -> Classes:
        config, code = self.client.config, code_of(school)
        if mapping.is_elementary(school):
            return mapping.elementary(code, teachers, here.pupils, config, self.staff)
        if not config.asks("classes", "enrollments"):
            return Classes()
        given = await self.client.of_school(SECTIONS, code)
        found = mapping.sections(code, given, teachers, self.terms, config, self.titles, self.staff)
        if config.asks("enrollments"):
            rows = await self.client.of_school(SCHEDULES, code)
            await asyncio.to_thread(mapping.schedules, code, rows, frozenset(here.keys), found)
        return found

    def _teaching(self, code: int, keys: Any) -> None:
        for key in keys:
            self.teaching.setdefault(key, set()).add(code)

    def _classes_of(self, found: Classes) -> None:
        self._put({
            "courses": mapping.columns(found.courses, *COURSE_COLUMNS),
            "classes": mapping.columns(found.classes, *CLASS_COLUMNS),
            "enrollments": mapping.columns(found.enrollments, *ENROLLMENT_COLUMNS),
        })  # fmt: skip
        self._count(rules.NO_TITLE, "classes", found.untitled)
        self._count(rules.NO_TERM, "classes", found.no_term)
        self._count(rules.NO_STAFF, "classes", found.unknown)

    def _people(self, made: People) -> None:
        self._put(made.files)
        self._named(made.unnamed, made.split)

    def _students(self, here: _School) -> None:
        """Students and contacts of a school. Who was at an earlier one has another role here, and is there already.

        The last of several records counts, as it does for students one by one (``changed_students``).
        """
        for file in (*_PEOPLE,) if here.pages else ():
            rows = pl.concat(page[file] for page in here.pages).sort("sourcedId", maintain_order=True)
            if file != "roles":
                seen = self.seen.get(file, pl.Series([], dtype=pl.UInt64))
                rows = rows.filter(~rows["sourcedId"].hash().is_in(seen.implode()))
                self.seen[file] = pl.concat([seen, rows["sourcedId"].unique().hash()])
            for some in rows.unique("sourcedId", keep="last", maintain_order=True).iter_slices(_ROWS):
                self._put({file: some.to_dict(as_series=False)})
        self._named(here.unnamed, here.split)

    def _named(self, unnamed: int, split: int) -> None:
        self._count(rules.NO_USERNAME, "users", unnamed)
        self._count(rules.SPLIT_NAME, "users", split)

    def _put(self, files: Mapping[str, Columns]) -> None:
        for file, columns in files.items():
            if file in self.roster.spools and columns["sourcedId"]:
                self.roster.add(file, columns)

    def _changed(self, made: People, seats: Classes, ended: Mapping[str, list[str]]) -> None:
        """The files of some students alone."""
        asked = {*self.client.config.entities}
        if not made.users:
            return
        mode: Mode = "delta"
        for file in (*_PEOPLE, "enrollments"):
            wanted = "users" if file == "roles" else file
            if wanted in asked and (file != "enrollments" or seats.enrollments or ended.get(file)):
                self.roster.begin(file, mode)
        self._people(made)
        self._put({"enrollments": mapping.columns(seats.enrollments, *ENROLLMENT_COLUMNS)})
        for file, keys in ended.items():
            if file in self.roster.spools and keys:
                self.roster.end(file, keys)
        for file in self.roster.spools:
            self.roster.finish(file)

    def _count(self, rule: Rule, file: str, more: int) -> None:
        self.counts[rule, file] = self.counts.get((rule, file), 0) + more

    def _pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        self.roster.findings += [
            issues.one(rule, file=f"{file}.csv", cause=f"{count:,}")
            for (rule, file), count in sorted(self.counts.items(), key=lambda one: (one[0][0].code, one[0][1]))
            if count and file in self.client.config.entities
        ]  # fmt: skip
        return Pull(self.roster.package("Aeries"), cursor, objects=True)


def _mark(schools: Objects) -> str:
    """What the schools and their terms are, as one word: whatever differs here makes the next pull a whole one."""
    told = [
        repr((
            positive(value(one, "school")),
            *(text(one, name) for name in ("school_name", "inactive", "schedule_type", "school_id", "county_id",
                                           "district_id")),
            sorted(repr([text(term, name) for name in ("term", "term_title", "starts", "ends")])
                   for term in listed(one, "terms")),
        ))
        for one in schools
    ]  # fmt: skip
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:32]
