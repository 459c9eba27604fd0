"""Records that changes are about: byte for byte what the API serves, and former values that a reader would know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import polars as pl
import pytest

from hub.api.oneroster.scopes import SCOPES
from hub.behaviour import Behaviour
from hub.changes import reading
from hub.changes.records import Records, Told
from hub.identifiers import Identifiers
from hub.objects.bases import DISTRICT, PATHS, district_root
from hub.scope.grants import GrantDefinition
from hub.store import apps, feed
from hub.store import grants as store
from hub.store.gate import ClosedError
from hub.sync import grants
from tests.api.oneroster.rosters import issue
from tests.api.oneroster_v1p1.school import ALL, PRIVACY, STAFF_AND_STUDENTS, add_app, package
from tests.api.pseudonyms.world import BLUE, KEY, PLAIN, World
from tests.districts import Frames
from tests.districts import changed as changed_columns
from transforms.catalogue import BASE_NAMES, CATALOGUE

#: Hidden: identifier, pronouns, every birth date. Masked: family names.
MASKED = GrantDefinition.model_validate(
    {
        "entities": ALL, "privacy": ["contact"],
        "fields": {"users": {"hide": ["identifier"], "masks": {"familyName": "initial"}},
                   "results": {"hide": ["comment"]}},
    }
)  # fmt: skip
STAFF, JSON = "staff", "json"
Read = dict[str, dict[str, bytes]]


@dataclass
class Looks:
    """What the apps of a world read and are told."""

    world: World

    async def read(self, app: str) -> Read:
        """By entity and sourcedId, the objects of all present records as the API serves them, in its order."""
        hub, found = self.world.hub, Read()
        for entity in CATALOGUE.entities:
            path = f"{DISTRICT}{PATHS['1.2'][entity.service]}/{entity.name}?limit=10000&filter=status%3D'active'"
            address = path.replace("{district}", str(hub.prepared.here))
            headers = {"Authorization": f"Bearer {hub.prepared.tokens[app]}"}
            async with hub.session.get(address, headers=headers) as response:
                body = await response.read()
                assert response.status == 200, body
            objects = orjson.loads(body)[entity.name]
            dumped = {one["sourcedId"]: text for one, text in zip(objects, _cut(body), strict=True)}
            assert body == b'{"%b":[%b]}' % (entity.name.encode(), b",".join(dumped.values()))
            found[entity.name] = dumped
        return found

    async def step(self, app: str) -> int:
        async with self.world.hub.db.district(self.world.hub.prepared.here) as tx:
            head = await feed.head(tx, self.world.hub.prepared.grants[app])
        assert head is not None
        return head.steps

    async def told(self, app: str, after: int = 0, *, service: bool = False) -> dict[str, dict[str, Told]]:
        """By entity and sourcedId, what an app is told of the records that came or changed after a step."""
        hub = self.world.hub
        grant_id, district_id = hub.prepared.grants[app], hub.prepared.here
        pool = self.world.book.service if service else hub.db
        async with pool.district(district_id) as tx:
            grant = await store.get(tx, grant_id)
            behaviour = Behaviour.of((await apps.get(tx, grant.app_id)).behaviour)
            to = (await feed.head(tx, grant_id)).steps  # type: ignore[union-attr]
            window = (await reading.stretch(tx, grant_id, after=after, to=to)).window
            merged = window.merged
            records = Records(
                grant_id, Identifiers.of(grant, district_id, KEY), behaviour,
                district_root(hub.settings.public_url, district_id),
            )  # fmt: skip
            rids = {name: list(entry.touched) for name, entry in merged.items()}
            updated = {name: list(entry.updated) for name, entry in merged.items()}
            told = await records.told(tx, rids, after=after, updated=updated)
            changes = window.following(None, 10_000)
            members = await records.members(tx, changes, after=after)
        assert {(n, r) for n, r in told if r in merged[n].left} == set()
        assert {key: orjson.loads(b'{"":0' + text + b"}") for key, text in members.items()} == {
            key: {"": 0, "record": orjson.loads(one.record)}
            | ({} if one.previous is None else {"previous": orjson.loads(one.previous)})
            for key, one in told.items()
        }
        found: dict[str, dict[str, Told]] = {}
        for (name, rid), one in told.items():
            assert (one.previous is None) or rid in merged[name].updated
            found.setdefault(name, {})[orjson.loads(one.record)["sourcedId"]] = one
        return found


def changed(frames: Frames, file: str, key: str, **values: str | None) -> dict[str, pl.DataFrame]:
    """The frames with some values of one row changed, also of columns that were not there."""
    missing = [pl.lit(None, pl.String).alias(name) for name in values if name not in frames[file].columns]
    return changed_columns(dict(frames) | {file: frames[file].with_columns(missing)}, file, key, **values)


def _cut(body: bytes) -> list[bytes]:
    """The objects of a collection, cut at the beginning of each."""
    inner = body[body.index(b"[") + 1 : -2]
    parts = inner.split(b',{"sourcedId":')
    return [parts[0], *(b'{"sourcedId":' + part for part in parts[1:])] if inner else []


@pytest.fixture
async def looks(world: World) -> Looks:
    """The world with an app for each kind of policy."""
    db, prepared, district = world.hub.db, world.hub.prepared, world.district
    async with db.district(prepared.here) as tx:
        north = await tx.fetchval("SELECT sourced_id::text FROM orgs WHERE name = 'North'")
    school = {"entities": ALL, "privacy": PRIVACY, "rules": [{"schools": [north]}]}
    for name, definition in (
        ("masked", MASKED), (STAFF, STAFF_AND_STUDENTS), ("north", GrantDefinition.model_validate(school)),
        (JSON, GrantDefinition.model_validate(school)),
    ):  # fmt: skip
        await add_app(db, prepared, district, name, definition)  # type: ignore[arg-type]
        prepared.tokens[name] = await issue(db, prepared.clients[name][0], [*SCOPES])
    async with db.shared() as tx:
        await apps.change(tx, prepared.apps[JSON], behaviour={"booleans": "json"})
    return Looks(world)


APPS = (PLAIN, BLUE, "masked", STAFF, "north", JSON)


async def test_records_are_told_byte_for_byte_as_the_api_serves_them(looks: Looks) -> None:
    await looks.world.district.sync(_later(package()))  # several dates, tombstones
    seen = set[str]()
    for app in APPS:
        served = await looks.read(app)
        told = await looks.told(app, service=app == PLAIN)
        assert {name: {id_: one.record for id_, one in found.items()} for name, found in told.items()} == {
            name: found for name, found in served.items() if found
        }, app
        seen |= {f"{app} {name}" for name in told}
    assert {f"{PLAIN} {e.name}" for e in CATALOGUE.entities if e.name in _IN_THE_PACKAGE} <= seen
    assert b'"primary":false' in b"".join((await looks.read(JSON))["enrollments"].values())


_IN_THE_PACKAGE = {
    "orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics", "resources", "categories",
    "lineItems", "results",
}  # fmt: skip


def _later(frames: Frames) -> dict[str, pl.DataFrame]:
    """Values of all kinds that are others, that come and that go: seen by all, by some and by none."""
    frames = changed(frames, "users", "amy", familyName="Fowler", preferredGivenName=None, pronouns="they")
    frames = changed(frames, "users", "ben", agentSourcedIds="zoe", identifier="other", phone="555")
    frames = changed(frames, "users", "cat", username="cat@n", familyName="Family C")
    frames = changed(frames, "classes", "math", title="Mathematics", classType="scheduled")
    frames = changed(frames, "results", "r1", score="51")
    frames = changed(frames, "results", "r2", comment="late")
    frames = changed(frames, "enrollments", "e3", primary="false")
    frames = changed(frames, "demographics", "gus", sex="male")
    return changed(frames, "resources", "book", title="The book", roles="student")


def _former(before: Read, now: Read) -> dict[str, dict[str, Any]]:
    """What ``previous`` has to say, by what was read then and is read now."""
    found: dict[str, dict[str, Any]] = {}
    for name, objects in now.items():
        for id_, text in objects.items():
            if id_ in before[name]:
                then, has = orjson.loads(before[name][id_]), orjson.loads(text)
                names = [n for n in {**then, **has} if n not in BASE_NAMES and then.get(n) != has.get(n)]
                if names:
                    found.setdefault(name, {})[id_] = {n: then.get(n) for n in names}
    return found


def _previous(told: Mapping[str, Mapping[str, Told]]) -> dict[str, dict[str, Any]]:
    said = {n: {id_: orjson.loads(o.previous) for id_, o in found.items() if o.previous} for n, found in told.items()}
    return {name: found for name, found in said.items() if found}


async def test_former_values_are_those_that_the_app_would_have_read(looks: Looks) -> None:
    steps = {app: await looks.step(app) for app in APPS}
    before = {app: await looks.read(app) for app in APPS}
    await looks.world.district.sync(_later(package()))
    middle = {app: (await looks.step(app), await looks.read(app)) for app in APPS}
    # Somebody moves out of one app's school, so that references to them are shown to it no more; others change again.
    frames = changed(_later(package(gus=(("student", "south", "primary"),))), "users", "amy", familyName="Finch")
    await looks.world.district.sync(changed(frames, "results", "r1", score="50"))
    kinds = set[str]()
    for app in APPS:
        now = await looks.read(app)
        for since, then in ((steps[app], before[app]), middle[app]):
            expected = _former(then, now)
            told = await looks.told(app, since)
            assert all(one.record == now[name][id_] for name, some in told.items() for id_, one in some.items())
            found = {n: {i: p for i, p in some.items() if p} for n, some in _previous(told).items()}
            assert {n: some for n, some in found.items() if some} == expected, app
            kinds |= {
                f"{app} {name}.{member}" for name, some in expected.items() for p in some.values() for member in p
            }
    assert {f"{PLAIN} users.familyName", f"{BLUE} users.agents", "masked classes.title", f"{PLAIN} users.pronouns",
            f"{JSON} enrollments.primary", "north users.agents", f"{STAFF} users.roles"} <= kinds  # fmt: skip
    assert not kinds & {"masked users.identifier", "masked users.familyName", "masked results.comment",
                        "masked demographics.sex", f"{STAFF} results.score"}  # fmt: skip


@pytest.mark.threat("T16")
async def test_what_is_hidden_shows_in_no_former_value(looks: Looks) -> None:
    step = await looks.step("masked")
    hidden = changed(package(), "users", "amy", identifier="secret", familyName="Fenn")
    hidden = changed(hidden, "results", "r2", comment="secret")
    await looks.world.district.sync(hidden)
    assert await looks.step("masked") == step  # which is nothing to tell of
    await looks.world.district.sync(changed(hidden, "users", "amy", givenName="Amy"))
    told = await looks.told("masked", step)
    assert _previous(told) == {"users": {next(iter(told["users"])): {"givenName": "amy"}}}
    assert b"secret" not in b"".join(o.record + (o.previous or b"") for o in told["users"].values())
    # What showed before the district changed the grant, or only since, is told from then on.
    async with looks.world.hub.db.district(looks.world.hub.prepared.here) as tx:
        await grants.edit(
            tx, looks.world.hub.prepared.grants["masked"], GrantDefinition(), looks.world.district.clock.now()
        )
    edited = await looks.read("masked")
    told = await looks.told("masked", step)
    assert {i: p for i, p in _previous(told)["users"].items() if p} == {}
    await looks.world.district.sync(changed(hidden, "users", "amy", givenName="Ada", familyName="Fry"))
    told = await looks.told("masked", step)
    assert {i: p for i, p in _previous(told)["users"].items() if p} == _former(edited, await looks.read("masked"))[
        "users"
    ]
    assert b"Fenn" in b"".join(one.previous or b"" for one in told["users"].values())


async def test_nothing_is_said_of_a_past_that_is_not_kept_nor_of_a_grant_that_is_over(looks: Looks) -> None:
    hub, step = looks.world.hub, await looks.step(PLAIN)
    await looks.world.district.sync(_later(package()))
    assert _previous(await looks.told(PLAIN, step))
    async with hub.db.district(hub.prepared.here) as tx:
        await tx.execute("UPDATE districts SET history_from = position")
    told = await looks.told(PLAIN, step)
    assert told["users"]
    assert not _previous(told)
    async with hub.db.district(hub.prepared.here) as tx:
        await grants.set_state(tx, hub.prepared.grants[PLAIN], "suspended")
    with pytest.raises(ClosedError):
        await looks.told(PLAIN, step)
    async with hub.db.district(UUID(int=hub.prepared.here.int)) as tx:
        await grants.set_state(tx, hub.prepared.grants[PLAIN], "active")
        await tx.execute("UPDATE districts SET state = 'suspended'")
    with pytest.raises(ClosedError):
        await looks.told(PLAIN, step)
