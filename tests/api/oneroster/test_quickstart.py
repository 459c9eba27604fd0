"""The code of docs/quickstart.md runs, and keeps a roster right while syncs change it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.api.oneroster.rosters import Hub
from tests.districts import changed, sandbox

PAGE = (Path(__file__).parents[3] / "docs" / "quickstart.md").read_text(encoding="utf-8")
#: JavaScript runs where there is something to run it.
NODES = [found] if (found := shutil.which("node")) else []


def code(language: str) -> str:
    """The one block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def address(hub: Hub) -> str:
    """Where this server really listens; its documents name another address."""
    return f"http://127.0.0.1:{hub.port}"


@pytest.fixture
def roster(hub: Hub) -> Any:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    client_id, secret = hub.prepared.clients["lms"]
    made = names["Roster"](address(hub), hub.prepared.here, client_id, secret)
    get = made.get
    made.get = lambda url: get(url.replace(hub.settings.public_url, address(hub)))
    return made


async def test_the_python_of_the_page_keeps_a_roster(hub: Hub, roster: Any) -> None:
    await asyncio.to_thread(roster.update, "users")
    there = {u["sourcedId"]: u for u in await hub.all("/users", filter="status='active'")}
    assert roster.objects["users"] == there

    frames = sandbox(100, 7).frames
    run = await hub.first.sync(changed(frames, "users", frames["users"]["sourcedId"][3], givenName="Zora"))
    assert run.state == "applied", (run.guard, run.error_message)
    roster.token = "rh_at_over"
    await asyncio.to_thread(roster.update, "users")
    now = {u["sourcedId"]: u for u in await hub.all("/users", filter="status='active'")}
    assert now != there
    assert roster.objects["users"] == now


@pytest.mark.parametrize("node", NODES)
async def test_the_javascript_of_the_page_reads_a_roster(hub: Hub, tmp_path: Path, node: str) -> None:
    client_id, secret = hub.prepared.clients["lms"]
    options = {"hub": address(hub), "district": str(hub.prepared.here), "clientId": client_id, "clientSecret": secret}
    here = f'?.[1]?.replace("{hub.settings.public_url}", "{address(hub)}");'
    asked = json.dumps({**options, "collection": "enrollments"})
    run = f"const found = await readRoster({asked}); console.log(found.size);"
    (tmp_path / "roster.mjs").write_text(code("js").replace("?.[1];", here) + run)
    process = await asyncio.create_subprocess_exec(
        node, str(tmp_path / "roster.mjs"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert int(out) == len(await hub.all("/enrollments", filter="status='active'"))
