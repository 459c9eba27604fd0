"""Pseudonyms in packages, webhooks and answers about all districts; and how long they stay what they are."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import replace

import pytest

from hub.clock import SystemClock
from hub.scope.grants import GrantDefinition
from hub.store import feed
from hub.sync import grants
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from tests.api.oneroster.rosters import Prepared
from tests.api.oneroster.test_gradebook_exports import export
from tests.api.oneroster_v1p1.school import ALL, package
from tests.api.pseudonyms.test_writes import line_item
from tests.api.pseudonyms.world import BLUE, CANONICAL, ID, KEY, PLAIN, RED, World, give, opened, revoked
from tests.districts import Frames
from tests.export.packages import Rows, applied, by_id, rows, texts
from tests.fakes.receiver import Received, Receiver, receiver
from tests.services import Database
from transforms.catalogue import CATALOGUE, Version

LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)


def told(world: World, found: Rows, app: str) -> Rows:
    """The rows of a package with an app's ids, in the order of these."""
    translated = {
        file: [{name: world.told(value, app) for name, value in row.items()} for row in each]
        for file, each in found.items()
    }
    return by_id(translated)


def in_lists(found: Rows) -> Rows:
    """The same with the members of lists in an order that ids do not decide."""
    return {
        file: [{n: ",".join(sorted(v.split(","))) for n, v in row.items()} for row in each]
        for file, each in found.items()
    }


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_packages_are_the_same_but_for_the_ids(world: World, version: Version) -> None:
    assert (await line_item(world, BLUE, "my-own", title="Mine"))[0] == 201
    plain, blue = [rows(await export(world.book, app=app, version=version)) for app in (PLAIN, BLUE)]
    (mine,) = [row for row in plain["lineItems"] if row["title"] == "Mine"]
    assert CANONICAL.fullmatch(mine["sourcedId"])
    mine["sourcedId"] = "my-own"
    assert in_lists(by_id(blue)) == in_lists(told(world, plain, BLUE))
    for file, each in blue.items():
        shown = [row["sourcedId"] for row in each]
        if file not in {"roles", "userProfiles", "userResources", "classResources", "courseResources"}:
            assert shown == sorted(shown), file
    kim = (("student", "south", "primary"), ("aide", "north", "primary"))
    run = await world.district.sync(package(amy=None, kim=kim))
    assert run.state == "applied", (run.guard, run.error_message)
    delta = rows(await export(world.book, "delta", app=BLUE, version=version))
    assert by_id(applied(blue, delta)) == by_id(rows(await export(world.book, app=BLUE, version=version)))


async def test_no_form_has_an_id_that_another_app_has(world: World) -> None:
    district, found = str(world.book.district_id), dict[str, set[str]]()
    for app in (BLUE, RED):
        known: set[str] = set()
        for version in ("1.1", "1.2"):
            for text in texts(await export(world.book, app=app, version=version)).values():
                known.update(ID.findall(text))
        async with receiver() as there:
            for got in await delivered(world, app, there):
                known.update(ID.findall(got.body.decode()))
        found[app] = known
    assert found[BLUE] & found[RED] == {district}
    records = {one for entity in CATALOGUE.entities for one in await world.ids(entity.name, PLAIN)}
    for app, known in found.items():
        assert not known & records
        assert len(known & {world.told(one, app) for one in records}) > 30


async def delivered(world: World, app: str, there: Receiver, said: Callable[..., Frames] = package) -> list[Received]:
    """What a new subscription of an app is sent when the district changes, of which ``said`` makes packages."""
    url = there.url
    async with world.book.service.district(world.book.district_id) as tx:
        await subscriptions.create(
            tx, grant_id=world.hub.prepared.grants[app], url=url, key=KEY, allow=LOCAL
        )  # fmt: skip
    student, teacher = (("student", "south", "primary"),), (("teacher", "north", "primary"),)
    new = dict.fromkeys((f"new-{app}-{number}" for number in range(6)), student)
    run = await world.district.sync(said(amy=None, max=teacher, **new))
    assert run.state == "applied", (run.guard, run.error_message)
    async with world.hub.db.district(world.book.district_id) as tx:
        head = await feed.head(tx, world.hub.prepared.grants[app])
    assert head is not None
    async with Egress(allow=LOCAL, timeout=5) as egress:
        courier = Courier(world.hub.db, egress, SystemClock(), KEY, "https://hub.example", 20)
        stop = asyncio.Event()
        running = asyncio.create_task(Dispatcher(courier, limits=Limits()).run(stop))
        await there.until(lambda got: bool(got) and got[-1].data["to"] >= head.steps, 20)
        stop.set()
        await running
    await world.district.sync(said())
    return list(there.received)


async def test_webhooks_tell_pseudonyms_in_their_order_and_lead_to_what_they_tell(world: World) -> None:
    async with receiver() as there:
        batches = await delivered(world, BLUE, there)
    changes = [change for batch in batches for change in batch.data["changes"] if "sourcedId" in change]
    entered = [c["sourcedId"] for c in changes if c["type"] == "users.created"]
    assert len(entered) > 5  # so that no order is right by chance
    assert entered == sorted(entered)
    left = [c["sourcedId"] for c in changes if c["type"] == "users.deleted"]
    assert left
    for one in changes:
        assert "href" not in one or one["href"].endswith(one["sourcedId"])
    gone = await world.ids("users", BLUE, filter="status='tobedeleted'")
    assert set(entered) <= set(gone)  # the district went back to what it was


async def test_pseudonyms_outlast_syncs_edits_suspensions_and_the_process(
    world: World, places: Database, granted: tuple[str, Prepared]
) -> None:
    before = {u["givenName"]: u["sourcedId"] for u in await world.listed("users", BLUE, filter="status='active'")}
    await world.district.sync(package(amy=(("student", "south", "primary"),)))
    grant = world.hub.prepared.grants[BLUE]
    async with world.hub.db.district(world.book.district_id) as tx:
        await grants.edit(tx, grant, GrantDefinition.model_validate({"entities": ALL}), SystemClock().now())
        await grants.set_state(tx, grant, "suspended")
    async with world.hub.db.district(world.book.district_id) as tx:
        await grants.set_state(tx, grant, "active")
    async with opened(places, granted[1]) as again:
        found = {u["givenName"]: u["sourcedId"] for u in await again.listed("users", BLUE, filter="status='active'")}
    assert found == before


async def test_a_new_grant_has_new_ids_and_the_old_ones_lead_nowhere(world: World) -> None:
    before = set(await world.ids("users", BLUE))
    later = await revoked(world, BLUE)
    after = set(await later.ids("users", BLUE))
    assert after
    assert not before & after
    for one in before:
        assert (await later.book.get(f"/users/{one}", app=BLUE, service="rostering"))[0] == 404


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_over_all_districts_each_has_its_own_and_finds_its_objects(world: World, version: Version) -> None:
    other = await replace(world.district, district_id=world.hub.prepared.there).create()
    await other.sync(package())
    for app in (PLAIN, BLUE):
        app_id = world.hub.prepared.apps[app]
        await give(world.hub.db, other.district_id, app_id, pseudonymous=app == BLUE)
    for query in ("", "&sort=sourcedId", "&sort=sourcedId&orderBy=desc", "&sort=givenName", "&sort=status"):
        walked: list[str] = []
        for offset in range(0, 100, 7):
            status, body, _ = await world.everywhere(f"/users?limit=7&offset={offset}{query}", BLUE, version)
            assert status == 200, body
            walked += [one["sourcedId"] for one in body["users"]]
        _, plain, _ = await world.everywhere(f"/users?limit=100{query}", PLAIN, version)
        assert len(walked) == len(set(walked)) == len(plain["users"])
        assert not CANONICAL.search(str(walked))
        if "sort=sourcedId" in query:
            assert walked == sorted(walked, reverse="desc" in query)
    for one in walked:
        status, body, _ = await world.everywhere(f"/users/{one}", BLUE, version)
        assert (status, body["user"]["sourcedId"]) == (200, one)
        assert (await world.everywhere(f"/users/{one}/classes", BLUE, version))[0] == 200
    sort = "sort=primaryOrg.sourcedId" if version == "1.2" else "sort=role"
    status, body, _ = await world.everywhere(f"/users?limit=100&{sort}", BLUE, version)
    assert len(body["users"]) == len(walked)
