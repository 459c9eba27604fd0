"""One address over all districts that grant an app something."""

from __future__ import annotations

from typing import Any

import pytest

from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.oneroster.rosters import Hub, answer, encoded, minor
from tests.districts import EVERYTHING, District
from tests.services import Database

BASE = "/ims/oneroster/rostering/v1p2"


@pytest.fixture
async def agency(hub: Hub) -> Hub:
    """The app `lms` holds a grant in the other district as well."""
    async with hub.db.district(hub.prepared.there) as tx:
        await grants.create(tx, hub.prepared.apps["lms"], EVERYTHING, hub.first.clock.now())
    return hub


async def get(hub: Hub, path: str, app: str = "lms") -> tuple[int, Any, Any]:
    headers = {"Authorization": f"Bearer {hub.prepared.tokens[app]}"}
    async with hub.session.get(encoded(path if path.startswith("/") else f"/{path}"), headers=headers) as response:
        return await answer(response)


async def walk(hub: Hub, path: str, limit: int) -> tuple[list[dict[str, Any]], set[str]]:
    """All objects of a walk by its own links, and the totals that its pages told."""
    found, totals = [], set()
    following: str | None = f"{BASE}{path}{'&' if '?' in path else '?'}limit={limit}"
    while following:
        status, body, headers = await get(hub, following)
        assert status == 200, body
        (objects,) = body.values()
        found += objects
        totals.add(headers["X-Total-Count"])
        links = dict(part.split("; ")[::-1] for part in headers["Link"].split(", "))
        link = links.get('rel="next"')
        following = link.strip("<>").removeprefix(hub.settings.public_url) if link else None
    return found, totals


async def test_a_collection_is_all_districts_behind_each_other(agency: Hub) -> None:
    here = await agency.all("/users")
    district = str(agency.prepared.there)
    status, body, _ = await agency.get("/users", district=district, limit="10000")
    assert status == 200

    found, totals = await walk(agency, "/users", 37)
    assert {u["sourcedId"] for u in found} == {u["sourcedId"] for u in (*here, *body["users"])}
    assert len(found) == len(here) + len(body["users"])
    assert totals == {str(len(found))}
    hrefs = [role["org"]["href"] for user in found for role in user.get("roles", ())]
    assert hrefs
    assert all(href.startswith(f"{agency.settings.public_url}{BASE}/orgs/") for href in hrefs)
    assert (await get(agency, hrefs[-1].removeprefix(agency.settings.public_url)))[0] == 200


@pytest.mark.parametrize(
    "query", ["sort=familyName", "sort=username&orderBy=desc", "sort=dateLastModified&orderBy=asc"]
)
async def test_a_sorted_walk_is_in_one_order(agency: Hub, query: str) -> None:
    found, totals = await walk(agency, f"/users?{query}&filter=status%3D%27active%27", 53)
    name = query.partition("&")[0].removeprefix("sort=")
    values = [user[name] for user in found]
    assert values == sorted(values, reverse="desc" in query)
    assert totals == {str(len(found))}
    assert len({user["sourcedId"] for user in found}) == len(found)


async def test_what_is_about_one_object_is_answered_by_its_district(agency: Hub) -> None:
    status, body, _ = await agency.get("/classes", district=str(agency.prepared.there), limit="1")
    assert status == 200
    there = body["classes"][0]["sourcedId"]
    assert (await get(agency, f"{BASE}/classes/{there}"))[1]["class"]["sourcedId"] == there
    status, body, _ = await get(agency, f"{BASE}/classes/{there}/students")
    assert status == 200
    assert body["users"]
    status, body, _ = await get(agency, f"{BASE}/classes/no-such-class/students")
    assert (status, minor(body)) == (404, "unknownobject")


async def test_what_is_known_already_is_not_sent_again(agency: Hub) -> None:
    """The tag is of the views of all districts together."""
    tags = {}
    for query in ("limit=3", "limit=3&sort=name", "limit=4"):
        status, _, headers = await get(agency, f"{BASE}/orgs?{query}")
        assert status == 200
        tags[query] = headers["ETag"]
    assert len(set(tags.values())) == 3

    async def again(query: str, known: str, app: str = "lms") -> int:
        headers = {"Authorization": f"Bearer {agency.prepared.tokens[app]}", "If-None-Match": known}
        async with agency.session.get(encoded(f"{BASE}/orgs?{query}"), headers=headers) as response:
            assert response.status != 304 or (await response.read(), response.headers["ETag"]) == (b"", tags[query])
            return response.status

    for query, tag in tags.items():
        assert [await again(query, tag), await again(query, "*"), await again("limit=5", tag)] == [304, 304, 200]
    assert await again("limit=3", tags["limit=3"], app="math") == 200
    assert await again("limit=3&position=no~such", tags["limit=3"]) == 400
    other = District(agency.db, district_id=agency.prepared.there)
    async with agency.db.district(other.district_id) as tx:
        (held,) = [g for g in await grants.store.listing(tx, living=True) if g.app_id == agency.prepared.apps["lms"]]
        await grants.set_state(tx, held.grant_id, "suspended")
    assert await again("limit=3", tags["limit=3"]) == 200  # one of the districts is gone


@pytest.mark.threat("T12", "T18", "T24")
async def test_only_districts_that_grant_something_are_in_it(agency: Hub) -> None:
    _, both, _ = await get(agency, f"{BASE}/orgs?limit=1000")
    _, one, _ = await get(agency, f"{BASE}/orgs?limit=1000", app="math")
    schools = await agency.all("/orgs", app="math")
    assert {o["sourcedId"] for o in one["orgs"]} == {o["sourcedId"] for o in schools}
    assert len(both["orgs"]) > len(one["orgs"])
    assert (await get(agency, f"{BASE}/orgs", app="nobody"))[0] == 404

    other = District(agency.db, district_id=agency.prepared.there)
    async with agency.db.district(other.district_id) as tx:
        (held,) = [g for g in await grants.store.listing(tx, living=True) if g.app_id == agency.prepared.apps["lms"]]
        await grants.set_state(tx, held.grant_id, "revoked")
    status, alone, _ = await get(agency, f"{BASE}/orgs?limit=1000&fields=sourcedId")
    assert status == 200
    assert {o["sourcedId"] for o in alone["orgs"]} == {o["sourcedId"] for o in await agency.all("/orgs")}


@pytest.mark.threat("T1", "T11")
async def test_an_app_finds_its_own_grants_and_no_others(agency: Hub, roster_database: Database) -> None:
    service = await Pool.open(roster_database.service, name="tests of agencies", largest=1)
    async with service.app(agency.prepared.apps["lms"]) as tx:
        found = await tx.fetch("SELECT app_id, district_id FROM grants")
        assert {row["app_id"] for row in found} == {agency.prepared.apps["lms"]}
        assert len(found) == 2
        assert not await tx.fetch("SELECT FROM users")
    async with service.shared() as tx:
        assert not await tx.fetch("SELECT FROM grants")
    await service.close()


async def test_an_app_is_told_where_everything_is(agency: Hub) -> None:
    status, body, headers = await get(agency, "/ims/oneroster")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert {d["id"] for d in body["districts"]} == {str(agency.prepared.here), str(agency.prepared.there)}
    for place in (body["all_districts"], *body["districts"]):
        assert (await get(agency, place["changes"].removeprefix(agency.settings.public_url)))[0] == 200
        for service in place["services"]:
            for document in service["openapi"]:
                assert (await get(agency, document.removeprefix(agency.settings.public_url)))[0] == 200
    rostering = body["all_districts"]["services"][0]["url"].removeprefix(agency.settings.public_url)
    assert (await get(agency, f"{rostering}/orgs"))[0] == 200
    _, one, _ = await get(agency, "/ims/oneroster", app="math")
    assert [d["id"] for d in one["districts"]] == [str(agency.prepared.here)]
