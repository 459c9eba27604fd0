"""A whole copy of the database opens nothing (T21)."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from joserfc import jwk

from hub.ids import new_id
from hub.store import admin_tokens
from hub.store.audit import HUB
from tests.api.keys import KINDS
from tests.api.oneroster.rosters import Prepared, encoded
from tests.api.oneroster.signing import Signing, signing
from tests.api.oneroster.test_assertions import add_client, ask, claims, signed
from tests.services import Database
from transforms.catalogue import CATALOGUE

#: What was made of credentials: tried in every way.
CREDENTIALS = {"clients", "access_tokens", "admin_tokens", "oauth1_nonces", "client_assertions", "audit"}
#: What a source sent, and what follows from it: of these some rows are tried, of all other tables every one.
ROSTERS = {entity.table for entity in CATALOGUE.entities} | {
    "source_records", "history", "changes", "feed", "views", "upload_parts", "extra_roles",
}  # fmt: skip
_SOME = 20
#: Rows of a table that are tried. One that has more has to be thought about.
_MOST_ROWS = 500


async def _tables(owner: asyncpg.Connection) -> list[str]:
    return [row[0] for row in await owner.fetch("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
                                                "AND relnamespace = 'hub'::regnamespace")]  # fmt: skip


async def _texts(database: Database) -> dict[str, set[str]]:
    """The texts of every table, with what is inside JSON, and bytes in the forms in which they may be written."""
    owner = await asyncpg.connect(database.owner)
    found, names = {}, await _tables(owner)
    assert set(names) >= ROSTERS
    for name in names:
        most = _SOME if name in ROSTERS or name.startswith("staging_") else _MOST_ROWS + 1
        rows = await owner.fetch(f'SELECT to_jsonb(t)::text FROM hub."{name}" t LIMIT {most}')
        assert len(rows) <= _MOST_ROWS, f"{name} has more rows than are tried"
        found[name] = {text for row in rows for leaf in _leaves(orjson.loads(row[0])) for text in _written(leaf)}
    await owner.close()
    return found


async def _in_clear(database: Database, secrets: Mapping[str, str]) -> set[tuple[str, str]]:
    """The tables and the secrets that stand in any of their rows, in one of the forms in which they may be written."""
    owner = await asyncpg.connect(database.owner)
    found = set()
    for table in await _tables(owner):
        for name, secret in secrets.items():
            raw = secret.encode()
            forms = [secret, secret[::-1], raw.hex(), base64.b64encode(raw).decode().rstrip("=")]
            there = await owner.fetchval(
                f'SELECT EXISTS (SELECT FROM hub."{table}" t WHERE to_jsonb(t)::text LIKE ANY($1))',
                [f"%{form.replace('_', chr(92) + '_')}%" for form in forms],
            )
            found |= {(table, name)} if there else set()
    await owner.close()
    return found


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    elif isinstance(value, str):
        yield value


def _written(text: str) -> Iterator[str]:
    yield text
    if re.fullmatch(r"\\x[0-9a-f]*", text):
        raw = bytes.fromhex(text[2:])
        yield from (raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="))


async def _use_everything(signs: Signing) -> dict[str, str]:
    """Each kind of credential is made and used once, so that something of it is stored; the secrets themselves."""
    hub, key = signs.hub, KINDS["ES256"]()
    client_id = await add_client(hub, key)
    assert (await ask(hub, signed(key, claims(hub, client_id, aud=hub.settings.public_url))))[0] == 200
    assert (await signs.send())[0] == 200
    async with hub.db.district(HUB) as tx:
        _, token = await admin_tokens.create(
            tx, new_id(), name="operator", role="operator", expires_at=hub.first.clock.now() + timedelta(days=1)
        )
    admin = {"Authorization": f"Bearer {token}"}
    app = hub.prepared.apps["lms"]
    async with hub.session.post(f"/admin/v1/apps/{app}/clients", json={}, headers=admin) as response:
        made = (await response.json())["client_secret"]
    body = {"grant_id": str(hub.prepared.grants["lms"]), "url": "https://127.0.0.1/hook"}
    url = f"/admin/v1/districts/{hub.prepared.here}/subscriptions"
    async with hub.session.post(url, json=body, headers=admin) as response:
        subscribed = (await response.json())["secret"]
    client, secret = hub.prepared.clients["lms"]
    return {"token": hub.prepared.tokens["lms"], "secret": secret, "admin": token, "consumer": signs.secret,
            "made": made, "webhook": subscribed, "client": client}  # fmt: skip


async def _opened(signs: Signing, found: dict[str, set[str]], client_id: str) -> list[str]:
    """The texts with which something could be opened."""
    roster = f"/d/{signs.hub.prepared.here}/ims/oneroster/rostering/v1p2/orgs"
    near = set().union(*(found[table] for table in CREDENTIALS))
    place, opened = asyncio.Semaphore(16), []

    async def bearer(text: str, url: str) -> None:
        token = "".join(character if " " < character < "\x7f" else "_" for character in text[:200])
        async with place, signs.hub.session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
            opened.extend([text] if response.status != 401 else [])

    async def secret(text: str) -> None:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": text}
        async with place, signs.hub.session.post("/oauth/token", data=form) as response:
            opened.extend([text] if response.status != 401 else [])

    async def consumer(text: str) -> None:
        async with place:
            opened.extend([text] if (await signs.send(secret=text))[0] != 401 else [])

    await asyncio.gather(
        *(bearer(text, roster) for text in set().union(*found.values())),
        *(bearer("rh_at_" + text, roster) for text in near),
        *(bearer(prefix + text, "/admin/v1/me") for text in near for prefix in ("", "rh_ad_")),
        *(secret(text) for text in found["clients"] if len(text) > 20 and "://" not in text),
        *(consumer(text) for text in near if text),
    )  # fmt: skip
    return opened


@pytest.mark.threat("T21")
async def test_nothing_that_is_stored_opens_anything(roster_database: Database, rostered: tuple[str, Prepared]) -> None:
    async with signing(roster_database, rostered[1], webhook_allow="127.0.0.0/8") as signs:
        secrets = await _use_everything(signs)
        client_id = secrets.pop("client")
        found = await _texts(roster_database)

        assert all(found[table] for table in CREDENTIALS), "nothing was used"
        assert await _in_clear(roster_database, {**secrets, "an id": client_id}) == {
            (table, "an id") for table in found if any(client_id in text for text in found[table])
        }  # the search finds what is there, and that is no secret
        assert await _opened(signs, found, client_id) == []
        async with signs.hub.session.get(
            encoded(f"/d/{signs.hub.prepared.here}/ims/oneroster/rostering/v1p2/orgs"),
            headers={"Authorization": f"Bearer {secrets['token']}"},
        ) as response:
            assert response.status == 200  # the doors are there, for those who have the key


@pytest.mark.threat("T21")
async def test_the_keys_that_are_stored_sign_nothing(roster_database: Database, rostered: tuple[str, Prepared]) -> None:
    async with signing(roster_database, rostered[1]) as signs:
        client_id = await add_client(signs.hub, KINDS["ES256"](), KINDS["RS256"](), KINDS["Ed25519"]())
        async with signs.hub.db.shared() as tx:
            stored = await tx.fetchval("SELECT jwks FROM clients WHERE client_id = $1", client_id)
        assert len(stored["keys"]) == 3
        for key in stored["keys"]:
            assert not jwk.import_key(key).is_private
            secret = jwk.OctKey.import_key(orjson.dumps(key))
            assert (await ask(signs.hub, signed(secret, claims(signs.hub, client_id), "HS256")))[0] == 401
