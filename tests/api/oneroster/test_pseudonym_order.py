"""Collections of an app with pseudonyms in a district of some hundred people: large ones, and few below an object."""

from __future__ import annotations

import pytest

from hub.crypto import column_key
from hub.sync import grants
from tests.api.oneroster.rosters import Hub
from tests.districts import EVERYTHING
from tests.services import MASTER_KEY


@pytest.fixture
async def guarded(hub: Hub) -> Hub:
    """The app `nobody` holds a grant with pseudonyms."""
    async with hub.db.district(hub.prepared.here) as tx:
        await grants.create(
            tx, hub.prepared.apps["nobody"], EVERYTHING, hub.first.clock.now(), pseudonyms=column_key(MASTER_KEY)
        )  # fmt: skip
    return hub


async def test_collections_are_in_the_order_of_ids_however_much_of_a_district_they_are(guarded: Hub) -> None:
    sizes = set()
    whole = await guarded.ids("/users", app="nobody")
    assert whole == sorted(whole)
    for class_ in await guarded.ids("/classes", app="nobody"):
        for path in ("students", "teachers"):
            found = await guarded.ids(f"/classes/{class_}/{path}", app="nobody")
            assert found == sorted(found)
            sizes.add(len(found) * 16 > len(whole))
    assert sizes == {False, True}


@pytest.mark.parametrize("query", ["", "?sort=status", "?sort=grades", "?sort=dateLastModified"])
async def test_pages_of_any_size_make_up_the_collection(guarded: Hub, query: str) -> None:
    path = f"/d/{guarded.prepared.here}/ims/oneroster/rostering/v1p2/users{query}"
    _, body, _ = await guarded.get(f"{path}{'&' if query else '?'}limit=10000", app="nobody")
    whole = [user["sourcedId"] for user in body.get("users", [])]
    for limit in (17, 100):
        pages: list[str] = []
        for offset in range(0, len(whole) + limit, limit):
            _, body, _ = await guarded.get(f"{path}{'&' if query else '?'}limit={limit}&offset={offset}", app="nobody")
            pages += [user["sourcedId"] for user in body.get("users", [])]
        assert pages == whole
    if not query:
        assert len(whole) == len({*whole}) > 100
