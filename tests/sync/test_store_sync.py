"""Runs from a package to the records, against a real PostgreSQL."""

from __future__ import annotations

from uuid import uuid4

import polars as pl
import pytest
from pyroaring import BitMap

from hub.errors import Code, HubError
from hub.store import grants as grant_store
from hub.store import runs
from hub.sync import grants
from hub.sync.engine import work_once
from tests.beginnings import Beginning
from tests.districts import District, Frames, changed, sandbox, without


async def whole(district: District) -> None:
    assert (await district.sync(sandbox().frames)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return whole


def students(frames: Frames) -> list[str]:
    roles = frames["roles"]
    return roles.filter(pl.col("role") == "student")["userSourcedId"].unique(maintain_order=True).to_list()


async def feed(district: District, grant_id: object) -> list[tuple[str, int, int, int]]:
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            "SELECT entity, entered, updated, departed FROM feed WHERE grant_id = $1 ORDER BY position, entity",
            grant_id,
        )
    return [(r["entity"], *(len(BitMap.deserialize(r[n])) for n in ("entered", "updated", "departed"))) for r in rows]


async def test_a_first_load_brings_every_row_in(district: District) -> None:
    frames = sandbox().frames
    run = await district.sync(frames)

    assert run.state == "applied", (run.error_message, run.guard)
    assert run.report["actions"].get("quarantine", 0) == 0
    counts = await district.counts()
    assert {t: a for t, (a, _) in counts.items()} == {
        "orgs": frames["orgs"].height, "academic_sessions": frames["academicSessions"].height,
        "courses": frames["courses"].height, "classes": frames["classes"].height, "users": frames["users"].height,
        "enrollments": frames["enrollments"].height, "demographics": frames["demographics"].height,
    }  # fmt: skip
    async with district.db.district(district.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM enrollments WHERE class_rid IS NULL OR user_rid IS NULL") == 0
        assert (
            await tx.fetchval(
                "SELECT count(*) FROM demographics d JOIN users u USING (district_id, rid) "
                "WHERE d.sourced_id = u.sourced_id"
            )
            == frames["demographics"].height
        )
        assert await tx.fetchval("SELECT count(*) FROM upload_parts") == 0


async def test_the_same_file_twice_writes_nothing(synced: District) -> None:
    await synced.grant()
    before = await synced.state()
    run = await synced.sync(sandbox().frames)

    assert run.state == "unchanged"
    assert await synced.state() == before


async def test_the_same_rows_in_another_order_write_nothing(synced: District) -> None:
    frames = sandbox().frames
    before = await synced.state()
    run = await synced.sync({name: frame.reverse() for name, frame in frames.items()})

    assert run.state == "unchanged"
    assert run.counts["users"]["unchanged"] == frames["users"].height
    assert await synced.state() == before


async def test_vanished_records_become_tobedeleted_and_come_back(synced: District) -> None:
    frames = sandbox().frames
    grant = await synced.grant()
    gone = frames["enrollments"]["sourcedId"].head(3).to_list()
    run = await synced.sync(without(frames, "enrollments", gone))
    assert run.state == "applied"
    assert run.counts["enrollments"]["deleted"] == 3
    assert (await synced.counts())["enrollments"] == (frames["enrollments"].height - 3, 3)
    assert (await feed(synced, grant.grant_id))[-1] == ("enrollments", 0, 0, 3)

    run = await synced.sync(frames)
    assert run.counts["enrollments"]["updated"] == 3
    assert (await synced.counts())["enrollments"] == (frames["enrollments"].height, 0)
    assert (await feed(synced, grant.grant_id))[-1] == ("enrollments", 3, 0, 0)


async def test_a_changed_name_is_one_update_with_history(synced: District) -> None:
    frames = sandbox().frames
    grant = await synced.grant()
    one = students(frames)[0]
    await synced.sync(changed(frames, "users", one, givenName="Zebulon"))

    async with synced.db.district(synced.district_id) as tx:
        row = await tx.fetchrow(
            "SELECT u.given_name, u.doc, h.doc AS before FROM users u "
            "JOIN source_records s ON s.rid = u.rid AND s.entity = 'users' "
            "JOIN history h ON h.rid = u.rid AND h.entity = 'users' WHERE s.key = $1",
            one,
        )
    assert row is not None
    assert row["given_name"] == "Zebulon"
    assert '"givenName":"Zebulon"' in row["doc"]
    assert "Zebulon" not in row["before"]
    assert (await feed(synced, grant.grant_id))[-1] == ("users", 0, 1, 0)


@pytest.mark.threat("T16")
async def test_a_hidden_change_moves_no_view(synced: District) -> None:
    frames = sandbox().frames
    grant = await synced.grant(grants.GrantDefinition())
    one = students(frames)[0]
    run = await synced.sync(changed(frames, "users", one, email="new.address@students.example", phone=None))

    assert run.counts["users"]["updated"] == 1
    async with synced.db.district(synced.district_id) as tx:
        after = await grant_store.get(tx, grant.grant_id)
    assert after.position == grant.position
    assert len(await feed(synced, grant.grant_id)) == 6


async def test_a_dry_run_shows_everything_and_writes_nothing(synced: District) -> None:
    frames = sandbox().frames
    await synced.grant()
    before = await synced.state()
    run = await synced.sync(
        without(frames, "enrollments", frames["enrollments"]["sourcedId"].head(3).to_list()), dry_run=True
    )

    assert run.state == "previewed"
    assert run.counts["enrollments"]["deleted"] == 3
    assert run.report["effects"][0]["entities"]["enrollments"]["left"] == 3
    assert await synced.state() == before


@pytest.mark.threat("F11", "F9")
async def test_a_shrunken_file_is_held_and_can_be_rejected_or_approved(district: District) -> None:
    frames = sandbox(students=400, seed=8).frames
    await district.sync(frames)
    before = await district.state()
    half = dict(frames) | {"enrollments": frames["enrollments"].head(frames["enrollments"].height // 2)}
    run = await district.sync(half)
    assert run.state == "held"
    assert "too_many_deleted" in {r["code"] for r in run.guard}
    assert await district.state() == before
    async with district.db.district(district.district_id) as tx:
        assert (await runs.decide(tx, run.run_id, approve=False, actor="t")).state == "rejected"
        with pytest.raises(HubError) as refused:
            await runs.decide(tx, run.run_id, approve=True, actor="t")
    assert refused.value.code is Code.CONFLICT

    run = await district.sync(half)
    async with district.db.district(district.district_id) as tx:
        await runs.decide(tx, run.run_id, approve=True, actor="t")
    assert await work_once(district.db, district.clock)
    assert (await district.run(run.run_id)).state == "applied"
    assert (await district.counts())["enrollments"][0] == half["enrollments"].height


@pytest.mark.threat("F11")
@pytest.mark.parametrize(("removed", "state"), [(20, "applied"), (21, "held")])
async def test_the_guards_border_is_more_than_twenty_records(district: District, removed: int, state: str) -> None:
    frames = sandbox().frames
    small = dict(frames) | {"demographics": frames["demographics"].head(100)}
    await district.sync(small)
    run = await district.sync(dict(small) | {"demographics": small["demographics"].head(100 - removed)})
    assert run.state == state


@pytest.mark.threat("F11")
async def test_an_emptied_school_is_held(district: District) -> None:
    frames = sandbox(students=2000, seed=9).frames
    await district.sync(frames)
    by_school = frames["classes"].group_by("schoolSourcedId").len().sort("len")
    school = by_school["schoolSourcedId"][0]
    small = frames["classes"].filter(pl.col("schoolSourcedId") == school)["sourcedId"].to_list()
    gone = frames["enrollments"].filter(pl.col("classSourcedId").is_in(small))["sourcedId"].to_list()
    run = await district.sync(without(frames, "enrollments", gone))
    assert run.state == "held"
    assert "school_emptied" in {r["code"] for r in run.guard}


@pytest.mark.threat("F7", "F11")
async def test_a_file_that_is_missing_is_held_and_deletes_nothing(synced: District) -> None:
    frames = sandbox().frames
    run = await synced.sync({name: frame for name, frame in frames.items() if name != "demographics"})
    assert run.state == "held"
    assert [r["code"] for r in run.guard] == ["file_missing"]
    async with synced.db.district(synced.district_id) as tx:
        await runs.decide(tx, run.run_id, approve=True, actor="t")
    await work_once(synced.db, synced.clock)
    assert (await synced.run(run.run_id)).state == "unchanged"
    assert (await synced.counts())["demographics"] == (frames["demographics"].height, 0)


@pytest.mark.threat("F25")
async def test_a_bad_row_keeps_its_older_version(synced: District) -> None:
    frames = sandbox().frames
    one = students(frames)[0]
    run = await synced.sync(changed(frames, "users", one, familyName=None, givenName=None))
    assert run.counts["users"]["quarantined"] == 1
    assert run.counts["users"]["deleted"] == 0
    assert run.counts["enrollments"]["quarantined"] == 0
    assert (await synced.counts())["users"] == (frames["users"].height, 0)


@pytest.mark.threat("F7")
@pytest.mark.parametrize("bad", [b"this is no zip", b"", b"PK\x03\x04cut short"])
async def test_what_is_no_package_is_refused_with_a_code_and_changes_nothing(synced: District, bad: bytes) -> None:
    before = await synced.state()
    run = await synced.sync(bad or b" ")
    assert run.state == "failed"
    assert run.error_code == "package_refused"
    assert run.report["total"] > 0
    assert await synced.state() == before


@pytest.mark.threat("F13")
async def test_a_worker_whose_fence_is_old_writes_nothing(district: District) -> None:
    frames = sandbox().frames
    run_id = await district.request(frames)
    claim = await runs.claim(district.db)
    assert claim is not None
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE runs SET lease_until = now() - interval '1 second' WHERE run_id = $1", run_id)
    other = await runs.claim(district.db)
    assert other is not None
    assert other.fence > claim.fence
    with pytest.raises(HubError) as refused:
        await runs.heartbeat(district.db, claim, stage="late", progress={})
    assert refused.value.code is Code.FENCED


@pytest.mark.threat("F12", "F6")
async def test_only_one_run_of_a_district_is_claimed_at_a_time(district: District) -> None:
    other = await District(district.db).create()
    frames = sandbox().frames
    first = [await district.request(frames), await district.request(frames)]
    await other.request(frames)
    claims = [await runs.claim(district.db) for _ in range(3)]
    assert claims[0] is not None
    assert claims[1] is not None
    assert claims[2] is None
    assert {claims[0].district_id, claims[1].district_id} == {district.district_id, other.district_id}
    assert claims[0].run.run_id == first[0]


@pytest.mark.threat("T18")
async def test_editing_and_revoking_a_grant(synced: District) -> None:
    grant = await synced.grant()
    students_only = grants.GrantDefinition.model_validate({"rules": [{"roles": ["student"]}]})
    async with synced.db.district(synced.district_id) as tx:
        shown = await grants.preview(tx, students_only, grant.grant_id)
    async with synced.db.district(synced.district_id) as tx:
        edited, effect = await grants.edit(tx, grant.grant_id, students_only, synced.clock.now())
    assert shown.entities == effect.entities
    assert effect.entities["demographics"]["left"] > 0
    assert effect.entities["users"]["left"] > 0
    assert edited.position > grant.position
    async with synced.db.district(synced.district_id) as tx:
        assert (await grants.set_state(tx, grant.grant_id, "revoked")).state == "revoked"
        assert await grant_store.of_app(tx, grant.app_id) is None
        with pytest.raises(HubError):
            await grants.set_state(tx, grant.grant_id, "active")
    with pytest.raises(HubError) as missing:
        async with synced.db.district(synced.district_id) as tx:
            await grants.edit(tx, uuid4(), students_only, synced.clock.now())
    assert missing.value.code is Code.NOT_FOUND
