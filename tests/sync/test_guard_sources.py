"""The guard with packages of changes, with several sources, and with runs that are no package's."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import polars as pl
import pytest

from hub.store import runs
from tests.beginnings import Beginning
from tests.districts import District, changed, sandbox
from tests.sync.guarding import (
    approve,
    around,
    dangling,
    guarded,
    release,
    rest,
    schools,
    setting,
    worked,
)  # fmt: skip
from tests.sync.test_delta import changes_only, gone, some
from tests.sync.test_several_sources import member, only, second

FRAMES = sandbox(students=200, seed=8).frames
SCHOOLS = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()
ENDED = FRAMES["enrollments"]["sourcedId"].head(200).to_list()


async def whole(district: District) -> None:
    assert (await district.sync(FRAMES)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return whole


@pytest.mark.threat("F11", "F12")
@pytest.mark.parametrize("approving", [True, False])
async def test_changes_wait_for_older_changes_that_are_held(synced: District, approving: bool) -> None:
    older = await synced.sync(await changes_only({"enrollments": gone(FRAMES, "enrollments", *ENDED)}, "1.2"))
    assert older.state == "held"
    key = FRAMES["classes"]["sourcedId"][0]
    newer = await synced.sync(await changes_only({"classes": some(FRAMES, "classes", key, title="Renamed")}, "1.2"))
    assert (newer.state, [r["code"] for r in newer.guard]) == ("held", ["older_run_waits"])
    assert (await synced.run(older.run_id)).state == "held"

    async with synced.db.district(synced.district_id) as tx:
        await runs.decide(tx, older.run_id, approve=approving, actor="t")
    assert (await worked(synced, newer.run_id)).state == "applied"
    assert (await synced.run(older.run_id)).state == ("applied" if approving else "rejected")
    assert (await synced.counts())["enrollments"][1] == (len(ENDED) if approving else 0)
    assert (await member(synced, key, "classes"))["title"] == "Renamed"


async def test_a_whole_package_supersedes_changes_and_changes_supersede_nothing(synced: District) -> None:
    small = await changes_only({"classes": some(FRAMES, "classes", FRAMES["classes"]["sourcedId"][0])}, "1.2")
    assert (await synced.sync(small)).state in {"applied", "unchanged"}
    held = await synced.sync(await changes_only({"enrollments": gone(FRAMES, "enrollments", *ENDED)}, "1.2"))
    assert (await synced.sync(small)).state == "unchanged"  # the same bytes as were taken last
    assert (await synced.run(held.run_id)).state == "held"
    one = FRAMES["users"]["sourcedId"][0]
    assert (await synced.sync(changed(FRAMES, "users", one, givenName="Zebulon"))).state == "applied"
    assert (await synced.run(held.run_id)).state == "superseded"


@pytest.mark.threat("F11")
async def test_what_a_second_source_says_is_withheld_with_its_record(synced: District) -> None:
    other = await second(synced, priority=1)
    users = FRAMES["users"].filter(pl.col("email").is_not_null() & pl.col("primaryOrgSourcedId").is_in(SCHOOLS))
    here, there = (users.filter(pl.col("primaryOrgSourcedId") == s)["sourcedId"][0] for s in SCHOOLS[:2])
    said = changed(only(FRAMES, "users", "roles", "userProfiles"), "users", here, email="here@district.example")
    said = changed(said, "users", there, email="there@district.example")
    await setting(synced, {"limits": {"default": {"updated": {"most": 0}}}})
    held = await other.sync(said)
    assert held.state == "held"

    done = await release(other, held.run_id, [(await schools(synced))[SCHOOLS[0]]])
    assert done.state == "applied", done.error_message
    assert [(await member(synced, key))["email"] for key in (here, there)] == [
        "here@district.example", users.filter(pl.col("sourcedId") == there)["email"][0],
    ]  # fmt: skip
    assert str(other.source_id) not in ((await member(synced, there))["from"] or {}).values()
    assert (await approve(other, (await rest(other, held.run_id)).run_id)).state == "applied"
    found = await member(synced, there)
    assert (found["email"], found["from"]["email"]) == ("there@district.example", str(other.source_id))
    assert await dangling(synced) == []


@pytest.mark.threat("F11")
async def test_a_source_that_goes_waits_for_the_end_of_a_window_that_only_adds(district: District) -> None:
    await district.sync({name: frame for name, frame in FRAMES.items() if name != "enrollments"})
    other = await second(district, speaks_for={"enrollments": None})
    assert (await other.sync(only(FRAMES, "enrollments"))).state == "applied"
    clock = guarded(district)
    lifted = {"limits": {"default": {"deleted": None}}, "per_school": {"default": {"deleted": None}}}
    await setting(district, around(clock, "additive") | lifted | {"emptied_school": "allow"})
    run_id = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=other.source_id, upload_id=None, dry_run=False, requested_by="t", kind="departure"
        )
    run = await worked(district, run_id)
    assert (run.state, [r["code"] for r in run.guard]) == ("held", ["deletions_wait"])
    clock.moment += timedelta(hours=2)
    assert (await worked(district, run_id)).state == "applied"
    assert (await district.counts())["enrollments"] == (0, FRAMES["enrollments"].height)
