"""``hub validate`` on real files: what it says, what it never says, and how it exits."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from hub.cli import main
from hub.sandbox import DistrictPlan, generate, write_sandbox


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["validate", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dirty district and a clean one, of each version."""
    folder = tmp_path_factory.mktemp("packages")
    for version in ("1.1", "1.2"):
        write_sandbox(folder / f"dirty-{version}", DistrictPlan(students=100, seed=5, version=version, dirt=0.03))
        write_sandbox(folder / f"clean-{version}", DistrictPlan(students=100, seed=5, version=version, dirt=0))
    return folder


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_clean_package_exits_0(folder: Path, version: str) -> None:
    result = _run(folder / f"clean-{version}" / "district.zip")

    assert result.exit_code == 0, result.output
    assert f"OneRoster {version} CSV" in result.output
    assert "Clean: all rows would go in" in result.output


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_dirty_package_exits_1_and_says_where_and_how_to_mend(folder: Path, version: str) -> None:
    result = _run(folder / f"dirty-{version}" / "district.zip", "--limit", "2")

    assert result.exit_code == 1, result.output
    assert re.search(r"^[A-Z]+-\d+\w? kept out", result.output, re.MULTILINE)
    assert re.search(r"^ +mend: \S", result.output, re.MULTILINE)
    assert re.search(r"^ +users\.csv, line \d+", result.output, re.MULTILINE)
    assert "rows would be kept out" in result.output


def test_a_folder_is_read_like_an_archive(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folder / "dirty-1.2" / "district.zip") as archive:
        archive.extractall(tmp_path)
    reports = [json.loads(_run(path, "--json").output) for path in (tmp_path, folder / "dirty-1.2" / "district.zip")]

    monkeypatch.chdir(tmp_path)
    assert _run(".").output.startswith(f"{tmp_path.name}: OneRoster 1.2 CSV")
    for report in reports:
        report.pop("package")
    assert reports[0] == reports[1]


def test_the_json_adds_up(folder: Path) -> None:
    result = _run(folder / "dirty-1.1" / "district.zip", "--json", "--limit", "0")
    report = json.loads(result.output)

    assert result.exit_code == 1
    assert (report["version"], report["refused"]) == ("1.1", False)
    assert report["total"] == sum(rule["count"] for rule in report["rules"]) == sum(report["actions"].values())
    assert all(rule["howto"] and rule["title"] and rule["examples"] == [] for rule in report["rules"])
    for entity, rows in report["read"].items():
        assert report["good"][entity] <= rows


@pytest.mark.threat("T48")
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_no_value_of_a_person_is_printed(folder: Path, version: str) -> None:
    plan = DistrictPlan(students=100, seed=5, version="1.1" if version == "1.1" else "1.2", dirt=0.03)
    users = generate(plan).frames["users"]
    columns = ("sourcedId", "username", "email", "phone", "sms", "givenName", "familyName", "identifier")
    values = {
        value
        for column in columns
        if column in users.columns
        for value in users[column].cast(pl.String).drop_nulls().to_list()
        if len(value) > 3
    }
    package = folder / f"dirty-{version}" / "district.zip"
    words = set(re.findall(r"[\w@.+'-]+", _run(package, "--limit", "50").output + _run(package, "--json").output))

    assert len(values) > 300
    assert words & values <= {"Grade", "June", "April", "August", "Will", "Mark"}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("no.zip", b"this is no archive", "FILE-"),
        ("empty.zip", b"", "FILE-"),
        ("cut.zip", None, "FILE-"),
    ],
)
def test_what_is_no_archive_is_refused_with_a_code(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, code: str
) -> None:
    whole = (folder / "clean-1.2" / "district.zip").read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is None else content)
    result = _run(tmp_path / name)

    assert result.exit_code == 1, result.output
    assert re.search(rf"^{code}\d+ refused", result.output, re.MULTILINE)
    assert "mend: " in result.output
    assert "Refused: nothing of this package would be applied." in result.output
    assert result.output.startswith(f"{name}: nothing of OneRoster in it\n")
    report = json.loads(_run(tmp_path / name, "--json").output)
    assert (report["refused"], report["version"]) == (True, None)


def _package(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.csv", text)
    return out.getvalue()


@pytest.mark.parametrize(
    ("files", "exit_code"),
    [
        ({"orgs": "sourcedId;status;dateLastModified;name;type\r\n1;;;A;school\r\n"}, 1),
        ({"orgs": "name,type\r\nA,school\r\n"}, 1),
        ({"orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"}, 0),
        ({"orgs": 'sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n1,,,"A,school,,\r\n'}, 1),
        (
            {
                "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"
                "1,,,A,school,,2\r\n2,,,B,district,,1\r\n"
            },
            0,
        ),
        (
            {
                "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"
                "1,,," + "x" * 3_000_000 + ",school,,\r\n"
            },
            1,
        ),
        ({"readme": "nothing of interest\r\n"}, 1),
    ],
    ids=["delimiter", "missing column", "headers only", "open quote", "cycle", "huge cell", "nothing"],
)
def test_bad_files_end_with_codes_and_never_with_a_traceback(
    tmp_path: Path, files: dict[str, str], exit_code: int
) -> None:
    (tmp_path / "p.zip").write_bytes(_package(**files))
    result = _run(tmp_path / "p.zip")

    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    assert re.search(r"^[A-Z]{3,4}-\d+", result.output, re.MULTILINE), result.output
    assert result.exit_code == exit_code, result.output


def test_a_line_that_is_no_row_counts_among_those_that_stay_out(tmp_path: Path) -> None:
    header = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"
    (tmp_path / "p.zip").write_bytes(_package(orgs=header + '1,,,B,school,,\r\n2,,,"A,school,,\r\n'))
    report = json.loads(_run(tmp_path / "p.zip", "--json").output)

    assert (report["read"], report["good"], report["rows"]) == ({"orgs": 2}, {"orgs": 1}, {"orgs": 1})


def test_what_cannot_be_read_at_all_exits_2(tmp_path: Path) -> None:
    result = _run(tmp_path / "nowhere.zip")

    assert result.exit_code == 2
    assert "unreadable" in result.output
    assert _run().exit_code == 2
    assert _run(tmp_path / "a.zip", "--limit", "-1").exit_code == 2
