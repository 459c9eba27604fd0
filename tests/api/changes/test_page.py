"""The code of docs/changes.md runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.changes.conftest import Follower

PAGE = (Path(__file__).parents[3] / "docs" / "changes.md").read_text(encoding="utf-8")


class Enough(Exception):  # noqa: N818 - it is no error
    """Ends what would go on for ever."""


async def test_the_python_of_the_page_follows(follower: Follower) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    read: list[str] = []
    told: list[tuple[list[Any], str]] = []
    tokens = iter(["rh_at_over", *[follower.token] * 3])

    def apply(changes: list[Any], position: str) -> None:
        told.append((changes, position))
        if changes:
            raise Enough

    address = f"http://127.0.0.1:{follower.hub.port}"

    async def run(position: str | None) -> None:
        given = (address, follower.here, lambda: next(tokens), position, lambda: read.append("all"), apply)
        with pytest.raises(Enough):
            await asyncio.to_thread(names["follow"], *given)

    running = asyncio.create_task(run(None))
    while not told:
        await asyncio.sleep(0.02)
    assert (read, told[0][0]) == (["all"], [])
    await follower.move(updated=[1])
    await running
    assert [change["type"] for change in told[-1][0]] == ["users.updated", "syncs.completed"]

    head = (await follower.told())["to"]
    running = asyncio.create_task(run(str(head + 7)))  # a hub that was set back
    while len(read) < 2:
        await asyncio.sleep(0.02)
    await follower.move(updated=[2])
    await running
    assert len(read) == 2


async def test_the_shell_of_the_page_follows(follower: Follower) -> None:
    first, second = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = first.strip().splitlines()
    client, secret = follower.hub.prepared.clients["lms"]
    environment = {
        "HUB": f"http://127.0.0.1:{follower.hub.port}", "DISTRICT": str(follower.here), "CLIENT_ID": client,
        "CLIENT_SECRET": secret, "PATH": os.environ["PATH"],
    }  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    script = "\n".join([*lines[:2], "echo; echo taken", *lines[2:3], "echo", *lines[3:]])
    process = await asyncio.create_subprocess_exec("sh", "-ec", script, env=environment, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    while b"taken" not in await asyncio.wait_for(process.stdout.readline(), 20):
        pass
    await follower.move(updated=[1])
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, err
    users, answer = (json.loads(text) for text in out.decode().splitlines() if text)
    assert users["users"]
    assert [change["type"] for change in answer["changes"]] == ["users.updated", "syncs.completed"]
    assert second.count("hub listen") == 3
