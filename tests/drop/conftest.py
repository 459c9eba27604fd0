"""A running drop with one district's login, and a worker's look at what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncssh
import pytest

from hub.api.client_secrets import hash_secret
from hub.drop import server
from hub.drop.spool import Folder
from hub.settings import Settings
from hub.store import drops, runs
from hub.store.database import Database as Pool
from hub.store.runs import Run
from tests.districts import District
from tests.services import MASTER_KEY, Database

PASSWORD = "rh_cs_a password of these tests"


@cache
def key() -> asyncssh.SSHKey:
    """A vendor's key: a login with it costs nothing, unlike one with a password."""
    return asyncssh.generate_private_key("ssh-ed25519")


@cache
def hashed_password() -> str:
    """Slow the first time."""
    return hash_secret(PASSWORD)


def public(one: asyncssh.SSHKey) -> str:
    return one.export_public_key().decode().strip()


@dataclass
class Site:
    """The drop. ``pool`` logs in as hub_service, ``district.db`` as the worker."""

    district: District
    pool: Pool
    settings: Settings
    username: str = ""
    port: int = 0
    host_key: Any = None
    woken: list[tuple[str, UUID]] = field(default_factory=list)
    quiet: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async def wake(kind: str, district_id: UUID) -> None:
            self.woken.append((kind, district_id))

        async with server.serving(
            self.settings, self.pool, wake, port=0, look_seconds=0.1, quiet_seconds=self.quiet
        ) as listener:
            self.port = listener.get_port()
            self.host_key = await asyncssh.get_server_host_key("127.0.0.1", self.port, config=[])
            yield

    @asynccontextmanager
    async def connected(
        self, username: str | None = None, **options: Any
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        given: dict[str, Any] = {"password": None, "client_keys": [key()]} | options
        async with asyncssh.connect(
            "127.0.0.1", self.port, username=username or self.username, known_hosts=([self.host_key], [], []),
            config=[], agent_path=None, preferred_auth="publickey,password", **given,
        ) as connection:  # fmt: skip
            yield connection

    @asynccontextmanager
    async def client(self) -> AsyncIterator[asyncssh.SFTPClient]:
        async with self.connected() as connection, connection.start_sftp_client() as client:
            yield client

    @property
    def folder(self) -> Folder:
        return Folder(self.settings.data_dir / "drop", self.district.district_id, self.district.source_id)

    async def waiting(self) -> list[str]:
        return [item.name for item in await asyncio.to_thread(self.folder.items)]

    async def runs(self, count: int) -> list[Run]:
        """The runs, once there are so many."""
        async with asyncio.timeout(20):
            while True:
                async with self.district.db.district(self.district.district_id) as tx:
                    found = await runs.listing(tx)
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    db = await Pool.open(database.worker, name="test worker", largest=4)
    pool = await Pool.open(database.service, name="test drop", largest=4)
    district = await District(db).create()
    settings = Settings(
        data_dir=tmp_path, master_key=MASTER_KEY.decode(), wrong_credentials_burst=3,
        wrong_credentials_per_second=0.001, upload_max_bytes=1_000_000,
    )  # fmt: skip
    made = Site(district, pool, settings, drops.new_username())
    async with pool.district(district.district_id) as tx:
        hashed = await asyncio.to_thread(hashed_password)
        await drops.create(
            tx, district.source_id, username=made.username, password_hash=hashed, public_keys=[public(key())]
        )
    yield made
    await pool.close()
    await db.close()
