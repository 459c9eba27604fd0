"""The demo as a person treats it: Ctrl-C in the middle of the story. CI tells the whole story with ``--once``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.services import MASTER_KEY, Database

ROOT = Path(__file__).parents[2]
SECONDS = 90


@pytest.fixture
def environment(database: Database, redis_url: str, free_port: int, tmp_path: Path) -> Mapping[str, str]:
    """A hub of its own on the servers of the tests."""
    return {
        "PATH": os.environ["PATH"],
        "HUB_DATABASE_URL": database.owner,
        "HUB_REDIS_URL": redis_url,
        "HUB_MASTER_KEY": MASTER_KEY.decode(),
        "HUB_DATA_DIR": str(tmp_path),
        "HUB_PORT": str(free_port),
    }


def test_ctrl_c_in_the_middle_ends_the_story_and_keeps_what_was_done(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-u", "-m", "hub.cli", "demo"]
    demo = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "2,000 students" in line:
                break
        demo.send_signal(signal.SIGINT)
        rest, _ = demo.communicate(timeout=SECONDS)
    finally:
        demo.kill()

    assert demo.returncode == 1
    assert "Stopping as soon as this step is done" in rest
    assert "20,000 students" not in rest
    notes = json.loads((tmp_path / "demo.notes.json").read_bytes())
    assert [district["version"] for district in notes["districts"]] == ["1.1"]
    assert notes["done"] == []
