"""The README's commands exist, and continuous integration runs them as they stand there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"make (?:demo|test|bench|lint)(?: ARGS=(?:\"[^\"]*\"|\S+?(?=[`\s])))?", README)))


def test_the_first_screen_is_the_demo() -> None:
    assert "make demo" in README.splitlines()[:12]


def test_there_are_commands() -> None:
    assert {"make demo", "make test", "make bench", "make lint"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_a_target(command: str) -> None:
    done = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_continuous_integration_runs_the_test_and_the_demo() -> None:
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"step make test", "step make demo ARGS=--once", "step make lint"} <= set(steps)
