"""The token endpoint: RFC 6749 for lenient clients, and nothing for guessers."""

from __future__ import annotations

import asyncio
import base64
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api import client_secrets
from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.scopes import SCOPES, V1P2
from hub.store import apps
from tests.api.oneroster import raw
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, issue, running
from tests.services import Database

CORE, ROSTER, DEMOGRAPHICS = V1P2.ROSTER_CORE, V1P2.ROSTER, V1P2.DEMOGRAPHICS

GRANT = {"grant_type": "client_credentials"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def ask(hub: Hub, form: dict[str, str] | str, headers: dict[str, str] | None = None) -> Answer:
    if isinstance(form, str):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
    async with hub.session.post("/oauth/token", data=form, headers=headers) as response:
        return await answer(response)


async def test_basic_and_body_give_tokens_that_open_the_roster(hub: Hub) -> None:
    client_id, secret = hub.prepared.clients["lms"]
    tokens = []
    for form, headers in ((GRANT, basic(client_id, secret)), (GRANT, basic(client_id.replace("_", "%5F"), secret)),
                          (GRANT | {"client_id": client_id, "client_secret": secret}, None)):  # fmt: skip
        status, body, found = await ask(hub, form, headers)
        assert status == 200, body
        assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
        assert set(body["scope"].split()) == {CORE, ROSTER, DEMOGRAPHICS}
        assert body["access_token"].startswith("rh_at_")
        assert found["Cache-Control"] == "no-store"
        tokens.append(body["access_token"])
    assert len(set(tokens)) == 3
    for token in tokens:  # a new token does not end the earlier ones
        assert (await hub.get("/users", token=token))[0] == 200


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (CORE, {CORE}), (f"{CORE} {DEMOGRAPHICS}", {CORE, DEMOGRAPHICS}), (f"{CORE} {CORE}", {CORE}),
        (f"{CORE} https://elsewhere.example/scope/x", {CORE}), ("", {CORE, ROSTER, DEMOGRAPHICS}),
        ("openid", None), (CORE.upper(), None), (CORE[:-1], None),
    ],
)  # fmt: skip
async def test_scopes_are_cut_to_what_the_client_may_have(hub: Hub, asked: str, given: set[str] | None) -> None:
    status, body, _ = await ask(hub, GRANT | {"scope": asked}, basic(*hub.prepared.clients["lms"]))

    if given is None:
        assert (status, body["error"]) == (400, "invalid_scope")
        assert all(scope in body["error_description"] for scope in (CORE, ROSTER, DEMOGRAPHICS))
    else:
        assert (status, set(body["scope"].split())) == (200, given)
        opened = (await hub.get("/classes/x/students", token=body["access_token"]))[0]
        assert opened == (404 if ROSTER in given else 403)


@pytest.mark.threat("T22")
async def test_what_rfc_6749_refuses(hub: Hub) -> None:
    client_id, secret = hub.prepared.clients["lms"]
    good = basic(client_id, secret)
    cases: list[tuple[Any, dict[str, str] | None, int, str]] = [
        ({}, good, 400, "invalid_request"),
        ({"grant_type": ""}, good, 400, "invalid_request"),
        ({"grant_type": "password"}, good, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, good, 400, "unsupported_grant_type"),
        (GRANT, None, 401, "invalid_client"),
        (GRANT, {"Authorization": "Bearer x"}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic !!!"}, 401, "invalid_client"),
        (GRANT, {"Authorization": "Basic"}, 401, "invalid_client"),
        (GRANT | {"client_id": client_id}, None, 401, "invalid_client"),
        (GRANT | {"client_id": client_id, "client_secret": secret}, good, 400, "invalid_request"),
        ("grant_type=client_credentials&grant_type=client_credentials", good, 400, "invalid_request"),
        ("&".join(f"a{n}=1" for n in range(30)), good, 400, "invalid_request"),
    ]
    for form, headers, status, error in cases:
        found, body, answered = await ask(hub, form, headers)
        assert (found, body["error"]) == (status, error), form
        assert set(body) == {"error", "error_description"}
        assert answered["Cache-Control"] == "no-store"
        assert answered.get("WWW-Authenticate") == ('Basic realm="oauth"' if status == 401 else None)
    async with hub.session.post("/oauth/token", json=GRANT, headers=good) as response:
        assert (response.status, (await response.json())["error"]) == (400, "invalid_request")
    async with hub.session.post("/oauth/token?grant_type=client_credentials", headers=good) as response:
        assert response.status == 400
    async with hub.session.get("/oauth/token", headers=good) as response:
        assert response.status == 405
    async with hub.session.post("/oauth/token", data={"x": "y" * 20_000}, headers=good) as response:
        assert response.status == 413


@pytest.mark.threat("T25")
async def test_an_unknown_client_and_a_wrong_secret_are_alike_in_words_and_work(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, secret = hub.prepared.clients["lms"]
    revoked = hub.prepared.clients["stranger"]
    async with hub.db.shared() as tx:
        await apps.revoke_client(tx, revoked[0], hub.first.clock.now())
    worked: list[str] = []

    hasher = client_secrets._hasher

    def verify(stored: str, given: str) -> bool:
        worked.append(stored.partition("$m=")[2].partition("$")[0])  # the parameters, which say how slow
        return hasher.verify(stored, given)

    monkeypatch.setattr(client_secrets, "_hasher", SimpleNamespace(verify=verify))
    pairs = [("rh_cl_" + "0" * 24, secret), (client_id, new_secret()), revoked]
    pairs += [("\0", "x"), ("x" * 5000, "x"), ("é", "x")]
    answers = [await ask(hub, GRANT | {"client_id": name, "client_secret": given}) for name, given in pairs]
    assert {(status, str(body), headers["WWW-Authenticate"]) for status, body, headers in answers} == {
        (401, str(answers[0][1]), 'Basic realm="oauth"')
    }
    assert len(worked) == len(pairs)
    assert len(set(worked)) == 1


@pytest.mark.threat("T25")
async def test_guessing_is_held_up_and_who_knows_the_secret_is_not(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], wrong_credentials_burst=20) as hub:
        await _guess(hub)


async def _guess(hub: Hub) -> None:
    client_id, secret = hub.prepared.clients["lms"]
    other = hub.prepared.clients["math"]
    assert (await ask(hub, GRANT, basic(client_id, secret)))[0] == 200
    tries = await asyncio.gather(*(ask(hub, GRANT, basic(other[0], new_secret())) for _ in range(60)))
    statuses = [status for status, _, _ in tries]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 40
    _, body, headers = tries[statuses.index(429)]
    assert body["error"] == "temporarily_unavailable"
    assert int(headers["Retry-After"]) >= 1
    assert (await ask(hub, GRANT, basic(client_id, secret)))[0] == 200


async def test_bad_bearer_tokens_get_one_answer(hub: Hub) -> None:
    expired = await issue(hub.db, hub.prepared.clients["lms"][0], [ROSTER], seconds=-1)
    first: Answer | None = None
    for token in (expired, apps.new_token(), "rh_at_", "x", "rh_at_" + "y" * 500, hub.prepared.tokens["lms"] + "z"):
        status, body, headers = await hub.get("/users", token=token)
        assert status == 401
        assert headers["WWW-Authenticate"] == 'Bearer realm="oneroster", error="invalid_token"'
        first = first or (status, body, headers)
        assert body == first[1]
    status, body, headers = await hub.get("/users", app=None)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="oneroster"')
    shown = f"Authorization: Bearer {hub.prepared.tokens['lms']}"
    older = f"/d/{hub.prepared.here}/ims/oneroster/v1p1/orgs"
    for path, schemes in ((raw.service(hub, "/orgs"), "Bearer"), (older, "OAuth")):
        once, twice = await raw.ask(hub, raw.request("GET", path, shown), raw.request("GET", path, shown, shown))
        assert (once.status != 401, twice.status) == (True, 401)
        assert schemes in twice.headers["www-authenticate"]
    query = f"/d/{hub.prepared.here}/ims/oneroster/rostering/v1p2/users?access_token={hub.prepared.tokens['lms']}"
    async with hub.session.get(query) as response:
        assert response.status == 401


async def test_a_token_ends_when_its_time_is_over(roster_database: Database, rostered: tuple[str, Prepared]) -> None:
    async with running(roster_database, rostered[1], token_lifetime_seconds=1) as hub:
        _, body, _ = await ask(hub, GRANT, basic(*hub.prepared.clients["lms"]))
        assert body["expires_in"] == 1
        assert (await hub.get("/orgs", token=body["access_token"]))[0] == 200
        await asyncio.sleep(1.1)
        assert (await hub.get("/orgs", token=body["access_token"]))[0] == 401


async def test_a_rotated_secret_ends_the_old_one_and_keeps_tokens(hub: Hub) -> None:
    client_id, old = hub.prepared.clients["lms"]
    new = new_secret()
    async with hub.db.shared() as tx:
        await apps.rotate_client(tx, client_id, await asyncio.to_thread(hash_secret, new), hub.first.clock.now())

    assert (await ask(hub, GRANT, basic(client_id, old)))[0] == 401
    assert (await ask(hub, GRANT, basic(client_id, new)))[0] == 200
    assert (await hub.get("/orgs"))[0] == 200


async def test_a_token_cannot_slip_in_behind_a_revocation(hub: Hub) -> None:
    client_id, _ = hub.prepared.clients["lms"]
    now = hub.first.clock.now()
    async with hub.db.shared() as tx:
        client = await apps.find_client(tx, client_id)
        assert client is not None
        await apps.revoke_client(tx, client_id, now)
        late = asyncio.create_task(_late(hub, client, now))
        await asyncio.sleep(0.2)
        assert not late.done()  # it waits for the client's row

    assert await late is False


async def _late(hub: Hub, client: apps.Client, now: Any) -> bool:
    async with hub.db.shared() as tx:
        return await apps.issue(tx, apps.new_token(), client, scopes=[CORE], now=now, expires_at=now)


async def test_the_metadata_names_what_there_is(hub: Hub) -> None:
    async with hub.session.get("/.well-known/oauth-authorization-server") as response:
        status, body, _ = await answer(response)

    assert status == 200
    assert body["issuer"] == hub.settings.public_url
    assert body["token_endpoint"] == hub.settings.public_url + "/oauth/token"
    assert body["grant_types_supported"] == ["client_credentials"]
    assert set(body["scopes_supported"]) == set(SCOPES)
