"""Log lines that cannot be written cost nothing but themselves, and objects in them show no more than they mean to."""

from __future__ import annotations

import json
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


SHOWS = """
from dataclasses import dataclass, field

import structlog
from hub.logs import configure
from hub.settings import Settings
from hub.webhooks.egress import Answer

@dataclass
class Held:
    name: str
    secret: str = field(repr=False)

configure(Settings(data_dir="/nonexistent", log_format="json"))
answer = Answer(200, None, 7, body=b"canary")
structlog.get_logger().warning("shown", held=Held("one", "canary"), answer=answer, half="\\ud800")
"""


@pytest.mark.threat("T29")
def test_an_object_shows_in_a_line_what_it_shows_to_people() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWS], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "canary" not in done.stderr
    line = json.loads(done.stderr)
    assert (line["held"], line["half"]) == ("Held(name='one')", "\ud800")
    assert line["answer"] == "Answer(status=200, failure=None, milliseconds=7, retry_after=None, remote_ip=None)"
