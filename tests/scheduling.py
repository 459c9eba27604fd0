"""Which worker runs which file: those of one folder stay together, and what takes long begins early.

A folder's districts are synced once by each worker that runs tests of it. And a long file that begins last runs alone
while the other workers wait.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

#: About how many seconds of processor a test of a folder takes; the first that fits counts.
SECONDS = {
    "tests/property": 12, "tests/api/matrix": 5, "tests/integration": 3, "tests/sync": 1.3, "tests/webhooks": 1,
    "tests/api": 0.6, "tests/export": 0.6, "tests/contract": 0.4, "tests/unit/connectors": 0.2, "tests/": 0.1,
}  # fmt: skip
#: Short files that need nothing prepared fill the time until all workers are done: they come last.
LAST = ("tests/unit", "tests/docs")


class FolderScheduling(LoadFileScheduling):
    """As ``--dist loadfile``, but a worker stays in a folder as long as there is something in it, long files first."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self._at: dict[WorkerController, str] = {}

    def _assign_work_unit(self, node: WorkerController) -> None:
        folders: dict[str, float] = {}
        for file, tests in self.workqueue.items():
            folders[folder(file)] = folders.get(folder(file), 0) + cost(file, len(tests))
        if self._at.get(node) not in folders:
            self._at.pop(node, None)
            taken = list(self._at.values())
            self._at[node] = max(folders, key=lambda name: (name not in LAST, folders[name] / (1 + taken.count(name))))
        here = {
            file: cost(file, len(tests)) for file, tests in self.workqueue.items() if folder(file) == self._at[node]
        }
        self.workqueue.move_to_end(max(here, key=here.__getitem__), last=False)
        super()._assign_work_unit(node)


def folder(file: str) -> str:
    """The folder of a file's tests that has fixtures of its own: two parts of its path, three below ``tests/api``."""
    parts = file.split("/")[:-1]
    return "/".join(parts[: 3 if parts[1:2] == ["api"] else 2])


def cost(file: str, tests: int) -> float:
    """About how many seconds of processor a file's tests take."""
    return tests * next((seconds for start, seconds in SECONDS.items() if file.startswith(start)), 0.1)
