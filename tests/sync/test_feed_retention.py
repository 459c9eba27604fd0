"""Old steps of a feed go, and whoever reads on from any of the others is told the same, at any moment of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from pyroaring import BitMap

from hub import views
from hub.changes import reading
from hub.changes.window import Window
from hub.scope.feed import FeedEntry, gone_after
from hub.scope.sets import unpack
from hub.scope.view import View
from hub.store import districts, feed, grants
from hub.store import views as stored
from hub.store.database import Transaction
from hub.sync import feed_retention
from hub.sync.views import entry_of
from tests.districts import District

START = datetime(2025, 8, 1, tzinfo=UTC)
DAYS = 60
#: Steps up to here are old, and those up to there settled, as the tests have it.
OLD, SETTLED = 40, 15
RECORDS = range(25)
Nets = dict[int, Mapping[str, FeedEntry]]


@dataclass
class Feed:
    """A grant of which the feed has a step on each of some days."""

    district: District
    grant_id: UUID

    async def grow(self, rnd: Random, days: int) -> None:
        """A step a day: most records change again and again, a few come and go."""
        for _ in range(days):
            async with self.district.db.district(self.district.district_id) as tx:
                await districts.lock(tx)
                await self._step(tx, rnd)

    async def _step(self, tx: Transaction, rnd: Random) -> None:
        now, at = await grants.views(tx, self.grant_id), START + timedelta(days=await self._steps(tx))
        entries, sets = [], {}
        for entity in ("users", "orgs") if rnd.random() < 0.7 else ("users",):
            present = unpack(now[entity].present) if entity in now else BitMap()
            gone = unpack(now[entity].gone) if entity in now else BitMap()
            touched = {rid for rid in RECORDS if rnd.random() < 0.3}
            entered = BitMap(rid for rid in touched if rid not in present and rnd.random() < 0.6)
            left = BitMap(rid for rid in touched if rid in present and rnd.random() < 0.15)
            entry = FeedEntry(entity, entered, (BitMap(touched) & present) - left, left)
            if entry:
                parts = ((present | entered) - left, gone_after(gone, entry), BitMap())
                sets[entity] = grants.Sets(*(part.serialize() for part in parts))
                entries.append(entry_of(entry))
        position = await districts.draw_position(tx)
        move = grants.Move(self.grant_id, sets, entries)
        await grants.move(tx, position, [move], at=at, run_id=None, cause=rnd.choice(["sync", "gradebook"]))

    async def _steps(self, tx: Transaction) -> int:
        head = await feed.head(tx, self.grant_id)
        assert head is not None
        return head.steps

    async def rows(self) -> list[dict[str, Any]]:
        async with self.district.db.district(self.district.district_id) as tx:
            return [dict(r) for r in await tx.fetch("SELECT * FROM feed ORDER BY step, entity")]

    async def windows(self, to: int = DAYS) -> dict[int, Window]:
        """What is told up to a step, by the step after which it begins."""
        async with self.district.db.district(self.district.district_id) as tx:
            return {
                after: (await reading.stretch(tx, self.grant_id, after=after, to=to)).window for after in range(to + 1)
            }

    async def view(self) -> View:
        async with self.district.db.district(self.district.district_id) as tx:
            return await asyncio.to_thread(views.of_stored, await stored.load(tx, self.grant_id))

    async def compact(self, old: int = OLD, settled: int = 0, *, dry_run: bool = False) -> int:
        """Compacts the first ``old`` steps, of which the first ``settled`` are, as after a week."""
        times = (START + timedelta(days=step - 0.5) for step in (old, settled))
        return await feed_retention.compact(
            self.district.db, self.district.district_id, *times, dry_run=dry_run
        )  # fmt: skip


@pytest.fixture
async def old_feed(district: District, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """A feed of ``DAYS`` steps, dealt with a few entries at a time."""
    monkeypatch.setattr(feed_retention, "MOST", 7)
    made = Feed(district, (await district.grant()).grant_id)
    await made.grow(Random(5), DAYS)
    return made


def nets(windows: Mapping[int, Window], since: int = 0) -> Nets:
    return {after: window.merged for after, window in windows.items() if after >= since}


def shown(view: View) -> dict[str, Any]:
    """All that an app reads by a view."""
    return {
        name: (one.present, one.gone, dict(zip(one.listed, one.stamps.of(list(one.listed)), strict=True)))
        for name, one in view.entities.items()
    } | {"step": view.step, "digest": view.digest}


async def test_every_reader_is_told_the_same_by_fewer_words(old_feed: Feed) -> None:
    before, view, rows = await old_feed.windows(), await old_feed.view(), await old_feed.rows()
    assert await old_feed.compact(dry_run=True) == 1
    assert await old_feed.rows() == rows
    assert await old_feed.compact() == 1
    after, now, left = await old_feed.windows(), await old_feed.view(), await old_feed.rows()
    assert nets(after) == nets(before)
    assert shown(now) == shown(view)
    # Each step has a row, so that a reader who stands there can be told from one of another life of the feed.
    assert {row["step"] for row in left} == set(range(1, DAYS + 1))
    assert [(s.number, s.position, s.at) for s in now.steps] == [(s.number, s.position, s.at) for s in view.steps]
    assert len(left) < len(rows)
    words = [len(unpack(row["updated"])) for row in left if row["step"] <= OLD]
    assert sum(words) <= 2 * len(RECORDS)
    assert [row for row in left if row["step"] > OLD] == [row for row in rows if row["step"] > OLD]
    # No mark counts what is not there any more, and every other one stands.
    assert list(after[0].marks) == [m for m in before[0].marks if m.step > OLD]
    # Nothing is left to do, until a week later.
    assert await old_feed.compact(OLD + 6) == 0
    assert await old_feed.compact(OLD + 8) == 1
    assert nets(await old_feed.windows()) == nets(before)


async def test_who_stands_before_the_settled_steps_begins_anew(old_feed: Feed) -> None:
    before, view = await old_feed.windows(), await old_feed.view()
    for settled in (SETTLED, SETTLED + 9):
        assert await old_feed.compact(OLD, settled) == 1
        async with old_feed.district.db.district(old_feed.district.district_id) as tx:
            assert (await grants.get(tx, old_feed.grant_id)).feed_from == settled
        assert nets(await old_feed.windows(), settled) == nets(before, settled)
        now, rows = await old_feed.view(), await old_feed.rows()
        assert shown(now) == shown(view)
        known = {row["entity"]: BitMap() for row in rows}
        for row in (row for row in rows if row["step"] <= settled):
            parts = unpack(row["entered"]) | unpack(row["departed"])
            assert not parts & known[row["entity"]]
            assert not unpack(row["updated"])
            assert parts or row["step"] == settled
            known[row["entity"]] |= parts
        steps = {row["step"] for row in rows}
        assert set(range(settled, DAYS + 1)) <= steps
        assert steps != set(range(1, DAYS + 1))
        # What walks over pages ask of a view with gaps.
        assert now.since(DAYS - 3) == now.steps[-3:]
        assert now.since(0) is None
        assert now.since(DAYS + 1) is None
        assert [now.position_of(s) for s in (0, settled, DAYS)] == [0, view.position_of(settled), view.position]
        async with old_feed.district.db.district(old_feed.district.district_id) as tx:
            past = views.past(await stored.feed(tx, old_feed.grant_id, to=now.position_of(DAYS - 3)))
        last = before[DAYS - 3].merged["users"]
        present = (view.entities["users"].present - last.entered) | last.left
        assert past["users"].present == present


@pytest.mark.threat("F1")
@pytest.mark.parametrize("end", [1, 4, 9])
async def test_a_purge_may_end_anywhere_and_is_done_the_next_time(
    old_feed: Feed, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    before, view, pages = await old_feed.windows(), await old_feed.view(), 0

    class EndError(Exception):
        """The worker is killed."""

    def counted(_: str) -> None:
        nonlocal pages
        pages += 1
        if pages == end:
            raise EndError

    monkeypatch.setattr(feed_retention, "crash_point", counted)
    with pytest.raises(EndError):
        await old_feed.compact(OLD, SETTLED)
    assert nets(await old_feed.windows(), SETTLED) == nets(before, SETTLED)
    assert shown(await old_feed.view()) == shown(view)
    assert await old_feed.compact(OLD, SETTLED) == 1
    assert nets(await old_feed.windows(), SETTLED) == nets(before, SETTLED)
    assert shown(await old_feed.view()) == shown(view)
    assert {row["cause"] for row in await old_feed.rows() if row["step"] <= OLD} == {"compacted"}
    assert await old_feed.compact(OLD, SETTLED) == 0


async def test_two_purges_a_writer_and_a_reader_at_once(old_feed: Feed) -> None:
    before, done = nets(await old_feed.windows(), SETTLED), asyncio.Event()
    looks = 0

    async def read() -> None:
        nonlocal looks
        while not done.is_set():
            assert nets(await old_feed.windows(), SETTLED) == before
            looks += 1

    reader = asyncio.create_task(read())
    await asyncio.gather(
        old_feed.compact(OLD, SETTLED), old_feed.compact(OLD, SETTLED), old_feed.grow(Random(6), 10)
    )  # fmt: skip
    done.set()
    await reader
    assert looks
    rows = await old_feed.rows()
    assert set(range(SETTLED, DAYS + 11)) <= {row["step"] for row in rows}
    assert nets(await old_feed.windows(), SETTLED) == before
    assert await old_feed.compact(OLD, SETTLED) == 0


async def test_the_clock_of_a_feed_does_not_go_back(old_feed: Feed) -> None:
    async with old_feed.district.db.district(old_feed.district.district_id) as tx:
        await districts.lock(tx)
        entry = entry_of(FeedEntry("users", BitMap([77])))
        move = grants.Move(old_feed.grant_id, {}, [entry])
        await grants.move(tx, await districts.draw_position(tx), [move], at=START, run_id=None, cause="sync")
    rows = await old_feed.rows()
    assert rows[-1]["at"] == rows[-2]["at"] > START
