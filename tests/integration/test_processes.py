"""The processes as deploy/ starts them: settings from the environment, checks of health, and a gentle stop."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path

import pytest

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
