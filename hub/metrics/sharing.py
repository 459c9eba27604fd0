"""Numbers of several processes on one machine, added up: each keeps its own in files of one folder.

Of a process that is gone the counts have to stay, or they would run backwards; they are added to a file of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger()
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_LIBRARY = "prometheus_client"
_GONE = 0  # stands for all processes that are gone


def share(folder: Path) -> None:
    """Keeps this process's numbers in a folder that others share. Call it once, before anything is counted.

    Where nothing can be written there, the process keeps its numbers to itself. Raises RuntimeError when something was
    counted already.
    """
    if _LIBRARY in sys.modules:
        raise RuntimeError("numbers are kept in memory already: share them before anything is counted")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "lock").touch()
    except OSError as error:
        log.warning("metrics of this process alone: their folder cannot be written", error=error.strerror)
        return
    os.environ[_VARIABLE] = str(folder)


def shared() -> Path | None:
    """The folder that this process shares; None where it keeps its numbers in memory."""
    folder = os.environ.get(_VARIABLE)
    return Path(folder) if folder else None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else reads or tidies the folder meanwhile."""
    with (folder / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tidy(folder: Path) -> None:
    """Adds up what processes left that are gone. Call it inside ``alone``."""
    from prometheus_client.multiprocess import mark_process_dead

    for pid in sorted({_pid(path) for path in folder.glob("*.db")} - {_GONE}):
        if not _runs(pid):
            mark_process_dead(pid, str(folder))  # gauges: what it had is not there any more
            for kind in ("counter", "histogram"):
                _fold(folder, kind, pid)


def _pid(path: Path) -> int:
    text = path.stem.rpartition("_")[2]
    return int(text) if text.isdigit() else _GONE


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fold(folder: Path, kind: str, pid: int) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    left = folder / f"{kind}_{pid}.db"
    if not left.exists():
        return
    sums = MmapedDict(str(folder / f"{kind}_{_GONE}.db"))
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(left)):
            sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    finally:
        sums.close()
    left.unlink()
