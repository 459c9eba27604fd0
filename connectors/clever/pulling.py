"""One pull: everything, or what events say. Nothing of it counts while the district is paused or broken at Clever.

What comes of one object alone comes as a change (users without contacts in the district, sections, courses); the few
orgs and sessions come whole when one of them changed, and so do users where there are contacts, since a student's
agents stand with the contacts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from connectors.clever import mapping, rules, state
from connectors.clever.client import Client
from connectors.clever.events import Changes, changes, last_event
from connectors.clever.mapping import course_id
from connectors.clever.people import People, has_role, people
from connectors.clever.walk import walk
from connectors.members import Objects, school_year
from connectors.protocol import Mode, Pull
from connectors.roster import Roster
from connectors.spool import Spool
from connectors.walking import Walked
from transforms import issues
from transforms.issues import Rule

_CLASS_FILES = ("classes", "enrollments")
_AGENTS = ("user", "agent")
_PEOPLE_FILES = ("users", "roles", "demographics")


@dataclass(frozen=True, slots=True)
class Since:
    """A cursor. ``contacts``: whether there are some. ``year``: the school year of sections without a term."""

    event: str
    at: datetime
    contacts: bool
    year: int | None

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> Since | None:
        """The cursor of an earlier pull."""
        if cursor is None:
            return None
        year = cursor["year"]
        return cls(cursor["event"], datetime.fromisoformat(cursor["at"]), bool(cursor["contacts"]), year)

    def cursor(self) -> dict[str, Any]:
        """The cursor as JSON."""
        return {"event": self.event, "at": self.at.isoformat(), "contacts": self.contacts, "year": self.year}


@dataclass
class _Taken:
    """A sink of a walk that keeps nothing but what ``add`` makes of the pages."""

    begin: Callable[[], None]
    add: Callable[[Objects], None]

    def begin_again(self) -> None:
        """Forgets everything."""
        self.begin()

    def take(self, objects: Objects) -> None:
        """The objects of one more page."""
        self.add(objects)


@dataclass
class Pulling:
    """One pull. ``counts``: how often each rule was met, by the file that it is about. ``agents``: who has whom."""

    client: Client
    roster: Roster
    district: str = ""
    today: date = date.min
    terms: frozenset[str] = frozenset()
    no_term: int = 0
    contacts: int = 0
    agents: Spool = field(init=False)
    counts: dict[tuple[Rule, str], int] = field(default_factory=dict)
    announced: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.agents = Spool(self.roster.folder, "stage-agents", _AGENTS)

    async def run(self, cursor: Mapping[str, Any] | None) -> Pull:
        """The whole pull. Raises ConnectorError; nothing is left out of what it returns."""
        found = await state.district(self.client)
        self.district = str(found["id"])
        at = self.client.started or self.client.context.now()
        self.today = at.date()
        since = Since.of(cursor)
        said = None
        if since is not None and since.year in {None, school_year(self.today)}:
            said = await changes(self.client, since.event, since.at, at)
        if since is None or said is None or said.unclear - {"sections"}:
            return await self._everything(found, at)
        return await self._changed(found, since, said, at)

    async def _everything(self, found: Mapping[str, Any], at: datetime) -> Pull:
        # The event is looked up first: what changes while everything is read comes again with the next pull.
        event = await last_event(self.client) if self.client.config.changes else None
        await self._orgs(found)
        terms = await self._terms()
        await self._sections()
        await self._sessions(terms, school_year(self.today) if self.no_term else None)
        await self._users()
        # Who stops the district meanwhile stops this pull as well.
        await state.district(self.client)
        if event is None and self.client.config.changes:
            self.roster.findings.append(issues.one(rules.NO_EVENTS))
        year = school_year(self.today) if self.no_term else None
        cursor = None if event is None else Since(event, at, bool(self.contacts), year).cursor()
        return self._pull(cursor)

    async def _changed(self, found: Mapping[str, Any], since: Since, said: Changes, at: datetime) -> Pull:
        year, contacts = since.year, since.contacts
        if said.of("districts") or said.of("schools"):
            await self._orgs(found)
        if said.of("sections") or said.of("terms"):
            terms = await self._terms()
            if "sections" in said.unclear:
                await self._sections()
            elif said.of("sections"):
                await asyncio.to_thread(self._changed_sections, said)
            year = school_year(self.today) if self.no_term else year
            await self._sessions(terms, year)
        if said.of("courses") and "courses" not in self.roster.spools:
            await asyncio.to_thread(self._changed_courses, said)
        if said.of("users"):
            contacts = contacts or any(has_role(one, "contact") for one in said.there("users"))
            await (self._users() if contacts else asyncio.to_thread(self._changed_users, said))
        for file in list(self.roster.spools):
            await asyncio.to_thread(self._finish, file)
        return self._pull(Since(said.last, at, contacts, year).cursor())

    def _pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        self.roster.findings += [
            issues.one(rule, file=f"{file}.csv", cause=f"{count:,}")
            for (rule, file), count in sorted(self.counts.items(), key=lambda one: (one[0][0].code, one[0][1])) if count
        ]  # fmt: skip
        return Pull(self.roster.package("Clever"), cursor, self.announced, objects=True)

    def _begin(self, *files: str, mode: Mode = "bulk") -> None:
        """Begins those of some files that are asked for."""
        asked = {*self.client.config.entities} | ({"roles"} if "users" in self.client.config.entities else set())
        for file in files:
            if file in asked:
                self.roster.begin(file, mode)

    def _add(self, file: str, columns: mapping.Columns) -> None:
        if file in self.roster.spools and columns["sourcedId"]:
            self.roster.add(file, columns)

    def _end(self, file: str, keys: list[str]) -> None:
        if file in self.roster.spools and keys:
            self.roster.end(file, sorted(keys))

    def _finish(self, file: str) -> None:
        self.roster.finish(file)

    async def _listed(self, name: str) -> list[Mapping[str, Any]]:
        """All objects of a small collection."""
        found: list[Mapping[str, Any]] = []
        await walk(self.client, name, _Taken(found.clear, found.extend))
        return found

    async def _orgs(self, found: Mapping[str, Any]) -> None:
        if "orgs" not in self.client.config.entities:
            return
        schools = await self._listed("schools")
        self._begin("orgs")
        await asyncio.to_thread(self._add, "orgs", mapping.orgs([found], schools))
        await asyncio.to_thread(self._finish, "orgs")

    async def _terms(self) -> list[Mapping[str, Any]]:
        if not {"academicSessions", "classes"} & {*self.client.config.entities}:
            return []
        terms = await self._listed("terms")
        self.terms = frozenset(str(one.get("id")) for one in terms)
        return terms

    async def _sessions(self, terms: list[Mapping[str, Any]], made: int | None) -> None:
        self._begin("academicSessions")
        if "academicSessions" in self.roster.spools:
            columns, undated = mapping.sessions(self.district, terms, made, self.today)
            await asyncio.to_thread(self._add, "academicSessions", columns)
            await asyncio.to_thread(self._finish, "academicSessions")
            self.counts[rules.UNDATED_TERM, "academicSessions"] = undated

    async def _sections(self) -> None:
        """Classes, enrollments and courses, all of them: a section may need a course of its own."""
        if not {"courses", *_CLASS_FILES} & {*self.client.config.entities}:
            return
        known = await self._listed("courses") if "courses" in self.client.config.entities else []
        columns = mapping.courses(known, self.district)

        def begin() -> None:
            self._begin("courses", *_CLASS_FILES)
            self._add("courses", columns)
            self.no_term = self.counts[rules.NO_COURSE, "courses"] = 0

        await walk(self.client, "sections", _Taken(begin, self._take_sections))
        for file in {"courses", *_CLASS_FILES} & self.roster.spools.keys():
            await asyncio.to_thread(self._finish, file)

    def _take_sections(self, objects: Objects) -> None:
        made = mapping.sections(objects, self.district, self.terms, school_year(self.today))
        self._add("classes", made.classes)
        self._add("enrollments", made.enrollments)
        self._add("courses", made.courses)
        self.no_term += made.no_term
        self.counts[rules.NO_TERM, "classes"] = self.no_term
        self._count(rules.NO_COURSE, "courses", len(made.courses["sourcedId"]))

    def _count(self, rule: Rule, file: str, more: int) -> None:
        self.counts[rule, file] = self.counts.get((rule, file), 0) + more

    def _changed_sections(self, said: Changes) -> None:
        there = said.there("sections")
        self._begin(*_CLASS_FILES, mode="delta")
        has = {key for one in there for key, _, _ in mapping.enrolled(one)}
        bare = {str(one["id"]) for one in there if not one.get("course")}
        left = [course_id(key) for key in said.without_course - bare]
        if bare or left:
            self._begin("courses", mode="delta")
        self._take_sections(there)
        self._end("classes", said.gone("sections"))
        self._end("enrollments", list(said.enrolled - has))
        self._end("courses", left)
        if "courses" in self.roster.spools:
            self._courses(said)

    def _changed_courses(self, said: Changes) -> None:
        self._begin("courses", mode="delta")
        self._courses(said)

    def _courses(self, said: Changes) -> None:
        self._add("courses", mapping.courses(said.there("courses"), self.district))
        self._end("courses", said.gone("courses"))

    async def _users(self) -> None:
        """All users: each once, whatever roles they have."""
        if not {"users", "demographics"} & {*self.client.config.entities}:
            return

        def begin() -> None:
            self._begin(*_PEOPLE_FILES)
            self.agents.begin_again()
            self.contacts = 0
            self.counts[rules.SPLIT_NAME, "users"] = self.counts[rules.NO_USERNAME, "users"] = 0

        walked: Walked = await walk(self.client, "users", _Taken(begin, self._take_users))
        for file in self.roster.spools.keys() & {*_PEOPLE_FILES}:
            await asyncio.to_thread(self._finish, file)
        if "users" in self.roster.spools:
            await asyncio.to_thread(self._join_agents)
            if walked.total == walked.count:
                self.announced["users"] = walked.count

    def _take_users(self, objects: Objects) -> None:
        self._put_users(self._people(objects))

    def _people(self, objects: Objects) -> People:
        return people(objects, self.district, self.client.config.staff_role)

    def _put_users(self, made: People) -> None:
        self._add("users", made.users)
        self._add("roles", made.roles)
        self._add("demographics", made.demographics)
        self.agents.add(made.agents)
        self.contacts += made.contacts
        self._count(rules.SPLIT_NAME, "users", made.split)
        self._count(rules.NO_USERNAME, "users", made.unnamed)

    def _join_agents(self) -> None:
        """Gives everybody their agents: a contact may stand far behind the student."""
        self.agents.finish()
        if not self.agents.rows:
            return

        def joined(frame: pl.DataFrame) -> pl.DataFrame:
            here = frame.select(user="sourcedId")
            theirs = (part.join(here, on="user", how="semi") for part in self.agents.frames([*_AGENTS]))
            listed = (
                pl.concat(theirs).unique().sort("user", "agent").group_by("user", maintain_order=True)
                .agg(agents=pl.col("agent").str.join(","))
            )  # fmt: skip
            found = here.join(listed, on="user", how="left", maintain_order="left")
            return frame.with_columns(agentSourcedIds=found["agents"])

        self.roster.spools["users"].change(joined)
        self.agents.begin_again()

    def _changed_users(self, said: Changes) -> None:
        self._begin(*_PEOPLE_FILES, mode="delta")
        made = self._people(said.there("users"))
        self._put_users(made)
        self._end("users", said.gone("users"))
        # No demographics end with their user by themselves, and who is there may have none any more.
        told = {*made.demographics["sourcedId"]}
        self._end("demographics", [key for key in said.of("users") if key not in told])
