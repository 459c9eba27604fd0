"""Real services for the tests: one PostgreSQL and one Redis a session, a database of its own for each test."""

from __future__ import annotations

import asyncio
import inspect
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

# Workers side by side keep all cores busy: threads inside each of them only cost. Before anybody imports Polars.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

import asyncpg
import pytest
from blockbuster import blockbuster_ctx

from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.embedded.process import free_port as choose_port
from hub.settings import role_passwords
from hub.store.migrate import migrate
from tests.services import MASTER_KEY, Database, copying, database_at, in_database, stay_on_this_machine

# A test server may lose its data with the machine; the tests of crashes start servers of their own.
UNSAFE = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200",
    "shared_buffers": "128MB", "max_wal_size": "256MB",
}  # fmt: skip
#: A file system in memory makes and removes a database in half the time; it needs room for a few of them.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30


def pytest_configure() -> None:
    stay_on_this_machine()


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder that an unprivileged account can pass through, unlike pytest's own under root."""
    folder = Path(tempfile.mkdtemp(prefix="rosterhub-tests-", dir=_fast_place()))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def _fast_place() -> Path | None:
    """Where files are kept in memory, if programs may be run there and there is room; else None."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    usable = os.access(MEMORY, os.W_OK) and not found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    return MEMORY if usable and found.f_bavail * found.f_frsize >= ROOM else None


@pytest.fixture
def embedded_folder(services_folder: Path) -> Path:
    """A fresh folder for an embedded server that a test stops, kills or breaks."""
    return services_folder / secrets.token_hex(6)


@pytest.fixture(scope="session")
def postgres(services_folder: Path) -> Iterator[str]:
    """The address of the session's PostgreSQL for a superuser.

    HUB_DATABASE_URL names one that runs; TEST_POSTGRES names the directory above the bin/ of another build to run.
    """
    given = os.environ.get("HUB_DATABASE_URL")
    if given:
        yield given
        return
    build = os.environ.get("TEST_POSTGRES")
    programs = Path(build) if build else None
    with EmbeddedPostgres(services_folder / "session", settings=UNSAFE, programs=programs) as server:
        yield server.url()


@pytest.fixture(scope="session")
def redis_url(services_folder: Path) -> Iterator[str]:
    """The address of the session's Redis: HUB_REDIS_URL, or an embedded one."""
    given = os.environ.get("HUB_REDIS_URL")
    if given:
        yield given
        return
    with EmbeddedRedis(services_folder / "session") as server:
        yield server.url()


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """The name of a database that was migrated once and is only ever copied."""
    name = f"hub_template_{secrets.token_hex(6)}"
    asyncio.run(_execute(postgres, f"CREATE DATABASE {name} TEMPLATE template0"))
    asyncio.run(migrate(in_database(postgres, name), passwords=role_passwords(MASTER_KEY)))
    yield name
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def database(postgres: str, template: str) -> AsyncIterator[Database]:
    """A migrated, empty database for one test, with the addresses of all its logins."""
    name = f"hub_test_{secrets.token_hex(6)}"
    await _execute(postgres, copying(name, template))
    yield database_at(in_database(postgres, name))
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    return choose_port()


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an asynchronous test in which our code blocks the event loop: files, sleeps, locks, plain sockets."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    with blockbuster_ctx(scanned_modules=["hub", "connectors", "transforms"]):
        yield


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
