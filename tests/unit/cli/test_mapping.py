"""``hub mapping`` and ``hub validate`` on tables: told, suggested, tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from hub.cli import main
from tests.unit.connectors.packages import files, text, zipped
from tests.unit.connectors.tables import DUMP, SDS_1


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def saved(path: Path, definition: Any) -> Path:
    path.write_text(json.dumps(definition))
    return path


def test_known_tables_are_told_and_read(tmp_path: Path) -> None:
    package = zipped(tmp_path / "sds.zip", SDS_1)
    result = run("validate", package)
    assert result.exit_code == 0, result.output
    assert "Microsoft School Data Sync 1, told by its headers, read as OneRoster 1.2" in result.output
    assert json.loads(run("validate", package, "--json").stdout)["format"] == "Microsoft School Data Sync 1"
    suggested = run("mapping", "suggest", package)
    assert json.loads(suggested.stdout) == {"mapping": {"base": "sds-1"}}


def test_a_suggestion_goes_right_into_a_try(tmp_path: Path) -> None:
    renamed = {k.replace("students", "Pupils"): v.replace("first_name", "Vorname") for k, v in DUMP.items()}
    package = zipped(tmp_path / "dump.zip", renamed)
    assert run("validate", package).exit_code == 1
    suggested = run("mapping", "suggest", package, "--scores")
    assert suggested.exit_code == 0
    assert "students.first_name <- Vorname" in suggested.stderr
    file = tmp_path / "transform.json"
    file.write_text(suggested.stdout)
    result = run("validate", package, "--transform", file)
    assert result.exit_code == 0, result.output


def test_a_transform_is_applied_before_the_package_is_judged(tmp_path: Path) -> None:
    package = zipped(tmp_path / "p.zip", files())
    where = saved(tmp_path / "t.json", {"files": {"users": {"where": "sourcedId IN ('u1', 'u2')"}}})
    report = json.loads(run("validate", package, "--transform", where, "--json").stdout)
    assert report["good"]["users"] == 2
    assert "SHP-001" in {rule["code"] for rule in report["rules"]}


def test_a_broken_transform_says_where(tmp_path: Path) -> None:
    package = zipped(tmp_path / "p.zip", files())
    broken = saved(tmp_path / "t.json", {"files": {"users": {"where": "sourcedId = 'u1"}}})
    result = run("validate", package, "--transform", broken)
    assert result.exit_code == 2
    assert "files.users.where: line 1, column 13" in result.output
    (tmp_path / "t.json").write_text("{\n oops")
    assert "is not JSON: line 2" in run("validate", package, "--transform", broken).output


def test_unknown_tables_are_said_to_be_unknown(tmp_path: Path) -> None:
    package = zipped(tmp_path / "p.zip", {"things.csv": text("a,b", "1,2")})
    result = run("mapping", "suggest", package)
    assert "not found: orgs.csv from schools" in result.stderr
    assert run("mapping", "suggest", saved(tmp_path / "no.zip", {})).exit_code in {0, 2}


def test_the_built_in_mappings_are_listed() -> None:
    assert "sds-2.1: Microsoft School Data Sync 2.1" in run("mapping", "list").stdout
