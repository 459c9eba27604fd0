"""The changes of all districts at one address."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.api.changes import place as places
from hub.store import districts
from hub.sync import grants
from tests.api.changes.conftest import Follower
from tests.districts import EVERYTHING

ALL = "/changes"


@pytest.fixture
async def agency(follower: Follower) -> Follower:
    """The app `lms` holds a grant in the other district as well."""
    await grant(follower, follower.hub.prepared.there)
    return follower


async def grant(follower: Follower, district: UUID) -> UUID:
    async with follower.hub.db.district(district) as tx:
        made, _ = await grants.create(tx, follower.hub.prepared.apps["lms"], EVERYTHING, follower.hub.first.clock.now())
    await asyncio.sleep(1.1)  # what is held everywhere is remembered for a second
    return made.grant_id


async def held(follower: Follower, district: UUID) -> UUID:
    found: UUID = await follower.feeds.connection.fetchval(
        "SELECT grant_id FROM grants WHERE district_id = $1 AND app_id = $2",
        district, follower.hub.prepared.apps["lms"],
    )  # fmt: skip
    return found


async def set_state(follower: Follower, district: UUID, grant_id: UUID, state: str) -> None:
    async with follower.hub.db.district(district) as tx:
        await grants.set_state(tx, grant_id, state)


def entries(body: dict[str, Any]) -> dict[str, str]:
    return {one["district"]: one["state"] for one in body["districts"]}


async def test_all_districts_are_followed_by_one_text(agency: Follower) -> None:
    here, there = agency.here, agency.hub.prepared.there
    first = await agency.told(ALL)
    assert (first["changes"], first["districts"], first["more"]) == ([], [], False)
    other = await held(agency, there)
    await agency.move(updated=[1])
    await agency.feeds.move(there, other, updated=[2, 3])
    body = await agency.told(ALL, after=first["next"])
    by_district = {d: [c["type"] for c in body["changes"] if c["district"] == str(d)] for d in (here, there)}
    assert by_district == {
        here: ["users.updated", "syncs.completed"], there: ["users.updated"] * 2 + ["syncs.completed"],
    }  # fmt: skip
    assert entries(body) == {str(here): "followed", str(there): "followed"}
    assert (await agency.told(ALL, after=body["next"]))["changes"] == []
    # The same as the district's own.
    (state,) = [one for one in body["districts"] if one["district"] == str(there)]
    alone = await agency.told(f"/d/{there}/changes", after=state["from"])
    assert [c | {"district": str(there)} for c in alone["changes"]] == [
        c for c in body["changes"] if c["district"] == str(there)
    ]


async def test_a_long_one_comes_in_pages_and_a_district_with_much_does_not_shut_the_others_out(
    agency: Follower,
) -> None:
    here, there = str(agency.here), str(agency.hub.prepared.there)
    whole, _ = await agency.follow(0)
    other, _ = await agency.follow(0, f"/d/{there}/changes")
    told: dict[str, list[str]] = {here: [], there: []}
    answers = []
    body = await agency.told(ALL, since="1999-01-01", limit=50)
    while True:
        answers.append({c["district"] for c in body["changes"]})
        for change in body["changes"]:
            told[change.pop("district")].append(repr(change))
        if not body["more"]:
            break
        body = await agency.told(ALL, after=body["next"], limit=50)
    assert sorted(told[here]) == sorted(map(repr, whole))
    assert sorted(told[there]) == sorted(map(repr, other))
    assert answers[0] != answers[1]  # they take turns


async def test_districts_join_wait_and_leave(agency: Follower) -> None:
    head = (await agency.told(ALL))["next"]
    third = uuid4()
    async with agency.hub.db.district(third) as tx:
        await districts.create(tx, "Third")
    await agency.feeds.records(third, "users", 3)
    poll = asyncio.create_task(agency.told(ALL, after=head, wait=30))
    await asyncio.sleep(0.2)
    third_grant = await grant(agency, third)
    body = await poll
    assert entries(body) == {str(third): "joined"}
    joined = body["next"]
    (state,) = body["districts"]
    assert state["grant"] == str(third_grant)
    assert state["from"] == 0

    await set_state(agency, third, third_grant, "suspended")
    await asyncio.sleep(1.1)
    body = await agency.told(ALL, after=joined)
    assert entries(body) == {str(third): "suspended"}
    await agency.feeds.move(third, third_grant, updated=[1])
    await set_state(agency, third, third_grant, "active")
    await asyncio.sleep(1.1)
    body = await agency.told(ALL, after=body["next"])
    assert entries(body) == {str(third): "followed"}
    assert [c["type"] for c in body["changes"]] == ["users.updated", "syncs.completed"]

    poll = asyncio.create_task(agency.told(ALL, after=body["next"], wait=30))
    await asyncio.sleep(0.2)
    await set_state(agency, third, third_grant, "revoked")
    body = await poll
    assert entries(body) == {str(third): "withdrawn"}
    assert (await agency.told(ALL, after=body["next"]))["districts"] == []


@pytest.mark.threat("F28")
async def test_a_district_that_was_set_back_is_named_and_the_others_go_on(agency: Follower) -> None:
    await agency.move(updated=[1])
    after = (await agency.told(ALL))["next"]
    owner, there = agency.feeds.connection, agency.hub.prepared.there
    other = await held(agency, there)
    last = "(SELECT steps FROM grants WHERE grant_id = $1)"
    await owner.execute(f"DELETE FROM feed WHERE grant_id = $1 AND step = {last}", agency.grant)
    await owner.execute("UPDATE grants SET steps = steps - 1 WHERE grant_id = $1", agency.grant)
    await agency.feeds.move(there, other, updated=[2])
    body = await agency.told(ALL, after=after)
    assert entries(body) == {str(agency.here): "resync_required", str(there): "followed"}
    (state,) = [one for one in body["districts"] if one["state"] == "resync_required"]
    assert state["resync"]["reason"] == "ahead"
    assert {c["district"] for c in body["changes"]} == {str(there)}
    assert (await agency.told(after=state["resync"]["after"]))["changes"] == []
    assert (await agency.told(ALL, after=body["next"]))["districts"] == []


@pytest.mark.threat("T1", "T12", "T18")
async def test_only_districts_that_grant_something_are_in_it(agency: Follower) -> None:
    math = agency.hub.prepared.tokens["math"]
    body = await agency.told(ALL, since="1999-01-01", token=math, limit=10_000)
    assert entries(body) == {str(agency.here): "followed"}
    assert {c["district"] for c in body["changes"]} == {str(agency.here)}
    lms = (await agency.told(ALL, since="1999-01-01"))["next"]
    crossed = await agency.told(ALL, after=lms, token=math)  # another app's text: nothing of it is this app's
    assert entries(crossed) == {str(agency.here): "joined"}
    status, body, _ = await agency.ask(ALL, token=agency.hub.prepared.tokens["nobody"])
    assert (status, body["code"]) == (404, "not_found")
    for after in ("1", "p1234", "eA", "e" + "A" * 6_000):
        status, body, _ = await agency.ask(ALL, after=after)
        assert (status, body["code"]) == (400, "invalid_request"), after


def test_two_hundred_districts_fit_into_an_address_and_the_text_is_compact() -> None:
    place = places.Place(400, b"abc")
    inside = places.Place(400, b"abc", 430, 120_000, b"def")
    ids = [uuid4() for _ in range(200)]
    some = places.Places({places.key(one): inside if n % 10 == 0 else place for n, one in enumerate(ids)}, 17)
    text = places.written_all(some)
    assert len(text) < 4_000
    assert places.read_all(text) == some
    for bad in (text[:-3], text + "AAAA", "e", "e====", text.replace("e", "p", 1), "e" + "_" * 40):
        with pytest.raises(ValueError, match=r"place|short|large"):
            places.read_all(bad)


async def test_more_districts_than_fit_are_a_clear_refusal(agency: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LONGEST", 20)
    status, body, _ = await agency.ask(ALL)
    assert (status, body["code"]) == (400, "invalid_request")
    assert "/d/{district}/changes" in body["detail"]
