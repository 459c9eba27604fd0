"""Who may call what, from a table of its own (T20, T24, T55)."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from joserfc import jwk

from hub.api.admin.route import DISTRICT, Role, Route, check
from hub.api.admin.routes import ROUTES
from hub.api.attempts import ATTEMPTS
from hub.api.buckets import Buckets
from hub.clock import SystemClock
from hub.ids import new_id
from hub.store import admin_tokens
from hub.store.audit import HUB
from tests.api.admin.findings import run_with_findings
from tests.api.admin.service import AdminHub, Answer
from tests.api.matrix.admin_rules import EXPECTED, LETTERS
from transforms.catalogue import CATALOGUE

BODIES = ("POST", "PUT", "PATCH")


def test_the_table_and_the_registry_hold_the_same_routes() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(EXPECTED)


def _fill(hub: AdminHub, path: str, **ids: object) -> str:
    known = {"district": hub.district, "source": hub.source, "app": hub.app, "grant": hub.grant, "client": "rh_cl_0"}
    return re.sub(r"\{(\w+)\}", lambda found: str(ids.get(found[1], known.get(found[1], uuid4()))), path)


async def _send(hub: AdminHub, method: str, path: str, role: str | None) -> Answer:
    """A request that is refused for its body or its missing objects, if it is let in."""
    options = {"json": {"unknown": 1}} if method in BODIES else {}
    return await hub.call(method, path, role=role, **options)


@pytest.mark.threat("T20", "T55")
async def test_every_route_admits_exactly_the_roles_of_the_table(hub: AdminHub) -> None:
    for (method, path), roles in EXPECTED.items():
        for letter, role in LETTERS.items():
            # Whatever is let in is refused later (404, 400, 415), so that nothing is revoked or renamed on the way.
            missing = {"grant": uuid4()} if method != "GET" else {}
            answer = await _send(hub, method, _fill(hub, path, **missing), role)
            if roles == "-" or letter in roles:
                assert answer.status not in (401, 403, 405, 500), (method, path, role, answer.body)
            else:
                assert (answer.status, answer.json["code"]) == (403, "forbidden"), (method, path, role, answer.body)


@pytest.mark.threat("T20", "T21", "T25")
async def test_without_a_valid_token_every_route_answers_the_same(hub: AdminHub) -> None:
    spent = await _spent_tokens(hub)
    bad = [None, "", "rh_ad_", "rh_ad_" + "A" * 43, "rh_ad_" + "A" * 5000, "rh_at_" + "A" * 43, *spent]
    for (method, path), roles in EXPECTED.items():
        if roles == "-":
            assert (await hub.call(method, path, role=None)).status == 200
            continue
        answers = set()
        for token in bad:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = await hub.call(method, _fill(hub, path), role=None, headers=headers)
            answers.add((answer.status, answer.headers["WWW-Authenticate"], answer.body))
        assert [status for status, _, _ in answers] == [401], (method, path, answers)


@pytest.mark.threat("T25")
async def test_guessing_tokens_is_held_up_and_who_has_one_is_not(hub: AdminHub) -> None:
    hub.server.app[ATTEMPTS]._by_address = Buckets(0.001, 3, asyncio.get_running_loop().time)
    assert (await hub.call("GET", "/me")).status == 200
    guesses = [{"Authorization": f"Bearer {admin_tokens.PREFIX}{number:043}"} for number in range(5)]
    answers = [await hub.call("GET", "/me", role=None, headers=headers) for headers in guesses]

    assert [answer.status for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].json["code"] == "too_many_attempts"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert (await hub.call("GET", "/me")).status == 200


@pytest.mark.threat("T25")
async def test_who_shows_a_token_that_is_over_is_no_guesser(hub: AdminHub) -> None:
    hub.server.app[ATTEMPTS]._by_address = Buckets(0.001, 3, asyncio.get_running_loop().time)
    *spent, _ = await _spent_tokens(hub)
    old = [{"Authorization": f"Bearer {token}"} for token in spent * 5]
    answers = [await hub.call("GET", "/me", role=None, headers=headers) for headers in old]
    assert [answer.status for answer in answers] == [401] * 10
    assert (await hub.call("GET", "/me")).status == 200


async def _spent_tokens(hub: AdminHub) -> list[str]:
    """An expired token, a revoked one, and what is stored of a good one."""
    now = SystemClock().now()
    async with hub.pool.district(HUB) as tx:
        _, expired = await admin_tokens.create(
            tx, new_id(), name="old", role="operator", expires_at=now - timedelta(seconds=1)
        )
        row, revoked = await admin_tokens.create(
            tx, new_id(), name="gone", role="operator", expires_at=now + timedelta(days=1)
        )
        await admin_tokens.revoke(tx, row.token_id, now)
    return [expired, revoked, "rh_ad_" + admin_tokens.digest(hub.tokens["operator"]).hex()]


@pytest.mark.threat("T17", "T24")
async def test_foreign_districts_and_missing_ones_look_the_same(hub: AdminHub) -> None:
    for (method, path), roles in EXPECTED.items():
        if "{district}" not in path:
            continue
        for letter in "da":
            if letter not in roles:
                continue
            bodies = set()
            for district in (hub.foreign_district, uuid4(), HUB, "nonsense", str(hub.foreign_district).upper()):
                ids = {"district": district, "source": hub.foreign_source, "grant": hub.foreign_grant}
                answer = await _send(hub, method, _fill(hub, path, **ids), LETTERS[letter])
                bodies.add((answer.status, answer.body))
            assert [status for status, _ in bodies] == [404], (method, path, letter, bodies)


@pytest.mark.threat("T17", "T24")
async def test_foreign_apps_and_missing_ones_look_the_same(hub: AdminHub) -> None:
    client = (await hub.made("POST", f"/apps/{hub.foreign_app}/clients", json={}))["client_id"]
    for (method, path), roles in EXPECTED.items():
        if "{app}" not in path or "a" not in roles:
            continue
        bodies = set()
        for app in (hub.foreign_app, uuid4()):
            answer = await _send(hub, method, _fill(hub, path, app=app, client=client), "app")
            bodies.add((answer.status, answer.body))
        assert [status for status, _ in bodies] == [404], (method, path, bodies)
    keys = {"jwks": {"keys": [jwk.ECKey.generate_key("P-256", private=False).as_dict()]}}
    for method, path, body in (("POST", "/rotate", None), ("DELETE", "", None), ("POST", "/oauth1/rotate", None),
                               ("DELETE", "/oauth1", None), ("PUT", "/keys", keys)):  # fmt: skip
        answer = await hub.call(method, f"/apps/{hub.app}/clients/{client}{path}", role="app", json=body)
        assert answer.status == 404


@pytest.mark.threat("T17", "T24")
async def test_ids_of_another_district_are_missing_in_ours(hub: AdminHub) -> None:
    for kind, id_ in (("sources", hub.foreign_source), ("grants", hub.foreign_grant)):
        foreign = await hub.call("GET", f"/districts/{hub.district}/{kind}/{id_}", role="district")
        missing = await hub.call("GET", f"/districts/{hub.district}/{kind}/{uuid4()}", role="district")
        assert (foreign.status, foreign.body) == (missing.status, missing.body)
        assert foreign.status == 404


async def test_lists_show_a_token_its_own(hub: AdminHub) -> None:
    districts = await hub.made("GET", "/districts", role="district")
    apps = await hub.made("GET", "/apps", role="app")

    assert [d["district_id"] for d in districts["items"]] == [str(hub.district)]
    assert [a["app_id"] for a in apps["items"]] == [str(hub.app)]
    assert len((await hub.made("GET", "/districts"))["items"]) == 2
    assert len((await hub.made("GET", "/apps"))["items"]) == 2


async def test_an_app_sees_its_own_grant_and_loses_the_district_with_it(hub: AdminHub) -> None:
    other = await hub.made(
        "POST", f"/districts/{hub.district}/grants", json={"app_id": str(hub.foreign_app), "definition": {}}
    )
    seen = await hub.made("GET", f"/districts/{hub.district}/grants", role="app")
    hidden = await hub.call("GET", f"/districts/{hub.district}/grants/{other['grant_id']}", role="app")
    await hub.made("POST", f"/districts/{hub.district}/grants/{hub.grant}/revoke")
    after = await hub.call("GET", f"/districts/{hub.district}/grants", role="app")

    assert [grant["grant_id"] for grant in seen["items"]] == [str(hub.grant)]
    assert (hidden.status, after.status) == (404, 404)


@pytest.mark.threat("T55")
def test_rosters_are_shown_to_the_district_alone_and_each_look_is_written_down() -> None:
    about_people = {entity.name for entity in CATALOGUE.entities} | {"records"}
    shown = [route for route in ROUTES if about_people & set(route.path.split("/")) and route.method == "GET"]
    assert all(route.roles == DISTRICT and route.action for route in shown)


@pytest.mark.threat("T55")
async def test_operators_see_no_keys_of_records_in_findings(hub: AdminHub) -> None:
    run = await run_with_findings(hub)
    for role, expected in (("operator", None), ("district", "student-7")):
        page = await hub.made("GET", f"/districts/{hub.district}/runs/{run}/issues", role=role)
        assert page["items"][0]["key"] == expected
        sheet = await hub.call("GET", f"/districts/{hub.district}/runs/{run}/issues.csv", role=role)
        assert (b"student-7" in sheet.body) is (role == "district")


@pytest.mark.threat("T20")
def test_a_contradicting_table_is_refused_at_start() -> None:
    async def handler() -> None: ...

    good = Route("GET", "/a", handler, "")
    wrong = [
        [good, good],
        [Route("POST", "/a", handler, "")],
        [Route("GET", "/a", handler, "", action="a.b")],
        [Route("POST", "/a", handler, "", roles=frozenset(), action="a.b")],
        [Route("GET", "/a/{b}", handler, "", roles=frozenset())],
        [Route("GET", "/a/{b}/{district}", handler, "")],
    ]
    check([good])
    for routes in wrong:
        with pytest.raises(ValueError, match="/a"):
            check(routes)
    assert {route.roles <= set(Role) for route in ROUTES} == {True}
