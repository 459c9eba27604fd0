"""In the mode ``records`` a change brings the record as the app would read it now, and what it said before."""

from __future__ import annotations

from typing import Any

from pyroaring import BitMap

from tests.api.changes.conftest import Follower
from tests.api.oneroster.rosters import land
from tests.districts import changed, sandbox

FRAMES = sandbox(100, 7).frames


def of(changes: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [change for change in changes if change["type"] == kind]


async def test_the_record_is_what_a_read_gives_and_only_what_changed_is_previous(follower: Follower) -> None:
    hub, library = follower.hub, follower.hub.prepared.tokens["library"]
    key = FRAMES["users"]["sourcedId"][3]
    heads = [(await follower.told(token=token))["next"] for token in (follower.token, library)]
    await land(hub, changed(FRAMES, "users", key, givenName="Zora", familyName="Zimmer", identifier="hidden-7"))
    for token, head, app in ((follower.token, heads[0], "lms"), (library, heads[1], "library")):
        body = await follower.told(after=head, mode="records", token=token)
        (change,) = of(body["changes"], "users.updated")
        users = {u["sourcedId"]: u for u in await hub.all("/users", app=app)}
        assert change["record"] == users[change["sourcedId"]]
        former = set(change["previous"])
        if app == "lms":
            assert former == {"givenName", "familyName", "identifier"}
            assert change["record"]["familyName"] == "Zimmer"
        else:  # its grant hides identifiers, and shows initials of family names alone
            assert {"givenName"} <= former <= {"givenName", "familyName"}
            assert "hidden-7" not in repr(body)
            assert "Zimmer" not in repr(body)
    assert "record" not in repr(await follower.told(after=heads[0]))


async def test_everything_comes_with_records_in_pages(follower: Follower) -> None:
    whole, _ = await follower.follow(0, mode="records", limit=300)
    refs, _ = await follower.follow(0, limit=10_000)
    strip = [{n: v for n, v in c.items() if n not in {"record", "previous"}} for c in whole]
    assert sorted(map(repr, strip)) == sorted(map(repr, refs))
    created = [c for c in whole if c["type"].endswith(".created")]
    assert all(c["record"]["sourcedId"] == c["sourcedId"] for c in created)
    users = {u["sourcedId"]: u for u in await follower.hub.all("/users", filter="status='active'")}
    assert {c["sourcedId"]: c["record"] for c in of(whole, "users.created")} == users
    assert not any("record" in c for c in whole if c["type"].endswith((".deleted", ".completed")))


async def test_a_record_that_left_meanwhile_is_told_without_and_then_as_deleted(follower: Follower) -> None:
    everywhere = await follower.told("/changes", since="1999-01-01", mode="records", limit=10_000)
    assert {c["district"] for c in everywhere["changes"]} == {str(follower.here)}
    assert of(everywhere["changes"], "users.created")[0]["record"]["givenName"]
    half = await follower.told(after=0, mode="records", types="users.*", limit=5)
    gone = {c["sourcedId"] for c in half["changes"]}
    users = [c["sourcedId"] for c in of((await follower.told(after=0, limit=10_000))["changes"], "users.created")]
    late = next(one for one in reversed(users) if one not in gone)
    rid = await follower.feeds.connection.fetchval("SELECT rid FROM users WHERE sourced_id = $1::uuid", late)
    await leave(follower, rid)
    changes, after = await follower.follow(half["next"], mode="records", types="users.*", limit=100)
    later, _ = await follower.follow(after, mode="records", types="users.*")
    (told,) = [c for c in changes if c["sourcedId"] == late and c["type"] == "users.created"]
    assert "record" not in told
    assert [(c["type"], c["sourcedId"]) for c in later] == [("users.deleted", late)]


async def leave(follower: Follower, rid: int) -> None:
    """A record leaves the view, in sets and feed."""
    owner = follower.feeds.connection
    row = await owner.fetchrow(
        "SELECT present, gone FROM views WHERE grant_id = $1 AND entity = 'users'", follower.grant
    )
    present, gone = BitMap.deserialize(row["present"]), BitMap.deserialize(row["gone"])
    await follower.move(left=[rid])
    await owner.execute(
        "UPDATE views SET present = $2, gone = $3 WHERE grant_id = $1 AND entity = 'users'",
        follower.grant, (present - BitMap([rid])).serialize(), (gone | BitMap([rid])).serialize(),
    )  # fmt: skip
