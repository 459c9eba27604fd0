"""Who left because another record speaks of the person now: users of 1.1 point to the one of that person."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.oneroster_v1p1.school import Old


async def lead(old: Old, **into: str) -> None:
    async with old.hub.db.district(old.school.here) as tx:
        for rid, to in into.items():
            await tx.execute(
                "INSERT INTO aliases (district_id, rid, into_rid, since) SELECT $1, a.rid, b.rid, 0 "
                "FROM users a, users b WHERE a.sourced_id = $2::text::uuid AND b.sourced_id = $3::text::uuid",
                tx.district_id, old.id("users", rid), old.id("users", to),
            )  # fmt: skip


async def pointers(old: Old, app: str = "all") -> dict[str, str | None]:
    """The users that are gone, and whom they point to, by what the source calls them."""
    found: dict[str, str | None] = {}
    for user in await old.all("/users", app=app, filter="status='tobedeleted'"):
        assert await old.one(f"/users/{user['sourcedId']}", app=app) == user
        reference: dict[str, Any] | None = user.get("metadata", {}).get("mergedInto")
        found[old.key(user["sourcedId"])] = reference and old.key(reference["sourcedId"])
        if reference is not None:
            assert user.keys() == {"sourcedId", "status", "dateLastModified", "metadata"}
            href = str(reference["href"])
            assert href.endswith(f"/ims/oneroster/v1p1/users/{reference['sourcedId']}")
            assert reference["type"] == "user"
            shown = await old.one(href.partition("/v1p1")[2], app=app)
            assert (shown["sourcedId"], shown["status"]) == (reference["sourcedId"], "active")
    return found


@pytest.mark.threat("T14")
async def test_users_who_were_merged_point_to_the_user_with_their_role(old: Old) -> None:
    await old.sync(zoe=None, dan=None, cat=None, amy=None)
    await lead(old, zoe="eve", dan="fay", cat="amy")
    expected = {"zoe": "eve", "zoe.aide": "eve.aide", "dan": "fay", "cat": None, "amy": None}
    assert await pointers(old) == expected
    # In the words of 1.2 it is the same person.
    one = await old.one(f"/users/{old.id('users', 'dan')}", fields="sourcedId,metadata")
    assert one.keys() == {"sourcedId", "metadata"}
    assert (await old.one(f"/users/{old.id('users', 'dan')}", fields="status")) == {"status": "tobedeleted"}
    # Whom an app does not see, or 1.1 has no role for, is nobody to point to.
    await old.behave(extension_role_as="omit")
    assert await pointers(old) == expected | {"dan": None}
    await old.sync(zoe=None, dan=None, cat=None, amy=None, eve=(("principal", "south", "primary"),))
    assert (await pointers(old, "north"))["dan"] == "fay"
    assert {to for name, to in (await pointers(old, "north")).items() if name != "dan"} == {None}
