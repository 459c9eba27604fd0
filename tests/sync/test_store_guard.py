"""Held runs in the store: the difference that they list, and what becomes of them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from hub.errors import Code, HubError
from hub.store import differences, holds, runs
from hub.sync.engine import work_once
from tests.beginnings import Beginning
from tests.districts import District, changed, sandbox, without
from tests.sync.guarding import (
    approve,
    around,
    by_key,
    dangling,
    guarded,
    listed,
    of_school,
    release,
    rest,
    schools,
    setting,
    worked,
)  # fmt: skip

FRAMES = sandbox(students=400, seed=8).frames
SCHOOL, OTHER = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()[:2]
HALF = without(FRAMES, "enrollments", of_school(FRAMES, "enrollments", SCHOOL)[::2])
LOST = FRAMES["enrollments"].height - HALF["enrollments"].height


async def whole(district: District) -> None:
    assert (await district.sync(FRAMES)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return whole


async def test_a_held_run_lists_its_difference_row_by_row(synced: District) -> None:
    one = FRAMES["users"]["sourcedId"][0]
    run = await synced.sync(changed(HALF, "users", one, givenName="Zebulon"))
    assert run.state == "held"
    rows = await listed(synced, run.run_id, with_values=True)

    assert [row.kind for row in rows] == ["deleted"] * LOST + ["updated"]
    assert run.report["difference"]["entities"] == {"users": {"updated": 1}, "enrollments": {"deleted": LOST}}
    assert {row.key for row in rows[:-1]} == set(FRAMES["enrollments"]["sourcedId"]) - set(
        HALF["enrollments"]["sourcedId"]
    )
    assert {tuple(row.schools) for row in rows[:-1]} == {((await schools(synced))[SCHOOL],)}
    assert rows[0].was is not None
    assert "role" in rows[0].was
    assert (rows[-1].key, rows[-1].fields) == (one, ["givenName"])
    assert (rows[-1].was, rows[-1].becomes) == ({"givenName": "Jane"}, {"givenName": "Zebulon"})
    by_school = await listed(synced, run.run_id, school=(await schools(synced))[OTHER])
    assert {row.entity for row in by_school} <= {"users"}
    assert [row.seq for row in await listed(synced, run.run_id, kind="updated")] == [LOST]


async def test_values_are_kept_only_as_long_as_somebody_has_to_decide(synced: District) -> None:
    held = await synced.sync(HALF)
    assert any(row.was for row in await listed(synced, held.run_id, with_values=True))
    async with synced.db.district(synced.district_id) as tx:
        await runs.decide(tx, held.run_id, approve=False, actor="t")
    assert not any(row.was or row.becomes for row in await listed(synced, held.run_id, with_values=True))

    again = await synced.sync(HALF)
    assert (await approve(synced, again.run_id)).state == "applied"
    rows = await listed(synced, again.run_id, with_values=True)
    assert len(rows) == LOST
    assert not any(row.was or row.becomes for row in rows)

    clock = guarded(synced)
    dry = await synced.sync(FRAMES, dry_run=True)
    assert any(row.becomes for row in await listed(synced, dry.run_id, with_values=True))
    clock.moment += timedelta(days=8)
    await work_once(synced.db, clock)
    assert not any(row.becomes for row in await listed(synced, dry.run_id, with_values=True))


@pytest.mark.threat("F11")
async def test_nothing_reaches_an_app_while_a_run_is_held(synced: District) -> None:
    grant = await synced.grant()
    before = await synced.state()
    run = await synced.sync(HALF)
    assert run.state == "held"
    assert run.report["effects"][0]["entities"]["enrollments"]["left"] == LOST
    assert await synced.state() == before
    await approve(synced, run.run_id)
    async with synced.db.district(synced.district_id) as tx:
        departed = await tx.fetchval("SELECT count(*) FROM feed WHERE grant_id = $1 AND entity = 'enrollments' "
                                     "AND run_id = $2", grant.grant_id, run.run_id)  # fmt: skip
    assert departed == 1


@pytest.mark.threat("F11")
async def test_a_mass_change_of_one_field_is_held_and_approved_once(synced: District) -> None:
    clock = guarded(synced)
    users = FRAMES["users"].filter(pl.col("email").is_not_null())["sourcedId"]
    wave = FRAMES["users"].height // 4 + 1
    moved = [FRAMES | {"users": _new_domain(FRAMES["users"], users.head(n * wave))} for n in (1, 2)]
    assert users.len() >= 2 * wave

    run = await synced.sync(moved[0])
    assert [(r["code"], r["subject"], r["number"]) for r in run.guard] == [("mass_change", "users.email", wave)]
    assert run.state == "held"
    assert (await approve(synced, run.run_id)).state == "applied"

    second = await synced.sync(moved[1])
    assert [(r["code"], r["subject"], r["holds"]) for r in second.guard] == [
        ("mass_change_let_pass", "users.email", False)
    ]
    assert second.state == "applied"
    clock.moment += timedelta(days=31)
    assert (await synced.sync(FRAMES | {"users": _new_domain(FRAMES["users"], users.tail(wave))})).state == "held"


def _new_domain(users: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    moved = pl.col("email").str.replace("@.*", "@new.example")
    return users.with_columns(email=pl.when(pl.col("sourcedId").is_in(keys.implode())).then(moved).otherwise("email"))


@pytest.mark.threat("F11")
@pytest.mark.parametrize("renamed", [False, True])
async def test_a_school_that_comes_under_another_id_is_recognised(district: District, renamed: bool) -> None:
    numbered = FRAMES["orgs"].with_columns(identifier="sourcedId")
    await district.sync(FRAMES | {"orgs": numbered})
    name = pl.when(pl.col("sourcedId") == SCHOOL).then(pl.lit("New School")).otherwise("name") if renamed else "name"
    again = {file: rows.with_columns(pl.col(pl.String).replace(SCHOOL, "another")) for file, rows in FRAMES.items()}
    again["orgs"] = numbered.with_columns(name=name, sourcedId=pl.col("sourcedId").replace(SCHOOL, "another"))

    run = await district.sync(again)

    told = {r["code"]: r["schools"] for r in run.guard if r["subject"] == "orgs"}
    was = [str((await schools(district))[SCHOOL])]
    assert run.state == "held"
    assert told["school_vanished"] == was
    assert told.get("school_renumbered") == (None if renamed else was)


@pytest.mark.threat("F11")
async def test_ids_that_are_somebody_elses_now_are_held(synced: District) -> None:
    people = FRAMES["users"].height // 100 + 1
    own = ("givenName", "familyName", "username", "identifier", "email", "userMasterIdentifier", "userIds")
    keys = FRAMES["users"]["sourcedId"]
    shifted = FRAMES["users"].with_columns(
        pl.when(pl.int_range(pl.len()) < people).then(pl.col(name).shift(-people)).otherwise(pl.col(name)).alias(name)
        for name in own
    )
    births = FRAMES["demographics"].with_columns(
        pl.when(pl.col("sourcedId").is_in(keys.head(people).implode())).then(pl.lit("2001-02-03"))
        .otherwise(pl.col("birthDate")).alias("birthDate")
    )  # fmt: skip
    run = await synced.sync(dict(FRAMES) | {"users": shifted, "demographics": births})
    assert run.state == "held", run.guard
    assert [(r["code"], r["subject"], r["number"]) for r in run.guard] == [
        ("too_many_rebound", "users", run.counts["users"]["rebound"])
    ]
    rebound = await listed(synced, run.run_id, kind="rebound")
    assert 0 < len(rebound) <= people
    assert {row.key for row in rebound} <= set(keys.head(people))
    number = run.counts["users"]["rebound"]
    run = await approve(synced, run.run_id)
    assert (run.state, run.counts["users"]["rebound"]) == ("applied", 0)
    assert run.counts["users"]["created"] == run.counts["users"]["deleted"] == number
    back = await synced.sync(FRAMES)
    assert back.state == "held"
    back = await approve(synced, back.run_id)
    assert (back.state, back.counts["users"]["created"]) == ("applied", 0)  # those who had the ids before
    assert (await synced.sync(FRAMES)).state == "unchanged"

    married = FRAMES["users"].with_columns(pl.lit("Newname").alias("familyName"))
    renamed = await synced.sync(dict(FRAMES) | {"users": married.head(100).vstack(FRAMES["users"].slice(100))})
    assert renamed.counts["users"]["rebound"] == 0


@pytest.mark.threat("F11")
async def test_people_who_change_schools_are_moves(synced: District) -> None:
    roles = FRAMES["roles"]
    moving = roles.filter((pl.col("orgSourcedId") == SCHOOL) & (pl.col("role") == "student"))["userSourcedId"].head(50)
    here = pl.col("userSourcedId").is_in(moving.implode())
    frames = dict(FRAMES) | {
        "roles": roles.with_columns(
            pl.when(here).then(pl.lit(OTHER)).otherwise(pl.col("orgSourcedId")).alias("orgSourcedId")
        ),
        "users": FRAMES["users"].with_columns(
            pl.when(pl.col("sourcedId").is_in(moving.implode())).then(pl.lit(OTHER))
            .otherwise(pl.col("primaryOrgSourcedId")).alias("primaryOrgSourcedId")
        ),
    }  # fmt: skip
    run = await synced.sync(frames)
    assert run.counts["users"]["moved"] == moving.len()
    assert ("too_many_moved", "users") in {(r["code"], r["subject"]) for r in run.guard}
    ids = await schools(synced)
    assert {tuple(row.schools) for row in await listed(synced, run.run_id, kind="moved")} == {
        tuple(sorted((ids[SCHOOL], ids[OTHER])))
    }


@pytest.mark.threat("F11")
async def test_an_app_that_would_lose_much_of_its_view_holds_a_run(synced: District) -> None:
    await setting(synced, {"limits": {"default": {"deleted": None}}, "per_school": {"default": {"deleted": None}}})
    assert (await synced.sync(HALF)).state == "applied"
    await synced.sync(FRAMES)
    await setting(
        synced,
        {"limits": {"default": {"deleted": None}}, "per_school": {"default": {"deleted": None}},
         "per_app": {"enrollments": {"left": {"share": 0.01}}}},
    )  # fmt: skip
    grant = await synced.grant()
    run = await synced.sync(HALF)
    assert [(r["code"], r["subject"]) for r in run.guard] == [("app_loses_too_many", f"{grant.app_id}/enrollments")]
    assert (await approve(synced, run.run_id)).state == "applied"


@pytest.mark.threat("F11")
async def test_a_blackout_holds_everything_and_its_end_lets_go(synced: District) -> None:
    clock = guarded(synced)
    await setting(synced, around(clock, "blackout"))
    one = FRAMES["users"]["sourcedId"][0]
    older = await synced.sync(changed(FRAMES, "users", one, givenName="Older"))
    assert (older.state, [r["code"] for r in older.guard]) == ("held", ["blackout"])
    dry = await synced.sync(HALF, dry_run=True)
    assert dry.state == "previewed"
    run = await synced.sync(changed(FRAMES, "users", one, givenName="Newer"))
    assert (run.state, (await synced.run(older.run_id)).state) == ("held", "superseded")
    assert (await synced.sync(FRAMES)).state == "unchanged"

    run = await synced.sync(changed(FRAMES, "users", one, givenName="Newest"))
    assert run.state == "held"
    await worked(synced, run.run_id)
    clock.moment += timedelta(minutes=59)
    assert (await worked(synced, run.run_id)).state == "held"
    clock.moment += timedelta(minutes=2)
    assert (await worked(synced, run.run_id)).state == "applied"
    assert '"givenName":"Newest"' in (await by_key(synced))["users", one][1]


async def test_a_blackout_does_not_let_go_what_is_held_for_more(synced: District) -> None:
    clock = guarded(synced)
    await setting(synced, around(clock, "blackout"))
    run = await synced.sync(HALF)
    assert {r["code"] for r in run.guard} > {"blackout"}
    clock.moment += timedelta(days=1)
    assert (await worked(synced, run.run_id)).state == "held"


@pytest.mark.threat("F11")
async def test_an_additive_window_withholds_deletions_and_loses_none(synced: District) -> None:
    clock = guarded(synced)
    await setting(synced, around(clock, "additive"))
    few = FRAMES["enrollments"]["sourcedId"].head(3).to_list()
    one = FRAMES["users"]["sourcedId"][0]
    package = changed(without(FRAMES, "enrollments", few), "users", one, givenName="Zebulon")
    run = await synced.sync(package)
    assert run.state == "applied"
    assert [(r["code"], r["number"], r["holds"]) for r in run.guard] == [("deletions_withheld", 3, False)]
    assert (run.counts["enrollments"]["deleted"], run.counts["enrollments"]["withheld"]) == (0, 3)
    again = await synced.sync(package)
    assert (again.state, again.counts["enrollments"]["withheld"]) == ("unchanged", 3)
    assert (await synced.counts())["enrollments"] == (FRAMES["enrollments"].height, 0)

    clock.moment += timedelta(hours=2)
    after = await synced.sync(package)
    assert (after.state, after.counts["enrollments"]["deleted"]) == ("applied", 3)
    assert (await synced.counts())["enrollments"][1] == 3
    assert (await synced.sync(package)).state == "unchanged"


@pytest.mark.threat("F11")
async def test_a_rollover_window_lets_pass_and_says_so(synced: District) -> None:
    clock = guarded(synced)
    lifted = {"limits": {"default": {"deleted": None}}, "per_school": {"default": {"deleted": None}}}
    await setting(synced, around(clock, "rollover", rules=lifted))
    run = await synced.sync(HALF)
    assert run.state == "applied"
    assert {(r["code"], r["holds"]) for r in run.guard} == {("too_many_deleted_let_pass", False)}


@pytest.mark.threat("F11")
async def test_a_held_run_expires_and_newer_data_supersedes_it(synced: District) -> None:
    clock = guarded(synced)
    await setting(synced, {"hold_days": 2})
    run = await synced.sync(HALF)
    assert run.decide_by == clock.now() + timedelta(days=2)
    clock.moment += timedelta(days=2, seconds=-1)
    assert (await worked(synced, run.run_id)).state == "held"
    clock.moment += timedelta(seconds=2)
    assert (await worked(synced, run.run_id)).state == "expired"
    async with synced.db.district(synced.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM upload_parts") == 0
        with pytest.raises(HubError) as refused:
            await runs.decide(tx, run.run_id, approve=True, actor="t")
    assert refused.value.code is Code.CONFLICT

    run = await synced.sync(HALF)
    dry = await synced.sync(FRAMES, dry_run=True)
    bad = await synced.sync(b"no package")
    assert (dry.state, bad.state, (await synced.run(run.run_id)).state) == ("previewed", "failed", "held")
    assert (await synced.sync(FRAMES)).state == "unchanged"
    assert (await synced.run(run.run_id)).state == "superseded"


@pytest.mark.threat("F11")
async def test_the_safe_schools_of_a_held_run_are_released(synced: District) -> None:
    few = of_school(FRAMES, "enrollments", OTHER)[:2]
    package = without(HALF, "enrollments", few)
    run = await synced.sync(package)
    ids = await schools(synced)
    assert {s for r in run.guard for s in r["schools"]} == {str(ids[SCHOOL])}
    done = await release(synced, run.run_id)
    assert (done.state, done.counts["enrollments"]["deleted"], done.counts["enrollments"]["withheld"]) == (
        "applied", 2, LOST,
    )  # fmt: skip
    left = await rest(synced, run.run_id)
    assert (left.state, left.counts["enrollments"]["deleted"]) == ("held", LOST)
    assert "rest_of_release" in {r["code"] for r in left.guard}
    assert await dangling(synced) == []
    assert (await approve(synced, left.run_id)).state == "applied"
    assert (await synced.counts())["enrollments"] == (package["enrollments"].height, LOST + 2)
    assert (await synced.sync(package)).state == "unchanged"


@pytest.mark.threat("F11")
async def test_a_school_that_vanishes_is_held_with_all_that_hangs_on_it(district: District) -> None:
    """A school without classes and people of its own: nothing else would hold the run."""
    closed = FRAMES["orgs"].filter(pl.col("sourcedId") == SCHOOL).with_columns(pl.lit("closed").alias("sourcedId"))
    await district.sync(dict(FRAMES) | {"orgs": pl.concat([FRAMES["orgs"], closed])})
    run = await district.sync(FRAMES)
    assert [(r["code"], r["schools"]) for r in run.guard] == [
        ("school_vanished", [str((await schools(district))["closed"])])
    ]
    await setting(district, {"emptied_school": "allow"})
    assert (await district.sync(FRAMES)).state == "applied"


async def test_what_cannot_be_told_apart_is_not_released(synced: District) -> None:
    for package, words in (
        (HALF, "All schools"),
        ({name: frame for name, frame in FRAMES.items() if name != "demographics"}, "no single school"),
    ):
        run = await synced.sync(package)
        assert run.state == "held"
        async with synced.db.district(synced.district_id) as tx:
            with pytest.raises(HubError, match=words) as refused:
                await holds.release(tx, run.run_id, schools=None, actor="t")
        assert refused.value.code is Code.CONFLICT
    async with synced.db.district(synced.district_id) as tx:
        with pytest.raises(HubError) as unknown:
            await holds.release(tx, run.run_id, schools=[run.run_id], actor="t")
    assert unknown.value.code is Code.INVALID_REQUEST


@pytest.mark.threat("F11")
async def test_an_approval_does_not_reach_what_came_in_between(synced: District) -> None:
    """What the run would do has grown since it was looked at: it is held again, with the new numbers."""
    run = await synced.sync(HALF)
    async with synced.db.district(synced.district_id) as tx:
        seen = [reason | {"number": reason["number"] - 1} for reason in run.guard]
        await runs.decide(tx, run.run_id, approve=True, actor="t")
        await tx.execute(
            "UPDATE runs SET approved = $2 WHERE run_id = $1", run.run_id, {"by": "t", "counts": {}, "reasons": seen}
        )
    again = await worked(synced, run.run_id)
    assert (again.state, again.guard) == ("held", run.guard)
    assert (await approve(synced, run.run_id)).state == "applied"


async def test_reasons_say_what_is_usual_once_there_are_some_runs(synced: District) -> None:
    frames = dict(FRAMES)
    for number in range(6):
        frames = without(frames, "enrollments", [FRAMES["enrollments"]["sourcedId"][number]])
        assert (await synced.sync(frames)).state == "applied"
    run = await synced.sync(dict(frames) | {"enrollments": frames["enrollments"].head(1000)})
    (reason,) = [r for r in run.guard if (r["code"], r["subject"]) == ("too_many_deleted", "enrollments")]
    assert reason["text"].endswith("Usually it is below 0.033%.")


@pytest.mark.threat("F11", "F12")
async def test_an_approval_that_newer_data_has_overtaken_applies_nothing(synced: District) -> None:
    """The newer run was under way already when somebody approved the older one."""
    older = await synced.sync(HALF)
    one = FRAMES["users"]["sourcedId"][0]
    newer = await synced.request(changed(FRAMES, "users", one, givenName="Zebulon"))
    claim = await runs.claim(synced.db)
    assert claim is not None
    async with synced.db.district(synced.district_id) as tx:
        await runs.decide(tx, older.run_id, approve=True, actor="t")
        await runs.finish(tx, claim, "applied")  # as if that had been all it had to do
    assert (await worked(synced, older.run_id)).state == "superseded"
    assert (await synced.run(newer)).state == "applied"
    assert (await synced.counts())["enrollments"] == (FRAMES["enrollments"].height, 0)


async def test_rows_of_runs_that_are_long_over_are_forgotten(synced: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "KEPT_RUNS", 2)
    one = FRAMES["users"]["sourcedId"][0]
    found = [await synced.sync(changed(FRAMES, "users", one, givenName=name)) for name in ("A", "B", "C", "D")]
    assert [len(await listed(synced, run.run_id)) for run in found] == [0, 0, 1, 1]
