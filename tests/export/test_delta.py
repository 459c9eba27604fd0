"""A delta brings whoever has the package before it to the state of the next whole one, and tells nothing more."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any

import polars as pl
import pytest

from hub.export.layout import File
from hub.sandbox import DistrictPlan, generate
from hub.scope.grants import GrantDefinition
from hub.store import runs
from hub.store.database import Database as Pool
from hub.sync import grants
from hub.sync.engine import work_once
from tests.districts import District, changed
from tests.export.packages import EVERYTHING, acknowledge, applied, by_id, make, manifest, rows
from tests.fakes import rosters
from tests.services import Database
from transforms.catalogue import CATALOGUE, Version

VERSIONS: tuple[Version, ...] = ("1.2", "1.1")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
Frames = Mapping[str, pl.DataFrame]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    db = await Pool.open(database.worker, name="test", largest=4)
    yield db
    await db.close()


@cache
def _mid_year(version: Version) -> tuple[Frames, Frames]:
    """A sandbox district before and after its mid-year changes."""
    made = generate(DistrictPlan(students=150, seed=3, version=version, dirt=0, changes=True))
    assert made.changes is not None
    return made.frames, made.changes.frames


def _edited(version: Version) -> tuple[Frames, Frames]:
    """A small roster with gradebook and resources before and after edits of everything that nests."""
    before, after = rosters.clean(version), rosters.clean(version)
    after["classes"][0] |= {"schoolSourcedId": "s2", "title": "Algebra 1b"}
    after["users"][0] |= {"metadata.house": "Red", "agentSourcedIds": None}
    after["users"][1].pop("metadata.house")
    after["classResources"].pop()
    after["results"].pop()
    if version == "1.2":
        roles = after["roles"]
        roles[:] = [r for r in roles if r["sourcedId"] != "r3"]
        roles[1]["role"] = "counselor"
        roles.append({"sourcedId": "r9", "userSourcedId": "u1", "roleType": "secondary", "role": "teacher",
                      "orgSourcedId": "s2"})  # fmt: skip
        after["userProfiles"].pop()
        after["lineItemLearningObjectiveIds"].pop()
        after["resultLearningObjectiveIds"][0]["score"] = "4"
        after.pop("lineItemScoreScales")
        after["userResources"][0]["resourceSourcedId"] = "b1"
    return rosters.frames(version, before), rosters.frames(version, after)


async def _definitions(district: District) -> list[GrantDefinition]:
    """Everything, and one school with a field policy."""
    async with district.db.district(district.district_id) as tx:
        school = await tx.fetchval("SELECT sourced_id FROM orgs WHERE type = 'school' ORDER BY name LIMIT 1")
    policy = {"hide": ["username"], "masks": {"familyName": "initial"}}
    some = EVERYTHING.model_dump() | {"rules": [{"schools": [school]}], "fields": {"users": policy}}
    return [EVERYTHING, GrantDefinition.model_validate(some)]


async def _apply(district: District, run_id: Any) -> None:
    """Carries a run out, whatever the guard thinks of so many changes."""
    while await work_once(district.db, district.clock):
        pass
    if (await district.run(run_id)).state == "held":
        async with district.db.district(district.district_id) as tx:
            await runs.decide(tx, run_id, approve=True, actor="test")
        while await work_once(district.db, district.clock):
            pass
    assert (await district.run(run_id)).state == "applied"


@pytest.mark.parametrize("source", [_mid_year, _edited], ids=["mid-year", "edited"])
async def test_a_whole_package_and_its_delta_are_the_next_whole_package(pool: Pool, source: Any) -> None:
    """In both versions, and for grants that records enter and leave: what 1.1 makes of several roles changes too."""
    before, after = source("1.2")
    district = await District(pool, "1.2").create()
    await district.sync(before)
    wholes = []
    for definition in await _definitions(district):
        grant = await district.grant(definition)
        for version in VERSIONS:
            whole, first = await make(district, grant, version, "delta")
            assert first.kind == "bulk"  # there is nothing to begin at
            await acknowledge(district, grant, version, first)
            wholes.append((grant, version, rows(whole)))
    await _apply(district, await district.request(after))
    for grant, version, whole in wholes:
        delta, second = await make(district, grant, version, "delta")
        assert second.kind == "delta"
        assert set(manifest(delta).values()) >= {"delta", "absent"}
        assert "bulk" not in manifest(delta).values()
        expected, _ = await make(district, grant, version)
        changes = rows(delta)
        assert changes
        assert by_id(applied(whole, changes)) == by_id(rows(expected))
        for file, found in changes.items():
            entity = CATALOGUE.files(version)[file]
            required = File(version, entity, entity).required
            # Strict readers want all of them of what is gone too.
            assert all(row[name] for row in found for name in required)
            assert all(_STAMP.match(row["dateLastModified"]) for row in found)

        await acknowledge(district, grant, version, second)
        third, made = await make(district, grant, version, "delta")
        assert made.kind == "delta"
        assert rows(third) == {}
        assert set(manifest(third).values()) == {"1.0", version, "absent", "RosterHub"}


async def test_what_left_says_what_it_said_last_and_only_what_is_required(pool: Pool) -> None:
    district = await District(pool).create()
    before, _ = _edited("1.2")
    await district.sync(before)
    grant = await district.grant(EVERYTHING)
    whole, first = await make(district, grant, "1.2")
    await acknowledge(district, grant, "1.2", first)
    # The record changes and then leaves: the new values are none of the app's business any more.
    changed = dict(before) | {
        "users": before["users"].with_columns(
            givenName=pl.when(pl.col("sourcedId") == "u3").then(pl.lit("Secret")).otherwise("givenName"),
        ),
    }
    await _apply(district, await district.request(changed))
    less = dict(changed) | {
        file: changed[file].filter(pl.col(column) != "u3")
        for file, column in (("users", "sourcedId"), ("roles", "userSourcedId"))
    }
    less["users"] = less["users"].with_columns(agentSourcedIds=pl.lit(None, pl.String))
    await _apply(district, await district.request(less))
    delta, _ = await make(district, grant, "1.2", "delta")
    (gone,) = (row for row in rows(delta)["users"] if row["status"] == "tobedeleted")
    (was,) = (row for row in rows(whole)["users"] if row["sourcedId"] == gone["sourcedId"])
    assert was["familyName"] == gone["familyName"] == "Muñoz"
    assert gone["givenName"] == "María José"
    filled = {name for name, value in gone.items() if value}
    assert filled == {
        "sourcedId", "status", "dateLastModified", "enabledUser", "username", "givenName", "familyName",
    }  # fmt: skip


async def test_a_delta_begins_anew_where_the_files_would_mean_something_else(pool: Pool) -> None:
    district = await District(pool).create()
    before, _ = _edited("1.2")
    await district.sync(before)
    grant = await district.grant(EVERYTHING)
    _, first = await make(district, grant, "1.2")
    await acknowledge(district, grant, "1.2", first)
    assert (await make(district, grant, "1.2", "delta"))[1].kind == "delta"
    assert (await make(district, grant, "1.1", "delta"))[1].kind == "bulk"
    fewer = frozenset({"orgs", "users"})
    assert (await make(district, grant, "1.2", "delta", entities=fewer))[1].kind == "bulk"
    async with district.db.district(district.district_id) as tx:
        await grants.set_state(tx, grant.grant_id, "suspended")
        await grants.set_state(tx, grant.grant_id, "active")
    assert (await make(district, grant, "1.2", "delta"))[1].kind == "delta"
    # A feed that does not lead on from the last package any more, as it does from its own first step.
    users = before["users"]["sourcedId"]
    assert (await district.sync(changed(before, "users", users[0], givenName="Ada"))).state == "applied"
    for feed_from, kind in ((1, "delta"), (2, "bulk"), (0, "delta")):
        async with district.db.district(district.district_id) as tx:
            await tx.execute("UPDATE grants SET feed_from = $1", feed_from)
        assert (await make(district, grant, "1.2", "delta"))[1].kind == kind
    async with district.db.district(district.district_id) as tx:
        await grants.edit(tx, grant.grant_id, GrantDefinition(), district.clock.now())
    assert (await make(district, grant, "1.2", "delta"))[1].kind == "bulk"
