"""Packages that we write: exact, deterministic, and read back to the same frames."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.oneroster_csv import write_folder, write_package
from tests.unit.connectors.packages import codes, frame, opened
from transforms.catalogue import CATALOGUE, Version

# All text but what a CSV file cannot hold: surrogates, NUL, line breaks.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=12)
CELL = st.none() | st.sampled_from(['"', '""', ",", '","', " ", "a,b", "\ufeff", "=1+1", "\u2028", "\x1f"]) | TEXT
BODY = {
    "orgs": ("name", "type", "identifier", "parentSourcedId"),
    "users": ("givenName", "orgSourcedIds", "metadata.x"),
}


@st.composite
def rows(draw: st.DrawFn, file: str) -> pl.DataFrame:
    columns = BODY[file]
    cells = draw(st.lists(st.tuples(*(CELL for _ in columns)), min_size=1, max_size=20))
    keys = {"sourcedId": [f"{file}{n}" for n in range(len(cells))]}
    body = {name: [c[place] or None for c in cells] for place, name in enumerate(columns)}
    return pl.DataFrame(keys | body, schema=dict.fromkeys(("sourcedId", *columns), pl.String))


@pytest.mark.threat("T41")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(orgs=rows("orgs"), users=rows("users"), version=st.just("1.1"), loose=st.booleans())
def test_what_is_written_is_read_back_exactly(
    orgs: pl.DataFrame, users: pl.DataFrame, version: Version, *, loose: bool
) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "p"
        (write_folder if loose else write_package)(path, version, {"orgs": orgs, "users": users}, source_system="X")
        with opened(path) as package:
            assert package.issues.is_empty()
            for file, given_rows in (("orgs", orgs), ("users", users)):
                batches = list(package.batches(file, 7))
                assert all(b.issues.is_empty() for b in batches)
                back = pl.concat([b.frame for b in batches])
                assert back.select(given_rows.columns).equals(given_rows)
                assert back["line"].to_list() == list(range(2, given_rows.height + 2))
                assert package.keys(file).to_list() == given_rows["sourcedId"].to_list()


def sample(file: str) -> pl.DataFrame:
    return pl.DataFrame({"sourcedId": [f"{file}-{n}" for n in range(3)]})


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_all_files_of_a_version_have_the_exact_header(tmp_path: Path, version: Version) -> None:
    files = CATALOGUE.files(version)
    write_package(tmp_path / "p.zip", version, {file: sample(file) for file in files})
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        for file, entity in files.items():
            data = archive.read(f"{file}.csv").decode()
            assert data.startswith(",".join(entity.csv_header(version)) + "\r\n")
            assert data.endswith("\r\n")
    with opened(tmp_path / "p.zip") as package:
        assert codes(package) == []
        assert set(package.mode) == set(files)
        assert frame(package, "users")["sourcedId"].to_list() == ["users-0", "users-1", "users-2"]


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_package(tmp_path / name, "1.1", {"orgs": sample("orgs")}, source_system="X")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_files_without_rows_are_absent(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", "1.2", {"orgs": sample("orgs"), "users": sample("users").clear()})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.csv", "orgs.csv"]
    assert "file.users,absent" in (tmp_path / "out" / "manifest.csv").read_text()


def test_line_breaks_become_spaces_and_passwords_stay_here(tmp_path: Path) -> None:
    users = pl.DataFrame({"sourcedId": ["u1"], "givenName": ["A\r\nB\nC"], "password": ["hunter2"], "line": ["9"]})
    write_folder(tmp_path / "out", "1.1", {"users": users})
    data = (tmp_path / "out" / "users.csv").read_text()
    assert "A B C" in data
    assert "hunter2" not in data
    assert "line" not in data.splitlines()[0]


def test_a_file_that_the_version_does_not_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_package(tmp_path / "p.zip", "1.1", {"roles": sample("roles")})
    assert list(tmp_path.iterdir()) == []


def test_metadata_columns_come_last(tmp_path: Path) -> None:
    orgs = pl.DataFrame({"metadata.b": ["2"], "sourcedId": ["s1"], "metadata.a": ["1"]})
    write_folder(tmp_path / "out", "1.1", {"orgs": orgs})
    header = (tmp_path / "out" / "orgs.csv").read_text().splitlines()[0]
    assert header.endswith("parentSourcedId,metadata.a,metadata.b")
