"""CPU time and memory, which other work on the machine disturbs less than the clock."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import psutil


async def postmaster(owner_url: str) -> psutil.Process:
    """The first process of the server at an address."""
    connection = await asyncpg.connect(owner_url)
    try:
        found = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).parent()
    finally:
        await connection.close()
    assert found is not None
    return found


def server_seconds(process: psutil.Process) -> float:
    """CPU seconds of a PostgreSQL server so far, those of backends that have ended included."""
    total = sum(process.cpu_times()[:4])  # user, system, and both of children that were waited for
    for child in process.children():
        try:
            total += sum(child.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def process_seconds() -> float:
    """CPU seconds of this process so far."""
    return sum(psutil.Process().cpu_times()[:2])


def forget_peak() -> None:
    """Lets the peak of this process's memory begin anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_gigabytes() -> float:
    """The most memory that this process held since ``forget_peak``, in GB.

    Not ru_maxrss, in which a new process begins with the peak of the one that started it.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("the kernel does not tell the peak of a process's memory")
