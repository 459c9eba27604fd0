"""The fixtures keep what they promise."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from types import CodeType
from typing import Any

import asyncpg
import pytest
from blockbuster import BlockingError

import hub
from tests.services import Database, OutsideError


async def test_each_test_has_a_database_of_its_own_with_four_logins(database: Database) -> None:
    for url, user in (
        (database.service, "hub_service"),
        (database.worker, "hub_worker"),
        (database.support, "hub_support"),
    ):
        connection = await asyncpg.connect(url)
        row = await connection.fetchrow("SELECT current_user AS who, current_database() AS place")
        await connection.close()
        assert row is not None
        assert (row["who"], row["place"]) == (user, database.name)


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80), ("example.org", 80)])
def test_other_machines_are_out_of_reach(address: tuple[str, int]) -> None:
    with pytest.raises(OutsideError):
        socket.create_connection(address, timeout=1)


async def test_a_blocking_call_of_ours_on_the_loop_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ours = _as_if_in_the_hub("def read(path):\n    with open(path) as file:\n        return file.read()\n")
    with pytest.raises(BlockingError):
        ours["read"](tmp_path / "file")
    assert await asyncio.to_thread(ours["read"], tmp_path / "file") == "x"


async def test_a_blocking_sleep_of_ours_on_the_loop_fails() -> None:
    ours = _as_if_in_the_hub("def pause(sleep):\n    sleep(0.001)\n")
    with pytest.raises(BlockingError):
        ours["pause"](time.sleep)


def _as_if_in_the_hub(source: str) -> dict[str, Any]:
    """Functions whose code says that it stands in a file of the hub."""
    code: CodeType = compile(source, str(Path(hub.__file__).parent / "sample.py"), "exec")
    names: dict[str, Any] = {}
    exec(code, names)
    return names
