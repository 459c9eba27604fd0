"""House rules that are cheap to check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hub", "connectors", "transforms")
MODULES = sorted(path for top in PACKAGES for path in (ROOT / top).rglob("*.py"))
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
# Written with classes of one letter, so that no search for leftovers finds this line.
LEFTOVER = re.compile(r"\b([T]ODO|[F]IXME|[X]XX|[H]ACK)\b|raise [N]otImplementedError|(pytest|mark)\.([s]kip|[x]fail)")
#: Asks for libraries of another language, which need not be on a machine.
MAY_BE_LEFT_OUT = "test_node_libraries.py"
PINNED = re.compile(r"^[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+( ; .+)? \\$")


def test_no_module_is_a_drawer() -> None:
    assert [path for path in MODULES if path.stem in DRAWERS or path.parent.name in DRAWERS] == []


def test_no_leftovers() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*MODULES, *(ROOT / "tests").rglob("*.py")]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if LEFTOVER.search(line) and path.name != MAY_BE_LEFT_OUT
    ]

    assert found == []


def test_files_and_functions_are_short() -> None:
    long = []
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > LONGEST_FILE:
            long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines")

    assert long == []


def test_import_contracts_hold() -> None:
    """What imports what is as pyproject.toml draws it."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-identity.txt"])
def test_requirements_are_pinned_by_hash_and_name_no_index(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line and not line.startswith("#")]

    assert [line for line in kept if not PINNED.match(line) and not line.startswith("    --hash=sha256:")] == []
    assert not any("://" in line for line in lines)


def test_the_developers_requirements_hold_the_run_time_ones() -> None:
    run_time = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    developers = set((ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines())

    assert {line for line in run_time if not line.startswith("#")} <= developers
