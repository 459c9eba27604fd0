"""One pull: every entity whole, or what changed, and now and then all ids for what was deleted without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from connectors.client import NotUnderstoodError
from connectors.oneroster_rest import mapping, nested, rules
from connectors.oneroster_rest.client import Client, RevisionError
from connectors.oneroster_rest.earlier import Earlier
from connectors.oneroster_rest.mapping import Members, Objects, Odd
from connectors.oneroster_rest.people import People
from connectors.oneroster_rest.walk import walk
from connectors.protocol import ConnectorError, Intent, Mode, Pull
from connectors.spool import Spool
from connectors.spooled import SpooledPackage
from connectors.walking import WALKS, Walked
from transforms import issues
from transforms.catalogue import CATALOGUE, Entity, Field, Version

_GONE = "tobedeleted"


@dataclass
class Rows:
    """Takes the objects of one entity and writes the rows of its files.

    ``left_out``: tombstones, which say nothing in a pull of everything; ``undated``: objects without a date of change.
    """

    entity: Entity
    version: Version
    folder: Path
    nested: Mapping[str, Field]
    most_metadata: int
    mode: Mode
    people: People | None = None
    earlier: Earlier | None = None
    makes_titles: bool = False
    odd: Odd = field(default_factory=Odd)
    spools: dict[str, Spool] = field(default_factory=dict)
    left_out: int = 0
    undated: int = 0
    untitled: int = 0

    def begin_again(self) -> None:
        """Forgets everything."""
        for spool in self.spools.values():
            spool.begin_again()
        if self.earlier is not None and self.entity.name == "users":
            self.earlier.begin_again()
        files = CATALOGUE.files(self.version)
        self.spools = {
            file: Spool(self.folder, file, files[file].csv_header(self.version), self.mode)
            for file in (self.entity.csv_file, *self.nested)
        }
        self.odd, self.left_out, self.undated, self.untitled = Odd(), 0, 0, 0

    def take(self, objects: Objects) -> None:
        """The objects of one more page."""
        changes = self.mode == "delta"
        status = mapping.statuses(objects)
        there: Objects = [one for one, told in zip(objects, status, strict=True) if told != _GONE]
        kept = objects if changes else there
        self.left_out += len(objects) - len(kept)
        self.undated += sum(value is None for value in Members(there).of("dateLastModified"))
        if self.people is not None and self.entity.name == "users":
            kept, there = self.people.with_roles(kept), self.people.with_roles(there)
        frame = mapping.rows(self.entity, self.version, kept, self.odd, metadata=self.most_metadata, changes=changes)
        if self.people is not None and self.entity.name != "users":
            frame = self.people.led(self.entity, self.version, frame)
        if self.earlier is not None and self.entity.name == "users":
            self.earlier.take(there)
        elif self.earlier is not None and self.earlier.known:
            frame = self.earlier.led(self.entity, self.version, frame)
        if self.makes_titles and self.entity.name == "classes":
            frame, untitled = mapping.titled(frame)
            self.untitled += untitled
        self.spools[self.entity.csv_file].add(frame)
        for file, item in self.nested.items():
            self.spools[file].add(nested.rows(file, item, self.version, there, self.odd, changes=changes))

    def lead(self, earlier: Earlier) -> None:
        """Puts the numbers of people into all rows. After ``finish``; CPU-bound, and writes to disk."""
        own = self.entity.csv_file
        self.spools[own].change(lambda frame: earlier.led(self.entity, self.version, frame))
        for file in self.nested if self.entity.name == "users" else ():
            self.spools[file].change(earlier.nested)

    def finish(self, *, distinct: bool) -> int:
        """Ends the files; how many objects came twice. ``distinct``: none did."""
        for spool in self.spools.values():
            spool.finish()
        return 0 if distinct else self.spools[self.entity.csv_file].keep_last()


@dataclass
class Ids:
    """Takes the ids alone of what is there. ``earlier``: takes the numbers of people as well."""

    earlier: Earlier | None = None
    found: list[pl.Series] = field(default_factory=list)

    def begin_again(self) -> None:
        """Forgets everything."""
        self.found = []
        if self.earlier is not None:
            self.earlier.begin_again()

    def take(self, objects: Objects) -> None:
        """The objects of one more page."""
        status = mapping.statuses(objects)
        there: Objects = [one for one, told in zip(objects, status, strict=True) if told != _GONE]
        if self.earlier is not None:
            self.earlier.take(there)
        keys = [str(key) for key in Members(there).of("sourcedId") if key is not None]
        self.found.append(pl.Series("sourcedId", keys, dtype=pl.String))

    def keys(self) -> pl.Series:
        """All of them."""
        return pl.concat([pl.Series("sourcedId", [], dtype=pl.String), *self.found])


@dataclass
class _Since:
    """What the cursor says: when the last pull began, and when ids were last gone through, by the server's clock."""

    since: datetime
    swept: datetime
    undated: frozenset[str]
    revision: str | None = None
    apart: frozenset[str] = frozenset()
    without: frozenset[str] | None = None

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> _Since | None:
        if cursor is None:
            return None
        try:
            since, swept = (datetime.fromisoformat(cursor[name]).astimezone(UTC) for name in ("since", "swept"))
            undated, apart = frozenset(cursor.get("undated", ())), frozenset(cursor.get("apart", ()))
            without = None if cursor.get("without") is None else frozenset(cursor["without"])
            return cls(since, swept, undated, cursor.get("revision"), apart, without)
        except (KeyError, TypeError, ValueError):
            return None  # of an older version: everything is pulled


class _RegroupedError(Exception):
    """Others than before are one person, or have numbers, which is seen when what refers to them was read already."""


@dataclass
class Pulling:
    """One pull into a folder."""

    client: Client
    folder: Path
    spools: dict[str, Spool] = field(default_factory=dict)
    findings: list[pl.DataFrame] = field(default_factory=list)
    announced: dict[str, int] = field(default_factory=dict)
    undated: set[str] = field(default_factory=set)
    people: People | None = None
    earlier: Earlier | None = None
    renamed: bool = False

    async def run(self, cursor: Mapping[str, Any] | None) -> Pull:
        """The whole pull. Raises ConnectorError (``not_whole``); nothing is left out of what it returns."""
        for _ in range(WALKS):
            try:
                return await self._once(_Since.of(cursor))
            except RevisionError:
                await asyncio.to_thread(self._begin_again)
            except _RegroupedError:
                await asyncio.to_thread(self._begin_again)
                cursor = None  # everything is pulled
        text = f"The system's data or permissions changed while they were read, {WALKS} times in a row."
        raise ConnectorError("not_whole", f"{text} Nothing was applied.", intent=Intent.RETRY)

    def _begin_again(self) -> None:
        for spool in self.spools.values():
            spool.begin_again()
        self.spools, self.findings, self.announced, self.undated = {}, [], {}, set()
        self.client.revision = self.client.started = None

    async def _once(self, since: _Since | None) -> Pull:
        client, config = self.client, self.client.config
        self.people = People(set(since.apart) if since else set()) if config.joins_people else None
        named, self.renamed = since.without if since else None, False
        self.earlier = Earlier(named is not None, named or frozenset()) if config.keeps_numbers else None
        for entity in config.pulled():
            await self._entity(entity, since)
            if since is not None and since.revision is not None and client.revision == since.revision:
                return self._same(since)
        started = swept = client.started
        present: dict[str, pl.Series] = {}
        if since is not None and started is not None:
            due = started - since.swept >= timedelta(hours=config.sweep_hours)
            swept = started if due else since.swept
            present = await self._sweep(since) if due else {}
        package = SpooledPackage(config.files, self.folder, self.spools, issues.collect(self.findings))
        return Pull(package, self._cursor(started, swept), self.announced, present=present, objects=True)

    def _same(self, since: _Since) -> Pull:
        """The pull of a server that says that nothing became another since the last one."""
        self.undated = set(since.undated)
        package = SpooledPackage(self.client.config.files, self.folder, {}, issues.empty())
        return Pull(package, self._cursor(self.client.started, since.swept), objects=True)

    def _cursor(self, started: datetime | None, swept: datetime | None) -> dict[str, Any] | None:
        """Where the next pull of changes begins; None where the server does not tell the time."""
        if started is None or swept is None or not self.client.config.changes:
            return None
        told = {"since": started.isoformat(), "swept": swept.isoformat(), "undated": sorted(self.undated)}
        told |= {"revision": self.client.revision} if self.client.revision else {}
        told |= {"apart": sorted(self.people.apart)} if self.people is not None else {}
        return told | ({"without": sorted(self.earlier.without)} if self.earlier and self.earlier.told else {})

    async def _entity(self, entity: Entity, since: _Since | None) -> None:
        """Pulls one entity: what changed where that can be asked for, else all of it."""
        if since is not None and entity.name not in since.undated and not self._regrouped(since):
            at = since.since - timedelta(minutes=self.client.config.overlap_minutes)
            query = {"filter": f"dateLastModified>'{at:%Y-%m-%dT%H:%M:%S}.000Z'"}
            rows = self._rows(entity, "delta")
            try:
                found = await walk(self.client, entity, query, rows)
            except NotUnderstoodError:
                pass  # the server knows no filter
            else:
                # Objects of a tree name their children, who may not have changed: the few there are come whole. So do
                # users of whom several records are one person.
                if not (found.count and self._comes_whole(entity)):
                    await self._keep(rows, found)
                    return
        await self._whole(entity)

    def _comes_whole(self, entity: Entity) -> bool:
        """Whether changed objects of an entity say too little without the others."""
        return entity.is_tree or (bool(self.people or self.earlier) and entity.name == "users")

    def _regrouped(self, since: _Since) -> bool:
        """Whether other records than before are one person: what refers to them says another id then, unchanged."""
        return self.renamed or (self.people is not None and self.people.apart != since.apart)

    async def _whole(self, entity: Entity) -> None:
        rows = self._rows(entity, "bulk")
        await self._keep(rows, await walk(self.client, entity, {}, rows))

    def _rows(self, entity: Entity, mode: Mode) -> Rows:
        config = self.client.config
        files = nested.files(entity, config.files, frozenset(config.entities))
        most = self.client.context.limits.columns
        return Rows(
            entity, config.files, self.folder, files, most, mode, self.people, self.earlier, config.makes_titles
        )

    async def _keep(self, rows: Rows, found: Walked) -> None:
        entity, file = rows.entity, rows.entity.csv_file
        joins = bool(self.people) and entity.name == "demographics"  # ids that differ at the server may be one
        distinct = found.distinct == found.count and not found.unnamed and not joins
        repeated, joined = await asyncio.to_thread(rows.finish, distinct=distinct), 0
        if self.people is not None and entity.name == "users" and rows.mode == "bulk":
            self.findings += await asyncio.to_thread(self.people.join, rows.spools)
            joined = found.count - rows.left_out - repeated - rows.spools[file].rows
        await self._numbered(rows, found)
        self.findings += [
            issues.one(rules.ODD_VALUE, entity=entity.name, file=f"{name}.csv", field=column, cause=f"{n:,} values")
            for (name, column), n in sorted(rows.odd.counts.items())
        ]
        counted = ((rules.REPEATED, repeated), (rules.UNDATED, rows.undated), (rules.NO_ACCOUNT, rows.odd.profiles),
                   (rules.UNTITLED, rows.untitled))  # fmt: skip
        for rule, number in counted:
            if number:
                cause = f"{number:,} objects"
                self.findings.append(issues.one(rule, entity=entity.name, file=f"{file}.csv", cause=cause))
        if rows.undated:
            self.undated.add(entity.name)
        if rows.mode == "delta" and not found.count:
            return  # nothing changed
        self.spools |= rows.spools
        if found.total is not None and found.count == found.total and not repeated:
            self.announced[file] = found.total - rows.left_out - joined

    async def _numbered(self, rows: Rows, found: Walked) -> None:
        """Numbers of people where rows were read before they were known: users, and what changed without them."""
        earlier, refers = self.earlier, any(item.target == "users" for item in rows.entity.csv_columns(rows.version))
        if earlier is None or not (found.count and (refers or rows.entity.name in {"users", "demographics"})):
            return
        if rows.entity.name == "users":
            self.renamed = earlier.finish()
        elif earlier.known or not earlier.told:
            return  # they stand there already, or there are none
        else:
            await self._ids(CATALOGUE["users"])
            if self.renamed:
                raise _RegroupedError
        await asyncio.to_thread(rows.lead, earlier)

    async def _sweep(self, since: _Since) -> dict[str, pl.Series]:
        """All ids that the server has, of the entities of which changes came alone."""
        present = {}
        for entity in self.client.config.pulled():
            spool = self.spools.get(entity.csv_file)
            if spool is not None and spool.mode == "bulk":
                continue
            if self._comes_whole(entity):  # an object that ended leaves its parent's children, too
                await self._whole(entity)
                if entity.name == "users" and self._regrouped(since):
                    raise _RegroupedError
            else:
                present[entity.csv_file] = await self._ids(entity)
        return present

    async def _ids(self, entity: Entity) -> pl.Series:
        earlier = self.earlier if entity.name == "users" else None
        ids = Ids(earlier)
        queries: Sequence[Mapping[str, str]] = ({"fields": "sourcedId,status"}, {})[earlier is not None :]
        for query in queries:
            try:
                await walk(self.client, entity, query, ids)
                break
            except NotUnderstoodError:
                continue  # the server knows no selection of fields
        if earlier is not None:
            self.renamed = await asyncio.to_thread(earlier.finish)
        there = ids.keys() if self.people is None else self.people.keys(entity, ids.keys())
        return there if self.earlier is None else self.earlier.keys(entity, there)
