"""What is asked of every place: its files, one of them as a local copy, and to move or remove one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from connectors.protocol import ConnectorError, Intent

#: A folder with more files is none that packages are put into.
MOST_ENTRIES = 10_000
#: A file must come at this pace on average, or the pull is given up; in bytes a second.
LEAST_PACE = 20_000
#: Longest wait for the next part of a file, and for an answer.
STALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file at a place. ``stamp`` changes with its content, ``at`` is when it was written last (POSIX seconds)."""

    name: str
    size: int
    stamp: str
    at: float


class Store(Protocol):
    """An open place. All methods raise ConnectorError."""

    async def entries(self) -> list[Entry]:
        """The regular files of the folder, in any order; links and folders are left out."""

    async def fetch(self, entry: Entry, target: Path) -> None:
        """Copies the file. Raises ConnectorError (``package_unsettled``) when it is another one by the end."""

    async def move(self, entry: Entry, folder: str, name: str) -> bool:
        """Moves the file to ``folder``, seen from the place's own; one of that name there is replaced.

        A last look comes right before: one that is another by now stays, and the answer is False.
        """

    async def remove(self, entry: Entry) -> bool:
        """Removes the file; none is there afterwards, or another than ``entry``, and then the answer is False."""


Opened = AbstractAsyncContextManager[Store]


def unsettled(
    what: str, *, wait_seconds: float | None = None, seen: Mapping[str, Any] | None = None
) -> ConnectorError:  # fmt: skip
    """The error for a package that somebody is still writing; ``wait_seconds`` and ``seen`` as errors have them."""
    text = f"{what} It is tried again; nothing of it was applied."
    return ConnectorError("package_unsettled", text, intent=Intent.RETRY, wait_seconds=wait_seconds, seen=seen)


def longest_seconds(size: int) -> float:
    """How long a file of ``size`` bytes may take."""
    return STALL_SECONDS + size / LEAST_PACE


def too_slow() -> ConnectorError:
    """The error for a file that comes in drips."""
    text = f"The file came at less than {LEAST_PACE // 1000} kB a second. Whoever runs the server must look at it."
    return ConnectorError("too_slow", text, intent=Intent.RETRY)
