"""``hub overrides``, ``hub survivorship`` and ``hub source depart`` against a real server and worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import polars as pl

from hub.store import statements
from tests.api.admin.commands import command, working
from tests.api.admin.service import AdminHub
from tests.districts import changed, packed, sandbox

FRAMES = sandbox(100, 3).frames
KEY = str(FRAMES["users"].filter(pl.col("email").is_not_null())["sourcedId"][3])


async def sent(hub: AdminHub, source: str, frames: dict[str, pl.DataFrame]) -> None:
    """A package of a source is applied."""
    data = await asyncio.to_thread(packed, frames, "1.2")
    path = f"/districts/{hub.district}/sources/{source}/uploads"
    upload = await hub.made("POST", path, data=data, headers={"Content-Type": "application/zip"})
    run = await hub.made("POST", f"/districts/{hub.district}/runs", json={"upload_id": upload["upload_id"]})
    async with asyncio.timeout(60):
        while run["state"] in {"queued", "running"}:
            await asyncio.sleep(0.05)
            run = await hub.made("GET", f"/districts/{hub.district}/runs/{run['run_id']}")
    assert run["state"] in {"applied", "unchanged"}, run


async def two_sources(hub: AdminHub) -> tuple[str, str]:
    """The sourcedId of a user of whom two sources speak, and the second source."""
    sources = f"/districts/{hub.district}/sources"
    await hub.made("PATCH", f"{sources}/{hub.source}", json={"key_space": "district"})
    more = {"config": {"partial": True}, "key_space": "district", "priority": 500}
    other = str((await hub.made("POST", sources, json={"name": "HR", "kind": "oneroster_csv"} | more))["source_id"])
    await sent(hub, str(hub.source), FRAMES)
    people = {name: FRAMES[name] for name in ("users", "roles", "userProfiles")}
    await sent(hub, other, changed(people, "users", KEY, email="hr@district.example"))
    async with hub.pool.district(hub.district) as tx:
        user: UUID = await tx.fetchval(
            "SELECT DISTINCT u.sourced_id FROM users u JOIN source_records s USING (district_id, rid) "
            "WHERE s.entity = 'users' AND s.key = $1", KEY,
        )  # fmt: skip
    return str(user), other


async def record(hub: AdminHub, user: str) -> dict[str, Any]:
    found = await hub.made("GET", f"/districts/{hub.district}/records/{user}", role="district")
    return dict(found["record"])


async def test_overrides_rules_and_departures(hub: AdminHub) -> None:
    async with working(hub):
        user, other = await two_sources(hub)
        await overrides_are_set_listed_and_ended(hub, user)
        await rules_are_set_shown_and_cleared(hub, user, other)
        await a_source_departs(hub, user, other)


async def overrides_are_set_listed_and_ended(hub: AdminHub, user: str) -> None:
    who = ("--owner", "Ms Ito", "--reason", "asked by phone")
    org = (await record(hub, user))["roles"][0]["org"]["sourcedId"]
    role = json.dumps({"roleType": "primary", "role": "aide", "org": {"sourcedId": org}})
    for field, values in (("grades", ("09", "10")), ("roles", (role,)), ("email", ("--empty",))):
        code, text = await command(hub, "overrides", "set", "users", user, field, *values, *who)
        assert (code, ": applied" in text, "  users: 1 before, 1 updated" in text) == (0, True, True), text
    shown = await record(hub, user)
    assert (shown["grades"], shown["roles"][0]["role"], shown.get("email")) == (["09", "10"], "aide", None)

    code, text = await command(hub, "overrides", "list")
    lines = text.splitlines()
    assert lines[0].endswith(f'  users {user}  grades: ["09", "10"]')
    assert lines[1] == "  Ms Ito: asked by phone"
    assert lines[4].endswith("email: empty")
    code, text = await command(hub, "overrides", "end", lines[4].split()[0])
    assert (code, ": applied" in text) == (0, True), text
    code, text = await command(hub, "overrides", "list", "--ended", "--json")
    assert [(one["field"], one["ended_at"] is None) for one in json.loads(text)] == [
        ("grades", True), ("roles", True), ("email", False),
    ]  # fmt: skip
    code, text = await command(hub, "overrides", "set", "users", user, "grades", "nine and a half", *who)
    assert (code, text.startswith("invalid_request: "), "unknown_word" in text) == (2, True, True), text


async def rules_are_set_shown_and_cleared(hub: AdminHub, user: str, other: str) -> None:
    was = (await record(hub, user))["email"]
    assert was != "hr@district.example"
    assert (await command(hub, "survivorship", "show"))[1].startswith("no rule: ")
    code, text = await command(hub, "survivorship", "set", "users", "email", "--source", other)
    assert (code, " 1 updated" in text) == (0, True), text
    assert (await record(hub, user))["email"] == "hr@district.example"
    assert await command(hub, "survivorship", "show") == (0, f"users.email: priority, first {other}\n")
    code, text = await command(hub, "survivorship", "clear", "users", "email")
    assert (code, (await record(hub, user))["email"]) == (0, was), text
    code, text = await command(hub, "survivorship", "set", "users", "phone", "--rule", "union")
    assert (code, text.startswith("invalid_request: ")) == (2, True), text
    assert await command(hub, "survivorship", "show", "--json") == (0, "{}\n")


async def a_source_departs(hub: AdminHub, user: str, other: str) -> None:
    depart = ("source", "depart", "--source", other)
    code, text = await command(hub, *depart, "--dry-run")
    assert (code, ": previewed" in text) == (0, True), text
    code, text = await command(hub, *depart, "--to", str(hub.source))
    assert (code, ": applied" in text or ": unchanged" in text) == (0, True), text
    assert (await hub.made("GET", f"/districts/{hub.district}/sources/{other}"))["state"] == "departed"
    async with hub.pool.district(hub.district) as tx:
        rid = await tx.fetchval("SELECT rid FROM users WHERE sourced_id = $1", UUID(user))
        found = await statements.provenance(tx, "users", rid)
    assert found is not None
    assert {whose for whose in found.values() if not whose.startswith("override:")} == {str(hub.source)}
