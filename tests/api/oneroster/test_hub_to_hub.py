"""One hub is the source of another: what an app sees of both districts is the same, and what changes follows."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.scopes import V1P1, V1P2
from hub.crypto import column_key
from hub.store import apps, runs, sources
from hub.store.runs import Run
from hub.sync import grants
from hub.sync.engine import work_once
from hub.sync.room import Room
from hub.sync.source_secrets import sealed
from tests.api.oneroster.edits import lose_user
from tests.api.oneroster.rosters import Hub, issue, land
from tests.districts import EVERYTHING, District, changed, sandbox
from transforms.catalogue import CATALOGUE, Version

ENTITIES = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
SCOPES = [V1P2.ROSTER, V1P2.DEMOGRAPHICS, V1P1.ROSTER, V1P1.DEMOGRAPHICS]
PATHS = {"1.1": "v1p1", "1.2": "rostering/v1p2"}
KEY = column_key(bytes(32))
UUIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def app(hub: Hub, district: UUID) -> tuple[str, str, str]:
    """A new app's client id, secret and token, with a grant in a district."""
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with hub.db.shared() as tx:
        await apps.create(tx, app_id, f"app {app_id}")
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=SCOPES)
    async with hub.db.district(district) as tx:
        await grants.create(tx, app_id, EVERYTHING, hub.first.clock.now())
    return client_id, secret, await issue(hub.db, client_id, SCOPES)


async def view(hub: Hub, district: UUID, token: str, version: Version) -> dict[str, dict[str, Any]]:
    """All that an app sees of a district, without what differs between any two hubs: ids, addresses and times.

    Objects of a district that was pulled are called as their source calls them.
    """
    found = {}
    async with hub.db.district(district) as tx:
        called: dict[str, str] = {}
        for name in ENTITIES[:-1]:
            rows = await tx.fetch(
                f"SELECT t.sourced_id::text AS id, s.key FROM {CATALOGUE[name].table} t "
                "JOIN source_records s USING (district_id, rid) JOIN sources USING (district_id, source_id) "
                "WHERE kind = 'oneroster_rest' AND s.entity = $1::text::entity_name", name,
            )  # fmt: skip
            called |= {row["id"]: row["key"] for row in rows}
    for entity in ENTITIES:
        path = f"/d/{district}/ims/oneroster/{PATHS[version]}/{entity}"
        status, body, _ = await hub.get(path, token=token, limit="10000", filter="status='active'")
        assert status == 200, body
        text = re.sub(r'"href":"[^"]*"', '"href":""', orjson.dumps(body[entity]).decode())
        objects = orjson.loads(UUIDS.sub(lambda found: called.get(found[0], found[0]), text))
        found[entity] = {one["sourcedId"]: one | {"dateLastModified": ""} for one in objects}
    return found


@pytest.mark.parametrize("version", ["1.2", "1.1"])
async def test_a_hub_is_the_source_of_another(hub: Hub, version: Version) -> None:
    client_id, secret, token = await app(hub, hub.prepared.here)
    base = f"http://127.0.0.1:{hub.port}"
    there = await District(hub.db, version, district_id=uuid4()).create()
    login = {"kind": "oauth2", "token_url": base + "/oauth/token", "client_id": client_id}
    config = {
        "url": f"{base}/d/{hub.prepared.here}", "version": version, "login": login, "entities": ENTITIES,
        "page_rows": 100, "overlap_minutes": 0, "sweep_hours": 0,
    }  # fmt: skip
    hidden = sealed(KEY, secret, there.district_id, there.source_id, "client_secret")
    async with hub.db.district(there.district_id) as tx:
        await tx.execute("UPDATE sources SET kind = 'oneroster_rest' WHERE district_id = $1", there.district_id)
        await sources.change(tx, there.source_id, config=config, secrets={"client_secret": hidden})

    first = await pulled(there)
    assert (first.state, first.error_message) == ("applied", None)
    assert not sum(counts["quarantined"] for counts in first.counts.values())
    _, _, other = await app(hub, there.district_id)
    before = await view(hub, hub.prepared.here, token, version)
    assert await view(hub, there.district_id, other, version) == before
    assert len(before["users"]) > 100

    # A person leaves with all that is theirs, another one has a new name: the next pull is one of changes.
    frames = lose_user(sandbox(100, 7).frames, await key_of(hub, hub.prepared.gone_student))
    gone, renamed = (frames["roles"].filter(role="student")["userSourcedId"][n] for n in (5, 9))
    await land(hub, changed(lose_user(frames, gone), "users", renamed, givenName="Zebulon"))
    second = await pulled(there)
    assert second.state == "applied", (second.state, second.error_message)
    assert (second.counts["users"]["updated"], second.counts["users"]["deleted"]) == (1, 1)
    assert second.counts["enrollments"]["deleted"] > 0
    after = await view(hub, hub.prepared.here, token, version)
    assert after != before
    assert await view(hub, there.district_id, other, version) == after


async def key_of(hub: Hub, sourced_id: str) -> str:
    """The key by which the district's system calls a user."""
    async with hub.db.district(hub.prepared.here) as tx:
        key: str = await tx.fetchval(
            "SELECT s.key FROM users u JOIN source_records s USING (district_id, rid) "
            "WHERE s.entity = 'users' AND u.sourced_id = $1::text::uuid", sourced_id,
        )  # fmt: skip
    return key


async def pulled(there: District) -> Run:
    """One pull; its run afterwards."""
    run_id = uuid4()
    async with there.db.district(there.district_id) as tx:
        await runs.request(tx, run_id, source_id=there.source_id, upload_id=None, dry_run=False, requested_by="test")
    room = Room(small_rows=0, rows=10**9, pulls=4, allow=[ip_network("127.0.0.0/8")])
    while await work_once(there.db, there.clock, key=KEY, room=room):
        pass
    return await there.run(run_id)
