"""The wheel holds what it should and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("hub", "connectors", "transforms", "migrations", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that was built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(folder),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_three_packages_at_the_top_and_no_more(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"hub", "connectors", "transforms"}
    assert len(tops) == 4


def test_no_tests_and_no_leftovers(names: list[str]) -> None:
    assert [name for name in names if "test" in name.split("/") or "tests" in name.split("/") or ".pyc" in name] == []


def test_all_migrations_are_in_it(names: list[str]) -> None:
    ours = {path.name for path in (ROOT / "migrations").glob("*.sql")}

    assert ours
    assert {f"hub/store/migrations/{name}" for name in ours} <= set(names)


def test_every_module_is_in_it(names: list[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for top in PARTS[:3] for path in (ROOT / top).rglob("*.py")}

    assert modules <= set(names)


def test_the_licence_is_in_it(names: list[str]) -> None:
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
