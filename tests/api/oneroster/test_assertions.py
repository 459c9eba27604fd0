"""Clients that prove themselves by their keys: private_key_jwt (RFC 7523), and everything that is not quite one."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwk, jws, jwt

from hub.api.oauth.assertions import TYPE
from hub.api.oneroster.scopes import V1P2
from hub.embedded.process import free_port
from hub.store import apps
from tests.api.keys import KINDS, public_keys
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, running
from tests.services import Database

SCOPES = [V1P2.ROSTER, V1P2.ROSTER_CORE]


async def add_client(hub: Hub, *keys: jwk.Key) -> str:
    """A client of the app ``lms`` with these keys."""
    async with hub.db.shared() as tx:
        client = await apps.create_client(
            tx, apps.new_client_id(), app_id=hub.prepared.apps["lms"], jwks=public_keys(*keys), scopes=SCOPES
        )
    return client.client_id


def claims(hub: Hub, client_id: str, **changes: Any) -> dict[str, Any]:
    now = int(hub.first.clock.now().timestamp())
    made = {"iss": client_id, "sub": client_id, "aud": f"{hub.settings.public_url}/oauth/token", "iat": now,
            "exp": now + 300, "jti": secrets.token_hex(8)}  # fmt: skip
    return {name: value for name, value in (made | changes).items() if value is not None}


def signed(key: jwk.Key, body: dict[str, Any], alg: str = "ES256", **header: Any) -> str:
    return jwt.encode({"alg": alg} | header, body, key, algorithms=[alg])


def unsigned(*parts: Any) -> str:
    """A JWT of these parts with two bytes for a signature."""
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, "AAAA"])


async def ask(hub: Hub, assertion: str, path: str = "/oauth/token", **form: str) -> Answer:
    body = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": assertion} | form
    async with hub.session.post(path, data=body) as response:
        return await answer(response)


@pytest.fixture
async def published(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Hub]:
    """A server that clients reach by its public address."""
    port = free_port()
    async with running(roster_database, rostered[1], port=port, base_url=f"http://127.0.0.1:{port}") as hub:
        yield hub


@pytest.mark.parametrize("alg", KINDS)
async def test_authlibs_client_gets_ends_and_looks_at_tokens(
    published: Hub, alg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the server of the tests has no certificate
    key = KINDS[alg]()
    client_id = await add_client(published, key)
    base = published.settings.public_url

    def act() -> list[Any]:
        ways = {f"{endpoint}_endpoint_auth_method": "private_key_jwt" for endpoint in ("token", "revocation")}
        with OAuth2Session(client_id, key, **ways) as session:
            session.register_client_auth_method(PrivateKeyJWT(alg=alg))
            token = session.fetch_token(f"{base}/oauth/token", scope=V1P2.ROSTER)
            users = session.get(f"{base}/d/{published.prepared.here}/ims/oneroster/rostering/v1p2/users?limit=1")
            seen = session.introspect_token(f"{base}/oauth/introspect", token=token["access_token"])
            ended = session.revoke_token(f"{base}/oauth/revoke", token=token["access_token"])
            after = session.introspect_token(f"{base}/oauth/introspect", token=token["access_token"])
            late = session.get(f"{base}/d/{published.prepared.here}/ims/oneroster/rostering/v1p2/users?limit=1")
        statuses = [answer.status_code for answer in (users, seen, ended, after, late)]
        return [token["scope"], seen.json()["active"], after.json(), statuses]

    assert await asyncio.to_thread(act) == [V1P2.ROSTER, True, {"active": False}, [200, 200, 200, 200, 401]]


async def test_authlibs_client_gets_tokens_with_a_secret(published: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    url = f"{published.settings.public_url}/oauth/token"

    def act(method: str) -> Any:
        with OAuth2Session(*published.prepared.clients["lms"], token_endpoint_auth_method=method) as session:
            return session.fetch_token(url)

    for method in ("client_secret_basic", "client_secret_post"):
        assert V1P2.ROSTER in (await asyncio.to_thread(act, method))["scope"]


async def test_key_audience_and_clocks_may_be_what_the_rfc_allows(hub: Hub) -> None:
    old, new, rsa = KINDS["ES256"](), KINDS["ES256"](), KINDS["RS256"]()
    client_id = await add_client(hub, old, new, rsa)
    issuer, now = hub.settings.public_url, int(hub.first.clock.now().timestamp())
    for key, alg, header, changes, form in (
        (old, "ES256", {"kid": "key-0"}, {}, {}), (new, "ES256", {"kid": "key-1"}, {"aud": issuer}, {}),
        (new, "ES256", {}, {"aud": [issuer]}, {"client_id": client_id}), (rsa, "PS256", {}, {"iat": None}, {}),
        (rsa, "RS256", {"typ": "JWT", "x5t": "abc"}, {"exp": now + 3600, "nbf": now + 30}, {}),
        (new, "ES256", {}, {"exp": now - 30, "extra": {"a": 1}}, {}),
    ):  # fmt: skip
        status, body, _ = await ask(hub, signed(key, claims(hub, client_id, **changes), alg, **header), **form)
        assert status == 200, body
    for path in ("/oauth/introspect", "/oauth/revoke"):
        assertion = signed(new, claims(hub, client_id, aud=issuer + path))
        assert (await ask(hub, assertion, path, token=hub.prepared.tokens["lms"]))[0] in {200, 400}


@pytest.mark.threat("T22")
async def test_what_is_not_quite_an_assertion_is_refused(hub: Hub) -> None:
    key, other, rsa = KINDS["ES256"](), KINDS["ES256"](), KINDS["RS256"]()
    client_id = await add_client(hub, key, rsa)
    now = int(hub.first.clock.now().timestamp())
    public = json.dumps(public_keys(rsa)["keys"][0], separators=(",", ":"))  # as a secret that everybody knows
    good = claims(hub, client_id)
    head, payload, signature = signed(key, good).split(".")
    assertions = [
        unsigned({"alg": "none"}, good), unsigned({}, good), unsigned({"alg": ["ES256"]}, good), unsigned([], good),
        unsigned({"alg": "ES256", "crit": ["b64"], "b64": True}, good), unsigned({"alg": "ES256", "kid": 7}, good),
        unsigned({"alg": "ES256"}, [good]), "x", "..", "a.b.c", "e30.e30.e30", "[" * 3000,
        f"{head}.{payload}", f"{head}.{payload}.", f"{head}.{payload}.{signature}.x",
        f"{head}.{payload}x.{signature}", f"{head}.{payload}.{signature[:-2]}AA", "é.é.é", "bnVsbA.bnVsbA.AA",
        signed(other, good), signed(other, good, kid="key-0"), signed(key, good, kid="nobody's"),
        signed(jwk.OctKey.import_key(public), good, "HS256"),
        signed(other, claims(hub, "rh_cl_" + "0" * 24)), signed(key, claims(hub, hub.prepared.clients["lms"][0])),
        signed(key, claims(hub, client_id, sub="rh_cl_x")), signed(key, claims(hub, client_id, iss="rh_cl_x")),
        *(signed(key, claims(hub, client_id, **{name: None})) for name in ("iss", "sub", "aud", "exp", "jti")),
        *(signed(key, claims(hub, client_id, aud=aud)) for aud in (
            "https://elsewhere.example", [], ["https://elsewhere.example", f"{hub.settings.public_url}/oauth/token"], 7,
        )),
        *(signed(key, claims(hub, client_id, exp=exp)) for exp in (now - 61, now + 3700, "soon", True, 10**400)),
        signed(key, claims(hub, client_id, nbf=now + 120)), signed(key, claims(hub, client_id, iat=now + 120)),
        *(signed(key, claims(hub, client_id, jti=jti)) for jti in ("", 7, "j" * 201)),
    ]  # fmt: skip
    for assertion in assertions:
        status, body, headers = await ask(hub, assertion)
        assert (status, body["error"]) == (401, "invalid_client"), assertion
        assert headers["Cache-Control"] == "no-store"
    ways = [{"client_secret": "x"}, {"client_id": "rh_cl_y"}, {"client_assertion_type": "urn:else"}]
    found = [(await ask(hub, signed(key, claims(hub, client_id)), **way))[0] for way in ways]
    assert found == [400, 401, 401]
    secret = {"client_id": client_id, "client_secret": "rh_cs_x", "grant_type": "client_credentials"}
    async with hub.session.post("/oauth/token", data=secret) as response:
        assert response.status == 401


@pytest.mark.threat("T25")
async def test_an_unknown_client_and_a_wrong_signature_are_one_answer_and_one_work(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified, verify = [], jws.deserialize_compact

    def counting(text: str, *keys: Any, **options: Any) -> Any:
        verified.append(text)
        return verify(text, *keys, **options)

    monkeypatch.setattr(jws, "deserialize_compact", counting)
    key = KINDS["ES256"]()
    client_id = await add_client(hub, key)
    revoked = await add_client(hub, key)
    async with hub.db.shared() as tx:
        await apps.revoke_client(tx, revoked, hub.first.clock.now())
    answers = [
        await ask(hub, signed(signer, claims(hub, named)))
        for signer, named in ((KINDS["ES256"](), client_id), (key, "rh_cl_nobody"), (key, revoked),
                              (key, hub.prepared.clients["lms"][0]))
    ]  # fmt: skip
    assert {(status, str(body), headers["WWW-Authenticate"]) for status, body, headers in answers} == {
        (401, str(answers[0][1]), 'Basic realm="oauth"')
    }
    assert len(verified) == len(answers)


@pytest.mark.threat("T22", "T25")
async def test_guessing_keys_is_held_up(roster_database: Database, rostered: tuple[str, Prepared]) -> None:
    async with running(
        roster_database, rostered[1], wrong_credentials_burst=5, wrong_credentials_per_second=0.001
    ) as hub:
        key = KINDS["ES256"]()
        client_id = await add_client(hub, key)
        assert (await ask(hub, signed(key, claims(hub, client_id))))[0] == 200
        named = [claims(hub, f"rh_cl_{number}") for number in range(10)]
        statuses = [(await ask(hub, signed(key, body)))[0] for body in named]
        assert statuses[:5] == [401] * 5
        assert statuses[-1] == 429
        assert (await ask(hub, signed(key, claims(hub, client_id))))[0] == 200


@pytest.mark.threat("T22")
async def test_an_assertion_counts_once_in_all_processes_and_after_a_restart(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(running(roster_database, rostered[1])) for _ in range(2)]
        key = KINDS["ES256"]()
        client_id = await add_client(hubs[0], key)
        assertion = signed(key, claims(hubs[0], client_id))
        answers = await asyncio.gather(*(ask(hub, assertion) for hub in hubs * 20))
        statuses = [status for status, _, _ in answers]
        assert (statuses.count(200), statuses.count(401)) == (1, 39)
        forged = signed(KINDS["ES256"](), claims(hubs[0], client_id, jti="later"))
        assert (await ask(hubs[0], forged))[0] == 401
        right = signed(key, claims(hubs[0], client_id, jti="later"))  # a forger uses up nobody's ids
        assert (await ask(hubs[1], right))[0] == 200
    async with running(roster_database, rostered[1]) as restarted:
        status, body, _ = await ask(restarted, assertion)
        assert (status, body["error"]) == (401, "invalid_client")
        assert "used before" in body["error_description"]


async def test_other_keys_end_the_old_ones_at_once(hub: Hub) -> None:
    old, new = KINDS["ES256"](), KINDS["ES256"]()
    client_id = await add_client(hub, old)
    async with hub.db.shared() as tx:
        before = await apps.find_client(tx, client_id)
        assert before is not None
        await apps.rotate_client(tx, client_id, None, hub.first.clock.now(), jwks=public_keys(new))
        now = hub.first.clock.now()
        late = await apps.issue(tx, apps.new_token(), before, scopes=SCOPES, now=now, expires_at=now)

    assert late is False  # a token that was decided on before, with the old keys
    assert (await ask(hub, signed(old, claims(hub, client_id))))[0] == 401
    assert (await ask(hub, signed(new, claims(hub, client_id))))[0] == 200
