"""Apps that are told of changes, by push and by pull, in turn, anew, in parts, and sometimes not for a while.

What an app makes of what it was told is, whenever it has been told everything, what a full read gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from hub.clock import SystemClock
from hub.errors import HubError
from hub.scope.grants import GrantDefinition
from hub.store import feed, parked
from hub.store import subscriptions as rows
from hub.store.database import Transaction
from hub.sync import feed_retention
from hub.webhooks import replay as moves
from hub.webhooks import subscriptions
from tests.fakes.receiver import Received
from tests.property.site import Granted, Site
from tests.property.small_districts import ENTITIES, definitions
from tests.property.synced_district import Stored, stored
from tests.property.test_store_sync_model import Granting, Known
from transforms.catalogue import CATALOGUE

#: Most changes of a batch: few, so that stretches come in parts.
PORTION = 30
#: What befalls whoever is told: what, whom, and how much of it.
Happening = tuple[str, int, float]
_OFTEN = ("go away", "go away", "come back", "replay", "replay", "turn", "turn", "pull", "pull", "catch up")
HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from((*_OFTEN, "break down", "mend", "compact")), st.integers(0, 2),
        st.floats(0, 1, allow_subnormal=False, width=16),
    ),
    min_size=1, max_size=6,
)  # fmt: skip
Users = dict[str, Any]


@dataclass
class App:
    """What an app knows: of what it was told, the ids of what it should have; and a walk over pages under way.

    ``up_to``: the end of the last stretch that it was told of to its end. ``pulls``: whether it asks for changes, from
    ``cursor`` on. ``users``: in the mode records, what they say. ``takes``: how many batches it takes yet before it is
    away; None for any number. ``poison``: records that it cannot take. ``loose``: it was set back, and a batch of
    before may still come. ``exact``: it was never told anything twice but by the same batch.
    """

    granted: Granted
    mode: str = "refs"
    has: dict[str, set[str]] = field(default_factory=lambda: {entity: set() for entity in ENTITIES})
    users: Users = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    heard: int = 0
    up_to: int = 0
    pulls: bool = False
    cursor: str = ""
    takes: int | None = None
    poison: set[str] = field(default_factory=set)
    loose: bool = False
    exact: bool = True
    lost: bool = False
    wanted: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    next: str | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """How its receiver behaves."""
        body = await request.read()
        if self.takes == 0:
            return web.Response(status=503)
        if any(one.encode() in body for one in self.poison):
            return web.Response(status=400)
        self.takes = None if self.takes is None else self.takes - 1
        self.bodies.setdefault(request.headers["webhook-id"], body)
        return web.Response(status=204)

    def hear(self, one: Received) -> None:
        """Takes one batch in, if it was taken: one that came before is the same, and each goes on from the last."""
        one.verify(self.granted.secret)
        if one.id not in self.bodies:
            return  # it was refused
        assert self.bodies[one.id] == one.body
        if one.id in self._taken:
            return
        self._taken.add(one.id)
        if orjson.loads(one.body)["type"] == "subscriptions.resync_required":
            self.lost = True
            return
        aside = "probe" in one.data or "parked" in one.data
        self.exact = self.exact and not aside
        if one.data["from"] != self.up_to and not aside:
            assert self.loose
            self.exact = False
        self.apply(one.data["changes"])
        if not aside and one.data["from"] == self.up_to:
            self.loose = False
            if not one.data["more"]:
                self.up_to = one.data["to"]

    _taken: set[str] = field(default_factory=set)

    def apply(self, changes: Sequence[dict[str, Any]]) -> None:
        """Does what an app does with changes."""
        for change in (one for one in changes if "sourcedId" in one):
            entity, operation = change["type"].split(".")
            has, sourced_id = self.has[entity], change["sourcedId"]
            if operation == "deleted":
                has.discard(sourced_id)
                if entity == "users":  # demographics have their user's id
                    self.users.pop(sourced_id, None)
                continue
            assert not self.exact or (operation == "created") == (sourced_id not in has)
            has.add(sourced_id)
            if entity == "users" and "record" in change:
                self.users[sourced_id] = change["record"]


class Told(Granting):
    """A district whose apps are told of changes. Whoever inherits opens ``site`` and fills ``apps``."""

    site: Site
    apps: dict[UUID, App]

    def _one(self, which: int) -> tuple[Known, App]:
        known = self.known[which % len(self.known)]
        return known, self.apps[known.grant_id]

    # What is done to subscriptions and feeds.

    @rule(definition=definitions(), which=st.integers(0, 2), happenings=HAPPENINGS)
    def edit(self, definition: GrantDefinition, which: int, happenings: list[Happening]) -> None:  # type: ignore[override]
        """A grant is edited, which moves more of a view than a sync does."""
        self.happen(happenings)
        Granting.edit(self, definition, which)

    def happen(self, happenings: Sequence[Happening]) -> None:
        """Does what befalls those who are told."""
        for what, which, share in happenings:
            note(f"{what} {which} {share}")
            self.do(self._happen(what, *self._one(which), share))

    async def _happen(self, what: str, known: Known, app: App, share: float) -> None:
        match what:
            case "go away" | "come back":  # after some more batches, and for ever
                app.takes = int(share * 4) if what == "go away" else None
            case "break down":  # over one record that it has, until it is mended
                app.poison.update(sorted(app.has["users"])[:1])
            case "mend":
                await self._mend(app)
            case "replay" if not app.pulls:
                await self._replay(known, app, share, by_time=share > 0.8)
            case "turn":
                await (self._to_push(known, app) if app.pulls else self._to_pull(app))
            case "pull" if app.pulls:
                await self._pull(known, app, 1 + int(share * 40))
            case "compact":
                await self._compact(share)
            case "catch up":
                for each in self.known:
                    await self._catch_up(each, self.apps[each.grant_id])

    async def _mend(self, app: App) -> None:
        app.poison.clear()
        async with self.db.district(self.district.district_id) as tx:
            await parked.ask(tx, app.granted.subscription_id)

    async def _catch_up(self, known: Known, app: App) -> None:
        app.takes = None
        while app.pulls and await self._pull(known, app, 100):
            pass
        await (self._compare(known, app) if app.pulls else self._told(known, app))

    async def _replay(self, known: Known, app: App, share: float, *, by_time: bool) -> None:
        async with self.db.district(self.district.district_id) as tx:
            row = await rows.get(tx, app.granted.subscription_id, lock=True)
            head = await feed.head(tx, known.grant_id)
            assert head is not None
            step = int(share * min(row.position, head.steps))
            at = await feed.waiting_since(tx, known.grant_id, after=step) if by_time else None
            if step < head.feed_from:
                with pytest.raises(HubError, match="kept from step"):
                    await moves.replay(tx, row, after=step)
                return
            moved = await moves.replay(tx, row, since=at) if at else await moves.replay(tx, row, after=step)
        assert moved.position <= step or by_time
        app.up_to, app.loose, app.exact, app.lost = moved.position, True, False, False

    async def _to_pull(self, app: App) -> None:
        async with self.db.district(self.district.district_id) as tx:
            row = await subscriptions.pause(tx, app.granted.subscription_id)
            assert row.state == "paused"
            waiting = await parked.listing(tx, app.granted.subscription_id)
        app.up_to = min([app.up_to, *(one.version - 1 for one in waiting)])  # what is parked it asks for as well
        app.pulls, app.cursor, app.exact, app.lost = True, str(app.up_to), False, False
        app.poison.clear()

    async def _to_push(self, known: Known, app: App) -> None:
        async with self.db.district(self.district.district_id) as tx:
            head = await feed.head(tx, known.grant_id)
            assert head is not None
            row = await rows.get(tx, app.granted.subscription_id, lock=True)
            if app.up_to < head.feed_from:
                await self._read(tx, known, app)
                app.up_to = head.steps
            if app.up_to < row.position:
                await moves.replay(tx, row, after=app.up_to)
            else:
                await moves.seek(tx, row, to=app.up_to)
            await parked.remove(tx, row.subscription_id)
            await subscriptions.resume(tx, row.subscription_id)
        app.pulls, app.loose, app.heard = False, True, len(app.granted.told.received)

    async def _pull(self, known: Known, app: App, limit: int) -> bool:
        """Whether the stretch goes on."""
        path = f"/d/{self.district.district_id}/changes?after={app.cursor}&limit={limit}&mode={app.mode}"
        status, body, _ = await self.site.page(path, app.granted.token)
        if status == 410:
            app.cursor = body["resync"]["after"]
            async with self.db.district(self.district.district_id) as tx:
                await self._read(tx, known, app)
                head = await feed.head(tx, known.grant_id)
            assert head is not None
            app.up_to = head.steps
            return True
        assert status == 200, body
        assert body["from"] == app.up_to
        app.apply(body["changes"])
        app.cursor = body["next"]
        if not body["more"]:
            app.up_to = body["to"]
        return bool(body["more"])

    async def _compact(self, share: float) -> None:
        district = self.district.district_id
        async with self.db.district(district) as tx:
            at = [row["at"] for row in await tx.fetch("SELECT DISTINCT at FROM feed ORDER BY at")]
        if not at:
            return
        whole, opened = SystemClock().now() + timedelta(hours=1), at[int(share * (len(at) - 1))]
        usual, feed_retention.SLACK = feed_retention.SLACK, timedelta()  # type: ignore[misc]
        try:
            await feed_retention.compact(self.db, district, whole, opened, dry_run=False)
        finally:
            feed_retention.SLACK = usual  # type: ignore[misc]
        async with self.db.district(district) as tx:
            for known in self.known:
                known.entries = len((await stored(tx, known.grant_id)).feed)
                known.settled = await tx.fetchval(
                    "SELECT coalesce(max(f.position), 0) FROM feed f JOIN grants g USING (district_id, grant_id) "
                    "WHERE f.grant_id = $1 AND f.step <= g.feed_from", known.grant_id,
                )  # fmt: skip

    # What is to hold after each step.

    @invariant()
    def apps_were_told_of_what_they_see(self) -> None:
        for known in self.known:
            app = self.apps[known.grant_id]
            if not app.pulls and app.takes is None:
                self.do(self._told(known, app))

    async def _told(self, known: Known, app: App) -> None:
        """A receiver has heard of the whole feed in order; what it made of that is the view."""
        async with asyncio.timeout(40):
            while not await self._heard_all(known, app):
                await self.site.time_passes(self.district)
                await self.site.bell.wake("deliver", self.district.district_id)
                for _ in range(20):
                    if app.heard < len(app.granted.told.received):
                        break
                    await asyncio.sleep(0.01)
        await self._compare(known, app)

    async def _heard_all(self, known: Known, app: App) -> bool:
        async with self.db.district(self.district.district_id) as tx:
            row = await tx.fetchrow(
                "SELECT s.position, s.batch_id, s.retry_parked, s.state, g.steps FROM subscriptions s "
                "JOIN grants g USING (district_id, grant_id) WHERE s.subscription_id = $1",
                app.granted.subscription_id,
            )
            assert row is not None
            while app.heard < len(app.granted.told.received):
                app.heard += 1
                app.hear(app.granted.told.received[app.heard - 1])
            if app.lost and row["batch_id"] is None:
                app.up_to = (await subscriptions.resume(tx, app.granted.subscription_id)).position
                await self._read(tx, known, app)
                app.lost = False
                return False
        return row["position"] == row["steps"] and row["batch_id"] is None and not row["retry_parked"]

    async def _compare(self, known: Known, app: App) -> None:
        async with self.db.district(self.district.district_id) as tx:
            seen = await self._seen(tx, await stored(tx, known.grant_id))
            waiting = await parked.listing(tx, app.granted.subscription_id)
        if app.pulls or not waiting:
            differing = {name: (app.has[name] - seen[name], seen[name] - app.has[name]) for name in seen}
            assert app.has == seen, differing
            if app.mode == "records":
                users = await self._users_of(known, app)
                assert app.users == users, sorted(i for i in app.users | users if app.users.get(i) != users.get(i))
        else:  # of what is parked the app knows something older
            assert all(
                len(app.has[name] ^ seen[name]) <= len([one for one in waiting if one.entity == name]) for name in seen
            )

    async def _read(self, tx: Transaction, known: Known, app: App) -> None:
        """A full read, of an app that begins anew."""
        app.has = await self._seen(tx, await stored(tx, known.grant_id))
        if app.mode == "records":
            app.users = await self._users_of(known, app)

    async def _users_of(self, known: Known, app: App) -> Users:
        if "users" not in known.real.entities:
            return {}
        path = f"/d/{self.district.district_id}/ims/oneroster/rostering/v1p2/users?limit=1000&filter=status='active'"
        status, body, _ = await self.site.page(path, app.granted.token)
        assert status == 200, body
        return {one["sourcedId"]: one for one in body["users"]}

    async def _seen(self, tx: Transaction, view: Stored) -> dict[str, set[str]]:
        """The ids of a view's records."""
        seen: dict[str, set[str]] = {}
        for entity in CATALOGUE.entities:
            seen[entity.name] = set((await feed.sourced_ids(tx, entity, sorted(view.present[entity.name]))).values())
        return seen
