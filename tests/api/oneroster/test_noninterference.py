"""Two hubs that differ only in what an app may not see cannot be told apart by it, whatever it asks (T14 to T17).

Both get the same visible changes at the same times by real syncs. One of them gets hidden changes besides: of fields,
of records, of references that lead outside the app's view.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from yarl import URL

from hub.api import guard
from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.rostering import ROSTERING
from hub.store.database import Transaction
from tests.api.oneroster.edits import NAMES, Keys, Package, added, edited, lose_user, with_role
from tests.api.oneroster.questions import values
from tests.api.oneroster.rosters import Hub, Prepared, land, running
from tests.api.oneroster.test_reads import links
from tests.databases import copy_of
from tests.districts import Frames, changed, sandbox, without
from transforms.catalogue import CATALOGUE, Entity, Kind

#: They tell requests apart, or when they came.
OF_THE_MOMENT = re.compile("Date|X-Request-ID|X-RateLimit-.*", re.IGNORECASE)
FILES = {entity.name: entity.csv_file for entity in CATALOGUE.entities if entity.service == "rostering"}
PREDICATES = ("=", "!=", ">", ">=", "<", "<=", "~")
Change = Callable[[Frames], Package]


@dataclass
class Standing:
    """A clock that stands still."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.at


async def listed_keys(hub: Hub, app: str) -> Keys:
    """What the source calls the records that an app sees or saw, by file; demographics are their users'."""
    found: dict[str, set[str]] = {}
    for entity, file in FILES.items():
        ids = [UUID(key) for key in await hub.ids(f"/{entity}", app=app)]
        async with hub.db.district(hub.prepared.here, readonly=True) as tx:
            rows = await tx.fetch(
                f"SELECT s.key FROM {CATALOGUE[entity].table} r JOIN source_records s USING (district_id, rid) "
                "WHERE s.entity = $1 AND r.sourced_id = ANY($2::uuid[])", entity, ids,
            )  # fmt: skip
        found[file] = {row[0] for row in rows}
    found["demographics"] = found["users"]
    return found


def hidden_changes(frames: Frames, seen: Keys, app: str, rnd: Random, times: int) -> Change:
    """Changes that the app may not see: of hidden fields of any record, and of records that it never saw."""
    users = frames["users"]["sourcedId"].to_list()
    hidden = {file: [k for k in frames[file]["sourcedId"].to_list() if k not in keys] for file, keys in seen.items()}

    def value(file: str, keys: list[str], **values: str | None) -> Change:
        key = rnd.choice(keys)
        return lambda now: changed(now, file, key, **values)

    def of_any_user() -> Change:
        return value("users", users, email=f"{rnd.choice(NAMES)}{rnd.randrange(99)}@x.example", phone="555", sms=None)

    def of_agents() -> Change:
        return value("users", users, agentSourcedIds=rnd.choice([None, rnd.choice(users)]), pronouns="they")

    def of_demographics() -> Change:
        return value("demographics", users, birthDate="2011-11-11", sex="other", cityOfBirth=rnd.choice(NAMES))

    kinds: list[Callable[[], Change]] = [of_any_user, of_agents, of_demographics]
    if app == "library":
        kinds += [
            lambda: value("users", users, identifier=str(rnd.randrange(999)), grades=rnd.choice(["03", "04,05", None])),
            lambda: renamed(rnd.choice(users), rnd.choice(["zz", "aa"])),
        ]
    else:
        kinds += [
            lambda: value("users", hidden["users"], givenName=rnd.choice(NAMES), familyName=rnd.choice(NAMES)),
            lambda: value("users", hidden["users"], identifier="7", grades="03", enabledUser="false"),
            lambda: value("classes", hidden["classes"], title=rnd.choice(NAMES), periods="9", location=None),
            lambda: value("courses", hidden["courses"], title=rnd.choice(NAMES), courseCode="X"),
            lambda: value("orgs", hidden["orgs"], name=rnd.choice(NAMES)),
            lambda: value("enrollments", hidden["enrollments"], role="student", beginDate="2026-09-02"),
            lambda: gone("enrollments", rnd.choice(hidden["enrollments"])),
            lambda: leaver(rnd.choice(hidden["users"])),
            lambda: newcomer(f"new-{rnd.randrange(10**9)}", rnd.choice(hidden["orgs"])),
            lambda: second_role(f"role-{rnd.randrange(10**9)}", rnd.choice(sorted(seen["users"])), hidden["orgs"][0]),
        ]
    return one_after_the_other([rnd.choice(kinds)() for _ in range(times)])


def one_after_the_other(changes: Sequence[Change]) -> Change:
    """All of these changes as one."""

    def all_of_them(now: Frames) -> Package:
        out = dict(now)
        for change in changes:
            out = dict(change(out))
        return out

    return all_of_them


def gone(file: str, key: str) -> Change:
    return lambda now: without(now, file, [key])


def leaver(key: str) -> Change:
    return lambda now: lose_user(now, key)


def renamed(key: str, rest: str) -> Change:
    """Another family name with the same initial, which is all that a mask shows."""
    here, name = pl.col("sourcedId") == key, pl.col("familyName")
    renames = pl.when(here).then(name.str.slice(0, 1) + rest).otherwise(name)
    return lambda now: dict(now) | {"users": now["users"].with_columns(familyName=renames)}


def newcomer(key: str, school: str) -> Change:
    """A new teacher at a school."""
    user = {"sourcedId": key, "enabledUser": "true", "username": key, "givenName": "New", "familyName": "Comer"}
    role = {"sourcedId": f"of-{key}", "userSourcedId": key, "roleType": "primary", "role": "teacher",
            "orgSourcedId": school}  # fmt: skip
    return lambda now: added(added(now, "users", user), "roles", role)


def second_role(key: str, user: str, org: str) -> Change:
    """One more role, somewhere that the app does not see."""
    return lambda now: with_role(now, key, user, "aide", org)


@dataclass
class Spy:
    """Asks both hubs the same and compares whatever comes back but what tells the moment."""

    one: Hub
    other: Hub
    app: str
    rnd: Random
    ids: dict[str, list[str]]
    texts: dict[tuple[str, str], list[str]]
    telling: dict[tuple[str, str], list[str]]
    began: datetime
    nexts: list[str] = field(default_factory=list)
    tags: list[tuple[str, str]] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)
    asked: int = 0

    async def ask(self, path: str, *, method: str = "GET", tag: str | None = None) -> Mapping[str, str]:
        """One request, below the hub's address."""
        headers = {"Authorization": f"Bearer {self.one.prepared.tokens[self.app]}", "Accept-Encoding": "identity"}
        if tag is not None:
            headers["If-None-Match"] = tag
        answers = []
        for hub in (self.one, self.other):
            async with hub.session.request(method, URL(path, encoded=True), headers=headers) as answer:
                told = {n.lower(): text for n, text in answer.headers.items() if not OF_THE_MOMENT.fullmatch(n)}
                answers.append((answer.status, await answer.read(), told))
        assert answers[0] == answers[1], (method, path)
        self.asked += 1
        self.statuses.add(answers[0][0])
        assert answers[0][0] < 500
        return answers[0][2]

    @property
    def base(self) -> str:
        return ROSTERING_PATH.replace("{district}", str(self.one.prepared.here))

    async def random_request(self) -> None:
        """Any request that an app can form."""
        rnd = self.rnd
        operation = rnd.choice(ROSTERING)
        path = self.base + operation.path
        entities = {parent.variable: parent.entity for parent in operation.parents}
        for variable in operation.variables:
            wanted = entities.get(variable, operation.entity.name)
            known = self.ids[wanted if rnd.random() < 0.9 else rnd.choice(list(self.ids))]
            key = rnd.choice(known) if rnd.random() < 0.95 else rnd.choice(["nobody", "%00", str(uuid4())])
            path = path.replace(f"{{{variable}}}", quote(key, safe=""), 1)
        query = self.query(operation)
        address = path + ("?" + "&".join(f"{n}={quote(v, safe='')}" for n, v in query.items()) if query else "")
        told = await self.ask(address, method=rnd.choice(["GET"] * 5 + ["HEAD"]))
        if "next" in links(told.get("link", "")):
            self.nexts.append(links(told["link"])["next"].removeprefix(self.one.settings.public_url))
        if "etag" in told:
            self.tags.append((address, told["etag"]))

    def query(self, operation: Operation) -> dict[str, str]:
        rnd, entity = self.rnd, operation.entity
        query: dict[str, str] = {}
        if rnd.random() < 0.6:
            clauses = [self.clause(entity) for _ in range(rnd.choice([1, 1, 2]))]
            query["filter"] = rnd.choice([" AND ", " OR ", " OR ", " XOR "]).join(clauses)
        if rnd.random() < 0.4:
            query["sort"] = self.path(entity)
            query["orderBy"] = rnd.choice(["asc", "desc", "desc", "up"])
        if rnd.random() < 0.3:
            query["fields"] = ",".join(self.path(entity).partition(".")[0] for _ in range(rnd.randint(1, 4)))
        if rnd.random() < 0.7:
            query["limit"] = rnd.choice(["1", "3", "10", "10000", "10000", "0"])
        if rnd.random() < 0.2:
            query["offset"] = rnd.choice(["1", "7", "100000", "-1"])
        return query

    def clause(self, entity: Entity) -> str:
        path = self.path(entity)
        return f"{path}{self.rnd.choice(PREDICATES)}'{self.value(entity, path)}'"

    def path(self, entity: Entity) -> str:
        """A field, shown or hidden or made up, and perhaps something below it."""
        return self.rnd.choice([*paths(entity), "shoeSize", "roles", f"{self.rnd.choice(entity.body).name}.x"])

    def value(self, entity: Entity, path: str) -> str:
        """A value at a path in some record of one of the hubs, best one by which they can be told apart."""
        place = (entity.name, path)
        found = self.telling.get(place) if self.rnd.random() < 0.5 else None
        found = found or self.texts.get(place) or self.texts["users", "familyName"]
        text = self.rnd.choice([*(self.rnd.choice(found) for _ in range(4)), "true", ""])
        return self.rnd.choice([text, text, text, text.upper(), text[:3]]).replace("'", "''")

    async def follow(self) -> None:
        """What changed, from every step on, in whole and in pages, and from times between syncs."""
        here = f"/d/{self.one.prepared.here}/changes"
        for step in range(8):
            for query in ("", "&limit=10000", "&limit=7", "&limit=300&types=users.*%2C*.deleted"):
                await self.ask(f"{here}?after={step}{query}")
        for place in (here, "/changes"):
            await self.ask(place)
            for seconds in (-3600, -60, 0, 60, 100, 120):
                since = (self.began + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
                await self.ask(f"{place}?since={since}&limit=10000")

    async def sweep(self) -> None:
        """Every path of every entity, each with a value by which the hubs could be told apart if there is one."""
        for entity in FILES:
            for path in paths(CATALOGUE[entity]):
                values = self.telling.get((entity, path)) or self.texts.get((entity, path)) or ["x"]
                value = self.rnd.choice(values).replace("'", "''")
                text = quote(f"{path}{self.rnd.choice(['=', '!=', '~', '>='])}'{value}'", safe="")
                for query in (f"filter={text}", f"filter={text}%20OR%20status%3D%27tobedeleted%27", f"sort={path}"):
                    await self.ask(f"{self.base}/{entity}?limit=10000&{query}")


def paths(entity: Entity) -> list[str]:
    """All that stands in the records of an entity, down to single values."""
    found = ["sourcedId", "status", "dateLastModified"]
    for one in entity.body:
        if one.kind is Kind.REF:
            found.append(f"{one.name}.sourcedId")
        elif one.name == "roles":
            found += [f"roles.{name}" for name in ("role", "roleType", "beginDate", "org.sourcedId")]
        elif one.kind is Kind.USER_ID:
            found += [f"{one.name}.type", f"{one.name}.identifier"]
        else:
            found.append(f"{one.name}.house" if one.kind is Kind.METADATA else one.name)
    return found


Index = dict[tuple[str, str], dict[str, set[str]]]


async def everything(hub: Hub) -> Index:
    """Which records have a value at a path, by entity and path and value, whoever may see them."""
    found: Index = {}
    for entity in FILES:
        for one in await hub.all(f"/{entity}"):
            for path in paths(CATALOGUE[entity]):
                for text in values(one, path.split(".")):
                    found.setdefault((entity, path), {}).setdefault(text, set()).add(one["sourcedId"])
    return found


async def spy_through(hub: Hub, twin: Hub, app: str, rnd: Random) -> Spy:
    """Questions before and after syncs, and walks that go through them."""
    frames = before = sandbox(100, 7).frames
    clock, later = Standing(), Standing()
    for each in (hub, twin):
        await land(each, frames, clock)
    seen = await listed_keys(hub, app)
    hide = hidden_changes(frames, seen, app, rnd, 25)
    await land(twin, hide(frames), later)
    known, secret = await everything(hub), await everything(twin)
    both = {place: sorted({*known.get(place, {}), *secret.get(place, {})}) for place in {*known, *secret}}
    telling = {
        place: [text for text in texts if known.get(place, {}).get(text) != secret.get(place, {}).get(text)]
        for place, texts in both.items()
    }
    ids = {entity: both[entity, "sourcedId"] for entity in FILES}
    spy = Spy(hub, twin, app, rnd, ids, both, telling, Standing().at)
    await spy.sweep()
    for round_ in range(2):
        for _ in range(80):
            await spy.random_request()
        if round_ == 0:
            clock.at += timedelta(seconds=90)
            later.at += timedelta(seconds=140)
            # Whom it never saw, nobody moves to where the app would see them with what was changed in secret.
            frames = edited(frames, before, rnd, 12, among=seen)
            await land(hub, frames, clock)
            await land(twin, hide(frames), clock)
            more = hidden_changes(frames, seen, app, rnd, 10)
            await land(twin, one_after_the_other([hide, more])(frames), later)
        await spy.follow()
        for address in rnd.sample(spy.nexts, min(40, len(spy.nexts))):
            told = await spy.ask(address)
            if "next" in links(told.get("link", "")):
                await spy.ask(links(told["link"])["next"].removeprefix(hub.settings.public_url))
        for address, tag in rnd.sample(spy.tags, min(30, len(spy.tags))):
            await spy.ask(address, tag=tag)
    return spy


@pytest.mark.threat("T14", "T15", "T16", "T17")
@settings(
    max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(seed=st.integers(0, 2**32), app=st.sampled_from(["math", "library"]))
def test_two_hubs_that_differ_in_hidden_things_only_cannot_be_told_apart(
    postgres: str, rostered: tuple[str, Prepared], seed: int, app: str
) -> None:
    async def spying() -> None:
        name, prepared = rostered
        async with (
            copy_of(postgres, name) as database,
            copy_of(postgres, name) as secret,
            running(database, prepared) as hub,
            running(secret, prepared) as twin,
        ):
            spy = await spy_through(hub, twin, app, Random(seed))
            assert spy.asked > 400
            assert spy.statuses == {200, 304, 400, 404, 410}
            assert (await hub.get("/users", limit="10000"))[1] != (await twin.get("/users", limit="10000"))[1]

    asyncio.run(spying())


@pytest.mark.threat("T14", "T17")
async def test_what_is_hidden_is_looked_up_by_the_same_statements_as_what_does_not_exist(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So time tells no more than what PostgreSQL needs to find one row by its key, or none."""
    monkeypatch.setattr(guard, "_FRESH_SECONDS", 600.0)  # or a token is looked up again between two that are compared
    statements: list[str] = []
    for name in ("fetch", "fetchrow", "fetchval", "execute", "alone"):
        record(monkeypatch, name, statements)
    seen = {entity: set(await hub.ids(f"/{entity}", app="math")) for entity in ("users", "classes", "orgs")}
    user, class_, org = [
        next(key for key in await hub.ids(f"/{entity}", filter="status='active'") if key not in seen[entity])
        for entity in ("users", "classes", "orgs")
    ]
    school = hub.prepared.school
    ways: list[tuple[str, dict[str, str], str]] = [
        ("/users/{}", {}, user), ("/classes/{}", {}, class_), ("/orgs/{}", {}, org), ("/students/{}", {}, user),
        ("/users/{}/classes", {}, user), ("/classes/{}/students", {}, class_), ("/schools/{}/students", {}, org),
        (f"/schools/{school}/classes/{{}}/enrollments", {}, class_),
        ("/users", {"filter": "sourcedId='{}'"}, user), ("/enrollments", {"filter": "user.sourcedId='{}'"}, user),
        ("/enrollments", {"filter": "class.sourcedId!='{}'"}, class_),
        ("/users", {"filter": "roles.org.sourcedId='{}'"}, org), ("/users", {"filter": "email='{}'"}, "x"),
    ]  # fmt: skip
    fields = [
        ("/users", {"filter": "{}='x'"}, "email"), ("/users", {"sort": "{}"}, "email"),
        ("/users", {"fields": "sourcedId,{}"}, "phone"), ("/users", {"sort": "{}.sourcedId"}, "agents"),
    ]  # fmt: skip
    compared = 0
    pairs = [*((way, str(uuid4()), str(uuid4())) for way in ways), *((way, "shoeSize", "hatSize") for way in fields)]
    for (path, query, hidden), first, other in pairs:
        taken = []
        for word in (first, hidden, other):  # the first one brings a fresh process up
            statements.clear()
            await hub.get(path.format(word), app="math", **{name: text.format(word) for name, text in query.items()})
            taken.append(list(statements))
        assert taken[1] == taken[2], (path, query)
        compared += len(taken[1])
    assert compared > 20
    for district in (hub.prepared.there, uuid4()):
        statements.clear()
        assert (await hub.get("/orgs", app="math", district=district))[0] == 404
        assert len(statements) == 2


def record(monkeypatch: pytest.MonkeyPatch, name: str, statements: list[str]) -> None:
    """Writes down the text of every statement that a method of transactions is given."""
    real = getattr(Transaction, name)

    async def recorded(self: Transaction, query: str, *values: object) -> Any:
        statements.append(query)
        return await real(self, query, *values)

    monkeypatch.setattr(Transaction, name, recorded)
