"""How fast a package comes from an SFTP server, against asyncssh's own copy of the same file from the same server.

The server is asyncssh's as well, in a process of its own. What the place does besides (a listing, stamps before and
after) is in our number.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
import zipfile
from multiprocessing.connection import Connection
from pathlib import Path

import asyncssh

from connectors.places import sftp
from connectors.places.place import SftpPlace
from connectors.protocol import SourceContext
from tests.benchmarks.result import Result
from tests.fakes.sftp_server import PASSWORD, USER, keys, running

MEBIBYTES = 48
ROUNDS = 3


def run(students: int) -> list[Result]:
    """Measures; the size of the district has no part in it."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        root = Path(name) / "root"
        root.mkdir()
        with zipfile.ZipFile(root / "package.zip", "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("users.csv", os.urandom(MEBIBYTES << 20))
        secret = keys()[0].export_private_key()
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(root, secret, theirs))
        server.start()
        try:
            return asyncio.run(_measure(ours.recv(), Path(name)))
        finally:
            ours.send(None)
            server.join(10)


def _serve(root: Path, secret: bytes, pipe: Connection) -> None:
    keys.cache_clear()
    own = asyncssh.import_private_key(secret)
    with running(root, key=own) as vendor:
        pipe.send((vendor.port, own.export_public_key().decode()))
        pipe.recv()


async def _measure(server: tuple[int, str], folder: Path) -> list[Result]:
    port, host_key = server
    ours, floor = [], []
    for number in range(ROUNDS):
        ours.append(await _ours(port, host_key, folder / f"ours-{number}"))
        floor.append(await _bare(port, host_key, folder / f"bare-{number}"))
    size = (folder / "bare-0").stat().st_size / 2**20
    best, bare = min(ours), min(floor)
    note = f"{size / best:,.0f} MB a second of our processor time, {size:,.0f} MB"
    return [Result("a package over SFTP", best, bare, "CPU s", must=1.5, aim=1.1, note=note)]


async def _ours(port: int, host_key: str, target: Path) -> float:
    place = SftpPlace(kind="sftp", host="127.0.0.1", port=port, username=USER, host_key=host_key)
    context = SourceContext(place, secrets={"password": PASSWORD}, reachable=lambda *_: True)
    started = time.process_time()
    async with sftp.open_sftp(place, context) as store:
        (entry,) = await store.entries()
        await store.fetch(entry, target)
    return time.process_time() - started


async def _bare(port: int, host_key: str, target: Path) -> float:
    known = ([asyncssh.import_public_key(host_key)], [], [])
    started = time.process_time()
    async with (
        asyncssh.connect(
            "127.0.0.1", port, username=USER, password=PASSWORD, known_hosts=known, config=[]
        ) as connection,
        connection.start_sftp_client() as client,
    ):
        await client.get("package.zip", str(target))
    return time.process_time() - started
