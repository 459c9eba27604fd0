"""``hub connector new``: what it writes is installed, found by the hub, and passes the contract suite as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli import main

ROOT = Path(__file__).parents[3]
BUILD = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
SEEN = "from connectors.registry import connector, kinds; print('acme_2' in kinds(), connector('acme_2').title)"


def new(folder: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["connector", "new", *arguments, "--into", str(folder)])
    return result.exit_code, result.output


def test_a_new_connector_is_found_by_the_hub_and_passes_the_contract_suite(tmp_path: Path) -> None:
    code, text = new(tmp_path, "acme_2", "--title", "Acme & Söhne, 2")
    assert (code, "hub source kinds acme_2" in text) == (0, True), text
    made = tmp_path / "rosterhub-acme-2"
    texts = {path: path.read_text(encoding="utf-8") for path in made.rglob("*") if path.is_file()}
    assert len(texts) == 10
    left = [
        path for path, text in texts.items() if "xample" in f"{path.relative_to(made)}{text}".replace(".example", "")
    ]
    assert left == []

    # The wheel as pip makes it, laid where pip would: no index is asked.
    (tmp_path / "site").mkdir()
    wheel = run(made, "-c", BUILD, str(tmp_path)).stdout.split()[-1]
    with zipfile.ZipFile(tmp_path / wheel) as archive:
        archive.extractall(tmp_path / "site")
    path = f"{tmp_path / 'site'}{os.pathsep}{ROOT}"
    assert run(made, "-c", SEEN, path=path).stdout == "True Acme & Söhne, 2\n"
    passed = run(made, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py",
                 path=path)  # fmt: skip
    assert " passed" in passed.stdout
    assert not {"skipped", "failed", "error"} & set(passed.stdout.split())


def run(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Python in the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the contract suite needs none
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Acme"], "plain name"), (["acme-sis"], "plain name"), (["oneroster_csv"], "is a connector of the kind"),
        (["acme", "--title", 'A"c'], "--title has"), (["there"], "is there already"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_connector_is_refused(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "rosterhub-there").mkdir()
    code, text = new(tmp_path, *arguments)
    assert (code, words in text) == (2, True), text
    assert [one.name for one in tmp_path.iterdir()] == ["rosterhub-there"]
