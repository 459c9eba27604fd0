"""One pull: everything, or what changed, and now and then all keys for what was deleted without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from connectors.powerschool import mapping, queries, rules
from connectors.powerschool.client import Client
from connectors.powerschool.config import EVERY_STATUS
from connectors.powerschool.cursor import Cursor
from connectors.powerschool.mapping import Keyed, Mapped, Mapper, Scope, Years
from connectors.powerschool.parts import Part, parts
from connectors.powerschool.queries import Query
from connectors.powerschool.walk import Changes, Leg, NoVersionsError, changed, table, whole
from connectors.protocol import ConnectorError, Intent, Pull
from connectors.roster import Roster
from transforms import issues

#: So many years back terms are looked at to find the ones that are under way. The year with yearid 0 began in 1990.
_YEARS_BACK, _YEAR_ZERO = 2, 1990


def first_year(now: datetime) -> int:
    """The yearid from which on terms are looked at."""
    return now.year - _YEAR_ZERO - _YEARS_BACK


class _ElseError(Exception):
    """What changed makes everything else: the district's number, or the years that are pulled."""


@dataclass
class Pulling:
    """One pull into a folder. ``tables``: those in which something changed; None while the server does not say so."""

    client: Client
    folder: Path
    roster: Roster = field(init=False)
    scope: Scope = field(init=False)
    years: Years = field(default_factory=lambda: Years((), under_way=False, until=date.max))
    first_year: int = 0
    tables: frozenset[str] | None = None
    never_there: int = 0
    _found: dict[str, Changes | None] = field(default_factory=dict)

    async def run(self, kept: Mapping[str, Any] | None) -> Pull:
        """The whole pull. Raises ConnectorError; nothing is left out of what it returns."""
        self.roster = Roster(self.folder)
        now = await self.client.time()
        self.first_year = first_year(now)
        since = Cursor.of(kept)
        if since is not None and now.date() < since.until:
            try:
                return await self._changes(since, now)
            except (NoVersionsError, _ElseError):
                await asyncio.to_thread(self._forget)
        return await self._all(now)

    def _forget(self) -> None:
        for file in list(self.roster.spools):
            self.roster.drop(file)
        self.never_there = 0

    async def _all(self, now: datetime) -> Pull:
        client, config = self.client, self.client.config
        # Asked for first: what changes while everything is read comes once more with the next pull.
        version = await client.version(queries.SCHOOLS, {}) if config.data_version else None
        await self._orgs()
        await self._sessions(now)
        for part in parts(config):
            await self._whole(part)
        if config.data_version and version is None:
            self.roster.findings.append(issues.one(rules.NO_VERSIONS))
        if not self.years.under_way:
            self.roster.findings.append(issues.one(rules.NO_YEAR, entity="academicSessions"))
        return await self._finished(None if version is None else self._cursor(version, now), {})

    async def _changes(self, since: Cursor, now: datetime) -> Pull:
        """What changed since. Raises ConnectorError, and the errors after which everything is pulled."""
        version = await self._look(since)
        self.scope = Scope(self.client.config, since.district)
        self.years = Years(since.years, under_way=True, until=since.until)
        if await self._touched(queries.DISTRICT, since) or await self._touched(queries.SCHOOLS, since):
            await self._orgs()
        if await self._touched(queries.TERMS, since):
            await self._sessions(now)
        self._same(since)
        pulled = parts(self.client.config)
        for part in pulled:
            await self._changed(part, since)
        present: dict[str, pl.Series] = {}
        due = now - since.swept >= timedelta(hours=self.client.config.sweep_hours)
        if due:
            present = await self._sweep(pulled, now)
            self._same(since)
        return await self._finished(self._cursor(version, now if due else since.swept), present)

    def _same(self, since: Cursor) -> None:
        """Raises _ElseError."""
        if (self.scope.district, self.years.ids) != (since.district, since.years):
            raise _ElseError

    def _cursor(self, version: int, swept: datetime) -> Cursor:
        return Cursor(version, swept, self.scope.district, self.years.ids, self.years.until)

    async def _finished(self, cursor: Cursor | None, present: Mapping[str, pl.Series]) -> Pull:
        roster = self.roster
        for file in roster.spools:
            if repeated := await asyncio.to_thread(roster.finish, file):
                cause = f"{repeated:,} rows"
                roster.findings.append(issues.one(rules.REPEATED, file=f"{file}.csv", cause=cause))
        if self.never_there:
            cause = f"{self.never_there:,} rows"
            roster.findings.append(issues.one(rules.NEVER_THERE, file="enrollments.csv", cause=cause))
        kept = None if cursor is None else cursor.as_json()
        return Pull(roster.package("PowerSchool"), kept, present=present, objects=True)

    async def _orgs(self) -> None:
        """The district and its schools. Raises ConnectorError (``no_district_number``)."""
        prefs = await table(self.client, queries.DISTRICT, {})
        said = {name.lower(): value for name, value in prefs.select("name", "value").drop_nulls().iter_rows()}
        number = said.get("districtnumber")
        if number is None:
            text = "PowerSchool does not say the district's number. Enter it under District Info, then pull again."
            raise ConnectorError("no_district_number", text, intent=Intent.ASK_HUMAN)
        self.scope = Scope(self.client.config, number)
        schools = await table(self.client, queries.SCHOOLS, {})
        await self._put("orgs", mapping.orgs(schools, number, said.get("districtname", number)))

    async def _sessions(self, now: datetime) -> None:
        terms = await table(self.client, queries.TERMS, self._arguments(queries.TERMS))
        self.years = mapping.years(terms, now.date(), self.client.config.year_days)
        await self._put("academicSessions", mapping.sessions(terms, self.years))

    async def _put(self, file: str, rows: pl.DataFrame) -> None:
        self.roster.begin(file)
        await asyncio.to_thread(self.roster.add, file, rows.to_dict())

    def _arguments(self, query: Query, *, every: bool = False) -> Mapping[str, Any]:
        """What a query wants to know. ``every``: of students of all statuses, since one who left has changed."""
        statuses = EVERY_STATUS if every else self.client.config.enroll_status
        known = {"statuses": list(statuses), "firstyear": self.first_year, **self.years.terms}
        return {name: known[name] for name in query.arguments}

    async def _whole(self, part: Part) -> None:
        """All rows of a part's files."""
        scope = await self._beside(part)
        together = None if part.together is None else await self._together(*part.together)

        def begin_again() -> None:
            for file in part.files:
                self.roster.begin(file)
            self.never_there = 0 if part.files[0] == "enrollments" else self.never_there
            if together is not None:
                self._take(together, changes=False)

        legs = [
            Leg(one.query, self._arguments(one.query), partial(self._mapped, one.mapper, scope)) for one in part.rows
        ]
        await whole(self.client, legs, begin_again, part.files[0])

    async def _beside(self, part: Part) -> Scope:
        tables = {query.name: await table(self.client, query, self._arguments(query)) for query in part.beside}
        return self.scope.beside(tables)

    async def _together(self, query: Query, mapper: Mapper) -> Mapped:
        rows = await table(self.client, query, self._arguments(query))
        return await asyncio.to_thread(mapper, rows, self.scope)

    def _mapped(self, mapper: Mapper, scope: Scope, rows: pl.DataFrame) -> None:
        self._take(mapper(rows, scope), changes=False)

    def _take(self, mapped: Mapped, *, changes: bool) -> None:
        """Adds rows to the files. ``changes``: those that are not of the roster may have been, and end."""
        for file, frame in mapped.rows.items():
            self.roster.add(file, frame.to_dict())
        self.never_there += mapped.never_there
        if changes and mapped.ended.len():
            self.roster.end(next(iter(mapped.rows)), mapped.ended)

    async def _look(self, since: Cursor) -> int:
        """The version now. Raises NoVersionsError where the server does not say what changed."""
        if (found := await self.client.changes(since.version)) is not None:
            version, self.tables = found
            return version
        now = await self.client.version(queries.SCHOOLS, {})
        if now is None:
            raise NoVersionsError
        return now

    async def _touched(self, query: Query, since: Cursor) -> bool:
        """Whether anything changed that a query shows."""
        if self.tables is not None:
            return bool(query.tables & self.tables)
        found = await self._changes_of(query, since)
        return found is None or any(frame.height for frame in found.frames)

    async def _changes_of(self, query: Query, since: Cursor) -> Changes | None:
        """The rows of a query that changed, which are asked for once; None where all are better pulled."""
        if query.name not in self._found:
            arguments = self._arguments(query, every=True)
            self._found[query.name] = await changed(self.client, query, arguments, since.version)
        return self._found[query.name]

    async def _changed(self, part: Part, since: Cursor) -> None:
        """What changed of a part's files; all of it where that is simpler, and nothing where nothing did."""
        touched = [query for query in part.queries if await self._touched(query, since)]
        if not touched:
            return
        if any(query in touched for query in part.beside):
            await self._whole(part)
            return
        rows = [one for one in part.rows if one.query in touched]
        scope = await self._beside(part) if rows else self.scope
        for file in part.files:
            self.roster.begin(file, "delta")
        for one in rows:
            found = await self._changes_of(one.query, since)
            if found is None:
                await self._whole(part)
                return
            mapped = await asyncio.to_thread(one.mapper, found.rows(one.query), scope)
            await asyncio.to_thread(self._take, mapped, changes=True)
        if part.together is not None and part.together[0] in touched:
            await asyncio.to_thread(self._take, await self._together(*part.together), changes=True)
        if not self.roster.spools[part.files[0]].rows:
            for file in part.files:
                self.roster.drop(file)

    async def _sweep(self, pulled: tuple[Part, ...], now: datetime) -> dict[str, pl.Series]:
        """All keys that the system has, of the files of which changes came alone."""
        if "orgs" not in self.roster.spools:
            await self._orgs()
        if "academicSessions" not in self.roster.spools:
            await self._sessions(now)
        present = {}
        for part in pulled:
            spool = self.roster.spools.get(part.files[0])
            if spool is None or spool.mode == "delta":
                present[part.files[0]] = await self._keys(part)
        return present

    async def _keys(self, part: Part) -> pl.Series:
        found: list[pl.Series] = []

        def take(keyed: Keyed, rows: pl.DataFrame) -> None:
            found.append(keyed(rows, self.scope)[0]["key"])

        legs = [
            Leg(one.query, self._arguments(one.query), partial(take, one.keyed), keys=True) for one in part.rows
        ]  # fmt: skip
        await whole(self.client, legs, found.clear, f"keys of {part.files[0]}")
        if part.together is not None:
            found.append((await self._together(*part.together)).rows[part.files[0]]["sourcedId"])
        return pl.concat([pl.Series("sourcedId", [], dtype=pl.String), *(keys.rename("sourcedId") for keys in found)])
