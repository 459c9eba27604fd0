"""``hub export`` as a process of its own against a real server and worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.export.jobs import Workshop, work_once
from hub.export.targets import Places
from tests.api.oneroster.rosters import Hub
from tests.export.packages import manifest, rows
from tests.forks import run_module
from tests.services import MASTER_KEY


@contextlib.asynccontextmanager
async def _working(hub: Hub) -> AsyncIterator[None]:
    """A worker's loop beside the test."""
    shop = Workshop(hub.db, SystemClock(), column_key(MASTER_KEY), Places())

    async def loop() -> None:
        while True:
            if not await work_once(shop):
                await asyncio.sleep(0.05)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _export(hub: Hub, file: Path, *options: str, secret: str = "", district: object = None) -> tuple[int, str]:
    client, known = hub.prepared.clients["lms"]
    environment = {
        "HUB_URL": f"http://127.0.0.1:{hub.port}", "HUB_CLIENT_ID": client, "HUB_CLIENT_SECRET": secret or known,
    }  # fmt: skip
    which = ("--district", str(district or hub.prepared.here))
    ended = await run_module("hub.cli", "export", str(file), *which, *options, environment=os.environ | environment)
    return ended.code, ended.out


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_package_is_made_fetched_and_acknowledged(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "roster.zip"
    async with _working(hub):
        code, text = await _export(hub, file, "--no-acknowledge")
        assert code == 0, text
        whole = file.read_bytes()
        assert f"users: {len(rows(whole)['users']):,}" in text
        assert (await _export(hub, file, "--mode", "delta"))[0] == 0
        assert manifest(file.read_bytes())["file.users"] == "bulk"  # nothing was acknowledged before
        code, text = await _export(hub, file, "--mode", "delta")
        assert (code, "delta" in text) == (0, True), text
    assert rows(file.read_bytes()) == {}
    assert names(tmp_path) == ["roster.zip"]


async def test_refusals_name_their_reason_and_leave_the_file_as_it_was(hub: Hub, tmp_path: Path) -> None:
    file = tmp_path / "roster.zip"
    file.write_bytes(b"the one before")
    for options, given in (((), {"secret": "wrong"}), ((), {"district": uuid4()}), (("--version", "1.1"), {})):
        code, text = await _export(hub, file, *options, **given)
        assert code == 2, text
        assert "Traceback" not in text
        assert text.startswith(("unauthorized: ", "not_found: ", "forbidden: ")), text
    assert file.read_bytes() == b"the one before"
