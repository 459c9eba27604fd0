"""What is told of one district: positions, order, pages, filters, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from hub.api.changes import reading, service
from hub.api.oneroster.scopes import V1P2
from tests.api.changes.conftest import Follower
from tests.api.oneroster.rosters import issue


async def test_an_app_takes_its_position_reads_and_follows(follower: Follower) -> None:
    first = await follower.told()
    head = first["to"]
    assert (first["from"], first["more"], first["changes"]) == (head, False, [])
    users = [u["sourcedId"] for u in await follower.hub.all("/users")]
    to = await follower.move(updated=[0, 1])
    assert to == head + 1

    body = await follower.told(after=first["next"])
    assert (body["district"], body["grant"]) == (str(follower.here), str(follower.grant))
    assert (body["from"], body["to"], body["more"]) == (head, to, False)
    *records, mark = body["changes"]
    assert [c["type"] for c in records] == ["users.updated"] * 2
    assert {c["sourcedId"] for c in records} <= set(users)
    assert {c["version"] for c in records} == {to}
    status, found, _ = await follower.ask(records[0]["href"].removeprefix(follower.hub.settings.public_url))
    assert (status, found["user"]["sourcedId"]) == (200, records[0]["sourcedId"])
    assert mark["type"] == "syncs.completed"
    assert mark["counts"] == {"users": {"created": 0, "updated": 2, "deleted": 0}}
    assert (await follower.told(after=body["next"]))["changes"] == []
    assert (await follower.told(after=head))["changes"] == body["changes"]  # a plain step does as well


async def test_everything_from_the_beginning_comes_in_pages_and_once(follower: Follower) -> None:
    whole = await follower.told(after=0, limit=10_000)
    assert not whole["more"]
    assert len(whole["changes"]) > 500
    parts: list[dict[str, Any]] = []
    after: Any = 0
    while not parts or parts[-1]["more"]:
        parts.append(await follower.told(after=after, limit=97))
        after = parts[-1]["next"]
    assert {(p["from"], p["to"]) for p in parts} == {(0, whole["to"])}
    changes = [c for p in parts for c in p["changes"]]
    assert sorted(map(repr, changes)) == sorted(map(repr, whole["changes"]))
    names = [(c["type"], c.get("sourcedId", c["version"])) for c in changes]
    assert len(set(names)) == len(names)
    assert all(len(p["changes"]) == 97 for p in parts[:-1])
    kinds = [c["type"].partition(".")[0] for c in changes]
    assert kinds.index("enrollments") > kinds.index("users") > kinds.index("orgs")


async def test_a_window_that_is_another_one_by_now_is_told_from_its_beginning(follower: Follower) -> None:
    """An erasure, or a compaction of the feed, takes records out of a stretch of which a part was told."""
    half = await follower.told(after=0, limit=50, types="orgs.*,users.*")
    await follower.feeds.connection.execute(
        "DELETE FROM feed WHERE grant_id = $1 AND step = 1 AND entity = 'courses'", follower.grant
    )
    hub = follower.hub
    other = await issue(hub.db, hub.prepared.clients["lms"][0], [V1P2.ROSTER_CORE])  # no demographics: another window
    await follower.move("orgs", left=[0])  # behind the end of the stretch: it is not to be merged with that
    again = await follower.told(after=half["next"], limit=50, types="orgs.*,users.*", token=other)
    assert [c["sourcedId"] for c in again["changes"]] == [c["sourcedId"] for c in half["changes"]]
    assert (again["from"], again["to"]) == (half["from"], half["to"])


async def test_a_stretch_that_was_begun_is_told_to_its_end_first(follower: Follower) -> None:
    """And whoever does not ask for that hears of what came in the part that is known, and left since, all the same."""
    head = (await follower.told())["to"]
    await follower.feeds.records(follower.here, "resources", 3)
    to = await follower.move("resources", entered=[0, 1])
    later = await follower.move("resources", left=[0])
    whole = await follower.told(after=head)
    assert [c["type"] for c in whole["changes"]][:-2] == ["resources.created", "resources.deleted"]
    body = await follower.told(after=head, to=to)
    assert (body["from"], body["to"]) == (head, to)
    assert [c["type"] for c in body["changes"]] == ["resources.created"] * 2 + ["syncs.completed"]
    body = await follower.told(after=body["next"])
    assert (body["from"], body["to"]) == (to, later)
    assert [c["type"] for c in body["changes"]] == ["resources.deleted", "syncs.completed"]
    assert (await follower.told(after=later, to=head))["changes"] == []
    assert (await follower.ask(after=head, to=later + 1))[0] == 410
    assert (await follower.ask(after=body["next"], to=later))[0] == 400
    assert (await follower.ask("/changes", after="1", to=later))[0] == 400


@pytest.mark.threat("T12", "T15", "T16")
async def test_what_a_token_may_not_read_shows_nowhere(follower: Follower) -> None:
    hub = follower.hub
    token = await issue(hub.db, hub.prepared.clients["lms"][0], [V1P2.ROSTER_CORE])
    head = (await follower.told())["next"]
    await follower.move("demographics", updated=[0, 1, 2])
    body = await follower.told(after=head, token=token)
    assert body["changes"] == []
    await follower.move("users", updated=[1])
    changes, _ = await follower.follow(body["next"], token=token)
    assert [c["type"] for c in changes] == ["users.updated", "syncs.completed"]
    whole, _ = await follower.follow(head)
    assert [c["type"] for c in whole].count("demographics.updated") == 3
    everything = await follower.told(after=0, limit=10_000, token=token)
    assert "demographics" not in repr(everything)
    assert "demographics" in repr(await follower.told(after=0, limit=10_000))
    library = hub.prepared.tokens["library"]  # whose grant shows no demographics, whatever its token says
    assert "demographics" not in repr(await follower.told(after=0, limit=10_000, token=library))


@pytest.mark.threat("T16")
async def test_what_happens_outside_of_a_view_makes_no_step(follower: Follower) -> None:
    before = await follower.told()
    await follower.feeds.move(follower.here, None)
    after = await follower.told()
    assert (after["to"], after["next"]) == (before["to"], before["next"])


async def test_types_and_patterns_choose(follower: Follower) -> None:
    everything, _ = await follower.follow(0)
    for patterns, fits in (
        ("users.created", lambda t: t == "users.created"),
        ("users.*, orgs.created", lambda t: t.startswith("users.") or t == "orgs.created"),
        ("*.deleted", lambda t: t.endswith(".deleted")),
        ("grants.updated", lambda t: t == "grants.updated"),
    ):
        found, _ = await follower.follow(0, types=patterns, limit=10)
        wanted = [c for c in everything if fits(c["type"])]
        assert sorted(map(repr, found)) == sorted(map(repr, wanted)), patterns
    assert [c["type"] for c in everything][-1] in {"grants.updated", "syncs.completed"}


async def test_a_time_leads_to_what_was_made_after_it(follower: Follower) -> None:
    first, second = await follower.move(updated=[1]), await follower.move(updated=[2])
    at = await follower.feeds.connection.fetchval(
        "SELECT at FROM feed WHERE grant_id = $1 AND step = $2", follower.grant, first
    )
    body = await follower.told(since=at.isoformat())
    assert (body["from"], body["to"], len(body["changes"])) == (first, second, 2)
    assert (await follower.told(since="1999-01-01T00:00:00Z"))["from"] == 0
    late = await follower.told(since="2999-01-01")
    assert (late["from"], late["to"], late["changes"]) == (second, second, [])


@pytest.mark.threat("F28")
async def test_a_position_that_leads_nowhere_says_how_to_begin_anew(follower: Follower) -> None:
    owner, grant = follower.feeds.connection, follower.grant
    positions = [(await follower.told())["next"]]
    for rid in range(3):
        await follower.move(updated=[rid])
        positions.append((await follower.told())["next"])
    head = (await follower.told())["to"]
    status, body, headers = await follower.ask(after=head + 1)
    assert (status, body["code"], body["resync"]["reason"]) == (410, "resync_required", "ahead")
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"

    # The hub is set back to a backup, and goes on in another way.
    await owner.execute("DELETE FROM feed WHERE grant_id = $1 AND step > $2", grant, head - 2)
    await owner.execute("UPDATE grants SET steps = $2 WHERE grant_id = $1", grant, head - 2)
    status, body, _ = await follower.ask(after=positions[-1])
    assert (status, body["resync"]["reason"]) == (410, "ahead")
    for rid in range(4):
        await follower.move(updated=[rid])
    status, body, _ = await follower.ask(after=positions[-1])
    assert (status, body["resync"]["reason"]) == (410, "other_feed")
    assert (await follower.ask(after=positions[1]))[0] == 200  # from before the backup

    # Going on from where it says loses nothing that came while everything was read.
    resync = body["resync"]
    assert resync["district"] == str(follower.here)
    await follower.move(updated=[7])
    root = resync["oneroster"].removeprefix(follower.hub.settings.public_url)
    assert (await follower.ask(f"{root}/rostering/v1p2/users"))[0] == 200
    assert resync["export"].endswith(f"/d/{follower.here}/export/v1/oneroster.zip")
    changes, _ = await follower.follow(resync["after"])
    assert [c["type"] for c in changes] == ["users.updated", "syncs.completed"]

    # What is not kept any more.
    await owner.execute("UPDATE grants SET feed_from = 2 WHERE grant_id = $1", grant)
    for query in ({"after": 0}, {"after": 1}, {"since": "1999-01-01"}):
        status, body, _ = await follower.ask(**query)
        assert (status, body["code"], body["resync"]["reason"]) == (410, "resync_required", "expired"), query
    assert (await follower.ask(after=2))[0] == 200


async def test_a_query_that_cannot_be_understood_names_what_to_mend(follower: Follower) -> None:
    for query, word in (
        ({"after": "x"}, "after"), ({"after": "p!"}, "after"), ({"after": "p"}, "after"), ({"after": -1}, "after"),
        ({"after": "p" + "_" * 40}, "after"), ({"after": "e" + "A" * 10}, "after"), ({"after": 10**16}, "after"),
        ({"limit": 0}, "limit"), ({"limit": 10_001}, "limit"), ({"limit": "many"}, "limit"), ({"wait": 61}, "wait"),
        ({"wait": "1.5"}, "wait"), ({"to": 3}, "to goes"),
        ({"after": 1, "to": "x"}, "to is"), ({"mode": "signal"}, "mode"), ({"types": "users"}, "users"),
        ({"types": "persons.*"}, "persons"), ({"since": "yesterday"}, "since"),
        ({"page": 1}, "after, to, since, limit"),
        ({"after": 1, "since": "2026-01-01"}, "after or since"),
    ):  # fmt: skip
        status, body, headers = await follower.ask(**query)
        assert (status, body["code"]) == (400, "invalid_request"), (query, body)
        assert word in body["detail"], (query, body)
        assert headers["Content-Type"] == "application/problem+json"


async def test_answers_have_what_all_answers_have(follower: Follower) -> None:
    status, _, headers = await follower.ask(after=0, limit=10_000)
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Encoding"] in {"zstd", "gzip"}
    assert {"RateLimit", "X-Request-ID"} <= headers.keys()
    status, body, headers = await follower.ask(method="HEAD", after=0, wait=20)
    assert (status, body) == (200, None)
    status, _, headers = await follower.ask(method="OPTIONS")
    assert (status, headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    status, body, _ = await follower.ask(method="POST")
    assert (status, body["code"]) == (405, "method_not_allowed")
    bad = {"Authorization": f"Bearer {follower.token}", "Accept": "text/csv"}
    async with follower.hub.session.get(f"/d/{follower.here}/changes", headers=bad) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (406, "not_acceptable")
    for token, expected in (("rh_at_none", (401, "unauthorized")), ("", (401, "unauthorized"))):
        status, body, headers = await follower.ask(token=token or "x")
        assert (status, body["code"]) == expected
        assert headers["WWW-Authenticate"].startswith("Bearer")
    stranger = follower.hub.prepared.tokens["stranger"]
    assert (await follower.ask(token=stranger))[1]["code"] == "not_found"


async def test_of_a_record_that_was_purged_nothing_is_told(follower: Follower) -> None:
    await follower.feeds.records(follower.here, "resources", 5)
    ids = follower.feeds.ids[follower.here, "resources"]
    head = await follower.told()
    await follower.move("resources", entered=range(5))
    await follower.feeds.connection.execute("DELETE FROM resources WHERE district_id = $1 AND rid < 3", follower.here)
    changes, _ = await follower.follow(head["next"], limit=1)
    assert [c.get("sourcedId") for c in changes] == [*ids[3:], None]


async def test_a_large_answer_is_cut_by_bytes(follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 40)
    monkeypatch.setattr(service.District.wish, "__defaults__", (20_000,))
    whole = []
    after: Any = 0
    sizes = []
    while True:
        body = await follower.told(after=after, limit=10_000)
        sizes.append(len(repr(body["changes"])))
        whole += body["changes"]
        after = body["next"]
        if not body["more"]:
            break
    assert len(sizes) > 5
    assert max(sizes) < 25_000
    monkeypatch.undo()
    assert sorted(map(repr, whole)) == sorted(map(repr, (await follower.told(after=0, limit=10_000))["changes"]))
