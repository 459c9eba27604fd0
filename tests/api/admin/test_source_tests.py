"""Sources with secrets: how these are taken, kept for their place and never shown; and what a try of one says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.api.admin.commands import command
from tests.api.admin.service import AdminHub
from tests.fakes import rosters, sftp_server
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, filled, running


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled("1.2", rosters.clean("1.2"))) as server:
        server.now = datetime.now(UTC)
        yield server


def config(sis: Server, **more: Any) -> dict[str, Any]:
    login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": CLIENT}
    return {"url": sis.url, "login": login, "page_rows": 50} | more


async def made(hub: AdminHub, sis: Server, **more: Any) -> Any:
    body = {"name": "SIS", "kind": "oneroster_rest", "config": config(sis), "secrets": {"client_secret": SECRET}}
    return await hub.made("POST", f"/districts/{hub.district}/sources", role="district", json=body | more)


@pytest.mark.threat("T29")
async def test_secrets_are_kept_for_their_place_and_never_shown(hub: AdminHub, sis: Server) -> None:
    source = await made(hub, sis)
    assert (source["secrets"], source["full_hours"]) == (["client_secret"], 168)
    path = f"/districts/{hub.district}/sources/{source['source_id']}"
    shown = await hub.call("GET", path, role="district")
    owner = await asyncpg.connect(hub.owner_url)
    kept = await owner.fetchval("SELECT secrets::text FROM hub.sources WHERE kind = 'oneroster_rest'")
    await owner.close()
    assert SECRET not in f"{source} {shown.body!r} {await hub.audit_rows()} {kept}"

    edited = await hub.made(
        "PATCH", path, role="district", json={"config": config(sis, page_rows=60), "full_hours": 24}
    )
    assert (edited["secrets"], edited["full_hours"]) == (["client_secret"], 24)
    elsewhere = {"config": config(sis, url="https://elsewhere.example.org")}
    refused = await hub.call("PATCH", path, role="district", json=elsewhere)
    assert (refused.status, "client_secret" in refused.json["detail"]) == (400, True)
    anew = elsewhere | {"secrets": {"client_secret": "another"}}
    assert (await hub.call("PATCH", path, role="district", json=anew)).status == 200
    away = await hub.made("PATCH", path, role="district", json={"secrets": {"client_secret": None}})
    assert away["secrets"] == []

    unknown = await hub.call("PATCH", path, json={"secrets": {"password": SECRET}})
    assert (unknown.status, SECRET in unknown.json["detail"]) == (400, False)
    wrong = await hub.call("PATCH", path, json={"config": config(sis, login={"kind": "oauth1", "client_id": SECRET})})
    assert (wrong.status, SECRET in wrong.body.decode()) == (400, False)
    zone = await hub.call("PATCH", path, json={"config": config(sis, quiet="07:00-16:00", zone="Mars/Base")})
    assert (zone.status, zone.json["errors"][0]["field"]) == (400, "config.zone")


async def test_a_try_says_in_plain_words_what_works(hub: AdminHub, sis: Server) -> None:
    source = await made(hub, sis)
    path = f"/districts/{hub.district}/sources/{source['source_id']}/test"

    async def tried() -> tuple[bool, dict[str, tuple[str, str]]]:
        found = await hub.made("POST", path, role="district")
        return found["works"], {item["step"]: (item["outcome"], item["text"]) for item in found["items"]}

    works, found = await tried()
    assert works
    assert found["users"][0] == "good"
    assert "3 objects" in found["users"][1]
    assert found["connection"][0] == "warning"  # it is not encrypted
    assert (found["login"][0], found["clock"][0]) == ("good", "good")

    sis.fault = lambda one: {"users": "status:403", "courses": "html", "classes": "redirect:http://10.0.0.1/"}.get(
        one.entity
    )
    sis.now += timedelta(hours=3)
    sis.quirks.dated, sis.quirks.totals = False, "none"
    works, found = await tried()
    assert not works
    assert [found[name][0] for name in ("users", "courses", "classes", "orgs", "clock")] == [
        "bad", "bad", "bad", "warning", "warning",
    ]  # fmt: skip
    assert "may not read users" in found["users"][1]
    assert "web page" in found["courses"][1]
    assert "180 minutes ahead" in found["clock"][1]
    assert "dateLastModified" in found["orgs"][1]

    sis.token_fault = "401"
    assert (await tried())[1]["login"][0] == "bad"
    csv = await hub.made("POST", f"/districts/{hub.district}/sources/{hub.source}/test")
    assert [(item["step"], item["outcome"]) for item in csv["items"]] == [("source", "warning")]


@pytest.mark.threat("T31")
async def test_a_try_does_not_reach_private_networks_that_nobody_allowed(hub: AdminHub, sis: Server) -> None:
    inside = config(sis, url="https://10.0.0.7", login={"kind": "bearer"})
    source = await made(hub, sis, config=inside)
    code, text = await command(hub, "source", "test", "--source", source["source_id"])
    assert (code, "HUB_SOURCE_ALLOW" in text, "FAILS" in text) == (1, True, True), text


async def test_a_source_at_an_sftp_server_is_pinned_by_what_its_test_shows(hub: AdminHub, tmp_path: Path) -> None:
    with sftp_server.running(tmp_path) as vendor:
        config = {"place": vendor.place(host_key=None)}
        body = {
            "name": "Files", "kind": "oneroster_csv", "config": config, "secrets": {"password": sftp_server.PASSWORD},
        }  # fmt: skip
        source = await hub.made("POST", f"/districts/{hub.district}/sources", role="district", json=body)
        path = f"/districts/{hub.district}/sources/{source['source_id']}"
        shown = await hub.made("POST", f"{path}/test", role="district", json={})
        (found,) = [item for item in shown["items"] if item["step"] == "host key"]
        assert not shown["works"]
        assert (vendor.fingerprint in found["text"], vendor.logins) == (True, [])

        pinned = {"config": {"place": vendor.place(host_key=vendor.fingerprint)}}
        await hub.made("PATCH", path, role="district", json=pinned)  # the login goes where it was meant for
        tried = await hub.made("POST", f"{path}/test", role="district", json={})
        steps = {item["step"]: item["outcome"] for item in tried["items"]}
        assert steps == {"host key": "good", "login": "good", "packages": "warning"}
        elsewhere = {"config": {"place": vendor.place(host="sftp.elsewhere.example")}}
        refused = await hub.call("PATCH", path, role="district", json=elsewhere)
        assert (refused.status, "password" in refused.json["detail"]) == (400, True)
        anew = elsewhere | {"secrets": {"password": "another"}}
        assert (await hub.call("PATCH", path, role="district", json=anew)).status == 200
