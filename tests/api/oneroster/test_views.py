"""The views that a process keeps: loaded once, forgotten when they are outdated."""

from __future__ import annotations

import asyncio

import pytest

from hub.api.views import Views
from hub.scope.grants import GrantDefinition
from hub.store import views as store
from hub.store.records import ClosedError
from hub.sync import grants as granting
from tests.api.oneroster.gradebooks import Book
from tests.api.oneroster.rosters import Hub


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
