"""Where a person went who was merged: each app is told by ids of its own, among whatever else is listed."""

from __future__ import annotations

import orjson
import pytest

from tests.api.pseudonyms.world import BLUE, CANONICAL, World, in_order
from transforms.catalogue import Version


async def merged(world: World) -> tuple[str, str]:
    """The ids of somebody who left, as if merged, and of the user who stands for the person now."""
    users = await world.listed("users")
    gone = next(user["sourcedId"] for user in users if user["status"] == "tobedeleted")
    stays = next(user["sourcedId"] for user in users if user["status"] == "active")
    async with world.district.db.district(world.book.district_id) as tx:
        await tx.execute(
            "INSERT INTO aliases SELECT $1, one.rid, other.rid, 1 FROM users one, users other "
            "WHERE one.sourced_id = $2::uuid AND other.sourced_id = $3::uuid", tx.district_id, gone, stays,
        )  # fmt: skip
    return gone, stays


@pytest.mark.threat("T12")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_list_leads_to_the_one_who_stays_by_the_apps_own_id(world: World, version: Version) -> None:
    gone, stays = await merged(world)
    plain = await world.listed("users", version=version)
    told = await world.listed("users", BLUE, version)

    text = orjson.dumps(told).decode()
    assert CANONICAL.findall(text.replace(str(world.book.district_id), "")) == []
    expected = orjson.loads(world.told(orjson.dumps(plain).decode(), BLUE))
    assert in_order({"users": told}) == in_order({"users": expected})
    (left,) = [one for one in told if one["sourcedId"] == world.told(gone, BLUE)]
    assert left["metadata"]["mergedInto"]["sourcedId"] == world.told(stays, BLUE)
    assert len(told) > 2
