"""Every route of the admin API with every token and every kind of id, expected by a table by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from joserfc import jwk

from hub.store import admin_tokens, people, runs, source_schedules, sources, statements, traces
from hub.store.database import Transaction
from tests.api.matrix.admin_rules import EXPECTED
from tests.api.matrix.conftest import Matrix
from tests.api.matrix.test_apps import wrong
from tests.api.matrix.wire import Ask
from tests.api.matrix.world import JSON, bearer

Ids = Mapping[str, str]  # by variable
#: By whose token it is: the role's letter.
ROLES = {"operator": "o", "district": "d", "other district": "d", "app": "a", "other app": "a"}
#: What a variable of a path may name. ``foreign``: of another district, or another app.
KINDS = ("own", "foreign", "never", "broken")
GRADE_TARGET = {
    "url": "https://127.0.0.1:8443/ims/oneroster/gradebook/v1p2", "client_secret": "s",
    "login": {"kind": "oauth2", "token_url": "https://127.0.0.1:8443/token", "client_id": "hub"},
}  # fmt: skip
WINDOW = {"kind": "blackout", "name": "x", "starts": "04-12", "ends": "04-17"}
#: Bodies that reach the object in the path; a route without one here takes none, or fails on a body before it looks.
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/districts/{district}"): {"name": "Renamed"},
    ("PUT", "/districts/{district}/retention"): {"issue_days": 30},
    ("PATCH", "/districts/{district}/sources/{source}"): {"name": "Renamed"},
    ("PUT", "/districts/{district}/guard"): {},
    ("PUT", "/districts/{district}/sources/{source}/guard"): {},
    ("POST", "/districts/{district}/guard/windows"): WINDOW,
    ("POST", "/districts/{district}/sources/{source}/guard/windows"): WINDOW,
    ("POST", "/districts/{district}/runs/{run}/release"): {},
    ("POST", "/districts/{district}/users/{user}/split"): {},
    ("POST", "/districts/{district}/sources/{source}/depart"): {"dry_run": True},
    ("PUT", "/districts/{district}/survivorship"): {"rules": {}},
    ("PATCH", "/districts/{district}/survivorship"): {"rules": {}},
    ("PUT", "/districts/{district}/sources/{source}/transform"): {"definition": {}},
    ("POST", "/districts/{district}/sources/{source}/transform/revert"): {"version": 1},
    ("POST", "/districts/{district}/sources/{source}/transform/preview"): {"definition": {}},
    ("PUT", "/districts/{district}/sources/{source}/schedule"): {"cron": "0 2 * * *"},
    ("POST", "/districts/{district}/sources/{source}/run"): {},
    ("POST", "/districts/{district}/sources/{source}/hints"): {},
    ("POST", "/districts/{district}/sources/{source}/hints/rotate"): {},
    ("POST", "/districts/{district}/sources/{source}/traces"): {},
    ("PATCH", "/districts/{district}/recipients/{recipient}"): {"state": "paused"},
    ("POST", "/apps/{app}/recipients"): {"channel": "webhook", "address": "https://127.0.0.1/x"},
    ("PATCH", "/apps/{app}/recipients/{app_recipient}"): {"state": "paused"},
    ("POST", "/districts/{district}/agreements/{agreement}/accept"): {},
    ("PUT", "/districts/{district}/agreements/{agreement}/schools"): {"schools": None},
    ("PUT", "/districts/{district}/grants/{grant}"): {"definition": {}},
    ("POST", "/districts/{district}/grants/{grant}/preview"): {"definition": {}},
    ("POST", "/districts/{district}/grants/{grant}/identifiers"): {"identifiers": ["x"]},
    ("POST", "/districts/{district}/subscriptions/{subscription}/signature"): {"headers": {}, "body": ""},
    ("PUT", "/districts/{district}/grade-targets/{target}"): GRADE_TARGET,
    ("POST", "/districts/{district}/grade-targets/{target}/retry"): {},
    ("POST", "/districts/{district}/grade-targets/{target}/skip"): {},
    ("POST", "/districts/{district}/subscriptions/{subscription}/rotate"): {},
    ("POST", "/districts/{district}/subscriptions/{subscription}/replay"): {"from": 0},
    ("POST", "/districts/{district}/subscriptions/{subscription}/seek"): {},
    ("PATCH", "/districts/{district}/subscriptions/{subscription}"): {"signatures": ["v1", "v1a"]},
    ("PUT", "/districts/{district}/export-schedules/{schedule}"): {"target": {"kind": "folder", "folder": "x"}},
    ("POST", "/districts/{district}/runs/{run}/undo"): {"dry_run": True},
    ("POST", "/districts/{district}/users/{user}/erase"): {"dry_run": True},
    ("POST", "/kits"): {"kind": "powerschool"},
    ("PATCH", "/apps/{app}"): {"name": "Renamed"},
    ("PUT", "/apps/{app}/limits"): {},
    ("POST", "/apps/{app}/clients"): {},
    ("POST", "/apps/{app}/sandbox"): {"students": 100},
    ("PUT", "/apps/{app}/clients/{client}/keys"): {
        "jwks": {"keys": [jwk.ECKey.generate_key("P-256", private=False).as_dict()]}
    },
}
#: What has to be said behind the path, for the same reason.
QUERIES = {
    ("GET", "/districts/{district}/crosswalk"): "?key=x",
    ("DELETE", "/districts/{district}/guard/windows"): "?name=x",
    ("DELETE", "/districts/{district}/sources/{source}/guard/windows"): "?name=x",
}
ZIP = "Content-Type: application/zip"
#: These take seconds, or are about what a worker finds; they have tests of their own.
ELSEWHERE = {
    "/apps/{app}/sandbox/changes", "/districts/{district}/agreements/{agreement}/transfers/{user}/asked",
}  # fmt: skip
UPLOAD = ("POST", "/districts/{district}/sources/{source}/uploads")
#: Writes with a body of their own making would succeed: with a member that nobody knows they are refused, once let in.
UNKNOWN_MEMBER = b'{"unknown": 1}'


#: What clients of tus say with each request.
_TUS = ("Tus-Resumable: 1.0.0", "Upload-Length: 10", "Upload-Offset: 0")


def besides(method: str, path: str) -> tuple[str, ...]:
    """The headers without which a route understands nobody."""
    if "/resumable" not in path:
        return ()
    return (*_TUS, "Content-Type: application/offset+octet-stream") if method == "PATCH" else _TUS


def variables(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def takes_body(method: str, path: str) -> bool:
    """Whether a route reads a body: those that make something, or that have one above."""
    return method in {"POST", "PUT", "PATCH"} and ((method, path) in BODIES or path.rpartition("/")[2] in {
        "districts", "sources", "uploads", "runs", "grants", "preview", "apps", "subscriptions", "export-schedules",
        "grade-targets", "tokens", "overrides", "recipients", "windows", "matches", "agreements",
        "split", "matching",
    })  # fmt: skip


@pytest.mark.threat("T12", "T17", "T20", "T24", "T55")
async def test_each_token_reaches_what_the_table_says_and_has_one_answer_for_all_else(matrix: Matrix) -> None:
    ids = await _furnished(matrix)
    asks, wanted = [], []
    for (method, path), roles in EXPECTED.items():
        for who, letter in ROLES.items() if roles != "-" else ():
            for kinds in _mixes(len(variables(path))):
                status = expected(roles, who, letter, dict(zip(variables(path), kinds, strict=True)))
                if status is None and method != "GET" and not takes_body(method, path):
                    continue  # these would be done: see the other test
                address = _filled(
                    method, path, [ids[kind][name] for name, kind in zip(variables(path), kinds, strict=True)]
                )
                body = b"" if method == "GET" else _body(method, path, valid=status is not None)
                media = (ZIP,) if (method, path) == UPLOAD else (JSON,)
                headers = (*bearer(matrix.world.admins[who]), *besides(method, path), *(media if body else ()))
                asks.append(Ask(method, address, headers, body, (who, *kinds)))
                wanted.append({status} if status else {"GET": {200}}.get(method, {400, 415}))
    told = await matrix.wire.all(asks)
    assert wrong(told, wanted) == []
    assert len(told) > 800
    for tus in (False, True):  # whose answers name the protocol's version, as the request did
        assert len({t.shown for t in told if t.status == 404 and ("tus-resumable" in t.headers) == tus}) == 1


def expected(roles: str, who: str, letter: str, kinds: Mapping[str, str]) -> int | None:
    """The refusal by the first rule that applies; None for what is let in.

    A role that the route does not admit; a district or an app that is not the token's; an object that is not in the
    district or the app of the path.
    """
    if letter not in roles:
        return 403
    # The other district's token is at home where the path is foreign; so is the other app's.
    home = "foreign" if who.startswith("other") else "own"
    limited = {"district": "da", "app": "a"}  # staff look at every app: they grant to it
    base = kinds.get("district", kinds.get("app"))
    for name, kind in kinds.items():
        if kind in {"never", "broken"}:
            return 404
        if letter in limited.get(name, "") and kind != home:
            return 404
        if name not in limited and base is not None and kind != base:
            return 404
    return None


def _mixes(count: int) -> Iterator[tuple[str, ...]]:
    """All kinds in each place beside the app's own, and all foreign."""
    found = {tuple("own" if n != place else kind for n in range(count)) for place in range(count) for kind in KINDS}
    yield from sorted(found | {("foreign",) * count}) if count else [()]


def _filled(method: str, path: str, ids: list[str]) -> str:
    query = QUERIES.get((method, path), "")
    for one in ids:
        path = re.sub(r"\{\w+\}", one, path, count=1)
    return "/admin/v1" + path + query


def _body(method: str, path: str, *, valid: bool) -> bytes:
    if (method, path) == UPLOAD:
        return b"PK" if valid else b""
    if not takes_body(method, path):
        return b""
    return orjson.dumps(BODIES[method, path]) if valid and (method, path) in BODIES else UNKNOWN_MEMBER


@pytest.mark.threat("T20", "T21")
async def test_what_is_no_valid_token_gets_one_answer_everywhere(matrix: Matrix) -> None:
    ids, world = await _furnished(matrix), matrix.world
    good = world.admins["operator"]
    shown = ((), ("Authorization: Basic eDp5",), ("Authorization: Bearer",), *(bearer(text) for text in (
        "nonsense", good + "x", good[:-1], world.admins["expired"], world.admins["revoked"], world.tokens["school"],
        world.clients["school"][1], admin_tokens.PREFIX + "A" * 43,
    )))  # fmt: skip
    asks = [
        Ask(method, _filled(method, path, [ids["own"][name] for name in variables(path)]), headers)
        for (method, path), roles in EXPECTED.items() if roles != "-" for headers in shown
    ]  # fmt: skip
    told = await matrix.wire.all(asks)
    assert wrong(told, [{401}] * len(told)) == []
    assert len({one.shown for one in told}) == 1


@pytest.mark.threat("T20")
async def test_what_a_role_may_do_is_done(matrix: Matrix) -> None:
    """Writes that take no body, on objects made for them; what ends them comes last."""
    done_last = sorted(
        EXPECTED.items(), key=lambda route: (route[0][0] == "DELETE", -len(variables(route[0][1])), -len(route[0][1]))
    )
    told = []
    for who, letter in (("operator", "o"), ("district", "d"), ("app", "a")):
        own = await _objects(matrix, matrix.world.here, matrix.world.source, "school")
        if letter != "a":  # the app goes on living by its own grant
            own |= {"grant": await _spare_grant(matrix)}
        for (method, path), roles in done_last:
            if letter in roles and method != "GET" and not takes_body(method, path) and path not in ELSEWHERE:
                address = _filled(method, path, [own[name] for name in variables(path)])
                headers = (*bearer(matrix.world.admins[who]), *besides(method, path))
                told.append(await matrix.wire.one(Ask(method, address, headers, label=(who,))))
    # A run that is over has nothing to be decided, and a client without OAuth 1 nothing to be switched off.
    assert wrong(told, [{200, 201, 204, 409}] * len(told)) == []
    done = {(one.ask.label[0], re.sub(r"[^/]*[0-9][^/]*", "*", one.ask.path)) for one in told if one.status < 300}
    assert len(done) > 20, sorted(done)


async def _spare_grant(matrix: Matrix) -> str:
    """The grant of an app that nothing else needs."""
    app = await _made(matrix, "operator", "/apps", {"name": str(uuid4())})
    body = {"app_id": app["app_id"], "definition": {}}
    grant: str = (await _made(matrix, "operator", f"/districts/{matrix.world.here}/grants", body))["grant_id"]
    return grant


async def _furnished(matrix: Matrix) -> dict[str, Ids]:
    """One object of each kind in the first district and for its app, and in the other district and for its app."""
    world = matrix.world
    own = await _objects(matrix, world.here, world.source, "school")
    foreign = await _objects(matrix, world.there, world.foreign_source, "stranger")
    names = own.keys()
    return {"own": own, "foreign": foreign, "never": {name: str(uuid4()) for name in names},
            "broken": dict.fromkeys(names, "no%20id%00")}  # fmt: skip


async def _objects(matrix: Matrix, district: UUID, source: UUID, app: str) -> dict[str, str]:
    world = matrix.world
    async with matrix.hub.db.district(district) as tx:
        run = next(one for one in await runs.listing(tx, limit=500) if one.upload_id)
        override = await _override(tx)
        record = await tx.fetchval("SELECT sourced_id FROM orgs LIMIT 1")
        users = [row[0] for row in await tx.fetch("SELECT sourced_id FROM users ORDER BY rid LIMIT 2")]
        await people.decide(tx, {(0, 1): "unsure"}, by="test")
        erasure = await tx.fetchval("SELECT erasure_id FROM erasures LIMIT 1")
    root, grant = f"/districts/{district}", {"grant_id": str(world.grants[app])}
    subscription = await _made(matrix, "operator", f"{root}/subscriptions", grant | {"url": "https://127.0.0.1/hook"})
    parked = await _parked(matrix, district, subscription["subscription_id"])
    staff = "district" if district == world.here else "other district"
    schedule = await _made(
        matrix, staff, f"{root}/export-schedules", grant | {"target": {"kind": "folder", "folder": "x"}}
    )
    target = await _target(matrix, staff, f"{root}/grade-targets", source)
    await _scheduled(matrix, district, source)
    hears = {"channel": "webhook", "address": f"https://127.0.0.1/{uuid4()}"}
    recipient = await _made(matrix, staff, f"{root}/recipients", hears)
    ears = await _made(matrix, "operator", f"/apps/{world.apps[app]}/recipients", hears)
    told = await matrix.wire.one(Ask("POST", f"/d/{district}/export/v1/exports", bearer(world.tokens[app])))
    client = await _made(matrix, "operator", f"/apps/{world.apps[app]}/clients", {})
    token = await _made(matrix, "operator", "/tokens", {"name": "x", "role": "operator"})
    agreement = await _proposed(matrix, staff, root)
    drop = await matrix.wire.one(
        Ask("POST", f"/admin/v1{root}/sources/{source}/drop", bearer(world.admins["operator"]))
    )
    assert drop.status in {201, 409}, drop  # a source has one
    return {
        "agreement": agreement, "district": str(district), "record": str(record), "user": str(users[0]),
        "left": str(users[0]), "right": str(users[1]),
        "erasure": str(erasure), "source": str(source), "app": str(world.apps[app]),
        "run": str(run.run_id),
        "upload": str(run.upload_id), "resumable": await _resumable(matrix, district, source),
        "export": orjson.loads(told.body)["export"], "client": client["client_id"],
        "subscription": subscription["subscription_id"], "parked": parked, "schedule": schedule["schedule_id"],
        "target": target["target_id"], "override": override, "recipient": recipient["recipient_id"],
        "app_recipient": ears["recipient_id"], "trace": await _trace(matrix, staff, district, source),
        "token": token["token_id"], **grant, "grant": grant["grant_id"],
    }  # fmt: skip


async def _proposed(matrix: Matrix, who: str, root: str) -> str:
    """A proposal that a district has made to a new one."""
    partner = await _made(matrix, "operator", "/districts", {"name": str(uuid4())})
    made = await _made(matrix, who, f"{root}/agreements", {"partner": partner["district_id"]})
    return str(made["agreement_id"])


async def _resumable(matrix: Matrix, district: UUID, source: UUID) -> str:
    """An upload that has begun."""
    path = f"/districts/{district}/sources/{source}/resumable"
    headers = (*bearer(matrix.world.admins["operator"]), *besides("POST", path))
    told = await matrix.wire.one(Ask("POST", "/admin/v1" + path, headers))
    assert told.status == 201, told
    return str(told.headers["location"]).rpartition("/")[2]


async def _override(tx: Transaction) -> str:
    """A living override of the district, which has no more than one of each field of a record."""
    known = await statements.overrides(tx) or [
        await statements.override(
            tx, uuid4(), entity="users", rid=0, field="phone", value=None, owner="x", reason="x", until=None
        )
    ]
    return str(known[0].override_id)


async def _parked(matrix: Matrix, district: UUID, subscription: str) -> str:
    """A change that the receiver of a subscription refuses."""
    made = uuid4()
    async with matrix.hub.db.district(district) as tx:
        await tx.execute(
            "INSERT INTO parked (district_id, subscription_id, parked_id, entity, rid, operation, version, attempts) "
            "VALUES ($1, $2, $3, 'users', 0, 'updated', 1, 3)",
            district, UUID(subscription), made,
        )  # fmt: skip
    return str(made)


async def _trace(matrix: Matrix, who: str, district: UUID, source: UUID) -> str:
    """A trace of the source that was recorded."""
    made = (await _made(matrix, who, f"/districts/{district}/sources/{source}/traces", {}))["trace_id"]
    async with matrix.hub.db.district(district) as tx:
        await traces.keep(tx, source, UUID(made), run_id=None, outcome="whole", exchanges=0, data=b"{}")
    return str(made)


async def _scheduled(matrix: Matrix, district: UUID, source: UUID) -> None:
    """A schedule of the source, and hints. Of one that takes uploads only the API would refuse them."""
    async with matrix.hub.db.district(district) as tx:
        await source_schedules.put(tx, source, cron="0 2 * * *", zone="UTC", grace_minutes=60, next_at=None)
        await sources.change(tx, source, config={"path": "/nowhere/package.zip"})
    path = f"/admin/v1/districts/{district}/sources/{source}/hints"
    told = await matrix.wire.one(Ask("POST", path, (*bearer(matrix.world.admins["operator"]), JSON), b"{}"))
    assert told.status in {201, 409}, told  # a source hears some or none


async def _target(matrix: Matrix, who: str, path: str, source: UUID) -> Any:
    """The grade target of a source, which has no more than one."""
    told = await matrix.wire.one(Ask("GET", "/admin/v1" + path, bearer(matrix.world.admins[who])))
    found = orjson.loads(told.body)["items"]
    return found[0] if found else await _made(matrix, who, path, GRADE_TARGET | {"source_id": str(source)})


async def _made(matrix: Matrix, who: str, path: str, body: Any) -> Any:
    headers = (*bearer(matrix.world.admins[who]), JSON)
    told = await matrix.wire.one(Ask("POST", "/admin/v1" + path, headers, orjson.dumps(body)))
    assert told.status == 201, str(told)
    return orjson.loads(told.body)
