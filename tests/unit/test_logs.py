"""Log lines that cannot be written cost nothing but themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIVES = """
import structlog
from hub.logs import configure
from hub.settings import Settings

configure(Settings(data_dir="/nonexistent"))
for number in range(3):
    structlog.get_logger().warning("a line", number=number)
print("alive")
"""


@pytest.mark.threat("F16")
def test_a_full_disk_under_the_log_ends_no_process() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", LIVES],
            cwd=ROOT,
            stderr=full,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )

    assert (ended.returncode, ended.stdout) == (0, "alive\n")
