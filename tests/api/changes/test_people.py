"""Who left a view because another record speaks of the person now points to that one, wherever the app may see it."""

from __future__ import annotations

from typing import Any

import pytest
from pyroaring import BitMap

from tests.api.changes.conftest import Follower, pushing
from tests.services import Database


async def lead(follower: Follower, rid: int, to: int) -> None:
    await follower.feeds.connection.execute(
        "INSERT INTO aliases (district_id, rid, into_rid, since) VALUES ($1, $2, $3, 0)", follower.here, rid, to
    )


async def gone(follower: Follower, *rids: int) -> None:
    """The app's view without some users, whose tombstones it shows, and a step of its feed that says so."""
    row = await follower.feeds.connection.fetchrow(
        "SELECT present, gone FROM views WHERE grant_id = $1 AND entity = 'users'", follower.grant
    )
    present, left = (BitMap.deserialize(row[name]) for name in ("present", "gone"))
    await follower.feeds.connection.execute(
        "UPDATE views SET present = $2, gone = $3 WHERE grant_id = $1 AND entity = 'users'",
        follower.grant, (present - BitMap(rids)).serialize(), (left | BitMap(rids)).serialize(),
    )  # fmt: skip
    await follower.move(left=rids)


async def sourced_ids(follower: Follower) -> dict[int, str]:
    rows = await follower.feeds.connection.fetch(
        "SELECT rid, sourced_id::text FROM users WHERE district_id = $1", follower.here
    )
    return dict(map(tuple, rows))


@pytest.mark.threat("T14")
async def test_a_pointer_is_in_changes_and_in_what_is_read(follower: Follower, roster_database: Database) -> None:
    ids = await sourced_ids(follower)
    head = (await follower.told())["next"]
    step = int((await follower.told())["to"])
    for rid, to in ((3, 2), (5, 4), (7, 6)):
        await lead(follower, rid, to)
    await gone(follower, 3, 4, 5, 9)

    changes, _ = await follower.follow(head, types="users.*")
    by_id: dict[str, Any] = {change["sourcedId"]: change for change in changes}
    assert by_id[ids[3]]["mergedInto"] == ids[2]
    assert all("mergedInto" not in by_id[ids[rid]] for rid in (4, 5, 9))  # the app does not see whom 5 leads to
    async with pushing(follower, roster_database, types=("users.*",)) as push:
        (body,) = await push(step)
        told = {change["sourcedId"]: change.get("mergedInto") for change in body["data"]["changes"]}
        assert told == {ids[3]: ids[2], ids[4]: None, ids[5]: None, ids[9]: None}

    users = {user["sourcedId"]: user for user in await follower.hub.all("/users")}
    reference = users[ids[3]]["metadata"]["mergedInto"]
    assert (users[ids[3]]["status"], reference["sourcedId"], reference["type"]) == ("tobedeleted", ids[2], "user")
    assert reference["href"].endswith(f"/users/{ids[2]}")
    assert "metadata" not in users[ids[5]]
    assert "metadata" not in users[ids[9]]
    one = await follower.hub.all("/users", filter=f"sourcedId='{ids[3]}'")
    assert one == [users[ids[3]]]
