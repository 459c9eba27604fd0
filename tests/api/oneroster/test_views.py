"""The views that a process keeps: loaded once, forgotten when they are outdated."""

from __future__ import annotations

import asyncio

import pytest

from hub.api.caches import ByteCache
from hub.api.views import Views
from hub.errors import Code, HubError
from hub.scope.grants import GrantDefinition
from hub.store import views as store
from hub.store.gate import ClosedError
from hub.sync import grants as granting
from tests.api.oneroster.gradebooks import Book
from tests.api.oneroster.rosters import Hub, running
from tests.districts import EVERYTHING
from tests.services import Database


async def test_many_requests_at_once_load_a_view_once_and_get_the_same(hub: Hub) -> None:
    views, prepared = Views(), hub.prepared
    async with hub.db.district(prepared.here, readonly=True) as tx:
        held = await store.held(tx, prepared.apps["lms"])
    assert held is not None
    assert held.open
    found = await asyncio.gather(*(views.get(hub.db, prepared.here, held.grant) for _ in range(20)))

    assert len({id(view) for view in found}) == 1
    assert found[0].position == held.grant.position
    assert hub.prepared.gone_student in await hub.ids("/users")


async def test_a_view_of_an_outdated_grant_is_not_given_out(hub: Hub) -> None:
    views, prepared = Views(), hub.prepared
    async with hub.db.district(prepared.here, readonly=True) as tx:
        held = await store.held(tx, prepared.apps["math"])
    assert held is not None
    async with hub.db.district(prepared.here) as tx:
        changed, _ = await granting.edit(tx, held.grant.grant_id, GrantDefinition(), hub.first.clock.now())
    with pytest.raises(ClosedError):
        await views.get(hub.db, prepared.here, held.grant)
    assert len((await views.get(hub.db, prepared.here, changed)).listed("users")) > 50


async def test_an_app_that_never_held_anything_holds_nothing(hub: Hub) -> None:
    async with hub.db.district(hub.prepared.here, readonly=True) as tx:
        assert await store.held(tx, hub.prepared.apps["nobody"]) is None


async def test_reads_during_syncs_are_wholly_of_one_position(hub: Hub) -> None:
    """Two fields that come and go together are never seen apart, and no request fails."""
    users = await hub.all("/users", filter="status='active'")
    key = next(u["sourcedId"] for u in users if {"email", "agents"} <= set(u))
    stop = asyncio.Event()

    async def write() -> None:
        for number in range(8):
            async with hub.db.district(hub.prepared.here) as tx:
                narrow = GrantDefinition.model_validate({"privacy": ["contact"] if number % 2 else []})
                await granting.edit(tx, hub.prepared.grants["library"], narrow, hub.first.clock.now())
            await asyncio.sleep(0.02)
        stop.set()

    async def read() -> int:
        reads = 0
        while not stop.is_set():
            status, body, _ = await hub.get("/users", app="library", filter=f"sourcedId='{key}'")
            assert status == 200
            (user,) = body["users"]
            assert ("email" in user) == ("agents" in user)
            reads += 1
        return reads

    _, *counts = await asyncio.gather(write(), read(), read(), read())
    assert sum(counts) > 10


async def test_a_view_that_was_brought_up_to_date_is_the_one_that_is_loaded_whole(book: Book) -> None:
    kept = Views()
    for step in range(4):
        await book.make("categories", f"k{step % 2}", {"title": f"Quizzes {step}"})
        if step == 2:
            await book.send("DELETE", "/categories/k1")
        async with book.service.district(book.district_id, readonly=True) as tx:
            held = await store.held(tx, book.hub.prepared.apps["quiz"])
        assert held is not None
        found = await kept.get(book.service, book.district_id, held.grant)
        fresh = await Views().get(book.service, book.district_id, held.grant)
        assert (found.position, found.steps, found.digest) == (fresh.position, fresh.steps, fresh.digest)
        for name, view in fresh.entities.items():
            other = found.entities[name]
            assert (other.present, other.gone, other.trimmed) == (view.present, view.gone, view.trimmed)
            assert other.stamps.texts(list(view.listed)) == view.stamps.texts(list(view.listed))
    assert len(found.steps) == 6


@pytest.mark.threat("T11")
async def test_a_view_that_is_kept_under_anothers_name_is_not_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever mixes keys up gets an error and no records."""
    prepared, found = hub.prepared, Views()
    async with hub.db.district(prepared.here, readonly=True) as tx:
        mine, theirs = await store.held(tx, prepared.apps["math"]), await store.held(tx, prepared.apps["lms"])
    assert mine is not None
    assert theirs is not None
    real = await found.get(hub.db, prepared.here, theirs.grant)
    monkeypatch.setattr(ByteCache, "get", lambda *_: real)

    with pytest.raises(HubError) as refused:
        await found.get(hub.db, prepared.here, mine.grant)
    assert refused.value.code is Code.INTERNAL
    assert await found.get(hub.db, prepared.here, theirs.grant) is real


@pytest.mark.threat("T11")
async def test_what_is_kept_for_one_district_is_never_taken_for_another(hub: Hub, roster_database: Database) -> None:
    """One token, the same questions in two districts, by turns: the same as from a process that kept nothing yet."""
    async with hub.db.district(hub.prepared.there) as tx:
        await granting.create(tx, hub.prepared.apps["lms"], EVERYTHING, hub.first.clock.now())
    questions: list[tuple[str, dict[str, str]]] = [
        ("/users", {}), ("/students", {"sort": "familyName"}), ("/users", {"filter": "givenName~'a'"}),
        ("/terms", {}), ("/enrollments", {"filter": "role='teacher'", "sort": "beginDate", "orderBy": "desc"}),
        ("/classes", {"sort": "course.sourcedId"}), ("/orgs", {"filter": "type='school'", "fields": "sourcedId,name"}),
    ]  # fmt: skip
    districts = (hub.prepared.here, hub.prepared.there)
    for path, query in questions:
        warm = [await hub.get(path, district=d, limit="10000", **query) for d in (*districts, *districts)]
        together = await asyncio.gather(*(hub.get(path, district=d, limit="10000", **query) for d in districts * 3))
        async with running(roster_database, hub.prepared) as other:
            cold = [await other.get(path, district=d, limit="10000", **query) for d in reversed(districts)]
        here, there = cold[1][:2], cold[0][:2]
        assert here != there
        assert [answer[:2] for answer in warm] == [here, there] * 2
        assert [answer[:2] for answer in together] == [here, there] * 3
