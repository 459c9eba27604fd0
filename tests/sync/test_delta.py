"""Packages of changes: what they say is done, what they leave out stays, and a whole package finds what was missed."""

from __future__ import annotations

import asyncio
import io
import zipfile
from typing import Any

import polars as pl
import pytest

from hub.store.runs import Run
from tests.districts import District, Frames, changed, packed, sandbox, without
from tests.sync.conftest import gradebooks
from transforms.catalogue import CATALOGUE, Version

FRACTIONS = "0e3a5d3c-0a53-4a5e-9c1e-2f5c55a7a111"
NOW = "2026-08-20T10:00:00.000Z"


async def changes_only(frames: Frames, version: Version) -> bytes:
    """A package with a manifest that says delta for each file in it."""
    marked = {
        name: frame.with_columns(
            status=pl.col("status") if "status" in frame.columns else pl.lit("active"), dateLastModified=pl.lit(NOW)
        ).with_columns(pl.col("status").fill_null("active"))
        for name, frame in frames.items()
    }
    return await asyncio.to_thread(_as_delta, marked, version)


def _as_delta(marked: Frames, version: Version) -> bytes:
    whole = packed(marked, version)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as changed:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "manifest.csv":
                data = data.replace(b",bulk", b",delta").replace(b'"bulk"', b'"delta"')
            changed.writestr(name, data)
    return out.getvalue()


def some(frames: Frames, file: str, *keys: str, **values: str | None) -> pl.DataFrame:
    """Rows of a file with values changed."""
    rows = frames[file].filter(pl.col("sourcedId").is_in(keys))
    return rows.with_columns(pl.lit(v, pl.String).alias(n) for n, v in values.items())


def gone(frames: Frames, file: str, *keys: str) -> pl.DataFrame:
    return some(frames, file, *keys, status="tobedeleted")


async def done(district: District, package: Any) -> Run:
    run = await district.sync(package)
    assert run.state in {"applied", "unchanged"}, (run.state, run.error_message, run.report.get("rules"))
    return run


async def documents(district: District, entity: str) -> dict[str, tuple[bool, str]]:
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            f"SELECT s.key, t.active, t.doc FROM {CATALOGUE[entity].table} t JOIN source_records s "
            "ON s.district_id = t.district_id AND s.rid = t.rid AND s.entity = $1::text::entity_name", entity,
        )  # fmt: skip
    return {row["key"]: (row["active"], row["doc"]) for row in rows}


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_delta_says_what_changed_and_leaves_the_rest(district: District, version: Version) -> None:
    district.version = version
    frames = sandbox(100, 3, version).frames
    await done(district, frames)
    before = await documents(district, "enrollments")
    ended, moved, *_ = frames["enrollments"]["sourcedId"].to_list()
    new = some(frames, "enrollments", moved).with_columns(sourcedId=pl.lit("new"), role=pl.lit("proctor"))
    delta = {"enrollments": pl.concat([gone(frames, "enrollments", ended), new], how="diagonal")}

    run = await done(district, await changes_only(delta, version))

    after = await documents(district, "enrollments")
    assert {key for key in before if after[key] != before[key]} == {ended}
    assert not after[ended][0]
    assert after.keys() - before.keys() == {"new"}
    counts = run.counts["enrollments"]
    assert (counts["created"], counts["deleted"], counts["updated"]) == (1, 1, 0)


async def test_the_same_delta_twice_writes_nothing(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = frames["classes"]["sourcedId"][0]
    delta = await changes_only({"classes": some(frames, "classes", key, title="Renamed")}, "1.2")
    assert (await done(synced, delta)).counts["classes"]["updated"] == 1
    before = await synced.state()

    assert (await done(synced, delta)).state == "unchanged"
    again = await changes_only(
        {"classes": some(frames, "classes", key, title="Renamed").with_columns(x=pl.lit("y"))}, "1.2"
    )
    assert (await done(synced, again)).state == "unchanged"

    assert await synced.state() == before


async def test_references_may_lead_to_what_came_before(district: District) -> None:
    frames = sandbox(100, 3).frames
    some_enrollments = frames["enrollments"]["sourcedId"].head(5).to_list()
    await done(district, without(frames, "enrollments", some_enrollments))

    run = await done(
        district, await changes_only({"enrollments": some(frames, "enrollments", *some_enrollments)}, "1.2")
    )

    assert (run.counts["enrollments"]["created"], run.counts["enrollments"]["quarantined"]) == (5, 0)


async def test_a_reference_to_what_the_delta_ends_is_kept_out(synced: District) -> None:
    frames = sandbox(100, 3).frames
    row = frames["enrollments"].row(0, named=True)
    delta = {
        "classes": gone(frames, "classes", row["classSourcedId"]),
        "enrollments": some(frames, "enrollments", row["sourcedId"]).with_columns(sourcedId=pl.lit("new")),
    }

    run = await done(synced, await changes_only(delta, "1.2"))

    assert (run.counts["classes"]["deleted"], run.counts["enrollments"]["quarantined"]) == (1, 1)


@pytest.mark.threat("F10")
async def test_a_whole_package_finds_what_deltas_missed(synced: District) -> None:
    frames = sandbox(100, 3).frames
    missed, told = frames["enrollments"]["sourcedId"].head(2).to_list()
    await done(synced, await changes_only({"enrollments": gone(frames, "enrollments", told)}, "1.2"))
    assert (await documents(synced, "enrollments"))[missed][0]

    run = await done(synced, without(frames, "enrollments", [missed, told]))

    assert run.counts["enrollments"]["deleted"] == 1
    assert not (await documents(synced, "enrollments"))[missed][0]


async def test_users_of_a_delta_keep_the_roles_that_it_does_not_name(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = frames["roles"]["userSourcedId"][0]
    before = (await documents(synced, "users"))[key][1]

    run = await done(synced, await changes_only({"users": some(frames, "users", key, givenName="Zebulon")}, "1.2"))

    after = (await documents(synced, "users"))[key][1]
    assert run.counts["users"]["updated"] == 1
    assert '"givenName":"Zebulon"' in after
    assert before[before.index('"roles":') : before.index('"username"')] in after


async def test_a_delta_and_a_whole_package_mean_the_same(district: District, other_district: District) -> None:
    frames = sandbox(100, 3).frames
    keys = frames["enrollments"]["sourcedId"].head(3).to_list()
    renamed = frames["classes"]["sourcedId"][2]
    for place in (district, other_district):
        await done(place, frames)
    whole = dict(without(frames, "enrollments", keys))
    whole["classes"] = frames["classes"].with_columns(
        title=pl.when(pl.col("sourcedId") == renamed).then(pl.lit("Renamed")).otherwise("title")
    )
    delta = {
        "enrollments": gone(frames, "enrollments", *keys),
        "classes": some(frames, "classes", renamed, title="Renamed"),
    }

    await done(district, whole)
    await done(other_district, await changes_only(delta, "1.2"))

    for entity in ("enrollments", "classes", "users"):
        there, here = await documents(district, entity), await documents(other_district, entity)
        assert {key: active for key, (active, _) in there.items()} == {key: active for key, (active, _) in here.items()}
    assert '"title":"Renamed"' in (await documents(other_district, "classes"))[renamed][1]


async def test_keys_of_a_delta_are_read_as_those_of_a_whole_package(synced: District) -> None:
    """A small delta looks up what it names: no spelling that the chain mends may make a second record."""
    frames = sandbox(100, 3).frames
    before = await synced.counts()
    users, classes = frames["users"]["sourcedId"], frames["classes"]
    terms = classes["termSourcedIds"].drop_nulls()[0]
    odd = {
        "users": some(frames, "users", users[0], agentSourcedIds=f" {users[1]} ; {users[2]}|").with_columns(
            sourcedId="\u200b " + pl.col("sourcedId") + "\u00a0\ufeff"
        ),
        "classes": some(frames, "classes", classes["sourcedId"][0], termSourcedIds=f"{terms};", title="Renamed"),
        "enrollments": some(frames, "enrollments", frames["enrollments"]["sourcedId"][0]).with_columns(
            userSourcedId="\ufeff" + pl.col("userSourcedId") + " ", role=pl.lit("proctor")
        ),
    }

    run = await done(synced, await changes_only(odd, "1.2"))

    assert await synced.counts() == before
    for entity in odd:
        counts = run.counts[entity]
        assert (counts["created"], counts["updated"], counts["quarantined"]) == (0, 1, 0), (entity, counts)
    assert (await documents(synced, "users"))[users[0]][1].count('"type":"org"') > 0


async def test_results_of_a_delta_keep_the_scale_and_the_objectives_that_it_does_not_name(district: District) -> None:
    frames = gradebooks()
    await done(district, frames)
    link = frames["resultScoreScales"].filter(
        pl.col("resultSourcedId").is_in(frames["resultLearningObjectiveIds"]["resultSourcedId"].implode())
    )
    key = link["resultSourcedId"][0]
    before = (await documents(district, "results"))[key][1]
    assert '"scoreScale":' in before
    assert '"learningObjectiveSet":' in before

    await done(district, await changes_only({"results": some(frames, "results", key, comment="Renamed")}, "1.2"))

    after = (await documents(district, "results"))[key][1]
    assert '"comment":"Renamed"' in after
    for part in ('"scoreScale":', '"learningObjectiveSet":'):
        assert after[after.index(part) :] == before[before.index(part) :]
    whole = changed(frames, "results", key, comment="Renamed")
    assert (await done(district, whole)).state == "unchanged"

    objectives = frames["resultLearningObjectiveIds"].filter(resultSourcedId=key)
    more = objectives.head(1).with_columns(sourcedId=pl.lit("new"), learningObjectiveId=pl.lit(f"urn:uuid:{FRACTIONS}"))
    delta = {"results": some(whole, "results", key), "resultLearningObjectiveIds": more}
    await done(district, await changes_only(delta, "1.2"))
    named = (await documents(district, "results"))[key][1]
    assert f'"learningObjectiveId":"{FRACTIONS}"' in named
    whole["resultLearningObjectiveIds"] = pl.concat([frames["resultLearningObjectiveIds"], more])
    assert (await done(district, whole)).state == "unchanged"
    assert (await documents(district, "results"))[key][1] == named


async def test_administrators_of_a_delta_are_what_their_orgs_make_of_them(district: District) -> None:
    district.version = "1.1"
    frames = sandbox(100, 3, "1.1").frames
    teacher = frames["users"].filter(role="teacher")["sourcedId"][0]
    await done(district, frames)
    one = some(frames, "users", teacher, role="administrator")

    await done(district, await changes_only({"users": one}, "1.1"))
    assert '"role":"siteAdministrator"' in (await documents(district, "users"))[teacher][1]

    school = frames["orgs"].filter(type="school")["sourcedId"][0]
    both = {
        "orgs": some(frames, "orgs", school, name="Renamed"),
        "users": some(frames, "users", teacher, role="administrator", givenName="Z"),
    }
    await done(district, await changes_only(both, "1.1"))
    assert '"role":"siteAdministrator"' in (await documents(district, "users"))[teacher][1]


async def test_changes_of_enrollments_that_stand_for_several_wait_for_a_whole_package(district: District) -> None:
    frames = sandbox(100, 3).frames
    one, alone = frames["enrollments"].filter(role="student")["sourcedId"].to_list()[:2]
    twice = pl.concat([frames["enrollments"], some(frames, "enrollments", one, sourcedId=f"{one}-b")])
    await done(district, dict(frames) | {"enrollments": twice})
    before = await documents(district, "enrollments")
    assert before.keys() == set(frames["enrollments"]["sourcedId"])

    run = await done(
        district, await changes_only({"enrollments": gone(frames, "enrollments", one, alone)}, district.version)
    )

    after = await documents(district, "enrollments")
    assert (after[one], after[alone][0]) == (before[one], False)
    assert [(r["code"], r["count"]) for r in run.report["rules"]] == [("ENR-011", 1)]
    assert run.counts["enrollments"]["quarantined"] == 1
    again = await done(
        district, await changes_only({"enrollments": some(frames, "enrollments", one)}, district.version)
    )
    assert again.report["rules"][0]["code"] == "ENR-011"  # changes say nothing of it, so it goes on to wait

    left = twice.filter(~pl.col("sourcedId").is_in([one, alone]))
    await done(district, dict(frames) | {"enrollments": left})
    after = await documents(district, "enrollments")
    assert (after[one][0], after[f"{one}-b"][0]) == (False, True)

    ended = await changes_only(
        {"enrollments": gone({"enrollments": left}, "enrollments", f"{one}-b")}, district.version
    )
    await done(district, ended)
    assert not (await documents(district, "enrollments"))[f"{one}-b"][0]


async def test_the_store_keeps_the_enrollment_that_it_knows_of_two_equal_ones(synced: District) -> None:
    frames = sandbox(100, 3).frames
    key = frames["enrollments"].filter(role="student")["sourcedId"][0]
    before = await documents(synced, "enrollments")
    first = some(frames, "enrollments", key, sourcedId="0")  # the first by text, and in the file

    run = await done(synced, dict(frames) | {"enrollments": pl.concat([first, frames["enrollments"]])})

    assert run.state == "unchanged"
    assert await documents(synced, "enrollments") == before
    assert [(r["code"], r["count"]) for r in run.report["rules"]] == [("ENR-002", 1)]
