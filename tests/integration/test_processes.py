"""The processes as deploy/ starts them: settings from the environment, checks of health, and a gentle stop."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import asyncssh
import pytest
import yaml

from hub.store import districts, drops, sources
from hub.store.database import Database as Pool
from tests.services import MASTER_KEY, Database

ROOT = Path(__file__).parents[2]
HUB = [sys.executable, "-m", "hub.cli"]
START_SECONDS = 60
#: What compose.yaml gives the API and the worker to stop, less what leaves no doubt.
STOP_SECONDS = 30


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def environment(database: Database, redis_url: str, free_port: int, tmp_path: Path) -> Mapping[str, str]:
    """What compose.yaml and hub.env give to a container."""
    return {
        "PATH": os.environ["PATH"],
        "HUB_DATABASE_URL": database.owner,
        "HUB_REDIS_URL": redis_url,
        "HUB_MASTER_KEY": MASTER_KEY.decode(),
        "HUB_BASE_URL": "https://hub.example.org",
        "HUB_DATA_DIR": str(tmp_path / "none"),
        "HUB_HOST": "127.0.0.1",
        "HUB_PORT": str(free_port),
        "HUB_METRICS_PORT": str(_free_port()),
        "HUB_LOG_FORMAT": "json",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run(environment: Mapping[str, str], *arguments: str) -> str:
    """The output of a command that has to succeed."""
    command = [*HUB, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Process:
    """A running process and the file of its log."""

    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> str:
        """Asks it to end, which it has to do in time and without an error; what it logged."""
        self.popen.send_signal(signal.SIGTERM)
        code = self.popen.wait(timeout=STOP_SECONDS)
        text = self.log.read_text(encoding="utf-8")
        assert code == 0, text
        return text


@pytest.fixture
def processes(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Mapping[str, Process]]:
    """An API and a worker on their way up."""
    started = {}
    for name in ("serve", "worker"):
        log = tmp_path / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen([*HUB, name], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=output)
        started[name] = Process(popen, log)
    yield started
    for process in started.values():
        if process.popen.poll() is None:
            process.popen.kill()
        process.popen.wait()


def wait_for_a_line(log: Path) -> None:
    """The worker has no port; it logs when it begins to listen to Redis, and then it heeds signals."""
    ends = time.monotonic() + START_SECONDS
    while not log.read_bytes():
        assert time.monotonic() < ends
        time.sleep(0.1)


def get(environment: Mapping[str, str], path: str, token: str = "", *, port: str = "HUB_PORT") -> bytes:
    """The body of an answer with status 200, asked for until the API is up."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{environment[port]}{path}", headers=headers)
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bytes(answer.read())
        except ConnectionError:
            assert time.monotonic() < ends
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError) or time.monotonic() > ends:
                raise
        time.sleep(0.1)


def healthcheck() -> str:
    """The program that the image's HEALTHCHECK runs."""
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    command = re.search(r"^HEALTHCHECK .*\n\s+CMD (\[.*\])$", text, re.MULTILINE)
    assert command is not None
    name, option, program = json.loads(command[1])
    assert (name, option) == ("python", "-c")
    return str(program)


def sftp_healthcheck() -> str:
    """The program that compose.yaml has look at the SFTP server."""
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    kind, name, option, program = yaml.safe_load(text)["services"]["sftp"]["healthcheck"]["test"]
    assert (kind, name, option) == ("CMD", "python", "-c")
    return str(program)


@pytest.mark.threat("F19")
def test_they_start_from_the_environment_alone_serve_and_stop_when_asked(
    environment: Mapping[str, str], processes: Mapping[str, Process]
) -> None:
    assert "up to date" in run(environment, "migrate")
    token = run(environment, "token", "create", "--role", "operator", "--name", "first").strip()

    assert json.loads(get(environment, "/readyz")) == {"status": "ok"}
    assert json.loads(get(environment, "/admin/v1/districts", token))["items"] == []
    assert subprocess.run([sys.executable, "-c", healthcheck()], env=environment, check=False).returncode == 0

    wait_for_a_line(processes["worker"].log)
    ready = b'rosterhub_requests_total{route="health",status="200"} 2.0'
    assert ready in get(environment, "/metrics").splitlines()
    assert b'rosterhub_subscriptions{state="active"} 0.0' in get(environment, "/metrics", port="HUB_METRICS_PORT")
    logged = {name: process.stop() for name, process in processes.items()}

    lines = [json.loads(line) for line in logged["serve"].splitlines()]
    assert [line["route"] for line in lines if line["event"] == "request"] == [
        "/readyz",
        "/admin/v1/districts",
        "/healthz",
        "/metrics",
    ]
    assert token not in logged["serve"] + logged["worker"]
    assert [path.name for path in Path(environment["HUB_DATA_DIR"]).iterdir()] == ["metrics"]
    refused = subprocess.run([sys.executable, "-c", healthcheck()], env=environment, capture_output=True, check=False)
    assert refused.returncode != 0


@pytest.mark.threat("F1", "T42")
def test_a_drop_that_is_killed_loses_nothing_that_it_took(
    environment: Mapping[str, str], database: Database, tmp_path: Path
) -> None:
    own = {**environment, "HUB_SFTP_PORT": str(_free_port()), "HUB_DATA_DIR": str(tmp_path / "data")}
    run(own, "migrate")
    username, source, key = asyncio.run(_with_a_drop(database))
    data = b"PK no archive, but nobody looks into it here"
    health = [sys.executable, "-c", sftp_healthcheck()]
    assert subprocess.run(health, env=own, capture_output=True, check=False).returncode != 0
    first = _started(own, tmp_path / "first.log")
    assert subprocess.run(health, env=own, check=False).returncode == 0
    asyncio.run(_put_down(int(own["HUB_SFTP_PORT"]), username, key, data))
    first.popen.kill()  # before the quiet time of an archive is over
    first.popen.wait()
    second = _started(own, tmp_path / "second.log")
    found = asyncio.run(_upload_of(database, source))
    assert second.stop()
    assert found == (len(data), hashlib.sha256(data).hexdigest(), 1)


@pytest.mark.threat("T42")
def test_an_upload_goes_on_after_the_api_was_killed_in_the_middle_of_it(
    environment: Mapping[str, str], database: Database, tmp_path: Path
) -> None:
    run(environment, "migrate")
    token = run(environment, "token", "create", "--role", "operator", "--name", "first").strip()
    _, source, _ = asyncio.run(_with_a_drop(database))
    data, cut = os.urandom(6_000_000), 3_700_000
    first = _started(environment, tmp_path / "first.log", "serve")
    district = json.loads(get(environment, "/admin/v1/districts", token))["items"][0]["district_id"]
    tus = _Tus(int(environment["HUB_PORT"]), token, f"/admin/v1/districts/{district}")
    path = tus.begin(source, len(data))
    with closing(tus.sends(path, 0, data, cut)) as connection:
        reached = tus.reached(path, 3 << 20)
        first.popen.kill()
        first.popen.wait()
        with pytest.raises(ConnectionError):
            connection.getresponse()
    second = _started(environment, tmp_path / "second.log", "serve")
    assert tus.offset(path) == reached == 3 << 20  # whole parts of a megabyte, as they were committed
    with closing(tus.sends(path, reached, data[reached:], len(data))) as connection:
        assert connection.getresponse().status == 204
    assert tus.offset(path) == len(data)
    found = asyncio.run(_upload_of(database, source))
    assert second.stop()
    assert found == (len(data), hashlib.sha256(data).hexdigest(), 1)


@dataclass(frozen=True)
class _Tus:
    """A client of resumable uploads of a district, whose address is ``root``."""

    port: int
    token: str
    root: str

    def _asked(self, method: str, path: str, **headers: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path)
        own = {"Authorization": f"Bearer {self.token}", "Tus-Resumable": "1.0.0"} | {"Content-Length": "0"}
        for name, value in (own | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    def begin(self, source: UUID, length: int) -> str:
        """The path of a new upload."""
        path = f"{self.root}/sources/{source}/resumable"
        with closing(self._asked("POST", path, **{"Upload-Length": str(length)})) as asked:
            answer = asked.getresponse()
            assert answer.status == 201, answer.read()
            return f"{self.root}/resumable/" + (answer.getheader("Location") or "").rpartition("/")[2]

    def sends(self, path: str, offset: int, data: bytes, size: int) -> http.client.HTTPConnection:
        """A request that is to bring all of ``data``, after ``size`` bytes of it."""
        headers = {
            "Upload-Offset": str(offset), "Content-Length": str(len(data)),
            "Content-Type": "application/offset+octet-stream",
        }  # fmt: skip
        connection = self._asked("PATCH", path, **headers)
        connection.send(data[:size])
        return connection

    def offset(self, path: str) -> int:
        """How many bytes count."""
        with closing(self._asked("HEAD", path)) as asked:
            answer = asked.getresponse()
            assert answer.status == 200
            return int(answer.getheader("Upload-Offset") or "-1")

    def reached(self, path: str, size: int) -> int:
        """The same, once it is so many."""
        deadline = time.monotonic() + START_SECONDS
        while (found := self.offset(path)) < size:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found


def _started(environment: Mapping[str, str], log: Path, name: str = "sftp") -> Process:
    """A process of the hub, once it says what it does."""
    with log.open("wb") as output:
        popen = subprocess.Popen([*HUB, name], cwd=ROOT, env=environment, stdout=output, stderr=output)
    deadline = time.monotonic() + START_SECONDS
    while {"sftp": b"Taking packages", "serve": b"Serving"}[name] not in log.read_bytes():
        assert popen.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return Process(popen, log)


async def _with_a_drop(database: Database) -> tuple[str, UUID, asyncssh.SSHKey]:
    """A login's name, its source and its key."""
    pool = await Pool.open(database.service, name="test", largest=1)
    district, source, username = uuid4(), uuid4(), drops.new_username()
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with pool.district(district) as tx:
        await districts.create(tx, "District")
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
        public = key.export_public_key().decode().strip()
        await drops.create(tx, source, username=username, password_hash=None, public_keys=[public])
    await pool.close()
    return username, source, key


async def _put_down(port: int, username: str, key: asyncssh.SSHKey, data: bytes) -> None:
    async with (
        asyncssh.connect("127.0.0.1", port, username=username, client_keys=[key], known_hosts=None, config=[],
                         agent_path=None) as connection,
        connection.start_sftp_client() as client, client.open("a.zip", "wb") as file,
    ):  # fmt: skip
        await file.write(data)


async def _upload_of(database: Database, source: UUID) -> tuple[int, str, int]:
    """Bytes and digest of the source's one upload, once it is whole, and its runs."""
    owner = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                rows = await owner.fetch(
                    "SELECT bytes, sha256, (SELECT count(*) FROM runs r WHERE r.upload_id = u.upload_id) AS runs "
                    "FROM uploads u WHERE source_id = $1 AND state = 'complete'", source,
                )  # fmt: skip
                if rows:
                    (row,) = rows
                    return row["bytes"], row["sha256"], row["runs"]
                await asyncio.sleep(0.1)
    finally:
        await owner.close()
