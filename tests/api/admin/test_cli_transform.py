"""``hub source transform`` as a process of its own against a real server: saved, listed, tried, taken back."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox
from tests.forks import run_module

UPPER = {"files": {"users": {"set": {"givenName": "UPPER(givenName)"}}}}


async def command(hub: AdminHub, *arguments: str, role: str = "district") -> tuple[int, str, str]:
    environment = {"HUB_ADMIN_URL": str(hub.server.make_url("/admin/v1")), "HUB_ADMIN_TOKEN": hub.tokens[role]}
    source = ("--district", str(hub.district), "--source", str(hub.source))
    return await run_module(
        "hub.cli", "source", "transform", *arguments, *source, environment=os.environ | environment, apart=True
    )


async def test_a_transform_is_tried_saved_listed_and_taken_back(hub: AdminHub, tmp_path: Path) -> None:
    file = tmp_path / "transform.json"
    await asyncio.to_thread(file.write_text, json.dumps(UPPER))
    await hub.upload(await asyncio.to_thread(packed, sandbox(students=100, seed=3).frames, "1.2"))

    code, out, errors = await command(hub, "preview", str(file))
    assert code == 0, errors
    assert "users.csv: " in out
    assert "  givenName: " in out
    assert "becomes" in out
    aside = tmp_path / "other.zip"  # not sent before, and not kept
    await asyncio.to_thread(
        aside.write_bytes, await asyncio.to_thread(packed, sandbox(students=120, seed=4).frames, "1.2")
    )
    code, other, errors = await command(hub, "preview", str(file), "--package", str(aside))
    assert (code, "  givenName: " in other, other != out) == (0, True, True), errors
    saved = await command(hub, "put", str(file), "--note", "capitals")
    assert saved == (0, "version 1 acts from the next run on\n", "")
    await asyncio.to_thread(file.write_text, "{}")
    assert (await command(hub, "put", str(file)))[0] == 0
    code, out, _ = await command(hub, "versions")
    assert [line[:3] for line in out.splitlines()] == ["* 2", "  1"]
    assert (await command(hub, "revert", "1"))[1] == "version 1 acts from the next run on\n"
    code, out, errors = await command(hub, "get")
    assert (json.loads(out), errors) == (UPPER, "version 1: capitals\n")


async def test_what_is_broken_is_not_even_sent(hub: AdminHub, tmp_path: Path) -> None:
    file = tmp_path / "transform.json"
    await asyncio.to_thread(file.write_text, json.dumps({"files": {"users": {"where": "usrname = 'x'"}}}))
    code, _, errors = await command(hub, "put", str(file))
    assert code == 2
    assert "files.users.where: line 1, column 1: There is no column of this name. Is it username?" in errors
    assert (await command(hub, "put", str(file), role="operator"))[0] == 2
