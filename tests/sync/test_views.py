"""The views of several grants are brought on together: who sees the same is looked at once, and nobody sees another."""

from __future__ import annotations

from typing import Any

import pytest

from hub.scope.compile import compile_grant
from hub.scope.grants import GrantDefinition
from hub.sync import following, views
from tests.districts import District, changed, sandbox, without
from tests.snapshots import Snapshot, snapshot

ALL = {"entities": ["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]}


async def granted(district: District) -> None:
    """Four grants, of which two are alike."""
    async with district.db.district(district.district_id, readonly=True) as tx:
        school = await tx.fetchval("SELECT sourced_id FROM orgs WHERE type = 'school' ORDER BY rid LIMIT 1")
    names = {"users": {"masks": {"familyName": "initial"}}}
    for said in (ALL, {"rules": [{"schools": [str(school)]}]}, ALL, ALL | {"fields": names}):
        await district.grant(GrantDefinition.model_validate(said))


async def life(district: District) -> Snapshot:
    """A first load, grants, and changes of which each grant sees others."""
    frames = sandbox(120, 3).frames
    assert (await district.sync(frames)).state == "applied"
    await granted(district)
    people, seats = frames["users"]["sourcedId"], frames["enrollments"]["sourcedId"].to_list()
    for number in range(3):
        frames = changed(frames, "users", people[0], familyName=f"Changed{number}")
        assert (await district.sync(without(frames, "enrollments", seats[number::50]))).state == "applied"
    return await snapshot(district)


async def test_grants_that_are_brought_on_together_see_what_they_see_one_by_one(
    district: District, other_district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[GrantDefinition] = []

    def counted(definition: GrantDefinition, *values: Any) -> Any:
        compiled.append(definition)
        return compile_grant(definition, *values)

    monkeypatch.setattr(following, "compile_grant", counted)
    monkeypatch.setattr(views, "_AT_ONCE", 1)
    apart = await life(district)
    one_by_one = len(compiled)
    monkeypatch.setattr(views, "_AT_ONCE", 3)
    together = await life(other_district)

    assert together == apart
    assert (one_by_one, len(compiled) - one_by_one) == (4 + 3 * 4, 4 + 3 * 3)
    first, _, second, masked = together.feeds
    assert first == second != masked
    assert [len(feed) > 3 for feed in together.feeds] == [True] * 4
