"""The settings of an app as they show in answers; the other tests see their defaults."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from hub.behaviour import Behaviour
from hub.store import apps
from tests.api.oneroster.rosters import SCOPES, Hub, issue, minor
from tests.districts import changed, sandbox


class App:
    """An app with settings, and a token of their own, whose session knows them from the first request on."""

    def __init__(self, hub: Hub, token: str) -> None:
        self.hub, self.token = hub, token

    async def get(self, path: str, **query: str) -> tuple[int, Any]:
        status, body, headers = await self.hub.get(path, token=self.token, **({"limit": "10000"} | query))
        if status == 200 and len(next(iter(body.values()))) != 10_000:
            assert headers["X-Total-Count"] == str(len(next(iter(body.values()))))
        return status, body

    async def ids(self, path: str, **query: str) -> list[str]:
        status, body = await self.get(path, **query)
        assert status == 200, body
        return [one["sourcedId"] for one in next(iter(body.values()))]


async def having(hub: Hub, **settings: object) -> App:
    """The app *lms* with these settings and no other."""
    every = Behaviour.model_validate(settings).model_dump()
    async with hub.db.shared() as tx:
        await apps.change(tx, hub.prepared.apps["lms"], behaviour=every)
    return App(hub, await issue(hub.db, hub.prepared.clients["lms"][0], SCOPES))


async def test_semesters_are_terms_for_an_app_that_wants_it(hub: Hub) -> None:
    frames = sandbox(100, 7).frames
    sessions = frames["academicSessions"]
    key = str(sessions.filter(sessions["type"] == "term")["sourcedId"][0])
    run = await hub.first.sync(changed(frames, "academicSessions", key, type="semester"))
    assert run.state == "applied", run.guard
    (semester,) = await hub.ids("/academicSessions", filter="type='semester'")
    wide = await having(hub, semester_is_term=True)

    assert semester in await wide.ids("/terms")
    assert (await wide.get(f"/terms/{semester}/classes"))[0] == 200
    assert semester in await wide.ids(f"/schools/{hub.prepared.school}/terms")
    narrow = await having(hub)
    assert semester not in await narrow.ids("/terms")
    assert (await narrow.get(f"/terms/{semester}/classes"))[0] == 404


async def test_courses_of_classes_belong_to_a_school_for_an_app_that_wants_it(hub: Hub) -> None:
    path = f"/schools/{hub.prepared.school}/courses"
    classes = (await (await having(hub)).get(f"/schools/{hub.prepared.school}/classes"))[1]["classes"]
    own = await (await having(hub)).ids(path)
    wide = await (await having(hub, courses_of_classes=True)).ids(path)

    assert set(wide) == set(own) | {one["course"]["sourcedId"] for one in classes}
    assert len(wide) > len(own)


async def test_unknown_parents_have_no_children_for_an_app_that_wants_it(hub: Hub) -> None:
    school, someone = hub.prepared.school, hub.prepared.gone_student
    empty = await having(hub, unknown_parent="empty")
    for path in (
        f"/schools/{uuid4()}/classes", "/schools/nope/classes", f"/students/{school}/classes",
        f"/schools/{school}/classes/{uuid4()}/students", f"/schools/{uuid4()}/classes/{someone}/teachers",
    ):  # fmt: skip
        assert await empty.ids(path) == []
    status, body = await empty.get("/schools/nope")
    assert (status, minor(body)) == (404, "unknownobject")
    plain = await having(hub)
    assert (await plain.get("/schools/nope/classes"))[0] == 404


async def test_case_counts_for_an_app_that_wants_it(hub: Hub) -> None:
    user = next(u for u in await hub.all("/users", filter="status='active'") if u.get("email") and u.get("grades"))
    exact = await having(hub, filter_case="exact")
    for name in ("familyName", "email"):
        assert user["sourcedId"] in await exact.ids("/users", filter=f"{name}='{user[name]}'")
        assert await exact.ids("/users", filter=f"{name}='{user[name].swapcase()}'") == []
        assert user["sourcedId"] in await exact.ids("/users", filter=f"{name}~'{user[name].swapcase()}'")


async def test_what_is_absent_is_not_equal_for_an_app_that_wants_it(hub: Hub) -> None:
    everyone = await hub.all("/users")
    app = await having(hub, absent_not_equal=True)
    wanted = [u["sourcedId"] for u in everyone if u.get("middleName", "").lower() != "ann"]

    assert await app.ids("/users", filter="middleName!='Ann'") == wanted
    assert hub.prepared.gone_student in wanted
    assert await app.ids("/enrollments", filter="beginDate!='no date'") == []


async def test_lists_are_equal_as_a_whole_for_an_app_that_wants_it(hub: Hub) -> None:
    courses = await hub.all("/courses", filter="status='active'")
    several = next(c for c in courses if len(c.get("grades", [])) > 1)["grades"]
    app = await having(hub, list_equal="same")

    assert await app.ids("/courses", filter=f"grades='{several[0]}'") == [
        c["sourcedId"] for c in courses if c.get("grades") == several[:1]
    ]
    assert await app.ids("/courses", filter=f"grades='{','.join(reversed(several))}'") == [
        c["sourcedId"] for c in courses if set(c.get("grades", [])) == set(several)
    ]


async def test_clauses_about_roles_meet_in_one_entry_for_an_app_that_wants_it(hub: Hub) -> None:
    users = await hub.all("/users", filter="status='active'")
    two = next(u for u in users if len({r["org"]["sourcedId"] for r in u["roles"]}) > 1)
    first, last = two["roles"][0], two["roles"][-1]
    text = f"roles.org.sourcedId='{first['org']['sourcedId']}' AND roles.roleType='{last['roleType']}'"
    same = await having(hub, same_entry=True)

    assert first["roleType"] != last["roleType"]
    assert two["sourcedId"] in await hub.ids("/users", filter=text)
    assert await same.ids("/users", filter=text) == [
        u["sourcedId"]
        for u in users
        if any(r["org"] == first["org"] and r["roleType"] == last["roleType"] for r in u["roles"])
    ]


async def test_more_clauses_are_read_from_left_to_right_for_an_app_that_wants_it(hub: Hub) -> None:
    text = "type='school' OR type='district' AND name~'a' AND status='active'"
    status, body, _ = await hub.get("/orgs", filter=text)
    assert (status, minor(body)) == (400, "invalid_filter_field")
    wanted = [
        o["sourcedId"]
        for o in await hub.all("/orgs", filter="status='active'")
        if o["type"] in {"school", "district"} and "a" in o["name"].lower()
    ]

    assert await (await having(hub, more_clauses=True)).ids("/orgs", filter=text) == wanted


async def test_strict_and_lenient_queries(hub: Hub) -> None:
    strict = await having(hub, unknown_sort="refuse", unknown_selection="refuse", bad_order_by="refuse")
    for query, code in (
        ({"sort": "shoeSize"}, "invaliddata"),
        ({"fields": "shoeSize"}, "invalid_selection_field"),
        ({"sort": "name", "orderBy": "up"}, "invaliddata"),
    ):
        status, body = await strict.get("/orgs", **query)
        assert (status, minor(body)) == (400, code)
    lenient = await having(hub, bad_order_by="ascending", dotted_selection="member")
    assert await lenient.ids("/orgs", sort="name", orderBy="up") == await hub.ids("/orgs", sort="name")
    _, body = await lenient.get("/enrollments", fields="user.sourcedId")
    assert all(set(one) == {"user"} for one in body["enrollments"] if one)


async def test_a_change_of_settings_acts_without_a_restart(hub: Hub) -> None:
    """What is known of a token is kept for a second: until then the old setting may act, afterwards the new one."""
    app = await having(hub)
    assert (await app.get("/schools/nope/classes"))[0] == 404
    async with hub.db.shared() as tx:
        await apps.change(tx, hub.prepared.apps["lms"], behaviour={"unknown_parent": "empty"})
    async with asyncio.timeout(30):
        while (await app.get("/schools/nope/classes"))[0] == 404:
            await asyncio.sleep(0.1)
    assert await app.ids("/schools/nope/classes") == []
