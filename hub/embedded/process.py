"""Starting, watching and ending the server processes."""

from __future__ import annotations

import fcntl
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from hub.errors import Code, HubError, Intent

POLL_SECONDS = 0.02
LOG_LIMIT_BYTES = 10_000_000

# Children of this process, so that an ended one is reaped and not mistaken for a live one.
_children: dict[int, subprocess.Popen[bytes]] = {}


def unavailable(message: str) -> HubError:
    """An error of an embedded server that a later attempt may not meet."""
    return HubError(Code.UNAVAILABLE, message, intent=Intent.RETRY)


def server_environment() -> dict[str, str]:
    """The environment of the servers: none of the caller's variables, for PG… among them would change what they do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def as_account(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Keyword arguments that make ``subprocess`` run a program as ``account``; none needed for our own."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def spawn(
    command: Sequence[str | Path],
    *,
    account: pwd.struct_passwd | None,
    cwd: Path,
    log: Path,
    stdin: bytes = b"",
) -> int:
    """Start a server in a session of its own (so that Ctrl-C reaches us first) and return its process id."""
    for ended in list(_children):  # one may have ended by itself, with nobody to ask after it
        alive(ended)
    with log_file(log) as output:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=server_environment(),
            start_new_session=True,
            **as_account(account),
        )
    _children[child.pid] = child
    if child.stdin is not None:
        try:
            child.stdin.write(stdin)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it ended at once; whoever waits for its health says so
    return child.pid


@contextmanager
def log_file(path: Path) -> Iterator[IO[bytes]]:
    """``path`` opened for appending and readable by its owner only; emptied first when it has grown large."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as output:
        if path.stat().st_size > LOG_LIMIT_BYTES:
            output.truncate(0)
        yield output


def alive(pid: int) -> bool:
    """Whether a process with this id runs; an ended child of ours is reaped."""
    child = _children.get(pid)
    if child is not None:
        if child.poll() is None:
            return True
        del _children[pid]
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _ended(pid)


def _ended(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to ask how. Linux only; elsewhere none has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone already is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise unavailable(f"process {pid} belongs to another user and cannot be stopped from here") from error


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether ``condition`` came true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return condition()
        time.sleep(POLL_SECONDS)
    return True


def wait_for_end(pid: int, seconds: float) -> bool:
    """Whether a process ended within ``seconds``."""
    return wait_until(lambda: not alive(pid), seconds)


def working_in(folder: Path) -> list[int]:
    """Ids of the processes whose working directory is ``folder``: a server and its children.

    Linux only. Elsewhere, or for processes that we may not look at, none are found.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@contextmanager
def exclusive(path: Path, *, seconds: float = 120, otherwise: str | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` alone; the kernel frees it when its holder dies.

    Raises HubError(UNAVAILABLE) with ``otherwise`` as its text when it is not free within ``seconds``.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not wait_until(lambda: _flock(descriptor, fcntl.LOCK_EX), seconds):
            text = f"another process has been starting or stopping the server for {seconds:.0f} s ({path})"
            raise unavailable(otherwise or text)
        yield
    finally:
        os.close(descriptor)


class Users:
    """Counts the processes that use one server, by shared locks on a file, so that a dead one is not counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def counted(self) -> bool:
        """Whether this user is counted now."""
        return self._descriptor is not None

    @property
    def present(self) -> bool:
        """Whether any process uses the server now, this one included."""
        if self.counted:
            return True
        if not self._path.exists():
            return False
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            return not _flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    def enter(self) -> None:
        """Count this user."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def leave(self) -> bool:
        """Count this user no longer; true when nobody else uses the server."""
        if self._descriptor is None:
            return False
        try:
            return _flock(self._descriptor, fcntl.LOCK_EX)
        finally:
            os.close(self._descriptor)
            self._descriptor = None


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(
    command: Sequence[str | Path],
    *,
    account: pwd.struct_passwd | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its exit code and output. A program that cannot be started gives 127."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**server_environment(), **(environment or {})},
            timeout=seconds,
            check=False,
            **as_account(account),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess([], 127, "", f"{type(error).__name__}: {error}")
