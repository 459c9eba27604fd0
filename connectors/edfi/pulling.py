"""One pull: everything, or of the files that may be different all, and of enrollments what changed.

A file that is made of several resources comes whole when one of these changed, and not at all when none did. Rows of a
resource that others are joined with are kept in memory as columns; everything else goes through the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from connectors.edfi import keys, people, resources, rules, schools, tables
from connectors.edfi.changes import MOST_CHANGED, Moved, Since, gone, moved, window
from connectors.edfi.client import Client, Versions
from connectors.edfi.descriptors import Descriptors
from connectors.edfi.people import Made, Side
from connectors.edfi.schools import Places, Years
from connectors.edfi.walk import Wanted, walk
from connectors.members import Objects, school_year, text
from connectors.protocol import ConnectorError, Mode, Pull
from connectors.roster import Roster
from connectors.spool import METADATA, Spool
from transforms import issues
from transforms.issues import Rule

_ENROLLMENT = ("sourcedId", "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary", "beginDate",
               "endDate")  # fmt: skip
_KINDS = {keys.STUDENT: resources.STUDENT_SECTIONS, keys.STAFF: resources.STAFF_SECTIONS}


@dataclass
class _Sink:
    """Takes what a walk brings."""

    begin_again: Callable[[], None]
    take: Callable[[Objects], None]


@dataclass
class Pulling:
    """One pull. ``teaching``: who teaches where, where enrollments were read already."""

    client: Client
    roster: Roster
    year: str = ""
    by_clock: bool = False
    descriptors: Descriptors = field(init=False)
    places: Places = field(init=False)
    teaching: Side | None = None
    counts: dict[tuple[Rule, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.client.config
        self.descriptors = Descriptors(config.descriptors)
        self.places = Places(None if config.district is None else str(config.district))

    async def run(self, cursor: Mapping[str, Any] | None) -> Pull:
        """The whole pull. Raises ConnectorError; nothing is left out of what it returns."""
        client, since = self.client, Since.of(cursor)
        if client.config.snapshot and not await client.use_snapshot():
            self.counts[rules.NO_SNAPSHOT, ""] = 1
        # The version is looked up first: what changes while everything is read comes again with the next pull.
        versions = await client.versions() if client.config.changes else None
        if since is not None and versions is not None and self._still(since, versions):
            return self._pull(since)
        await self._choose_year()
        known = since is not None and versions is not None and since.year == self.year
        files = list(resources.made_of(client))
        found: dict[str, Moved] | None = None
        within: dict[str, str] | None = None
        if known and since is not None and versions is not None and versions.oldest <= since.version + 1:
            if since.version <= versions.newest:
                within = window(since.behind(versions.oldest), versions.newest)
                found = await moved(client, resources.needed(client), within)
            if found is not None and not any(found[n].any for n in resources.PLACES if n in found):
                files = [file for file in files if self._differs(file, found)]
            else:
                found = None
        if files:
            await self._places()
        await self._files(files, found, within if found else None)
        if versions is None and client.config.changes:
            self.counts[rules.NO_CHANGES, ""] = 1
        return self._pull(self._reached(since, versions) if versions else None)

    def _reached(self, since: Since | None, versions: Versions) -> Since:
        """The cursor of this pull. ``since``: that of the one before."""
        at = self.client.started or self.client.context.now()
        settled = since.settled_at(versions.newest, at) if since is not None else 0
        return Since(versions.newest, self.year, self.by_clock, at, settled)

    def _still(self, since: Since, versions: Versions) -> bool:
        """Whether nothing changed at the host, the school year included."""
        given = self.client.config.school_year
        year = str(given) if given is not None else self._year_now() if since.by_clock else since.year
        return versions.newest == since.version and year == since.year

    def _year_now(self) -> str:
        at = self.client.started or self.client.context.now()
        return str(school_year(at.date()))

    async def _choose_year(self) -> None:
        """The school year that is pulled: the configured one, the host's current one, or that of the date."""
        given = self.client.config.school_year
        if given is not None:
            self.year = str(given)
            return
        current: list[str] = []

        def take(objects: Objects) -> None:
            found = (text(one.get("schoolYear")) for one in objects if tables.is_true(one.get("currentSchoolYear")))
            current.extend(year for year in found if year)

        try:
            await walk(self.client, Wanted(resources.SCHOOL_YEARS), _Sink(current.clear, take))
        except ConnectorError as error:
            if error.code not in {"not_found", "not_permitted"}:
                raise
        self.by_clock = len(set(current)) != 1
        self.year = self._year_now() if self.by_clock else current[0]

    def _differs(self, file: str, found: Mapping[str, Moved]) -> bool:
        return any(found[name].any for name in resources.made_of(self.client)[file] if name in found)

    async def _files(
        self, files: Sequence[str], found: Mapping[str, Moved] | None, within: Mapping[str, str] | None
    ) -> None:  # fmt: skip
        """Makes files. ``found``: what changed within a window, where that is known."""
        if "orgs" in files:
            await self._write("orgs", self.places.orgs())
        if "academicSessions" in files:
            await self._sessions()
        if "courses" in files or "classes" in files:
            await self._classes(files)
        if "enrollments" in files:
            few = found is not None and within is not None and self._few(found)
            if not few or not await self._changed_enrollments(within or {}):
                await self._enrollments()
        if "users" in files or "demographics" in files:
            await self._people(files)

    def _few(self, found: Mapping[str, Moved]) -> bool:
        """Whether changes of enrollments can be read by themselves."""
        own = [found[name] for name in _KINDS.values()]
        above = (found.get(name) for name in resources.ABOVE_ENROLLMENTS)
        told = all(one.deleted is not None and one.rekeyed is not None for one in own)
        rekeyed = any(one is not None and one.rekeyed != 0 for one in above)
        return told and not rekeyed and sum(one.changed for one in own) <= MOST_CHANGED

    def _pull(self, since: Since | None) -> Pull:
        found = [issues.one(rules.UNKNOWN, field=name, cause=uri) for name, uri in sorted(self.descriptors.unknown)]
        found += [
            issues.one(rule, file=f"{file}.csv" if file else "", cause=f"{count:,}" if file else "")
            for (rule, file), count in sorted(self.counts.items(), key=lambda one: (one[0][0].code, one[0][1])) if count
        ]  # fmt: skip
        self.roster.findings += found
        return Pull(self.roster.package("Ed-Fi"), since.cursor() if since is not None else None, objects=True)

    async def _write(self, file: str, frame: pl.DataFrame, mode: Mode = "bulk") -> None:
        """A whole file of one frame."""

        def work() -> None:
            self.roster.begin(file, mode)
            self.roster.put(file, frame)
            self.roster.finish(file)

        await asyncio.to_thread(work)

    async def _into(self, name: str, side: Side, read: tables.Read, within: Mapping[str, str] | None = None) -> Side:
        """All rows of a resource in memory, as ``read`` makes them."""
        wanted = Wanted(name, window=within or {})
        await walk(self.client, wanted, _Sink(side.begin_again, lambda objects: side.add(read(objects))))
        return side

    async def _staged(self, name: str, read: tables.Read, within: Mapping[str, str] | None = None) -> Spool:
        """All rows of a resource on disk, as ``read`` makes them."""
        header = tuple(name for name in read([]).columns if not name.startswith(METADATA))
        spool = Spool(Path(self.roster.folder), f"stage-{name}", header)
        wanted = Wanted(name, window=within or {})
        await walk(self.client, wanted, _Sink(spool.begin_again, lambda objects: spool.add(read(objects))))
        await asyncio.to_thread(spool.finish)
        return spool

    async def _places(self) -> None:
        places = self.places

        def again(*_: object) -> None:
            places.districts.clear()
            places.schools.clear()
            places.rows.clear()

        districts: list[Mapping[str, Any]] = []
        found: list[Mapping[str, Any]] = []
        await walk(self.client, Wanted(resources.DISTRICTS), _Sink(districts.clear, districts.extend))
        await walk(self.client, Wanted(resources.SCHOOLS), _Sink(found.clear, found.extend))
        again()
        places.take_districts(districts)
        places.take_schools(found)

    async def _sessions(self) -> None:
        years = Years(self.year, self.descriptors)
        try:
            await walk(self.client, Wanted(resources.CALENDARS), _Sink(years.days.clear, years.take))
        except ConnectorError as error:
            if error.code not in {"not_found", "not_permitted"}:
                raise
            years.days.clear()
        found: list[Mapping[str, Any]] = []
        await walk(self.client, Wanted(resources.SESSIONS), _Sink(found.clear, found.extend))
        frame, untold = await asyncio.to_thread(schools.sessions, found, self.year, self.places, years)
        self.counts[rules.NO_CALENDAR, "academicSessions"] = untold
        await self._write("academicSessions", frame)

    async def _classes(self, files: Sequence[str]) -> None:
        orgs = frozenset({*self.places.schools, *self.places.districts})
        descriptors, year = self.descriptors, self.year
        side = await self._into(resources.COURSES, Side(), lambda rows: schools.courses(rows, orgs, descriptors))
        known = side.frame("sourcedId", "title", "subjects")
        if "courses" in files:
            await self._write("courses", known)
        if "classes" in files:
            offered = (
                await self._into(resources.OFFERINGS, Side(), lambda rows: schools.offerings(rows, year, descriptors))
            ).frame("offering", "course", "localTitle", "offered")
            stage = await self._staged(
                resources.SECTIONS, lambda rows: schools.sections(rows, year, self.places, descriptors)
            )
            await self._through("classes", stage, lambda frame: schools.classes(frame, offered, known))

    async def _through(self, file: str, stage: Spool, make: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """A file of what ``make`` makes of staged rows, chunk by chunk."""

        def work() -> None:
            self.roster.begin(file)
            for frame in _rows_of(stage):
                self.roster.put(file, make(frame))
            self.roster.finish(file)
            stage.begin_again()

        await asyncio.to_thread(work)

    def _enrolled(self, kind: str) -> tables.Read:
        """Reads the enrollments of one kind that are of this year and of a school that is here."""
        here = list(self.places.schools)

        def read(objects: Objects) -> pl.DataFrame:
            frame = tables.enrollments(objects, kind, self.descriptors)
            wanted = frame.filter(pl.col("year") == self.year, pl.col("school").is_in(here))
            return wanted.select(*_ENROLLMENT, "unique", org="school")

        return read

    async def _enrollments(self) -> None:
        teaching = Side()
        stages = [await self._staged(name, self._enrolled(kind)) for kind, name in _KINDS.items()]

        def work() -> None:
            self.roster.begin("enrollments")
            for kind, stage in zip(_KINDS, stages, strict=True):
                for frame in _rows_of(stage):
                    self.roster.put("enrollments", frame.select(*_ENROLLMENT))
                    if kind == keys.STAFF:
                        teaching.add(frame.select("unique", "org").unique(maintain_order=True))
                stage.begin_again()
            self.roster.finish("enrollments")

        await asyncio.to_thread(work)
        self.teaching = teaching

    async def _changed_enrollments(self, within: Mapping[str, str]) -> bool:
        """Enrollments that came, changed and went; whether the host says enough of them."""
        ended: set[str] = set()
        for kind, name in _KINDS.items():
            lost = await gone(self.client, name, kind, within)
            if lost is None:
                return False
            ended |= lost
        stages = [await self._staged(name, self._enrolled(kind), within) for kind, name in _KINDS.items()]

        def work() -> None:
            there: set[str | None] = set()
            self.roster.begin("enrollments", "delta")
            for stage in stages:
                for frame in _rows_of(stage):
                    there.update(frame["sourcedId"])
                    self.roster.put("enrollments", frame.select(*_ENROLLMENT))
                stage.begin_again()
            self.roster.end("enrollments", sorted(ended - there))
            self.roster.finish("enrollments")

        await asyncio.to_thread(work)
        return True

    async def _people(self, files: Sequence[str]) -> None:
        client, descriptors, private = self.client, self.descriptors, "demographics" in files
        side = await self._into(
            resources.STUDENT_SCHOOLS, Side(), lambda rows: tables.student_schools(rows, descriptors)
        )
        main = await asyncio.to_thread(
            people.student_roles, side.frame("unique", "school", "begin", "end", "grade", "primary"), self.places
        )
        said = (
            await self._into(
                resources.STUDENT_ORGS, Side(), lambda rows: tables.student_orgs(rows, descriptors, private=private)
            )
        ).frame(*tables.student_orgs([], descriptors, private=private).columns)
        pairs = pl.DataFrame(schema=dict.fromkeys(("unique", "student", "role"), pl.String))
        if client.config.contacts and "users" in files:
            kind, (_, between) = resources.contact_kind(client), resources.contact_resources(client)
            near = await self._into(between, Side(), lambda rows: tables.student_contacts(rows, descriptors, kind))
            pairs = near.frame("unique", "student", "role")
        stage = await self._staged(resources.STUDENTS, self._student(private=private))
        await self._write_students(files, stage, main, said, pairs)
        if "users" in files:
            await self._staff_and_contacts(main, pairs)

    def _student(self, *, private: bool) -> tables.Read:
        def read(objects: Objects) -> pl.DataFrame:
            frame = tables.names(objects, "student")
            born = tables.births(objects, self.descriptors).drop("unique") if private else None
            return frame if born is None else frame.hstack(born)

        return read

    async def _write_students(
        self, files: Sequence[str], stage: Spool, main: pl.DataFrame, said: pl.DataFrame, pairs: pl.DataFrame
    ) -> None:  # fmt: skip
        def work() -> None:
            begun = [file for file in ("users", "roles", "demographics") if file in files or
                     (file == "roles" and "users" in files)]  # fmt: skip
            for file in begun:
                self.roster.begin(file)
            for frame in _rows_of(stage):
                if "users" in files:
                    self._keep(people.students(frame, main, said, pairs, self.places), rules.NO_SCHOOL)
                if "demographics" in files:
                    self.roster.put("demographics", people.demographics(frame, said, main))
            if "demographics" in files:
                self.roster.finish("demographics")
            stage.begin_again()

        await asyncio.to_thread(work)

    def _keep(self, made: Made, left_out: Rule) -> None:
        self.roster.put("users", made.users)
        self.roster.put("roles", made.roles)
        for rule, count in ((left_out, made.left_out), (rules.NO_USERNAME, made.unnamed)):
            self.counts[rule, "users"] = self.counts.get((rule, "users"), 0) + count

    async def _staff_and_contacts(self, main: pl.DataFrame, pairs: pl.DataFrame) -> None:
        client, descriptors, places = self.client, self.descriptors, self.places
        assigned = await self._into(resources.ASSIGNMENTS, Side(), lambda rows: tables.assignments(rows, descriptors))
        near = await self._into(resources.STAFF_SCHOOLS, Side(), tables.staff_schools)
        if self.teaching is None:
            read = self._enrolled(keys.STAFF)
            self.teaching = await self._into(
                resources.STAFF_SECTIONS, Side(), lambda rows: read(rows).select("unique", "org").unique()
            )
        placed = await asyncio.to_thread(
            people.placed_staff, assigned.frame("unique", "role", "org", "begin", "end"), near.frame("unique", "org"),
            self.teaching.frame("unique", "org"), places, client.config.staff_role,
        )  # fmt: skip
        stages = [(await self._staged(resources.STAFFS, _person("staff")), rules.NO_PLACE)]
        if client.config.contacts:
            kind, (name, _) = resources.contact_kind(client), resources.contact_resources(client)
            stages.append((await self._staged(name, _person(kind)), rules.NO_STUDENT))

        def work() -> None:
            for stage, rule in stages:
                for frame in _rows_of(stage):
                    staff = rule is rules.NO_PLACE
                    made = people.staffs(frame, placed, places) if staff else people.contacts(frame, pairs, main)
                    self._keep(made, rule)
                stage.begin_again()
            self.roster.finish("users")
            self.roster.finish("roles")

        await asyncio.to_thread(work)


def _person(kind: str) -> tables.Read:
    """Reads staff or contacts with their own e-mail addresses and numbers."""
    return lambda objects: tables.with_contact_details(objects, tables.names(objects, kind), kind)


def _rows_of(stage: Spool) -> Iterator[pl.DataFrame]:
    """What was staged, chunk by chunk."""
    return stage.frames([*stage.header, *sorted(stage.metadata)])
