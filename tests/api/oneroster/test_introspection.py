"""What tokens are worth, and their end: RFC 7662 and RFC 7009."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.context import ApiContext
from hub.api.oauth.endpoint import metadata
from hub.api.oauth.sweep import sweep
from hub.api.oneroster.scopes import V1P2
from hub.clock import SystemClock
from hub.settings import Settings
from hub.store import apps, replays
from hub.store.database import Database as Pool
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, issue, running
from tests.services import Database

HARSH = {"wrong_credentials_burst": 3, "wrong_credentials_per_second": 0.001}


async def ask(hub: Hub, path: str, token: str | None, *, app: str = "lms", secret: str = "", **form: str) -> Answer:
    client_id, known = hub.prepared.clients[app]
    basic = base64.b64encode(f"{client_id}:{secret or known}".encode()).decode()
    body = form if token is None else {"token": token} | form
    async with hub.session.post(path, data=body, headers={"Authorization": f"Basic {basic}"}) as response:
        return await answer(response)


async def second_client(hub: Hub) -> str:
    """Another client of the app ``lms``; its token."""
    async with hub.db.shared() as tx:
        client = await apps.create_client(
            tx, apps.new_client_id(), app_id=hub.prepared.apps["lms"], scopes=[V1P2.ROSTER],
            secret_hash=await asyncio.to_thread(hash_secret, new_secret()),
        )  # fmt: skip
    return await issue(hub.db, client.client_id, [V1P2.ROSTER])


@pytest.mark.threat("T22", "T24")
async def test_an_app_sees_what_its_own_tokens_are_worth_and_no_others(hub: Hub) -> None:
    mine, sibling = hub.prepared.tokens["lms"], await second_client(hub)
    status, body, headers = await ask(hub, "/oauth/introspect", mine, token_type_hint="refresh_token")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    scopes, until = set(body.pop("scope").split()), body.pop("exp") - body.pop("iat")
    client_id = hub.prepared.clients["lms"][0]
    assert body == {"active": True, "client_id": client_id, "sub": client_id, "token_type": "bearer",
                    "iss": hub.settings.public_url}  # fmt: skip
    assert (V1P2.ROSTER in scopes, until) == (True, 3600)
    assert (await ask(hub, "/oauth/introspect", sibling))[1]["active"] is True

    expired = await issue(hub.db, client_id, [V1P2.ROSTER], seconds=-1)
    for token, app in ((mine, "math"), (expired, "lms"), (apps.new_token(), "lms"), ("x" * 999, "lms"), ("é\0", "lms")):
        assert (await ask(hub, "/oauth/introspect", token, app=app))[1] == {"active": False}


@pytest.mark.threat("T22")
async def test_a_token_ends_for_good_with_the_next_request(hub: Hub) -> None:
    mine, sibling = hub.prepared.tokens["lms"], await second_client(hub)
    assert (await hub.get("/orgs"))[0] == 200
    for token, app in ((mine, "math"), (sibling, "lms")):  # not the one that it was issued to
        status, body, _ = await ask(hub, "/oauth/revoke", token, app=app)
        assert (status, body["error"]) == (400, "invalid_grant")
    assert [(await hub.get("/orgs", token=token))[0] for token in (mine, sibling)] == [200, 200]
    for _ in range(2):
        status, _, headers = await ask(hub, "/oauth/revoke", mine, token_type_hint="access_token")
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert (await hub.get("/orgs"))[0] == 401
    assert (await ask(hub, "/oauth/introspect", mine))[1] == {"active": False}
    assert (await ask(hub, "/oauth/revoke", apps.new_token()))[0] == 200


@pytest.mark.threat("T22", "T25")
@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
async def test_who_asks_proves_itself_and_is_held_up(
    roster_database: Database, rostered: tuple[str, Prepared], path: str
) -> None:
    async with running(roster_database, rostered[1], **HARSH) as hub:
        mine = hub.prepared.tokens["lms"]
        assert (await ask(hub, path, None))[1]["error"] == "invalid_request"
        async with hub.session.post(path, data={"token": mine}) as response:
            assert (response.status, (await response.json())["error"]) == (401, "invalid_client")
        async with hub.session.post(path, data=b"token=\xff%ff", headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=nonsense"
        }) as response:  # fmt: skip
            assert (response.status, (await response.json())["error"]) == (400, "invalid_request")
        guesses: list[Any] = [await ask(hub, path, apps.new_token()) for _ in range(4)]
        assert [status for status, _, _ in guesses] == [200, 200, 200, 429]
        assert (await ask(hub, path, mine))[0] == 200  # who does not guess is not held up
        wrong = [(await ask(hub, path, mine, app="math", secret="rh_cs_no"))[0] for _ in range(2)]
        assert wrong == [429, 429]


async def test_the_metadata_is_as_rfc_8414_asks(hub: Hub) -> None:
    async with hub.session.get("/.well-known/oauth-authorization-server") as response:
        body = await response.json()
    for endpoint in ("token", "revocation", "introspection"):
        async with hub.session.post(body[f"{endpoint}_endpoint"].removeprefix(hub.settings.public_url)) as response:
            assert response.status == 400  # it is there
        methods = body[f"{endpoint}_endpoint_auth_methods_supported"]
        assert methods == ["client_secret_basic", "client_secret_post", "private_key_jwt"]
        assert {"RS256", "ES256"} <= set(body[f"{endpoint}_endpoint_auth_signing_alg_values_supported"])
    AuthorizationServerMetadata(metadata("https://hub.example.org")).validate()


async def test_what_nobody_can_use_any_more_is_forgotten(roster_database: Database) -> None:
    clock = SystemClock()
    now, pool = clock.now(), await Pool.open(roster_database.service, name="tests of sweeping")
    ages = {"oauth1_nonces": (timedelta(hours=3), timedelta(minutes=61)), "access_tokens": (timedelta(days=2),),
            "client_assertions": (timedelta(hours=2), timedelta(minutes=1))}  # fmt: skip
    async with pool.shared() as tx:
        for age in ages["oauth1_nonces"]:
            await replays.first_nonce(tx, "client", now - age, "nonce")
        for number, age in enumerate(ages["client_assertions"]):
            await replays.first_assertion(tx, "client", str(number), now - age)
        some = "SELECT ctid FROM access_tokens LIMIT 2"
        longest_ago = now - ages["access_tokens"][0]
        await tx.execute(f"UPDATE access_tokens SET expires_at = $1 WHERE ctid IN ({some})", longest_ago)
        before = await tx.fetchval("SELECT count(*) FROM access_tokens")
    await sweep(ApiContext(pool, Settings(), clock, _nobody))
    async with pool.shared() as tx:
        counts = [await tx.fetchval(f"SELECT count(*) FROM {table}") for table in ages]
    await pool.close()
    assert counts == [1, before - 2, 1]


async def _nobody(kind: str, district_id: UUID) -> None:
    """Nobody sleeps here."""
