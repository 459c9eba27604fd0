from __future__ import annotations

import pytest

from tests.api.oneroster_v1p1.school import Old


async def test_a_persona_that_is_no_more_comes_once_more_as_a_tombstone(old: Old) -> None:
    before = max(user["dateLastModified"] for user in await old.all("/users"))
    # Eve is an aide no longer, Ben is known as a parent now, Zoe left.
    await old.sync(
        eve=(("principal", "north", "primary"),),
        ben=(("parent", "north", "primary"), ("teacher", "south", "secondary")),
        zoe=None,
    )
    changed = {old.key(u["sourcedId"]): u for u in await old.all("/users", filter=f"dateLastModified>'{before}'")}
    active = {key: user.get("role") for key, user in changed.items() if user["status"] == "active"}
    assert active == {"eve": "administrator", "ben": "parent", "ben.teacher": "teacher"}
    gone = {key: user for key, user in changed.items() if user["status"] == "tobedeleted"}
    assert gone.keys() == {"eve.aide", "ben.parent", "zoe", "zoe.aide"}
    for user in gone.values():
        assert user.keys() == {"sourcedId", "status", "dateLastModified"}
        assert await old.one(f"/users/{user['sourcedId']}") == user
    assert set(await old.keys("/users", filter="status='tobedeleted'")) == gone.keys()
    assert gone.keys() <= set(await old.keys("/students"))  # which role they had is not told
    assert not gone.keys() & set(await old.keys("/users", filter="givenName~'e'"))
    # They come back: their ids do too.
    await old.sync()
    assert set(await old.keys("/users", filter="status='tobedeleted'")) == {"ben.teacher"}
    assert {"eve.aide", "ben.parent", "zoe.aide"} <= set(await old.keys("/users", filter="status='active'"))


@pytest.mark.threat("T35")
async def test_a_walk_over_personas_is_of_one_moment(old: Old) -> None:
    expected = await old.keys("/users", sort="role")
    headers = {"Authorization": f"Bearer {old.school.tokens['all']}"}
    walked, address = [], old.address("/users", limit="4", sort="role")
    while address:
        async with old.hub.session.get(address, headers=headers) as response:
            body = await response.json()
            walked += [(old.key(user["sourcedId"]), user["status"]) for user in body["users"]]
            assert response.headers["X-Total-Count"] == "12"
            address = str(response.links["next"]["url"].relative()) if "next" in response.links else ""
        if len(walked) == 4:
            await old.sync(eve=(("principal", "north", "primary"),), cat=None)
    assert [key for key, _ in walked] == expected
    # Those of the first page, Eve's other persona among them, had been sent.
    assert {key for key, status in walked if status == "tobedeleted"} == {"cat"}
