"""Bringing the guard what it looks at: the settings that count now, and what the run under way would do.

The difference is measured inside the transaction that applies the run, before that is kept or rolled back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import polars as pl
from pyroaring import BitMap

from hub.store import differences, doubles, guards, holds, runs, staging
from hub.store import grants as grant_store
from hub.store.database import Transaction
from hub.store.differences import Described, School
from hub.sync import guard
from hub.sync.apply import Applied
from hub.sync.changes import EntityChanges, Update, members
from hub.sync.difference import (
    KINDS,
    EntityDifference,
    birth,
    difference,
    fields_changed,
    is_rebound,
    maybe_rebound,
    named,
    values,
)
from hub.sync.guard.calendar import instants
from hub.sync.guard.usual import RUNS, usual
from hub.sync.guarded import of_people, of_reasons
from hub.sync.job import Job
from transforms.catalogue import CATALOGUE
from transforms.issues import collect

#: Rows of a difference that are kept: of a run on which somebody decides, and of one that was applied.
KEPT_TO_DECIDE, KEPT_APPLIED = 20_000, 1_000
#: How long a mass change of one field that somebody approved may go on without being asked about again.
EPOCH_DAYS = 30
#: Schools of a difference that the report names, those with most changes first.
_SHOWN_SCHOOLS = 500
#: What a run waits for that goes by itself: the kind of window, and the code of its reason.
_WAITS = {"blackout": "blackout", "additive": "deletions_wait"}
_Numbers = dict[tuple[str, str], dict[str, int]]


@dataclass(frozen=True)
class Judging:
    """The rules of one run. ``at``: the moment that counts for windows.

    ``older_waits``: the run's package says what changed since one on which nobody has decided. ``learnt``: fields of
    which somebody has approved a mass change not long ago.
    """

    rules: guard.Rules
    usual: Mapping[tuple[str, str], float]
    at: datetime
    approved: Mapping[str, Any] | None
    rest_of: str | None
    older_waits: bool
    learnt: frozenset[str] = frozenset()

    @classmethod
    async def begin(cls, job: Job, *, whole: bool) -> Judging:
        """Reads the settings that count now for the job's run. ``whole``: it does not only say what changed."""
        run, at = job.claim.run, job.clock.now()
        async with job.db.district(job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            district, source = await guards.of_run(tx, run.source_id)
            last = await guards.last_counts(tx, run.source_id, RUNS)
            since = at - timedelta(days=EPOCH_DAYS)
            learnt = await guards.approved_subjects(tx, run.source_id, guard.MASS_CHANGE, since)
            older_waits = not (whole or run.dry_run) and await holds.older_waits(tx, job.claim)
        rules = await asyncio.to_thread(guard.rules_of, district, source, at)
        return cls(rules, usual(last), at, run.approved, run.task.get("rest_of"), older_waits, learnt)

    @property
    def additive(self) -> bool:
        """Whether deletions are withheld now."""
        return self.rules.open("additive") is not None

    @property
    def withhold(self) -> Mapping[str, Any] | None:
        """What a person did not release."""
        found: Mapping[str, Any] | None = (self.approved or {}).get("withhold")
        return found

    @property
    def decide_by(self) -> datetime:
        """When the run expires if nobody decides on it."""
        return self.at + timedelta(days=self.rules.hold_days)

    def resume_at(self, reasons: Sequence[guard.Reason]) -> datetime | None:
        """When a held run goes on by itself: at the end of the windows, if it waits for nothing else."""
        codes = {r.code for r in reasons if r.holds}
        waits = [w for kind, code in _WAITS.items() if code in codes and (w := self.rules.open(kind)) is not None]
        if not waits or codes - set(_WAITS.values()):
            return None
        return max((instants(one.time, self.rules.zone)[1] for one in waits), key=datetime.timestamp)

    def settle(
        self, found: Sequence[guard.Reason], *, withheld: int = 0, ending: int = 0, calendar: bool = True
    ) -> list[guard.Reason]:
        """All reasons that count: without those that a person approved, with those of the calendar.

        ``withheld``: changes that were taken out; ``ending``: deletions that cannot be taken out one by one.
        """
        all_ = [*found, *(self._of_calendar(withheld, ending) if calendar else ())]
        out = [r for r in all_ if not (r.holds and guard.passes(r, self.approved))]
        return sorted(out, key=lambda r: not r.holds)

    def _of_calendar(self, withheld: int, ending: int) -> list[guard.Reason]:
        found, zone = [], self.rules.merged["time_zone"]
        if (blackout := self.rules.open("blackout")) is not None:
            until = f"{blackout.time.ends.isoformat(' ', 'minutes')} ({zone})"
            text = f"The blackout {blackout.name} lasts until {until}: no run is applied before it ends."
            found.append(guard.Reason("blackout", blackout.name, 1, 0, text))
        if (withheld or ending) and (additive := self.rules.open("additive")) is not None:
            if withheld:
                text = f"The window {additive.name} only adds: deletions wait for the first run after it."
                found.append(guard.Reason("deletions_withheld", additive.name, withheld, 0, text, holds=False))
            else:
                text = f"The window {additive.name} only adds, and this run deletes: it waits until the window ends."
                found.append(guard.Reason("deletions_wait", additive.name, ending, 0, text))
        if self.rest_of is not None:
            text = "This is the rest of a run that was released in part."
            found.append(guard.Reason("rest_of_release", self.rest_of, 1, 0, text))
        if self.older_waits:
            text = "The package says what changed since an older one that is held: decide on that one first."
            found.append(guard.Reason(runs.OLDER_WAITS, "", 1, 0, text))
        return found

    async def look(
        self, tx: Transaction, job: Job, entities: Mapping[str, EntityChanges], applied: Applied, files: guard.Facts
    ) -> Looked:
        """Measures what was applied in this transaction, counts moves and rebound ids, and says what the guard says.

        ``files``: what is to be said of the package's files.
        """
        looking = _Looking(tx, entities, applied, job.claim.run.source_id)
        await looking.measure()
        counts = {name: changes.counts for name, changes in entities.items()}
        suspects = guard.suspects(self.rules, counts, looking.numbers)
        facts = replace(
            files, counts=counts, schools=await looking.shares(suspects), emptied=looking.sourced_ids(applied.emptied),
            vanished=looking.sourced_ids(entities["orgs"].deleted) if "orgs" in entities else (),
            renumbered=looking.sourced_ids(await looking.renumbered()), losses=await _losses(tx, applied),
            usual=self.usual, fields=await asyncio.to_thread(_fields, entities), learnt=self.learnt,
        )  # fmt: skip
        return Looked(guard.reasons(self.rules, facts), looking)


@dataclass(frozen=True)
class Looked:
    """What the guard said, and the difference that it looked at."""

    reasons: list[guard.Reason]
    looking: _Looking

    async def findings(self) -> pl.DataFrame:
        """What the guard's reasons are as findings; people are named by what the source calls them."""
        looking = self.looking
        rids = [rid for one in looking.found if one.entity.name == "users" for rid in one.kinds["rebound"]]
        people = CATALOGUE["users"]
        keys = await differences.keys(looking.tx, looking.source_id, people, rids) if rids else []
        return collect([of_reasons(self.reasons), of_people(keys)])

    def report(self) -> dict[str, Any]:
        """The difference in numbers: by entity and kind, and by school."""
        by_entity = {d.entity.name: {k: len(s) for k, s in d.kinds.items() if s} for d in self.looking.found}
        by_school: dict[str, dict[str, dict[str, int]]] = {}
        for (entity, kind), numbers in self.looking.numbers.items():
            for school, number in numbers.items():
                by_school.setdefault(school, {}).setdefault(entity, {})[kind] = number
        names = {school.sourced_id: school.name for school in self.looking.schools.values()}
        shown = sorted(by_school.items(), key=lambda item: (-_total(item[1]), item[0]))[:_SHOWN_SCHOOLS]
        schools = [{"school": s, "name": names.get(s, ""), "entities": numbers} for s, numbers in shown]
        return {"entities": by_entity, "schools": schools, "all_schools": len(by_school)}

    async def rows(self, *, with_values: bool) -> list[dict[str, Any]]:
        """The difference row by row, up to the bound; inside the transaction that applied it.

        Of a first load that was applied there are none: all of it is new.
        """
        if self.looking.is_first and not with_values:
            return []
        return await self.looking.rows(KEPT_TO_DECIDE if with_values else KEPT_APPLIED, with_values=with_values)


def _fields(entities: Mapping[str, EntityChanges]) -> dict[tuple[str, str], int]:
    """(entity, field) to the number of records in which it differs."""
    return {
        (name, field_): number for name, changes in entities.items()
        for field_, number in fields_changed(CATALOGUE[name], changes).items()
    }  # fmt: skip


def _total(numbers: Mapping[str, Mapping[str, int]]) -> int:
    return sum(sum(kinds.values()) for kinds in numbers.values())


@dataclass
class _Looking:
    """One look at the difference of a run. ``numbers``: (entity, kind) to the number of records by school."""

    tx: Transaction
    entities: Mapping[str, EntityChanges]
    applied: Applied
    source_id: UUID | None
    schools: dict[int, School] = field(default_factory=dict)
    found: list[EntityDifference] = field(default_factory=list)
    numbers: _Numbers = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        """Whether the source had no records before."""
        return not any(changes.counts.before for changes in self.entities.values())

    async def measure(self) -> None:
        """Sorts the changes by kind and counts them by school. Of a first load only the kinds: all of it is new."""
        rebound = await self._rebound()
        for entity in CATALOGUE.entities:
            changes = self.entities.get(entity.name)
            if changes:
                found = difference(entity, changes, rebound if entity.name == "users" else ())
                changes.counts.moved = len(found.kinds["moved"])
                changes.counts.rebound = len(found.kinds["rebound"])
                self.found.append(found)
        if self.is_first:
            return
        self.schools = await differences.schools(self.tx)
        for one in self.found:
            counted = await differences.per_org(self.tx, one.entity, {k: list(rids) for k, rids in one.kinds.items()})
            for kind, rids in one.kinds.items():
                self._count(one, kind, rids, counted[kind])

    def _count(self, one: EntityDifference, kind: str, rids: BitMap, per_org: Mapping[int, int]) -> None:
        numbers = {self.schools[rid].sourced_id: n for rid, n in per_org.items() if rid in self.schools}
        if kind in {"moved", "rebound"}:
            known = {school.sourced_id for school in self.schools.values()}
            for rid in rids:
                for school in set(one.left.get(rid, ())) & known:
                    numbers[school] = numbers.get(school, 0) + 1
        if numbers:
            self.numbers[one.entity.name, kind] = numbers

    async def _rebound(self) -> list[int]:
        """Users whose key is somebody else's now, among those who changed and those who came back."""
        users, demographics = self.entities.get("users"), self.entities.get("demographics")
        if users is None:
            return []
        asked = [rid for rid, update in users.updates.items() if maybe_rebound(update)]
        texts = {rid: (users.updates[rid].old, users.updates[rid].new) for rid in asked}
        back = list(users.revived)
        if back:
            now = await staging.documents(self.tx, CATALOGUE["users"], back)
            old = await differences.before(self.tx, CATALOGUE["users"], self.applied.position, back)
            texts |= {rid: (old[rid], now[rid][1:]) for rid in back if rid in old}
        # What a record says that several rows of a source make may change with any of these (hub.sync.rebinding).
        for rid in await doubles.of_several(self.tx, list(texts)) if texts else ():
            del texts[rid]
        births = await self._births(list(texts), demographics) if texts else {}
        return [rid for rid, (old_, new) in texts.items() if is_rebound(old_, new, births.get(rid, (None, None)))]

    async def _births(self, rids: list[int], changes: EntityChanges | None) -> dict[int, tuple[str | None, str | None]]:
        """Birth dates of people before and after the run."""
        entity = CATALOGUE["demographics"]
        now = await staging.documents(self.tx, entity, rids)
        before = await differences.before(self.tx, entity, self.applied.position, rids)
        created = changes.created if changes is not None else BitMap()
        found = {}
        for rid, (_, *texts) in now.items():
            new = (texts[0], texts[1])
            old = None if rid in created else before.get(rid, new)
            found[rid] = (birth(old), birth(new))
        return found

    async def shares(self, suspects: set[str]) -> dict[tuple[str, str], dict[str, guard.Share]]:
        """How many records of each school change and how many it had, for these entities."""
        out = {}
        for name in suspects:
            before = await self._had(name)
            for kind in KINDS:
                numbers = self.numbers.get((name, kind), {})
                out[name, kind] = {s: guard.Share(n, max(before.get(s, 0), 0)) for s, n in numbers.items()}
            # Moved and rebound records are updated ones, for limits of those.
            together: dict[str, int] = {}
            for kind in ("updated", "moved", "rebound"):
                for school, number in self.numbers.get((name, kind), {}).items():
                    together[school] = together.get(school, 0) + number
            out[name, "updated"] = {s: guard.Share(n, max(before.get(s, 0), 0)) for s, n in together.items()}
        return out

    async def _had(self, name: str) -> dict[str, int]:
        """How many records of an entity each school had before the run."""
        known = self.applied.per_school.get(name)
        found = known if known is not None else await differences.totals(self.tx, CATALOGUE[name])
        had = {self.schools[rid].sourced_id: n for rid, n in found.items() if rid in self.schools}
        if known is None:
            for kind, sign in (("deleted", 1), ("created", -1)):
                for school, number in self.numbers.get((name, kind), {}).items():
                    had[school] = had.get(school, 0) + sign * number
        return had

    async def renumbered(self) -> list[int]:
        """The orgs that end while one of the same name, type and identifier is made."""
        entity, changes = CATALOGUE["orgs"], self.entities.get("orgs")
        if changes is None or not changes.deleted or not changes.created:
            return []
        made = await staging.documents(self.tx, entity, list(changes.created))
        known = {_school(*texts) for _, *texts in made.values()} - {None}
        old = await differences.before(self.tx, entity, self.applied.position, list(changes.deleted))
        return [rid for rid, texts in old.items() if _school(*texts) in known]

    def sourced_ids(self, rids: Iterable[int]) -> list[str]:
        """The ids of schools by rid."""
        return [self.schools[rid].sourced_id for rid in sorted(rids) if rid in self.schools]

    async def rows(self, bound: int, *, with_values: bool) -> list[dict[str, Any]]:
        chosen: list[tuple[EntityDifference, str, list[int]]] = []
        for kind in KINDS:
            for one in self.found:
                if rids := list(one.kinds[kind][:bound]):
                    chosen.append((one, kind, rids))
                    bound -= len(rids)
        about: dict[str, Mapping[int, Described]] = {}
        for one in self.found:  # once for an entity, whatever becomes of its records
            if of_it := [rid for other, _, rids in chosen if other is one for rid in rids]:
                about[one.entity.name] = await differences.described(self.tx, one.entity, of_it, self.source_id)
        out: list[dict[str, Any]] = []
        for one, kind, rids in chosen:
            out += await self._described(one, kind, rids, about[one.entity.name], with_values=with_values)
        return out

    async def _described(
        self, one: EntityDifference, kind: str, rids: list[int], about: Mapping[int, Described], *, with_values: bool
    ) -> list[dict[str, Any]]:
        updates = self.entities[one.entity.name].updates
        whole = [rid for rid in rids if rid not in updates] if with_values else []
        documents = await staging.documents(self.tx, one.entity, whole) if whole else {}
        known = {school.sourced_id for school in self.schools.values()}
        out = []
        for rid in (rid for rid in rids if rid in about):
            schools = {self.schools[org].sourced_id for org in about[rid].orgs if org in self.schools}
            schools |= set(one.left.get(rid, ())) & known
            update = updates.get(rid)
            row: dict[str, Any] = {
                "entity": one.entity.name, "kind": kind, "sourced_id": about[rid].sourced_id, "key": about[rid].key,
                "schools": sorted(schools), "fields": named(one.entity, update) if update is not None else [],
            }  # fmt: skip
            if with_values:
                row |= _values(one, kind, update, documents.get(rid))
            out.append(row)
        return out


def _school(doc: str, doc_private: str) -> tuple[object, ...] | None:
    """What an org is recognised by though its sourcedId is another; None for one without an identifier."""
    record = members(doc, doc_private)
    identifier = record.get("identifier")
    return (record.get("type"), str(record.get("name")).casefold(), identifier) if identifier else None


def _values(
    one: EntityDifference, kind: str, update: Update | None, stored: tuple[bool, str, str] | None
) -> dict[str, Any]:
    if update is not None:
        was, becomes = values(one.entity, update)
        return {"was": was, "becomes": becomes}
    record = members(*stored[1:]) if stored is not None else {}
    return {"was": record} if kind == "deleted" else {"becomes": record}


async def _losses(tx: Transaction, applied: Applied) -> list[guard.Loss]:
    """What leaves the views of apps, with how much each saw before."""
    wanted = {
        (effect.grant_id, entity): effect for effect in applied.effects if effect.grant_id is not None
        for entity, numbers in effect.entities.items() if numbers["left"]
    }  # fmt: skip
    sets = await grant_store.some_views(tx, list(wanted)) if wanted else {}
    found = []
    for (grant_id, entity), effect in wanted.items():
        numbers = effect.entities[entity]
        present = sets.get((grant_id, entity))
        now = len(BitMap.deserialize(present.present)) if present is not None else 0
        before = now - numbers["entered"] + numbers["left"]
        found.append(guard.Loss(str(effect.app_id), entity, numbers["left"], before))
    return found
