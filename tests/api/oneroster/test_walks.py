"""Walks over pages while syncs land: nothing is lost, nothing comes twice, the count stays; against a slow model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from hub.api.oneroster.bindings import BINDINGS
from hub.api.oneroster.operations import SCHOOL, STUDENT, TEACHER, TERM
from hub.api.oneroster.scopes import SCOPES
from hub.api.views import Views
from hub.behaviour import Behaviour
from hub.objects.bases import EVERYWHERE, PATHS
from hub.scope.grants import GrantDefinition
from hub.store import apps, grants, views
from hub.sync import grants as granting
from tests.api.oneroster.edits import edited, lose_user, move, some
from tests.api.oneroster.questions import question, snapshot
from tests.api.oneroster.rosters import Hub, Prepared, issue, land, minor, running
from tests.api.oneroster.slow_model import BASE, Object
from tests.api.oneroster.test_reads import links
from tests.databases import copy_of
from tests.districts import EVERYTHING, changed, sandbox
from tests.services import Database
from transforms.catalogue import Privacy

COLLECTIONS = [(b.path, o) for b in BINDINGS for o in b.operations if b.version == "1.2" and not o.single]
OLD_COLLECTIONS = [(b.path, o) for b in BINDINGS for o in b.operations if b.version == "1.1" and not o.single]


#: Where the objects are listed that can stand in a path, by what they have to be.
PARENTS_OF = {SCHOOL: "/schools", TERM: "/terms", STUDENT: "/students", TEACHER: "/teachers"}


@dataclass
class Walker:
    """One walk over the pages of one question."""

    hub: Hub
    other: Hub  # another process, which has kept nothing of what the first one read
    app: str
    path: str
    query: Mapping[str, str]
    wanted: list[str]
    limit: int
    seen: list[Object] = field(default_factory=list)
    next: str | None = None
    begun: bool = False

    async def step(self) -> None:
        """Reads one more page, if there is one."""
        if self.begun and self.next is None:
            return
        address = self.next
        if address is None:
            status, body, headers = await self.hub.get(self.path, app=self.app, limit=str(self.limit), **self.query)
        else:
            status, body, headers = await follow(self.other, self.app, address)
        assert status == 200, (self.path, self.query, body)
        self.begun = True
        (objects,) = body.values()
        self.seen += objects
        assert headers["X-Total-Count"] == str(len(self.wanted)), (self.path, self.query)
        self.next = links(headers["Link"]).get("next")

    async def finish(self) -> None:
        """Reads all pages that are left, and compares."""
        while not self.begun or self.next is not None:
            await self.step()
        assert [one["sourcedId"] for one in self.seen] == self.wanted, (self.path, self.query)


async def follow(hub: Hub, app: str, address: str) -> tuple[int, Any, Mapping[str, str]]:
    """The page that a link leads to."""
    base = hub.settings.public_url
    headers = {"Authorization": f"Bearer {hub.prepared.tokens[app]}"}
    async with hub.session.get(URL(address.removeprefix(base), encoded=True), headers=headers) as response:
        return response.status, await response.json(loads=orjson.loads), response.headers


async def live_through(hub: Hub, other: Hub, app: str, behaviour: Behaviour, rnd: Random) -> None:
    """Questions before, between and after syncs, each answered as the model does, whenever its pages are read."""
    async with hub.db.shared() as tx:
        await apps.change(tx, hub.prepared.apps[app], behaviour=behaviour.model_dump())
    begun: list[Walker] = []
    hub.prepared.tokens[app] = await issue(hub.db, hub.prepared.clients[app][0], list(SCOPES))
    frames = before = sandbox(100, 7, gradebook=True).frames
    await land(hub, frames)
    root = str(hub.prepared.here)
    for round_ in range(3):
        seen = await snapshot(hub, app, behaviour)
        some_of_them = COLLECTIONS if round_ == 0 else rnd.sample(COLLECTIONS, 15)
        asked = [question(seen, path.replace("{district}", root), operation, rnd) for path, operation in some_of_them]
        new = [Walker(hub, other, app, *q, limit=max(2, len(q[2]) // 3 + 1)) for q in asked if q is not None]
        for walker in new:
            await walker.step()
        begun += new
        if round_ < 2:
            frames = edited(frames, before, rnd, 25)
            await land(hub, frames)
            for walker in begun[:: rnd.randint(1, 3)]:
                await walker.step()
    for walker in begun:
        await walker.finish()


BEHAVIOURS = st.builds(
    Behaviour, semester_is_term=st.booleans(), courses_of_classes=st.booleans(), absent_not_equal=st.booleans(),
    filter_case=st.sampled_from(["folded", "exact"]), list_equal=st.sampled_from(["holds", "same"]),
    same_entry=st.booleans(), more_clauses=st.booleans(),
    deleted_gradebook=st.just("listed"),  # the model lists what a question without a filter lists
)  # fmt: skip


@settings(
    max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(seed=st.integers(0, 2**32), app=st.sampled_from(["lms", "math"]), behaviour=BEHAVIOURS)
def test_every_page_of_every_question_is_what_a_slow_model_says(
    postgres: str, rostered: tuple[str, Prepared], seed: int, app: str, behaviour: Behaviour
) -> None:
    prepared = replace(rostered[1], tokens=dict(rostered[1].tokens))

    async def live() -> None:
        async with (
            copy_of(postgres, rostered[0]) as database,
            running(database, prepared) as hub,
            running(database, prepared) as other,
        ):
            await live_through(hub, other, app, behaviour, Random(seed))

    asyncio.run(live())


@pytest.mark.threat("T15")
async def test_a_record_that_left_during_a_walk_shows_as_a_bare_tombstone_and_a_new_one_does_not_come(hub: Hub) -> None:
    frames = sandbox(100, 7).frames
    before = await hub.all("/students", app="math", sort="familyName", orderBy="desc")
    leaver = next(one for one in reversed(before) if one["status"] == "active")
    status, body, headers = await hub.get("/students", app="math", sort="familyName", orderBy="desc", limit="5")
    key = await source_key(hub, leaver["sourcedId"])
    school = frames["orgs"].filter(frames["orgs"]["type"] == "school")["sourcedId"]
    stranger = frames["roles"].filter(
        frames["roles"]["role"] == "student", frames["roles"]["orgSourcedId"] == school[1]
    )
    await land(hub, move(lose_user(frames, key), str(stranger["userSourcedId"][0]), str(school[0])))
    rest = [page async for page in pages(hub, "math", links(headers["Link"])["next"])]
    seen = [*body["users"], *(one for page in rest for one in page)]

    assert status == 200
    assert [one["sourcedId"] for one in seen] == [one["sourcedId"] for one in before]
    (left,) = [one for one in seen if one["sourcedId"] == leaver["sourcedId"]]
    assert set(left) == BASE
    assert left["status"] == "tobedeleted"
    now = await hub.ids("/students", app="math")
    assert len(set(now) - {one["sourcedId"] for one in before}) == 1


async def source_key(hub: Hub, sourced_id: str) -> str:
    """What the source calls a user."""
    async with hub.db.district(hub.prepared.here) as tx:
        key: str = await tx.fetchval(
            "SELECT s.key FROM users u JOIN source_records s USING (district_id, rid) WHERE s.entity = 'users' "
            "AND u.sourced_id = $1::uuid", sourced_id,
        )  # fmt: skip
    return key


async def pages(hub: Hub, app: str, address: str | None) -> AsyncIterator[list[Object]]:
    """The objects of a page and of those behind it."""
    while address is not None:
        status, body, headers = await follow(hub, app, address)
        assert status == 200, body
        (objects,) = body.values()
        yield objects
        address = links(headers["Link"]).get("next")


async def test_a_position_holds_for_its_question_alone(hub: Hub) -> None:
    """Another question, another app, another path, and what nobody gave get one answer, changed or not."""
    frames = sandbox(100, 7).frames
    school, other = hub.prepared.school, hub.prepared.other_school
    asked = {"filter": "familyName>='A'", "sort": "familyName"}
    _, _, headers = await hub.get(f"/schools/{school}/students", limit="2", **asked)
    position = URL(links(headers["Link"])["next"], encoded=True).query["position"]
    step, _, signature = position.partition(".")
    same = f"/schools/{school}/students"
    good: dict[str, str] = {**asked, "position": position}
    bad: list[tuple[str, str, dict[str, str]]] = [
        ("lms", f"/schools/{school}/teachers", good), ("lms", f"/schools/{other}/students", good), ("math", same, good),
        *(("lms", same, good | change) for change in (
            {"filter": "familyName>='B'"}, {"sort": "givenName"}, {"orderBy": "desc"}, {"position": ""},
            {"position": "x"}, {"position": step}, {"position": f"{int(step) - 1}.{signature}"},
            {"position": f"{step}.{signature[:-1]}"}, {"position": f"{step}.{'0' * 32}"}, {"position": "9" * 500},
            {"position": f"\u0661.{signature}"}, {"position": f"-1.{signature}"},
        )),
        ("lms", same, {"position": position}),
    ]  # fmt: skip
    for round_ in range(2):
        answers = [await hub.get(path, app=app, **query) for app, path, query in bad]
        assert {status for status, _, _ in answers} == {400}
        assert all(body == answers[0][1] for _, body, _ in answers)
        assert minor(answers[0][1]) == "invaliddata"
        for more in ({}, {"limit": "7", "offset": "2"}, {"fields": "sourcedId"}):
            assert (await hub.get(same, **good, **more))[0] == 200
        if not round_:
            await land(hub, changed(frames, "users", some(Random(1), frames, "users"), familyName="Z"))
    assert (await hub.get(f"/users/{hub.prepared.gone_student}", position="x"))[0] == 200


async def test_a_walk_ends_when_its_fields_change_and_a_day_after_the_first_change_behind_it(
    hub: Hub, roster_database: Database
) -> None:
    frames = sandbox(100, 7).frames
    _, _, headers = await hub.get("/users", app="math", limit="2")
    following = links(headers["Link"])["next"]
    await land(hub, changed(frames, "users", some(Random(3), frames, "demographics"), familyName="Z"))
    assert (await follow(hub, "math", following))[0] == 200
    async with hub.db.district(hub.prepared.here) as tx:
        grant = hub.prepared.grants["math"]
        definition = GrantDefinition.model_validate((await grants.get(tx, grant)).definition)
        more = definition.model_copy(update={"privacy": (Privacy.CONTACT,)})
        await granting.edit(tx, grant, more, hub.first.clock.now())
    status, body, _ = await follow(hub, "math", following)
    assert (status, minor(body)) == (400, "invaliddata")
    async with hub.db.district(hub.prepared.here) as tx:
        await granting.edit(tx, grant, definition, hub.first.clock.now())
    assert (await follow(hub, "math", following))[0] == 200
    await old_feed(hub, hours=23)
    async with running(roster_database, hub.prepared) as another:
        assert (await follow(another, "math", following))[0] == 200
    await old_feed(hub, hours=2)
    async with running(roster_database, hub.prepared) as another:
        status, body, _ = await follow(another, "math", following)
        assert (status, minor(body)) == (400, "invaliddata")


async def old_feed(hub: Hub, *, hours: int) -> None:
    """Makes all that happened older."""
    async with hub.db.district(hub.prepared.here) as tx:
        await tx.execute("UPDATE feed SET at = at - make_interval(hours => $1)", hours)


async def test_what_a_feed_leads_to_is_what_is_stored(hub: Hub) -> None:
    frames = before = sandbox(100, 7).frames
    for seed in range(2):
        frames = edited(frames, before, Random(seed), 30)
        await land(hub, frames)
    for app in ("lms", "math", "library"):
        async with hub.db.district(hub.prepared.here, readonly=True) as tx:
            held = await views.held(tx, hub.prepared.apps[app])
        assert held is not None
        found = Views()
        view = await found.get(hub.db, hub.prepared.here, held.grant)
        past = await found.past(hub.db, hub.prepared.here, view, view.step)
        for name, now in view.entities.items():
            then = past[name]
            assert (then.present, then.gone) == (now.present, now.gone), name
            assert then.stamps.texts(list(now.listed)) == now.stamps.texts(list(now.listed))


async def test_a_walk_over_all_districts_stays_where_each_of_them_was(hub: Hub, roster_database: Database) -> None:
    async with hub.db.district(hub.prepared.there) as tx:
        await granting.create(tx, hub.prepared.apps["lms"], EVERYTHING, hub.first.clock.now())
    frames = sandbox(100, 7).frames
    begun: list[tuple[str, list[str], list[Object], str]] = []
    for text in (
        "users?", "users?sort=familyName&orderBy=desc&", "users?sort=middleName&filter=givenName~%27a%27&",
        "classes?sort=course.sourcedId&", "enrollments?filter=status%3D%27active%27&sort=beginDate&",
    ):  # fmt: skip
        address = f"{hub.settings.public_url}{EVERYWHERE}{PATHS['1.2']['rostering']}/{text}"
        _, whole, _ = await follow(hub, "lms", f"{address}limit=10000")
        _, body, headers = await follow(hub, "lms", f"{address}limit=60")
        (objects,), (first,) = whole.values(), body.values()
        begun.append((text, [one["sourcedId"] for one in objects], first, links(headers["Link"])["next"]))
    await land(hub, edited(frames, frames, Random(11), 60))
    async with running(roster_database, hub.prepared) as other:
        for text, wanted, first, following in begun:
            rest = [page async for page in pages(other, "lms", following)]
            seen = [*first, *(one for page in rest for one in page)]
            assert [one["sourcedId"] for one in seen] == wanted, text


@pytest.mark.parametrize("app", ["lms", "math"])
async def test_walks_of_every_collection_of_1_1(hub: Hub, roster_database: Database, app: str) -> None:
    """What a person is in 1.1 changes with their roles; each collection against its own list from before the syncs."""
    hub = replace(hub, prepared=replace(hub.prepared, tokens=dict(hub.prepared.tokens)))
    hub.prepared.tokens[app] = await issue(hub.db, hub.prepared.clients[app][0], list(SCOPES))
    frames = before = sandbox(100, 7, gradebook=True).frames
    await land(hub, frames)
    rnd, begun = Random(5), list[Walker]()
    async with running(roster_database, hub.prepared) as other:
        for service, operation in OLD_COLLECTIONS:
            root = service.replace("{district}", str(hub.prepared.here))
            path = operation.path
            for parent in operation.parents:
                known = await hub.all(f"{root}{PARENTS_OF.get(parent.subset, '/' + parent.entity)}", app=app)
                living = [one["sourcedId"] for one in known if one["status"] == "active"]
                path = path.replace(f"{{{parent.variable}}}", rnd.choice([*living, "nothing"]))
            for query in ({}, {"filter": "status='active'", "sort": "sourcedId", "orderBy": "desc"}):
                status, body, _ = await hub.get(root + path, app=app, limit="10000", **query)
                if status == 200:  # the class in a path may be one of another school
                    wanted = [one["sourcedId"] for one in next(iter(body.values()))]
                    begun.append(Walker(hub, other, app, root + path, query, wanted, limit=max(2, len(wanted) // 3)))
        assert len(begun) > 50
        for walker in begun:
            await walker.step()
        for _ in range(2):
            frames = edited(frames, before, rnd, 30)
            await land(hub, frames)
            for walker in begun:
                await walker.step()
        for walker in begun:
            await walker.finish()
