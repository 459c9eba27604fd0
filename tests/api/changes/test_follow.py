"""Whoever applies what is told has what a full read gives, whatever happens meanwhile, by pull, by push, or by both."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from hub.scope.grants import GrantDefinition
from hub.sync import grants
from tests.api.changes.conftest import Follower, pushing
from tests.api.oneroster.edits import edited
from tests.api.oneroster.rosters import LIBRARY, Hub, land
from tests.districts import EVERYTHING, Frames, sandbox
from tests.services import Database

#: What the sandbox district has records of.
ENTITIES = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
Objects = dict[str, dict[str, dict[str, Any]]]


async def full(hub: Hub) -> Objects:
    """All that the app sees, by collection and id."""
    return {
        entity: {o["sourcedId"]: o for o in await hub.all(f"/{entity}", filter="status='active'")}
        for entity in ENTITIES
    }  # fmt: skip


@dataclass
class Copy:
    """What an app keeps. ``position`` is where it goes on: the parameters of its next request."""

    objects: Objects
    position: dict[str, Any]
    step: int
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    told: int = 0
    open: bool = False

    async def take(self, hub: Hub, data: dict[str, Any], position: dict[str, Any]) -> None:
        """Applies an answer, or a webhook, as docs/webhooks.md says: what comes without its record is read, by id."""
        assert data["from"] == self.step, "a gap"
        now = await full(hub)
        for change in data["changes"]:
            if "counts" in change:
                continue
            entity, _, operation = change["type"].partition(".")
            key = entity, change["sourcedId"]
            assert change["version"] > self.versions.get(key, 0) or data["from"] < self.versions[key]
            self.versions[key] = change["version"]
            self.told += 1
            there = change.get("record") or now[entity].get(key[1])
            if operation == "deleted":
                self.objects[entity].pop(key[1], None)
            elif there is not None:  # it may be gone again by now: that is told later
                self.objects[entity][key[1]] = there
        self.open = data["more"]
        self.position = position
        if not self.open:
            self.step = data["to"]


async def pull(follower: Follower, copy: Copy, rnd: Random) -> bool:
    """One answer; whether there is more."""
    mode = rnd.choice(["refs", "records"])
    body = await follower.told(**copy.position, limit=rnd.choice([3, 20, 60, 500]), mode=mode)
    await copy.take(follower.hub, body, {"after": body["next"]})
    return bool(body["more"])


async def by_webhooks(follower: Follower, copy: Copy, push: Any, rnd: Random) -> bool:
    """Goes on by webhooks for a while; whether they ended in the middle of a stretch."""
    while copy.open:  # what asking has begun it ends
        await pull(follower, copy, rnd)
    for body in await push(copy.step, most=rnd.choice([1, 1, 2, 1_000])):
        data = body["data"]
        position = {"after": data["from"], "to": data["to"]} if data["more"] else {"after": data["to"]}
        await copy.take(follower.hub, data, position)
    return copy.open


async def change(follower: Follower, frames: Frames, before: Frames, rnd: Random) -> Frames:
    """A sync, or an edit of the grant."""
    if rnd.random() < 0.25:
        school = {"rules": [{"schools": [follower.hub.prepared.school]}], "privacy": ["demographic"]}
        definition = rnd.choice([EVERYTHING, LIBRARY, GrantDefinition.model_validate(school)])
        async with follower.hub.db.district(follower.here) as tx:
            await grants.edit(tx, follower.grant, definition, follower.hub.first.clock.now())
        return frames
    frames = edited(frames, before, rnd, rnd.choice([1, 3, 12]))
    await land(follower.hub, frames)
    return frames


@pytest.mark.threat("T13", "T16")
@pytest.mark.parametrize("seed", [22, 24])
async def test_a_walk_while_syncs_land_ends_with_what_a_full_read_gives(
    follower: Follower, roster_database: Database, seed: int
) -> None:
    rnd, before = Random(seed), sandbox(100, 7).frames
    first = await follower.told()
    copy = Copy(await full(follower.hub), {"after": first["next"]}, first["to"])
    broken = 0
    frames: Frames = before
    async with pushing(follower, roster_database, max_changes=7) as push:
        for _ in range(8):
            frames = await change(follower, frames, before, rnd)
            for _ in range(rnd.randrange(3)):  # often not to the end, so that stretches stay open while more comes
                await pull(follower, copy, rnd)
            if rnd.random() < 0.5:
                broken += await by_webhooks(follower, copy, push, rnd)
        while await pull(follower, copy, rnd):
            pass
        assert await push(copy.step) == []  # nothing is left for the other way either
    await pull(follower, copy, rnd)
    assert copy.objects == await full(follower.hub)
    assert copy.told > 50
    assert broken  # a stretch was begun by webhooks and ended by asking


async def test_two_thousand_changes_over_pages_are_each_told_once_while_others_come(follower: Follower) -> None:
    district, grant, count = follower.here, follower.grant, 2_000
    await follower.feeds.connection.execute("DELETE FROM resources WHERE district_id = $1", district)
    ids = await follower.feeds.records(district, "resources", count)
    head = (await follower.told())["next"]
    to = await follower.feeds.move(district, grant, "resources", entered=range(count))
    told: list[str] = []
    after, answers = head, 0
    while True:
        body = await follower.told(after=after, limit=1_000)
        assert body["to"] == to
        told += [c["sourcedId"] for c in body["changes"] if c["type"] == "resources.created"]
        after, answers = body["next"], answers + 1
        later = await follower.feeds.move(district, grant, "resources", updated=[answers])
        if not body["more"]:
            break
    assert answers == 3  # 2,000 and the mark
    assert told == sorted(ids)
    body = await follower.told(after=after)
    assert (body["from"], body["to"]) == (to, later)
    assert len(body["changes"]) == 3 + 3
