"""Looking for records that may be one person, after each change, beside everything else: nothing waits for it.

Who changed is compared with those who share a key; the first time, and after other settings, everybody with everybody.
What is sure becomes a run of kind "people", which the guard looks at as at any other; what may be is for people to
decide. So is whether two records of one source are one person: see docs/people.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import polars as pl

from hub.errors import HubError
from hub.ids import new_id
from hub.store import matching, matching_people, people, runs
from hub.store.columns import FEW
from hub.store.database import Database, LockTimeoutError, Transaction
from hub.store.matching import Entry
from hub.store.people import HUB, Pair
from hub.store.runs import LOCK_SECONDS
from hub.sync import compared
from hub.sync.compared import Said
from hub.sync.people import KIND, plan
from transforms.marks import rows_of
from transforms.matching.columns import Columns
from transforms.matching.few import Few, People
from transforms.matching.people import (
    KINDS,
    PERSON,
    Decisions,
    Frequencies,
    Policy,
    candidates,
    clusters,
    decide,
    normalised,
    possible,
    possible_of_few,
)  # fmt: skip

#: With a larger share of people changed, comparing everybody takes less time.
MOST_CHANGED: Final = 0.2
#: An apply of a large district ends sooner.
LONGEST_LOCK_SECONDS: Final = 300.0
#: What says that two records of one source are one person: an identifier, or an address of one person. Likeness does
#: not: who is there twice at one time is two people.
_IDENTIFIED: Final = ("B", "C")
#: What says of people who may be joined.
_TO_JOIN: Final = {name: PERSON[name] for name in ("rid", "source", "kind", "active")}
_NOBODY: Final = pl.DataFrame(schema={"left": pl.UInt32, "right": pl.UInt32})
#: How many others may have a key of each kind.
_OTHERS: Final = [kind.cap - 1 for kind in KINDS]
_BIGGEST: Final = max(kind.cap for kind in KINDS)
#: Of so many who changed a look takes no longer than others wait for the district's row.
_HELD: Final = 30
#: It has never taken a second: what takes so long hangs, and everybody waits for the district's row.
_HELD_SECONDS: Final = 20.0
#: A process that has just started may follow one that a look has killed: in this time it takes the lease before it
#: looks, which outlives it, so that the same look kills no more than one process more in a quarter of an hour.
_CAREFUL_SECONDS: Final = 60.0
_STARTED: Final = time.monotonic()
#: Of so many people nothing that is made takes two milliseconds.
_AT_ONCE: Final = 10


_Made = TypeVar("_Made")


class Mode(StrEnum):
    """How much the hub decides by itself."""

    OFF = "off"  # nobody is compared
    PROPOSE = "propose"  # whatever is found waits for a person
    MERGE = "merge"  # what is sure is merged


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be decided of ``everybody``.

    ``keys``: of those whose keys are kept anew; None: of all. ``pairs`` and ``frequencies`` None: all candidates are
    compared, by how common values are among them. Where there are no pairs, nothing has to be known of others.
    ``cannot``: pairs about which people have decided; ``waiting``: pairs that runs are to join; ``said``: the sources
    of each rid; ``kept``: the index has these keys already.
    """

    everybody: People | Columns
    keys: pl.DataFrame | list[Entry] | None
    pairs: pl.DataFrame | None
    frequencies: Frequencies | None
    total: int
    mode: Mode
    policy: Policy
    cannot: pl.DataFrame
    waiting: frozenset[Pair]
    said: Said
    kept: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """``keys``: of who was compared. ``pairs``: what waits for a decision; ``same``: what needs none."""

    keys: pl.DataFrame | list[Entry]
    pairs: pl.DataFrame
    same: list[Pair]


async def match_once(db: Database) -> bool:
    """Compares the people of one district in which something changed; whether there was one."""
    for district_id in await matching.due(db):
        # A run that is being applied holds the district's row: the next look finds it, others do not wait.
        with contextlib.suppress(LockTimeoutError):
            look = await _held_look(db, district_id)
            if look is _Look.DONE:
                return True
            if look is _Look.LEASED:
                break
    else:
        return False
    await _leased_look(db, district_id)
    return True


class _Look(StrEnum):
    """What became of a district that was due."""

    NOT_DUE = "not due"  # somebody else was quicker
    DONE = "done"
    LEASED = "leased"  # it takes longer


async def _held_look(db: Database, district_id: UUID) -> _Look:
    """Compares a few, all in one transaction that holds the district's row; of more it takes the lease.

    Whoever sees nothing of either after a crash of PostgreSQL looks again.
    """
    opened = partial(db.district, district_id, wait_seconds=30, lock_seconds=LOCK_SECONDS, flushed=False)
    try:
        async with opened(plan_once=True) as tx:
            if not await matching.hold(tx):
                return _Look.NOT_DUE
            state, changed = await matching.changed(tx)
            if state.matched_to is None or not state.indexed or not state.people or state.speaking < 2:
                some = []
            else:
                some = changed if len(changed) <= min(_may_hold(), MOST_CHANGED * state.people) else []
            if not some:
                await matching.lease(tx)
                return _Look.LEASED
            async with asyncio.timeout(_HELD_SECONDS):
                await _few(tx, state, some, state.people or 0)
            return _Look.DONE
    except LockTimeoutError:
        raise
    except Exception:
        # Else it would be the first again, and no other would ever have its turn.
        with contextlib.suppress(LockTimeoutError):  # whoever has the row changes what is looked at
            async with opened() as tx:
                await matching.lease(tx)
        raise


def _may_hold() -> int:
    """Of how many who changed a look may hold the district's row and take no lease."""
    return _HELD if time.monotonic() - _STARTED >= _CAREFUL_SECONDS else 0


async def _few(tx: Transaction, state: matching.State, some: Sequence[int], total: int) -> None:
    asked = await _asked(tx, state, some, total)
    found = await _found(asked)
    keys = None if asked.kept else compared.rows(found.keys)
    await matching.note(tx, some, keys, state.position, state.settings)
    await matching.wait(tx, found.pairs)
    if found.same:  # what a run is made of is asked for otherwise where it is much
        await tx.stay()
        await queue(tx, found.same)


async def _leased_look(db: Database, district_id: UUID) -> None:
    # A run that is being applied holds the district's row for as long as it takes; what was found is worth waiting for.
    lasting = partial(db.district, district_id, wait_seconds=60, lock_seconds=LONGEST_LOCK_SECONDS)
    # Of a few it is all one transaction.
    async with lasting(plan_once=True, flushed=False) as tx:
        state, changed = await matching.changed(tx)
        known = state.matched_to is not None and state.indexed
        counted = None if known and state.people else await matching.population(tx)
        total = counted if counted is not None else state.people or 0
        some = changed if known and len(changed) <= MOST_CHANGED * total else None
        if some is None and counted is None:
            total = counted = await matching.population(tx)
        asked = None
        if state.speaking > 1 and (some is None or some):
            if some is not None and len(some) <= FEW and counted is None:
                await _few(tx, state, some, total)
                return
            asked = await _asked(tx, state, some, total)
    every = await _found(asked) if asked is not None else None
    async with lasting() as tx:
        if state.speaking < 2:
            await matching.write_keys(tx, None, compared.nothing())
        elif every is not None:
            await matching.write_keys(tx, some, compared.framed_entries(every.keys))
            await matching.keep(tx, some, every.pairs)
            await queue(tx, every.same)
        await matching.done(tx, state.position, state.settings, counted=counted)


def policy_of(settings: Mapping[str, Any]) -> Policy:
    """Where the lines are drawn in a district."""
    domains = settings.get("email_domains")
    return Policy(email_domains=None if domains is None else frozenset(domains))


async def _asked(tx: Transaction, state: matching.State, some: Sequence[int] | None, total: int) -> _Asked:
    mode, policy = Mode(state.settings.get("mode", Mode.PROPOSE)), policy_of(state.settings)
    known = None
    if some is not None and len(some) <= _AT_ONCE:
        known = await matching_people.as_indexed(tx, some, _OTHERS)
    people, said = compared.of_rows(known.own) if known is not None else await compared.spoken(tx, some)
    if some is None:
        return _Asked(people, None, None, None, total, mode, policy, *await _held(tx, state), said)
    keys, alone = await _made(len(some), lambda: _keys(people))
    kept = False
    if alone is None:
        everybody, pairs, of_more = await _sharing(tx, some, people, compared.framed_entries(keys))
    else:
        # Of who left nothing was read, and the index has keys still.
        kept = known is not None and len(known.own) == len(some) and known.entries == set(keys)
        rows = known.near if known is not None and kept else await matching_people.near(tx, some, alone, _OTHERS)
        everybody, pairs, of_more = await _made(len(some) + len(rows), lambda: _among(people, rows))
    if not pairs.height:  # nothing has to be known of others
        return _Asked(everybody, keys, pairs, None, total, mode, policy, _NOBODY, frozenset(), said, kept=kept)
    values = await _made(len(everybody), lambda: compared.counted(everybody, pairs))
    frequencies = Frequencies(total, await matching.counts(tx, values, state.counted_at))
    held = await _held(tx, state)
    return _Asked(everybody, keys, pairs, frequencies, total, mode, policy, *held, said | of_more, kept=kept)


def _keys(people: People) -> tuple[pl.DataFrame | list[Entry], Sequence[Entry] | None]:
    """What the index has of people; their keys where they are few, and nobody has one that another has."""
    if not isinstance(people, Few):
        return compared.indexed(normalised(people)), None
    every = compared.entries(normalised(people))
    own = [key for key in every if key[1] < matching.VALUES]
    return every, own if len(own) <= FEW and len({key[2] for key in own}) == len(own) else None


def _among(people: People, near: Sequence[Sequence[Any]]) -> tuple[Columns, pl.DataFrame, Said]:
    """``people`` and who shares a key with them, pairs that are to be decided on, and who speaks of these others."""
    more, said = compared.of_rows([row[:-1] for row in near])
    pairs = sorted({(min(rid, row[0]), max(rid, row[0])) for row in near for rid in row[-1]})
    columns = Columns(normalised(compared.together(people, more)))
    left = possible_of_few(columns, pairs)
    sides = zip(_NOBODY.columns, zip(*left, strict=True), strict=True) if left else ()
    told = pl.DataFrame([pl.Series(name, rids, pl.UInt32) for name, rids in sides]) if left else _NOBODY
    return columns, told, said


async def _sharing(
    tx: Transaction, some: Sequence[int], people: People, keys: pl.DataFrame
) -> tuple[Columns, pl.DataFrame, Said]:  # fmt: skip
    """As ``_among``, and pairs among ``some``, where several have a key, or there are many."""
    # What the index had of those who changed counts no more.
    few = some if len(some) <= FEW else ()
    own = rows_of(keys, keys["kind"] < matching.VALUES)
    others = await matching.sharing(tx, list(set(own["hash"].to_list())), _BIGGEST, but=few)
    if not few:
        others = rows_of(others, ~others["rid"].is_in(list(some)))
    pairs = await _made(len(some), lambda: candidates(own, others))
    theirs = {*pairs["left"].to_list(), *pairs["right"].to_list()}.difference(some)
    more, of_more = await compared.spoken(tx, sorted(theirs))

    def among() -> tuple[Columns, pl.DataFrame]:
        columns = Columns(normalised(compared.together(people, more)))
        return columns, possible(columns, pairs)  # who shares a key may have left meanwhile

    return *await _made(len(some) + more.height, among), of_more


async def _made(people: int, make: Callable[[], _Made]) -> _Made:
    """What is made of some people. Of few it takes no longer than to wake another thread, and to be woken by it."""
    return make() if people <= _AT_ONCE else await asyncio.to_thread(make)


async def _found(asked: _Asked) -> _Found:
    """What is found of them. Nobody wakes a thread where there is nothing to decide."""
    if asked.keys is not None and asked.pairs is not None and not asked.pairs.height:
        return _Found(asked.keys, _NOBODY, [])
    return await asyncio.to_thread(_judged, asked)


def _judged(asked: _Asked) -> _Found:
    everyone, pairs, sources = asked.everybody, asked.pairs, asked.said
    if not isinstance(everyone, Columns):
        everyone = normalised(everyone)
    told = decide(
        everyone, pairs, population=asked.total, cannot=asked.cannot, frequencies=asked.frequencies,
        policy=asked.policy,
    ).frame  # fmt: skip
    # Gone through one by one: of a few pairs each question to a column would take longer than deciding on them.
    told = rows_of(told, _marks(outcome != "separate" for outcome in told["outcome"].to_list()))
    keys = compared.indexed(everyone) if asked.keys is None else asked.keys
    if not told.height:
        return _Found(keys, told, [])
    nobody: frozenset[str] = frozenset()
    both = zip(told["left"].to_list(), told["right"].to_list(), strict=True)
    apart = [not sources.get(left, nobody) & sources.get(right, nobody) for left, right in both]
    across = rows_of(told, _marks(apart))
    told = rows_of(
        told, _marks(two or tier in _IDENTIFIED for two, tier in zip(apart, told["tier"].to_list(), strict=True))
    )
    same = _same(Decisions(across), everyone, asked.cannot, sources) if asked.mode is Mode.MERGE else []
    return _Found(keys, told, [pair for pair in same if pair not in asked.waiting])


def _marks(rows: Iterable[bool]) -> pl.Series:
    return pl.Series(list(rows), dtype=pl.Boolean)


def _same(told: Decisions, everyone: People | Columns, cannot: pl.DataFrame, sources: Said) -> list[Pair]:
    """The pairs by which records are joined to the oldest of their cluster, where no source has two of them."""
    people = everyone.people if isinstance(everyone, Columns) else everyone
    frame = people.frame(_TO_JOIN) if isinstance(people, Few) else people
    grouped = clusters(told, frame, cannot).filter(pl.col("rid") != pl.col("cluster"))
    pairs: list[Pair] = []
    for (cluster,), part in grouped.group_by("cluster", maintain_order=True):
        taken = set(sources.get(int(str(cluster)), frozenset()))
        for rid in part["rid"].sort():
            own = sources.get(rid, frozenset())
            if not own & taken:
                taken |= own
                pairs.append((int(str(cluster)), rid))
    return pairs


async def _held(tx: Transaction, state: matching.State) -> tuple[pl.DataFrame, frozenset[Pair]]:
    """The pairs about which people have decided, and those that runs are to join."""
    cannot = await _apart(tx) if state.decided else _NOBODY
    return cannot, await _waiting(tx) if state.joining else frozenset()


async def _apart(tx: Transaction) -> pl.DataFrame:
    """What people have decided about pairs, which stands: of the records to which these belong now."""
    decided = await people.undecided_by_hub(tx)
    led = await people.into(tx, {rid for pair in decided for rid in pair}) if decided else {}
    rows = [(led.get(left, left), led.get(right, right)) for left, right in decided]
    return pl.DataFrame(rows, schema=_NOBODY.schema, orient="row")


async def _waiting(tx: Transaction) -> frozenset[Pair]:
    """The pairs that runs which wait, or are held, would join."""
    tasks: list[dict[str, Any]] = await matching.tasks_waiting(tx, KIND)
    return frozenset((pair[0], pair[1]) for task in tasks for pair in task.get("same", ()))


async def queue(tx: Transaction, same: Sequence[Pair]) -> None:
    """Queues the run that joins pairs, but for those against which something stands that a comparison does not see."""
    possible = await _possible(tx, same) if same else same
    if possible:
        await runs.request(
            tx, new_id(), source_id=None, upload_id=None, dry_run=False, requested_by=HUB, kind=KIND,
            task={"same": [list(pair) for pair in possible], "different": [], "by": HUB},
        )  # fmt: skip


async def _possible(tx: Transaction, same: Sequence[Pair], sure: Sequence[Pair] = ()) -> Sequence[Pair]:
    """``sure``, and those of more pairs that can be joined as well; they are found by halves, since nearly all can."""
    try:
        await plan(tx, dict.fromkeys((*sure, *same), "same"), by_hub=True)
    except HubError:
        if len(same) == 1:
            return sure
        half = len(same) // 2
        return await _possible(tx, same[half:], await _possible(tx, same[:half], sure))
    return (*sure, *same)
