"""Real services for the tests: one PostgreSQL and one Redis a session, a database of its own for each test."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# Workers side by side keep all cores busy: threads inside each of them only cost. Before anybody imports Polars.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("POLARS_MAX_THREADS", "1")

import hypothesis
import pytest
from argon2 import PasswordHasher
from blockbuster import BlockBuster

from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.embedded.process import free_port as choose_port
from hub.settings import role_passwords
from hub.store import migrate as store_migrate
from hub.store.migrate import migrate, scram_verifier
from tests.databases import ask, copy_of, kept, leave
from tests.services import MASTER_KEY, Database, stay_on_this_machine

# A test server may lose its data with the machine; the tests of crashes start servers of their own.
UNSAFE = {
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200",
    "shared_buffers": "128MB", "max_wal_size": "256MB",
}  # fmt: skip
#: A file system in memory makes and removes a database in half the time; it needs room for a few of them.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30


def pytest_configure() -> None:
    stay_on_this_machine()
    # An example's time is the machine's, which other workers keep busy: one that took 200 ms once is no failure.
    hypothesis.settings.register_profile("beside others", hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("beside others")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files of one folder stay with one worker, where ``make test`` asks for whole files."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.scheduling import FolderScheduling  # noqa: PLC0415 - where xdist is in use

    return FolderScheduling(config, log)


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: it is not looked through again and again for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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
        leave(given)
        return
    build = os.environ.get("TEST_POSTGRES")
    programs = Path(build) if build else None
    with EmbeddedPostgres(services_folder / "session", settings=UNSAFE, programs=programs) as server:
        url = server.url()
        with quick_logins(url):
            yield url
        leave(url)


@contextmanager
def quick_logins(url: str) -> Iterator[None]:
    """Passwords that are set from now on are hashed once instead of 4,096 times: each test logs in many times."""
    password = urlsplit(url).password or ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_migrate, "_SCRAM_ROUNDS", 1)
        ask(url, f"ALTER ROLE CURRENT_USER PASSWORD '{scram_verifier(password)}'").result()
        yield


@pytest.fixture(scope="session")
def slow_hasher() -> Iterator[PasswordHasher]:
    """What hashes clients' secrets for users: a fifth of a second of processor each time, so tests have another one.

    What a hash costs is said in it: those that are kept are checked at what they were made with.
    """
    from hub.api import client_secrets  # noqa: PLC0415 - the whole API, which not every session needs

    slow = client_secrets._hasher
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_secrets, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield slow


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
def template(postgres: str, slow_hasher: PasswordHasher) -> Iterator[str]:  # noqa: ARG001 - all clients are in some copy
    """The name of a database that was migrated once and is only ever copied."""
    with kept(postgres, "template0", "template") as database:
        asyncio.run(migrate(database.owner, passwords=role_passwords(MASTER_KEY)))
        yield database.name


@pytest.fixture
async def database(postgres: str, template: str) -> AsyncIterator[Database]:
    """A migrated, empty database for one test, with the addresses of all its logins."""
    async with copy_of(postgres, template) as found:
        yield found


@pytest.fixture
def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    return choose_port()


@pytest.fixture(scope="session")
def blocking_calls() -> BlockBuster:
    """What refuses files, sleeps, locks and plain sockets to our code on an event loop, while it is active."""
    return BlockBuster(scanned_modules=["hub", "connectors", "transforms"])


@pytest.fixture(autouse=True)
def no_blocking_calls(request: pytest.FixtureRequest, blocking_calls: BlockBuster) -> Iterator[None]:
    """Fail an asynchronous test in which our code blocks the event loop."""
    if not inspect.iscoroutinefunction(getattr(request, "function", None)):
        yield
        return
    blocking_calls.activate()
    yield
    blocking_calls.deactivate()
