"""Walks over pages while syncs land: nothing is lost, nothing comes twice, the count stays; against a slow model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from hub.api.behaviour import Behaviour
from hub.api.oneroster.operations import OPERATIONS, Operation
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.store import apps, grants, runs
from hub.sync.engine import work_once
from tests.api.oneroster.edits import edited
from tests.api.oneroster.rosters import Hub, Prepared, copied, running
from tests.api.oneroster.slow_model import Clause, Object, Snapshot
from tests.api.oneroster.test_reads import links
from tests.districts import Frames, sandbox
from transforms.catalogue import CATALOGUE, Entity, Kind

COLLECTIONS = [o for o in OPERATIONS if not o.single]
BARE = {"sourcedId", "status", "dateLastModified"}
PREDICATES = ("=", "!=", ">", ">=", "<", "<=", "~")


async def snapshot(hub: Hub, app: str, behaviour: Behaviour | None = None) -> Snapshot:
    """All that an app sees."""
    objects = {e.name: await hub.all(f"/{e.name}", app=app) for e in CATALOGUE.entities if e.service == "rostering"}
    async with hub.db.district(hub.prepared.here, readonly=True) as tx:
        grant = await grants.get(tx, hub.prepared.grants[app])
    definition = GrantDefinition.model_validate(grant.definition)
    shown = {entity: Projection(definition, entity).filterable for entity in objects}
    return Snapshot(objects, behaviour or Behaviour(), shown)


def parents(seen: Snapshot, operation: Operation, rnd: Random) -> tuple[str, ...] | None:
    """Ids of objects that can stand in an operation's path, one inside the other."""
    ids: list[str] = []
    for parent in operation.parents:
        fitting = [
            one["sourcedId"]
            for one in seen.living(parent.entity)
            if seen._in(one, parent.subset) and (parent.within is None or one[parent.within]["sourcedId"] == ids[-1])
        ]
        if not fitting:
            return None
        ids.append(rnd.choice(fitting))
    return tuple(ids)


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
        return response.status, await response.json(), response.headers


def question(seen: Snapshot, operation: Operation, rnd: Random) -> tuple[str, dict[str, str], list[str]] | None:
    """A path, a query, and the ids that the model answers with."""
    ids = parents(seen, operation, rnd)
    if ids is None:
        return None
    path = operation.path
    for variable, key in zip(operation.variables, ids, strict=True):
        path = path.replace(f"{{{variable}}}", key)
    found, query = seen.collection(operation, ids), dict[str, str]()
    if rnd.random() < 0.7:
        most = 4 if seen.behaviour.more_clauses else 2
        clauses = [clause(seen, operation.entity, rnd) for _ in range(rnd.randint(1, most))]
        joins = [rnd.choice(["AND", "OR"]) for _ in clauses[1:]]
        texts = [clauses[0].text] + [f"{j} {c.text}" for j, c in zip(joins, clauses[1:], strict=True)]
        query["filter"] = " ".join(texts)
        found = [one for one in found if seen.matches(one, operation.entity, clauses, joins)]
    if rnd.random() < 0.6:
        query |= {"sort": sort(seen, operation.entity, rnd), "orderBy": rnd.choice(["asc", "desc"])}
        found = seen.in_order(found, operation.entity, query["sort"], descending=query["orderBy"] == "desc")
    return path, query, [one["sourcedId"] for one in found]


def sort(seen: Snapshot, entity: Entity, rnd: Random) -> str:
    names = [*BARE]
    for f in seen.fields(entity):
        if f.kind is Kind.REF and not f.many:
            names.append(f"{f.name}.sourcedId")
        elif f.kind not in {Kind.REF, Kind.USER_ID, Kind.COMPONENT, Kind.METADATA} and not f.many:
            names.append(f.name)
    return rnd.choice(names)


def clause(seen: Snapshot, entity: Entity, rnd: Random) -> Clause:
    """A clause on any field, often with a value that some object has."""
    paths = [*BARE]
    for f in seen.fields(entity):
        if f.kind is Kind.REF:
            paths += [f"{f.name}.sourcedId"] * 2
        elif f.kind is Kind.USER_ID:
            paths += [f"{f.name}.type", f"{f.name}.identifier"]
        elif f.name == "roles":
            paths += ["roles.role", "roles.roleType", "roles.beginDate", "roles.org.sourcedId"]
        elif f.kind is Kind.METADATA:
            paths.append(f"{f.name}.house")
        elif f.kind is not Kind.COMPONENT:
            paths.append(f.name)
    path = rnd.choice(paths)
    known = sorted({value for one in seen.objects[entity.name] for value in values(one, path.split("."))})
    value = rnd.choice(known) if known and rnd.random() < 0.85 else rnd.choice(["", "x", "true", "7", "2026-09-01"])
    value = rnd.choice([value, value, value, value.upper(), value[:2], value[1:3], f"{value},03"])
    return Clause(path, rnd.choice(PREDICATES), value)


def values(value: Any, path: Sequence[str]) -> list[str]:
    """All texts at a path."""
    if isinstance(value, list):
        return [text for one in value for text in values(one, path)]
    if not path:
        return [] if value is None else [str(value)]
    return values(value.get(path[0]), path[1:]) if isinstance(value, dict) else []


async def land(hub: Hub, frames: Frames) -> None:
    """Syncs a package, and approves it where it changes more than a district usually does."""
    run = await hub.first.sync(frames)
    if run.state == "held":
        async with hub.db.district(hub.prepared.here) as tx:
            await runs.decide(tx, run.run_id, approve=True, actor="tests")
        while await work_once(hub.db, hub.first.clock):
            pass
        run = await hub.first.run(run.run_id)
    assert run.state == "applied", (run.state, run.guard, run.error_message)


async def live_through(hub: Hub, other: Hub, app: str, behaviour: Behaviour, rnd: Random) -> None:
    """Questions before, between and after syncs, each answered as the model does, whenever its pages are read."""
    async with hub.db.shared() as tx:
        await apps.change(tx, hub.prepared.apps[app], behaviour=behaviour.model_dump())
    begun: list[Walker] = []
    frames = before = sandbox(100, 7).frames
    for round_ in range(3):
        seen = await snapshot(hub, app, behaviour)
        asked = [question(seen, operation, rnd) for operation in COLLECTIONS for _ in range(2)]
        new = [Walker(hub, other, app, *q, limit=max(2, len(q[2]) // 4 + 1)) for q in asked if q is not None]
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
)  # fmt: skip


@settings(
    max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(seed=st.integers(0, 2**32), app=st.sampled_from(["lms", "math"]), behaviour=BEHAVIOURS)
def test_every_page_of_every_question_is_what_a_slow_model_says(
    postgres: str, rostered: tuple[str, Prepared], seed: int, app: str, behaviour: Behaviour
) -> None:
    async def live() -> None:
        async with (
            copied(postgres, rostered[0]) as database,
            running(database, rostered[1]) as hub,
            running(database, rostered[1]) as other,
        ):
            await live_through(hub, other, app, behaviour, Random(seed))

    asyncio.run(live())
