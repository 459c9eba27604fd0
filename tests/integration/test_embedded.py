"""The embedded servers start, stop, are shared, and come back after crashes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import redis

from hub.embedded import EmbeddedPostgres, EmbeddedRedis, place, process
from hub.embedded import postgres as postgres_module
from hub.embedded import redis as redis_module
from hub.errors import HubError

ROOT = Path(__file__).parents[2]
Server = EmbeddedPostgres | EmbeddedRedis
KINDS: list[type[Server]] = [EmbeddedPostgres, EmbeddedRedis]


@pytest.fixture
def folder(embedded_folder: Path) -> Iterator[Path]:
    yield embedded_folder
    for kind in KINDS:
        if embedded_folder.exists():
            kind(embedded_folder).erase()


def remember(server: Server, value: str) -> None:
    if isinstance(server, EmbeddedRedis):
        with client(server.url()) as link:
            link.set("kept", value)
        return
    sql(server, "CREATE TABLE IF NOT EXISTS kept (value text)")
    sql(server, "INSERT INTO kept VALUES ($1)", value)


def recall(server: Server) -> object:
    if isinstance(server, EmbeddedRedis):
        with client(server.url()) as link:
            return link.get("kept")
    return sql(server, "SELECT max(value) FROM kept")


def sql(server: EmbeddedPostgres, statement: str, *values: object, url: str | None = None) -> object:
    """The first value of one statement's answer."""

    async def ask() -> object:
        connection = await asyncpg.connect(url or server.url())
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    return asyncio.run(ask())


@contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    link = redis.Redis.from_url(url, decode_responses=True)
    yield link
    link.close()


def pids(server: Server) -> list[int]:
    return process.working_in(server.data)


def kill_all(server: Server) -> None:
    ours = pids(server)
    for pid in ours:
        process.send(pid, signal.SIGKILL)
    # A process gives up its working directory a moment before it has ended.
    assert process.wait_until(lambda: not pids(server) and not any(process.alive(pid) for pid in ours), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_cold_start_then_warm_start_keeps_the_data(kind: type[Server], folder: Path) -> None:
    with kind(folder) as server:
        assert server.running
        remember(server, "first")

    with kind(folder) as server:
        assert recall(server) == "first"


@pytest.mark.parametrize("kind", KINDS)
def test_clean_stop_leaves_no_process_and_no_lock(kind: type[Server], folder: Path) -> None:
    server = kind(folder).start()
    ours = pids(server)

    server.stop()

    assert ours
    assert not server.running
    assert pids(server) == []
    assert not any(process.alive(pid) for pid in ours)
    assert not (server.data / "postmaster.pid").exists()
    with pytest.raises(HubError, match="start it first"):
        server.url()


@pytest.mark.threat("F2")
def test_postgres_comes_back_after_its_processes_were_killed(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        remember(server, "before the crash")
        kill_all(server)
        assert not server.running
        assert (server.data / "postmaster.pid").exists()

        server.start()

        assert recall(server) == "before the crash"


@pytest.mark.threat("F2")
def test_postgres_comes_back_after_an_immediate_stop(folder: Path) -> None:
    server = EmbeddedPostgres(folder).start()
    remember(server, "before the stop")

    server.stop(immediate=True)

    assert not server.running
    with server:
        assert recall(server) == "before the stop"


@pytest.mark.threat("F5")
def test_redis_comes_back_after_it_was_killed(folder: Path) -> None:
    with EmbeddedRedis(folder, settings={"appendfsync": "always"}) as server:
        remember(server, "before the crash")
        server.stop(immediate=True)
        assert not server.running

        server.start()

        assert recall(server) == "before the crash"


def test_a_stale_lock_whose_process_id_is_somebody_elses_now(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        remember(server, "kept")
        kill_all(server)
        lock = server.data / "postmaster.pid"
        lines = lock.read_text().splitlines()
        stranger = subprocess.Popen(["sleep", "600"], cwd="/", **process.as_account(_owner(server.data)))
        lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        try:
            server.start()

            assert recall(server) == "kept"
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_start_attaches_and_the_last_user_stops(kind: type[Server], folder: Path) -> None:
    first, second = kind(folder).start(), kind(folder).start()

    assert first.url() == second.url()
    first.stop()
    assert second.running
    remember(second, "still here")
    second.stop()
    assert not second.running


@pytest.mark.parametrize("kind", KINDS)
def test_starts_at_once_make_one_server(kind: type[Server], folder: Path) -> None:
    servers = [kind(folder) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda server: server.start(), servers))

    assert len({server.url() for server in servers}) == 1
    for server in servers:
        server.stop()
    assert not any(server.running for server in servers)


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_start_takes_up_what_a_killed_parent_left(kind: type[Server], folder: Path) -> None:
    code = f"import sys; from hub.embedded import {kind.__name__} as K; from pathlib import Path;\
 K(Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    parent.kill()
    parent.communicate()
    server = kind(folder)
    assert server.running

    with server:
        remember(server, "taken up")

    assert not server.running
    assert pids(server) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_half_started_launch_is_repeated(kind: type[Server], folder: Path) -> None:
    folder.mkdir(mode=0o711)
    (folder / "postgres.new").mkdir()
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    (folder / "redis.state").write_text('{"pid": 1')  # cut short

    with kind(folder) as server:
        assert server.running


def test_data_that_somebody_else_made_is_not_opened(folder: Path) -> None:
    folder.mkdir(mode=0o711)
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("18\n")

    with pytest.raises(HubError, match="was not made by this hub"):
        EmbeddedPostgres(folder).start()
    assert sorted(path.name for path in (folder / "postgres").iterdir()) == ["PG_VERSION"]
    shutil.rmtree(folder)


def test_data_of_another_major_version_is_not_opened(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        data = server.data
    (data / "PG_VERSION").write_text("17\n")

    with pytest.raises(HubError, match="was made by PostgreSQL 17"):
        EmbeddedPostgres(folder).start()


def test_the_password_is_asked_for_and_kept_from_others(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, EmbeddedRedis(folder) as cache:
        password = (folder / "postgres.password").read_text()
        assert password in server.url()
        with pytest.raises(asyncpg.InvalidPasswordError):
            sql(server, "SELECT 1", url=server.url().replace(password, "guessed"))
        with (
            client(cache.url().replace(_password(cache.url()), "guessed")) as link,
            pytest.raises(redis.exceptions.AuthenticationError),
        ):
            link.ping()
        secrets = [path for path in folder.iterdir() if path.suffix in {".password", ".log", ".state"}]
        assert len(secrets) == 5
        assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
        looked = 0
        for pid in [*pids(server), *pids(cache)]:
            try:
                shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # a server's process for one connection, or for some work, that has ended since it was listed
            looked += 1
            assert password.encode() not in shown
            assert _password(cache.url()).encode() not in shown
        assert looked > 2


def test_servers_listen_on_loopback_only(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, EmbeddedRedis(folder) as cache:
        for url in (server.url(tcp=True), cache.url()):
            port = int(url.rpartition("@127.0.0.1:")[2].partition("/")[0])
            with socket.socket() as elsewhere:
                elsewhere.bind(("127.0.0.2", port))  # free, so the server does not listen on every address


def test_the_hub_talks_over_a_socket_that_nobody_else_can_enter(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        assert parse_qs(urlsplit(server.url()).query)["host"] == [str(server.data)]
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        assert sql(server, "SELECT inet_server_addr()") is None  # no TCP
        assert sql(server, "SELECT host(inet_server_addr())", url=server.url(tcp=True)) == "127.0.0.1"
        (sockets,) = {path.name for path in server.data.glob(".s.PGSQL.*") if path.is_socket()}
        kill_all(server)
    with EmbeddedPostgres(folder) as server:
        assert sql(server, "SELECT 1") == 1
        assert not (server.data / sockets).exists() or sockets.endswith(f".{urlsplit(server.url(tcp=True)).port}")


def test_a_folder_too_deep_for_a_socket_is_served_over_tcp(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with EmbeddedPostgres(deep) as server:
        if len(str(server.data)) > postgres_module.LONGEST_SOCKET:
            assert urlsplit(server.url()).hostname == "127.0.0.1"
        assert sql(server, "SELECT 1") == 1


def test_statements_with_personal_data_do_not_reach_the_log(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        sql(server, "CREATE TABLE pupils (name text PRIMARY KEY)")
        sql(server, "INSERT INTO pupils VALUES ('Ana Example')")
        with pytest.raises(asyncpg.UniqueViolationError):
            sql(server, "INSERT INTO pupils VALUES ('Ana Example')")

    log = (folder / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "Ana" not in log


@pytest.mark.parametrize(
    ("kind", "module", "setting"),
    [(EmbeddedPostgres, postgres_module, "HUB_DATABASE_URL"), (EmbeddedRedis, redis_module, "HUB_REDIS_URL")],
)
def test_a_missing_wheel_names_the_setting_to_use(
    kind: type[Server], module: object, setting: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")

    with pytest.raises(HubError, match=setting):
        kind(folder).start()


@pytest.mark.parametrize("kind", KINDS)
def test_whether_somebody_uses_the_server_is_known(kind: type[Server], folder: Path) -> None:
    mine, other = kind(folder), kind(folder)
    assert not mine.used
    with other:
        assert other.used
        assert mine.used
    assert not mine.used


def test_a_process_that_ended_is_not_alive_although_its_parent_has_not_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not process.alive(child.pid)
    child.wait()


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_only_we_can_enter(kind: type[Server], folder: Path) -> None:
    """As in root's home: the data then lies elsewhere, and the folder's permissions stay as they were."""
    closed = folder / "home"
    folder.mkdir(mode=0o711)
    closed.mkdir(mode=0o700)
    server = kind(closed / ".hub")
    with server:
        remember(server, "kept")
        data = server.data
    assert closed.stat().st_mode & 0o777 == 0o700
    assert data.is_relative_to(closed) == (os.geteuid() != 0)

    with kind(closed / ".hub") as again:
        assert recall(again) == "kept"
    server.erase()

    assert not data.exists()
    assert not (closed / ".hub" / "embedded.place").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_data_stays_with_the_account_that_it_was_made_for(
    kind: type[Server], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A better account may appear, as when a distribution's PostgreSQL is installed; it could not open the data."""
    monkeypatch.setattr(place, "ACCOUNTS", ("nobody",))
    with kind(folder) as server:
        remember(server, "kept")
    monkeypatch.setattr(place, "ACCOUNTS", ("daemon",))

    with kind(folder) as server:
        assert recall(server) == "kept"


TRIAL = """
import encodings.idna, os, sys  # the standard library may be out of reach later
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[4]))
    os.setuid(int(sys.argv[3]))
folder = Path(sys.argv[2])
with EmbeddedPostgres(folder) as server, EmbeddedRedis(folder) as cache:
    print(server.running, cache.running, server.data.is_relative_to(folder), server.data.stat().st_uid)
print(server.running, cache.running)
"""


def test_as_an_ordinary_user(folder: Path) -> None:
    """When we are root, a process that gave up its rights does the same; it is given wheels that it may read."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder.mkdir(mode=0o711)
    wheels = folder / "wheels"
    for package in (postgres_module.PACKAGE, redis_module.PACKAGE):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).parent
        shutil.copytree(source, wheels / package)
        libraries = source.with_name(f"{package}.libs")
        if libraries.exists():
            shutil.copytree(libraries, wheels / libraries.name)
    own = folder / "own"
    own.mkdir(mode=0o700)
    os.chown(own, account.pw_uid, account.pw_gid)

    command = [sys.executable, "-c", TRIAL, str(wheels), str(own / "data"), str(account.pw_uid), str(account.pw_gid)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert result.stdout.splitlines() == [f"True True True {account.pw_uid}", "False False"], result.stderr
    shutil.rmtree(own)


def _password(url: str) -> str:
    return url.partition("://:")[2].partition("@")[0]


def _owner(path: Path) -> pwd.struct_passwd | None:
    return pwd.getpwuid(path.stat().st_uid) if os.geteuid() == 0 else None
