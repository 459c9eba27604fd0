"""Every place at which a process may be killed exists in the code once, and some test kills a process there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from hub.crashpoints import PLACES

ROOT = Path(__file__).parents[2]


def calls(folder: str) -> list[str]:
    """The names that ``crash_point`` is called with."""
    return [
        node.args[0].value
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "crash_point"
        and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    ]  # fmt: skip


def texts(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_place_is_in_the_code_once() -> None:
    assert sorted(calls("hub")) == sorted(PLACES)


@pytest.mark.threat("F1", "F15")
def test_some_test_kills_a_process_at_every_place() -> None:
    syncs = ROOT / "tests" / "sync" / "test_store_crashes.py"
    steps = {"fetch.", "sync.", "transform.", "diff.", "stage.", "apply.", "feed.", "notify."}
    assert steps <= texts(syncs)  # it takes all of their places
    assert {"merge.staged", "merge.kept", "people.moved"} <= texts(ROOT / "tests" / "sync" / "test_merging_crashes.py")
    assert "gradebook." in texts(ROOT / "tests" / "api" / "oneroster" / "test_gradebook_faults.py")
    delivered = texts(ROOT / "tests" / "webhooks" / "test_crashes.py")
    assert {place for place in PLACES if place.startswith("deliver.")} <= delivered
    exports = texts(ROOT / "tests" / "export" / "test_jobs.py") | texts(ROOT / "tests" / "export" / "test_targets.py")
    assert {place for place in PLACES if place.startswith("export.")} <= exports


@pytest.mark.parametrize(("armed", "code"), [("sync.staged", 137), ("", 0), ("sync.claimed", 0)])
def test_only_the_armed_place_kills(armed: str, code: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from hub.crashpoints import crash_point; crash_point('sync.staged')"],
        cwd=ROOT, env={"HUB_CRASH_AT": armed}, check=False,
    )  # fmt: skip
    assert ended.returncode == code
