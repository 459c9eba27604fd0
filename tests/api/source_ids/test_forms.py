"""A source's ids in packages, webhooks and writes; what becomes of them when sources, views and people change."""

from __future__ import annotations

from urllib.parse import quote, unquote
from uuid import UUID

import polars as pl
import pytest

from hub.clock import SystemClock
from hub.errors import Code, HubError
from hub.scope.grants import GrantDefinition
from hub.store import districts, shown_ids
from hub.sync import grants
from hub.sync.engine import work_once
from tests.api.oneroster.gradebooks import ref
from tests.api.oneroster.test_gradebook_exports import export
from tests.api.oneroster_v1p1.school import ALL
from tests.api.pseudonyms.test_forms import delivered, in_lists, told
from tests.api.pseudonyms.test_records_told import Looks
from tests.api.pseudonyms.test_writes import LINE_ITEM, RESULT, known, line_item
from tests.api.pseudonyms.world import CANONICAL, PLAIN
from tests.api.source_ids.world import HR, ODD, SIS, Sourced, TwoSources, add_app, hr, renamed, sis
from tests.districts import District, Frames
from tests.export.packages import applied, by_id, rows
from tests.fakes.receiver import receiver
from tests.sync.guarding import approve
from tests.sync.test_erasure import erase
from tests.sync.test_people import decide, split
from transforms.catalogue import CATALOGUE, Version

STUDENT = (("student", "south", "primary"),)


async def synced(source: District, frames: Frames) -> None:
    run = await source.sync(frames)
    assert run.state == "applied", (run.state, run.guard, run.error_message)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_packages_are_the_same_but_for_the_ids(world: Sourced, version: Version) -> None:
    plain, mine = [rows(await export(world.book, app=app, version=version)) for app in (PLAIN, SIS)]
    assert in_lists(by_id(mine)) == in_lists(by_id(told(world, plain, SIS)))
    assert ODD["zoe"] in {row["userSourcedId"] for row in mine["enrollments"]}
    await synced(world.district, sis(amy=None, kim=STUDENT))
    delta = rows(await export(world.book, "delta", app=SIS, version=version))
    assert {"amy", "kim"} <= {row["sourcedId"] for row in delta["users"]}
    assert by_id(applied(mine, delta)) == by_id(rows(await export(world.book, app=SIS, version=version)))


async def test_webhooks_tell_the_source_s_ids_and_lead_to_what_they_tell(world: Sourced) -> None:
    async with receiver() as there:
        batches = await delivered(world, SIS, there, sis)
    changes = [change for batch in batches for change in batch.data["changes"] if "sourcedId" in change]
    entered = {c["sourcedId"] for c in changes if c["type"] == "users.created"}
    assert {"max", f"new-{SIS}-3"} <= entered
    assert "amy" in {c["sourcedId"] for c in changes if c["type"] == "users.deleted"}
    await world.learn()
    assert not {c["sourcedId"] for c in changes} & set(world.keys[SIS])
    for one in changes:
        assert "href" not in one or unquote(one["href"].rpartition("/")[2]) == one["sourcedId"]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_what_an_app_writes_refers_by_the_source_s_ids_and_is_called_as_it_likes(
    world: Sourced, version: Version
) -> None:
    status, body, headers = await line_item(world, SIS)
    about = await known(world, SIS)
    assert status == 201, body
    assert headers["Location"].endswith("/lineItems/li")
    found = (await world.book.get("/lineItems/li", app=SIS, version=version))[1]["lineItem"]
    assert (found["sourcedId"], found["class"]["sourcedId"], found["category"]["sourcedId"]) == (
        "li",
        about["class"],
        "tests",
    )
    by_hub = {name: ref((await world.listed("lineItems"))[0][name]["sourcedId"]) for name in ("class", "category")}
    refused = await line_item(world, SIS, "other", **by_hub)
    assert refused[0] == 422, refused
    result = {"result": RESULT | {"lineItem": ref("li"), "student": ref(about["user"]), "sourcedId": "mine/1"}}
    assert (await world.book.send("PUT", "/results/mine%2F1", app=SIS, body=result))[0] == 201
    assert await world.ids("results", SIS, version, filter="lineItem.sourcedId='li'") == ["mine/1"]
    listed = await world.ids("results", SIS, version, sort="sourcedId")
    assert listed == sorted(listed)
    assert {"mine/1", ODD["r2"]} <= set(listed)
    theirs = set(await world.ids("lineItems", PLAIN)) - set(world.keys[SIS])
    assert len(theirs) == 1
    assert theirs < set(await world.ids("lineItems", HR))


async def test_an_app_cannot_call_its_own_what_the_source_calls_another(world: Sourced) -> None:
    """Not even while that one is out of its view: it may come back, and two objects would have one id."""
    assert (await line_item(world, SIS, "quiz"))[0] == 403
    grant = world.hub.prepared.grants[SIS]
    narrow = GrantDefinition.model_validate(
        {"entities": ALL, "rules": [{"classes": [await _hub_id(world, "art 1/2")]}], "write": ["lineItems"]}
    )
    assert (await line_item(world, HR, "quiz"))[0] == 201
    async with world.hub.db.district(world.book.district_id) as tx:
        await grants.edit(tx, grant, narrow, SystemClock().now())
    assert "quiz" not in await world.ids("lineItems", SIS, filter="status='active'")
    about = {"class": ref("art 1/2"), "school": ref(ODD["south"])}
    item = {"lineItem": LINE_ITEM | about | {"sourcedId": "exam", "category": ref("tests")}}
    assert (await world.book.send("PUT", "/lineItems/exam", app=SIS, body=item))[0] in {403, 404}


async def test_an_id_of_the_app_s_own_stays_its_own_when_a_source_comes_to_use_it(world: Sourced) -> None:
    assert (await line_item(world, SIS, "essay", title="Mine"))[0] == 201
    frames = sis()
    row = frames["lineItems"].filter(pl.col("sourcedId") == "exam").with_columns(sourcedId=pl.lit("essay"))
    await synced(world.district, frames | {"lineItems": pl.concat([frames["lineItems"], row])})
    titles = {one["sourcedId"]: one["title"] for one in await world.listed("lineItems", SIS)}
    assert titles["essay"] == "Mine"
    (later,) = [key for key, title in titles.items() if title == "Exam" and key != "exam"]
    assert CANONICAL.fullmatch(later)
    assert (await world.book.get(f"/lineItems/{later}", app=SIS))[1]["lineItem"]["title"] == "Exam"
    assert (await world.book.get("/lineItems/essay", app=SIS))[1]["lineItem"]["title"] == "Mine"


async def _hub_id(world: Sourced, key: str, app: str = SIS) -> str:
    await world.learn()
    (found,) = [id_ for id_, known in world.keys[app].items() if known == key]
    return found


async def test_never_two_records_under_one_id(world: Sourced) -> None:
    """A key that is another record's hub id, and one that 1.1 would take for a role of another person."""
    users = await world.ids("users")
    taken = next(id_ for id_ in users if id_ in world.keys[HR])
    frames = sis(kim=STUDENT, lea=STUDENT, max=STUDENT)
    await synced(world.district, renamed(frames, {"kim": taken, "lea": "ben.parent"}))
    shown = await world.listed("users", SIS, filter="status='active'")
    by_name = {one["givenName"]: one["sourcedId"] for one in shown}
    assert len(by_name) == len(shown) == len(set(by_name.values()))
    assert by_name["max"] == "max"
    for name in ("kim", "lea"):
        assert CANONICAL.fullmatch(by_name[name]), name
        one = (await world.book.get(f"/users/{by_name[name]}", app=SIS, service="rostering"))[1]["user"]
        assert one["givenName"] == name
    assert by_name["kim"] != taken
    old = await world.ids("users", SIS, "1.1")
    assert len(old) == len(set(old))
    for entities in (["users"], ["users", "demographics"]):
        source_id, definition = world.prepared.source, GrantDefinition.model_validate({"entities": entities})
        which = await _hub_id(world, taken)
        async with world.hub.db.district(world.book.district_id) as tx:
            with pytest.raises(HubError, match=which) as refused:
                await grants.preview(tx, definition, source_ids=source_id)
            assert refused.value.code is Code.CONFLICT
            await grants.preview(tx, definition, source_ids=world.prepared.second)
            await grants.preview(tx, GrantDefinition.model_validate({"entities": ["orgs"]}), source_ids=source_id)


async def test_what_an_app_was_told_stays(world: Sourced) -> None:
    """Whether a source calls a record otherwise or says no more of it, and whatever a second one says."""
    amy, cat = await _hub_id(world, "amy"), await _hub_id(world, "cat")
    async with world.hub.db.district(world.book.district_id) as tx:
        await tx.execute("UPDATE source_records SET key = 'cat-2' WHERE key = 'cat'")
    await synced(world.district, renamed(sis(amy=None, kim=STUDENT), {"cat": "cat-2"}))
    users = {one["sourcedId"]: one for one in await world.listed("users", SIS)}
    assert users["cat"]["status"] == "active"
    assert "cat-2" not in users
    assert users["amy"]["status"] == "tobedeleted"
    assert users[ODD["ivy"]]["status"] == "tobedeleted"
    assert users["kim"]["status"] == "active"
    assert not {amy, cat} & users.keys()
    grant = world.hub.prepared.grants[SIS]
    async with world.hub.db.district(world.book.district_id) as tx:
        await grants.edit(tx, grant, GrantDefinition.model_validate({"entities": ["users"]}), SystemClock().now())
        await grants.set_state(tx, grant, "suspended")
    async with world.hub.db.district(world.book.district_id) as tx:
        await grants.set_state(tx, grant, "active")
    await synced(world.other, hr("new"))
    again = await world.ids("users", SIS)
    assert set(users) < set(again)
    (new,) = set(again) - set(users)
    assert CANONICAL.fullmatch(new)
    assert "new" in await world.ids("users", HR)


async def test_ids_go_with_the_grant_and_those_of_ended_records_when_retention_takes_them(world: Sourced) -> None:
    await synced(world.district, sis(amy=None))
    run = await erase(world.district, UUID(await _hub_id(world, "ben")))
    assert run.state == "applied", run.error_message
    assert (await world.listed("users", SIS, filter="sourcedId='ben'"))[0]["status"] == "tobedeleted"
    async with world.hub.db.district(world.book.district_id) as tx:
        await shown_ids.forget_ended(tx, CATALOGUE["users"], SystemClock().now())
    gone = await world.ids("users", SIS, filter="status='tobedeleted'")
    assert len(gone) == 3
    assert all(CANONICAL.fullmatch(one) for one in gone)
    assert "cat" in await world.ids("users", SIS)
    async with world.hub.db.district(world.book.district_id) as tx:
        await districts.lock(tx)
        await grants.set_state(tx, world.hub.prepared.grants[SIS], "revoked")
        count = "SELECT count(*) FROM shown_ids WHERE grant_id = $1"
        assert await tx.fetchval(count, world.hub.prepared.grants[SIS]) == 0
        assert await tx.fetchval(count, world.hub.prepared.grants[HR]) > 0


async def test_merged_people_keep_the_ids_that_apps_were_told_and_point_by_them(world: Sourced) -> None:
    await synced(world.other, hr("eva"))
    await synced(world.district, sis(kim=STUDENT))
    before = {app: await world.ids("users", app) for app in (SIS, HR)}
    cat, late, eva, kim = [
        await _hub_id(world, key, app) for key, app in (("cat", SIS), ("hr 1/@", HR), ("eva", HR), ("kim", SIS))
    ]
    # The older record stays; of the second pair's the SIS did not speak.
    for stays, ends in ((cat, late), (eva, kim)):
        made = await decide(world.district, UUID(stays), UUID(ends), "same")
        assert made.run is not None
        while await work_once(world.district.db, world.district.clock):
            pass
        run = await world.district.run(made.run.run_id)
        if run.state == "held":  # a small district: one person is a large share
            run = await approve(world.district, run.run_id)
        assert run.state == "applied", (run.guard, run.error_message)
    expected = {SIS: {late: "cat", "kim": eva}, HR: {"hr 1/@": cat, kim: "eva"}}
    for app, into in expected.items():
        users = {one["sourcedId"]: one for one in await world.listed("users", app)}
        assert sorted(users) == sorted(before[app])
        for gone, to in into.items():
            reference = users[gone]["metadata"]["mergedInto"]
            assert (users[gone]["status"], reference["sourcedId"]) == ("tobedeleted", to)
            assert reference["href"].endswith(f"/users/{to}")
            assert users[to]["status"] == "active"
    fresh = TwoSources(**{**vars(world.prepared), "grants": {}, "apps": {}, "clients": {}, "tokens": {}})
    await add_app(world.hub.db, fresh, "fresh", world.prepared.source)
    world.prepared.tokens["fresh"] = fresh.tokens["fresh"]
    # Who is told nothing yet is told what the source calls the record of now.
    assert {"cat", "kim"} <= set(await world.ids("users", "fresh"))
    await split(world.district, UUID(late))
    again = {one["sourcedId"]: one for one in await world.listed("users", HR)}
    assert again["hr 1/@"]["status"] == "active"


async def test_records_that_changes_are_about_are_what_is_read(world: Sourced) -> None:
    looks = Looks(world)
    step = await looks.step(SIS)
    await synced(world.district, sis(kim=STUDENT, cat=(("teacher", "south", "primary"),)))
    read, told_ = await looks.read(SIS), await looks.told(SIS, step)
    assert {"kim", "cat"} <= told_["users"].keys()
    for entity, records in told_.items():
        for id_, one in records.items():
            assert one.record == read[entity][id_], (entity, id_)
    status, body, _ = await world.book.get(f"/users/{quote(ODD['zoe'], safe='')}", app=SIS, service="rostering")
    assert (status, body["user"]["sourcedId"]) == (200, ODD["zoe"])
