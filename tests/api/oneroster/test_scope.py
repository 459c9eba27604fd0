"""What an app may not see it cannot find: not by paths, ids, references, counts, filters, orders or dates."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from hub.api.oneroster.operations import Operation
from hub.api.oneroster.rostering import ROSTERING
from hub.api.oneroster.scopes import V1P2
from hub.scope.grants import GrantDefinition
from hub.store import apps, grants
from hub.sync import grants as granting
from tests.api.oneroster.rosters import Hub, issue, minor
from tests.districts import changed, sandbox

CORE, ROSTER, DEMOGRAPHICS = V1P2.ROSTER_CORE, V1P2.ROSTER, V1P2.DEMOGRAPHICS

UNKNOWN = {
    "imsx_codeMajor": "failure",
    "imsx_severity": "error",
    "imsx_description": "There is no such object, or this app may not see it.",
    "imsx_CodeMinor": {
        "imsx_codeMinorField": [
            {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": "unknownobject"}
        ]
    },
}
COLLECTIONS = [o for o in ROSTERING if not o.single and not o.parents]


def needed(operation: Operation) -> set[str]:
    """The scopes of which one is enough, as the standard's table has them."""
    if operation.path.startswith("/demographics"):
        return {DEMOGRAPHICS}
    return {ROSTER} if operation.path.count("{") - operation.path.endswith("/{sourcedId}") else {ROSTER, CORE}


async def ids_of(hub: Hub, app: str, district: object = None) -> dict[str, set[str]]:
    """The sourcedIds that an app can list, by the last word of a collection's path."""
    found = {}
    for operation in COLLECTIONS:
        status, body, _ = await hub.get(
            operation.path, app=app, district=district, limit="10000", filter="status='active'"
        )
        assert status == 200
        found[operation.path[1:]] = {o["sourcedId"] for o in body[operation.envelope]}
    return found


def collection_of(operation: Operation, variable: str) -> str:
    """The collection that a path's variable names an object of."""
    before = operation.path.partition("/{" + variable + "}")[0]
    return before.rpartition("/")[2]


def addresses(operation: Operation, kinds: list[dict[str, str]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The operation's path with every mix of ids; ``kinds`` are ids by collection, the first are the app's own."""
    names = [collection_of(operation, v) for v in operation.variables]
    for mix in itertools.product(range(len(kinds)), repeat=len(names)):
        path = operation.path
        for variable, name, kind in zip(operation.variables, names, mix, strict=True):
            path = path.replace("{" + variable + "}", kinds[kind][name])
        yield path, mix


@pytest.mark.threat("T12", "T17", "T24")
async def test_only_own_ids_are_found_by_any_route_and_all_others_get_one_answer(hub: Hub) -> None:
    own, whole = await ids_of(hub, "math"), await ids_of(hub, "lms")
    foreign = await ids_of(hub, "stranger", hub.prepared.there)
    own["demographics"] = set()
    classes = await hub.all("/classes", app="math", filter="status='active'")
    one = classes[0]
    mine = {name: min(found, default="") for name, found in own.items()}
    mine |= {"classes": one["sourcedId"], "schools": one["school"]["sourcedId"]}
    hidden = {name: min(whole[name] - own[name], default=str(uuid4())) for name in whole}
    elsewhere = {name: min(found, default=str(uuid4())) for name, found in foreign.items()}
    kinds = [mine, hidden, elsewhere, dict.fromkeys(mine, str(uuid4())),
             dict.fromkeys(mine, "no%20id%20at%20all")]  # fmt: skip
    assert sum(bool(whole[name] - own[name]) for name in whole) >= 6
    tried = 0
    for operation in ROSTERING:
        # This grant has no demographics at all.
        kinds_here = kinds[1:] if operation.entity.name == "demographics" else kinds
        for path, mix in addresses(operation, kinds_here):
            status, body, _ = await hub.get(path, app="math")
            wanted = (kinds_here is kinds and not any(mix)) or not mix
            assert status == (200 if wanted else 404), (path, mix)
            if not wanted:
                assert body == UNKNOWN
            tried += 1
    assert tried > 200


@pytest.mark.threat("T12", "T24")
async def test_every_route_wants_its_scope_and_no_other_is_enough(hub: Hub) -> None:
    client = hub.prepared.clients["lms"][0]
    everything = await ids_of(hub, "lms")
    for scopes in (
        [CORE],
        [ROSTER],
        [DEMOGRAPHICS],
        [CORE, DEMOGRAPHICS],
        [],
        [ROSTER + "x"],
    ):
        token = await issue(hub.db, client, scopes)
        for operation in ROSTERING:
            ((path, _),) = addresses(operation, [{name: min(found) for name, found in everything.items()}])
            status, body, headers = await hub.get(path, token=token)
            if needed(operation) & set(scopes):
                assert status in {200, 404}
                assert status == 200 or operation.parents, path
            else:
                assert (status, minor(body)) == (403, "forbidden"), (path, scopes)
                assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]


@pytest.mark.threat("T24")
async def test_a_token_is_worth_nothing_in_a_district_that_did_not_grant(hub: Hub) -> None:
    for app, district in (("lms", hub.prepared.there), ("stranger", hub.prepared.here), ("nobody", hub.prepared.here),
                          ("lms", uuid4()), ("lms", "nonsense"), ("lms", "%2F"),
                          ("lms", "00000000-0000-0000-0000-000000000000")):  # fmt: skip
        for path in ("/users", f"/users/{uuid4()}", f"/schools/{uuid4()}/classes"):
            status, body, _ = await hub.get(path, app=app, district=district)
            assert (status, body) == (404, UNKNOWN)


@pytest.mark.threat("T13")
@pytest.mark.parametrize("app", ["math", "library", "lms"])
async def test_every_id_in_an_answer_can_be_read_with_the_same_token(hub: Hub, app: str) -> None:
    entities = {"org": "orgs", "academicSession": "academicSessions", "course": "courses", "class": "classes",
                "user": "users"}  # fmt: skip
    known: dict[str, set[str]] = {}
    named: set[tuple[str, str]] = set()

    def references(value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            if "href" in value:
                assert value["href"].endswith(f"/{entities[value['type']]}/{value['sourcedId']}")
                yield entities[value["type"]], value["sourcedId"]
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for operation in COLLECTIONS:
        status, body, _ = await hub.get(operation.path, app=app, limit="10000")
        assert status == 200
        living = [o for o in body[operation.envelope] if o["status"] == "active"]
        known.setdefault(operation.entity.name, set()).update(o["sourcedId"] for o in living)
        named.update(itertools.chain.from_iterable(references(o) for o in living))
    assert len(named) > 50
    assert [(entity, key) for entity, key in named if key not in known[entity]] == []
    for entity, key in sorted(named)[::23]:
        assert (await hub.get(f"/{entity}/{key}", app=app))[0] == 200


@pytest.mark.threat("T15")
@pytest.mark.parametrize("app", ["math", "library"])
async def test_counts_are_what_walking_all_pages_gives(hub: Hub, app: str) -> None:
    for path in [o.path for o in COLLECTIONS] + [
        f"/schools/{hub.prepared.school}/{n}" for n in ("students", "enrollments")
    ]:
        for query in ({}, {"filter": "status='active'"}, {"sort": "dateLastModified", "orderBy": "desc"}):
            seen: list[str] = []
            total = None
            while total is None or len(seen) < total:
                status, body, headers = await hub.get(path, app=app, limit="40", offset=str(len(seen)), **query)
                (objects,) = body.values()
                assert (status, len(objects) > 0) == (200, int(headers["X-Total-Count"]) > 0)
                assert total in {None, int(headers["X-Total-Count"])}
                total = int(headers["X-Total-Count"])
                seen += [o["sourcedId"] for o in objects]
            assert len(seen) == len(set(seen)) == total


async def test_apps_see_their_rows_and_fields(hub: Hub) -> None:
    whole = {u["sourcedId"]: u for u in await hub.all("/users", filter="status='active'")}
    math = {u["sourcedId"]: u for u in await hub.all("/users", app="math", filter="status='active'")}
    library = {u["sourcedId"]: u for u in await hub.all("/users", app="library", filter="status='active'")}

    assert set(math) < set(whole) == set(library)
    assert any("email" in u for u in whole.values())
    for user in [*math.values(), *library.values()]:
        assert not {"email", "phone", "sms", "agents", "userProfiles", "pronouns", "password"} & set(user)
    for key, user in library.items():
        assert user["familyName"] == whole[key]["familyName"][0].upper()
        assert "identifier" not in user
    assert (await hub.get("/demographics", app="math"))[1] == {"demographics": []}


@pytest.mark.threat("T14")
async def test_hidden_masked_and_unknown_fields_are_alike(hub: Hub) -> None:
    user = next(u for u in await hub.all("/users", filter="status='active'") if u.get("email") and u.get("identifier"))
    alike = {
        "identifier": user["identifier"], "familyName": user["familyName"], "email": user["email"], "grades": "09",
        "agents.sourcedId": user["sourcedId"], "userProfiles": "x", "shoeSize": "1",
    }  # fmt: skip
    answers = []
    for name, value in alike.items():
        for text in (f"{name}='{value}'", f"{name}!='x' OR status='active'", f"{name}>'a'"):
            status, body, headers = await hub.get("/users", app="library", filter=text)
            # The name that was asked for is repeated, whatever it is; nothing else may tell one name from another.
            body["imsx_description"] = body["imsx_description"].replace(name, "FIELD", 1)
            answers.append((status, body, sorted(set(headers) - {"Date", "X-Request-ID"})))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][0] == 400
    order = await hub.ids("/users", app="library")
    for name in alike:
        assert await hub.ids("/users", app="library", sort=name, orderBy="desc") == order
        whole = (await hub.get("/users", app="library", limit="3"))[1]
        assert (await hub.get("/users", app="library", limit="3", fields=f"sourcedId,{name}"))[1] == (
            whole if name != "familyName" else
            {"users": [{n: u[n] for n in ("sourcedId", "familyName")} for u in whole["users"]]}
        )  # fmt: skip


@pytest.mark.threat("T16")
async def test_a_hidden_change_moves_no_date_and_a_visible_one_does(hub: Hub) -> None:
    frames = sandbox(100, 7).frames
    async with hub.db.district(hub.prepared.here) as tx:
        row = await tx.fetchrow(
            "SELECT s.key, u.sourced_id::text AS id FROM users u JOIN source_records s USING (district_id, rid) "
            "WHERE s.entity = 'users' AND u.active AND u.email IS NOT NULL AND u.sourced_id = ANY($1::uuid[]) LIMIT 1",
            await hub.ids("/students", app="math", filter="status='active'"),
        )
    assert row is not None
    before = {app: await hub.get(f"/users/{row['id']}", app=app) for app in ("math", "lms")}
    edited = changed(frames, "users", row["key"], email="another@school.example")
    run = await hub.first.sync(edited)
    assert run.state == "applied", (run.state, run.guard)
    after = {app: await hub.get(f"/users/{row['id']}", app=app) for app in ("math", "lms")}

    assert after["math"][1] == before["math"][1]
    assert after["lms"][1]["user"]["email"] == "another@school.example"
    assert after["lms"][1]["user"]["dateLastModified"] > before["lms"][1]["user"]["dateLastModified"]
    await hub.first.sync(changed(edited, "users", row["key"], givenName="Renamed"))
    final = (await hub.get(f"/users/{row['id']}", app="math"))[1]["user"]
    assert final["givenName"] == "Renamed"
    assert final["dateLastModified"] > before["math"][1]["user"]["dateLastModified"]


@pytest.mark.threat("T18")
@pytest.mark.parametrize("what", ["suspend", "revoke", "token", "client", "district"])
async def test_what_is_withdrawn_ends_with_the_next_request(hub: Hub, what: str) -> None:
    prepared = hub.prepared
    paths = ("/users", f"/users/{prepared.gone_student}", f"/users/{uuid4()}", f"/schools/{prepared.school}/terms")
    queries: list[dict[str, str]] = [{"limit": "3"}, {"limit": "3", "offset": "3"}, {"offset": "99999"},
                                     {"filter": "sourcedId='nobody'"}, {"sort": "sourcedId"}]  # fmt: skip
    for path, query in itertools.product(paths, queries):
        assert (await hub.get(path, app="math", **query))[0] in {200, 404}
    now = hub.first.clock.now()
    if what in {"token", "client"}:
        async with hub.db.shared() as tx:
            if what == "token":
                await apps.revoke_token(tx, apps.digest(prepared.tokens["math"]), now)
            else:
                await apps.revoke_client(tx, prepared.clients["math"][0], now)
    else:
        async with hub.db.district(prepared.here) as tx:
            if what == "district":
                await tx.execute("UPDATE districts SET state = 'suspended' WHERE district_id = $1", prepared.here)
            else:
                state = "suspended" if what == "suspend" else "revoked"
                await granting.set_state(tx, prepared.grants["math"], state)
    status = 401 if what in {"token", "client"} else 403
    for path, query in itertools.product(paths, queries):
        found, body, _ = await hub.get(path, app="math", **query)
        assert (found, minor(body)) == (status, "unauthorisedrequest" if status == 401 else "forbidden"), (path, query)
    assert (await hub.get("/orgs"))[0] == (403 if what == "district" else 200)


@pytest.mark.threat("T18")
async def test_a_grant_that_was_narrowed_shows_less_with_the_next_request(hub: Hub) -> None:
    before = await hub.ids("/users", app="math", filter="status='active'")
    async with hub.db.district(hub.prepared.here) as tx:
        definition = GrantDefinition.model_validate((await grants.get(tx, hub.prepared.grants["math"])).definition)
        teachers = definition.model_copy(
            update={"rules": (definition.rules[0].model_copy(update={"roles": ("teacher",)}),)}
        )
        await granting.edit(tx, hub.prepared.grants["math"], teachers, hub.first.clock.now())
    after = await hub.all("/users", app="math")

    assert {u["sourcedId"] for u in after if u["status"] == "active"} < set(before)
    assert {u["sourcedId"] for u in after if u["status"] == "tobedeleted"} >= set(before) - {
        u["sourcedId"] for u in after if u["status"] == "active"
    }
    assert all(set(u) == {"sourcedId", "status", "dateLastModified"} for u in after if u["status"] == "tobedeleted")
    assert (await hub.get("/students", app="math", filter="status='active'"))[1] == {"users": []}


async def test_a_grant_that_comes_back_is_read_again(hub: Hub) -> None:
    for state, status in (("suspended", 403), ("active", 200)):
        async with hub.db.district(hub.prepared.here) as tx:
            await granting.set_state(tx, hub.prepared.grants["math"], state)
        assert (await hub.get("/users", app="math"))[0] == status
