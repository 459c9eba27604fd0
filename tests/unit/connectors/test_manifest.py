"""What a package says about itself, and what happens when it says it badly or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.oneroster_csv.manifest import manifest_bytes, read_manifest
from tests.unit.connectors.packages import (
    ORGS,
    USER_HEADER,
    USERS,
    codes,
    files,
    manifest,
    opened,
    text,
    user,
    zipped,
)
from transforms.catalogue import CATALOGUE

Content = dict[str, str | bytes]


def without_manifest(**more: str) -> Content:
    return {"orgs.csv": ORGS, "users.csv": USERS} | {f"{name}.csv": data for name, data in more.items()}


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_is_written_is_read_without_a_finding(tmp_path: Path, version: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(manifest_bytes("1.1" if version == "1.1" else "1.2", ["orgs"], 'A, "B"', "X-1"))
    found = read_manifest(path)
    assert found.findings == []
    assert found.version == version
    assert found.source_system == 'A, "B"'
    assert len(found.files) == (13 if version == "1.1" else 21)
    assert [name for name, said in found.files.items() if said == "bulk"] == ["orgs"]


def test_the_manifest_is_written_as_the_standard_prints_it() -> None:
    lines = manifest_bytes("1.1", ["users"]).decode().split("\r\n")
    assert lines[:4] == [
        "propertyName,value",
        "manifest.version,1.0",
        "oneroster.version,1.1",
        "file.academicSessions,absent",
    ]
    assert lines[4:7] == ["file.categories,absent", "file.classes,absent", "file.classResources,absent"]
    assert lines[-2:] == ["file.users,bulk", ""]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("file.users,", "file.users*,"),
        ("file.users,bulk", "File.Users,Bulk"),
        ("file.users,", "\ufefffile.users ,"),
        ("file.demographics", "fiel.demographics"),
        ("file.courseResources", "file.courseResourses"),
        ("oneroster.version,1.1", "oneroster.version,1.1.1"),
        ("manifest.version,1.0", "manifest.version,1"),
        ("propertyName,value\r\n", ""),
        ("file.users,bulk\r\n", "file.users,bulk\r\nfile.users,bulk\r\n"),
        ("file.users,bulk\r\n", ""),
        ("file.users,bulk\r\n", "file.users,\r\n"),
    ],
)
def test_slips_are_repaired_and_reported(tmp_path: Path, old: str, new: str) -> None:
    content = files() | {"manifest.csv": manifest("orgs", "users").replace(old, new, 1)}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert codes(package) == ["FILE-023"]
        assert package.version == "1.1"
        assert package.rows("users") == 5


def test_other_names_of_the_source_are_known(tmp_path: Path) -> None:
    said = manifest("orgs", "users") + "file.systemName,Example SIS\r\n"
    with opened(zipped(tmp_path / "p.zip", files() | {"manifest.csv": said})) as package:
        assert package.source_system == "Example SIS"
        assert codes(package) == ["FILE-023"]


def test_unknown_properties_are_ignored_and_not_repeated(tmp_path: Path) -> None:
    said = manifest("orgs", "users") + "contact,Belinda Silva\r\n"
    with opened(zipped(tmp_path / "p.zip", files() | {"manifest.csv": said})) as package:
        assert codes(package) == ["FILE-024"]
        assert "Belinda" not in str(package.issues.to_dicts())


@pytest.mark.parametrize("said", ["1.0", "2.0", "", "one", "1.10", "11"])
def test_other_versions_are_refused(tmp_path: Path, said: str) -> None:
    changed = manifest("orgs", "users").replace("oneroster.version,1.1", f"oneroster.version,{said}")
    with opened(zipped(tmp_path / "p.zip", files() | {"manifest.csv": changed})) as package:
        assert package.refused
        assert "FILE-025" in codes(package)


def test_files_of_changes_are_never_taken_for_whole_ones(tmp_path: Path) -> None:
    for mode in ("delta", "DELTA"):
        content = files() | {"manifest.csv": manifest("orgs", "users", mode=mode)}
        with opened(zipped(tmp_path / f"{mode}.zip", content)) as package:
            assert not package.refused
            assert package.mode == {"orgs": "delta", "users": "delta"}
            assert {"status", "dateLastModified"} <= set(next(package.batches("users")).frame.columns)


def test_a_file_of_changes_needs_no_companion_and_a_whole_one_does(tmp_path: Path) -> None:
    users = {"users.csv": files()["users.csv"]}
    with opened(zipped(tmp_path / "delta.zip", users | {"manifest.csv": manifest("users", mode="delta")})) as package:
        assert not package.refused
    with opened(zipped(tmp_path / "bulk.zip", users | {"manifest.csv": manifest("users")})) as package:
        assert "FILE-028" in package.issues["code"].to_list()
    with opened(zipped(tmp_path / "part.zip", users | {"manifest.csv": manifest("users")}), partial=True) as package:
        assert not package.refused


@pytest.mark.threat("F7", "T42")
def test_a_file_that_is_promised_and_missing_is_refused(tmp_path: Path) -> None:
    content = files() | {"manifest.csv": manifest("orgs", "users", "classes")}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert package.refused
        assert package.issues.select("code", "file", "cause").rows() == [
            ("FILE-005", "classes.csv", "bulk but not in the package")
        ]


def test_a_file_that_is_there_and_marked_absent_is_refused(tmp_path: Path) -> None:
    content = files() | {"manifest.csv": manifest("orgs")}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert package.refused
        assert package.issues["code"].to_list() == ["FILE-005"]


def test_a_contradiction_is_refused(tmp_path: Path) -> None:
    said = manifest("orgs", "users") + "file.users,absent\r\n"
    with opened(zipped(tmp_path / "p.zip", files() | {"manifest.csv": said})) as package:
        assert package.refused


def test_a_manifest_alone_means_no_news(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", {"manifest.csv": manifest()})) as package:
        assert not package.refused
        assert codes(package) == []
        assert dict(package.mode) == {}


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe\x00", b"\x00" * 50, b"propertyName;value\r\nfile.users;bulk\r\n", b'"""', b"\xff" * 90_000]
)
def test_any_bytes_for_a_manifest_are_refused_and_never_raise(tmp_path: Path, data: bytes) -> None:
    with opened(zipped(tmp_path / "p.zip", files() | {"manifest.csv": data})) as package:
        assert package.refused
        assert "FILE-025" in codes(package)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_manifest_in_another_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    content = files() | {"manifest.csv": manifest("orgs", "users").encode(encoding)}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert codes(package) == ["FILE-001"]


def test_without_manifest_the_columns_tell_the_version(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", without_manifest())) as package:
        assert package.version == "1.1"
        assert codes(package) == ["FILE-022"]
    new = USERS.replace("grades,password", "grades,primaryOrgSourcedId", 1)
    with opened(zipped(tmp_path / "q.zip", without_manifest() | {"users.csv": new})) as package:
        assert package.version == "1.2"
    with opened(zipped(tmp_path / "r.zip", {"orgs.csv": ORGS})) as package:
        assert package.version == "1.2"
        assert codes(package) == ["FILE-022"]


def test_without_manifest_rows_that_may_be_changes_only_are_refused(tmp_path: Path) -> None:
    date = "2026-01-01T00:00:00.000Z"
    changes = text(USER_HEADER, user("u1", status="active", date=date), user("u2", status="active", date=date))
    with opened(zipped(tmp_path / "p.zip", without_manifest() | {"users.csv": changes})) as package:
        assert package.refused
        assert package.issues.filter(code="FILE-027")["file"].to_list() == ["users.csv"]


def test_files_that_others_need_must_be_there(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", {"manifest.csv": manifest("users"), "users.csv": USERS})) as package:
        assert package.refused
        assert package.issues.select("code", "file", "cause").rows() == [("FILE-028", "users.csv", "orgs.csv")]
    content: Content = {"manifest.csv": manifest("orgs", "users", version="1.2"), "orgs.csv": ORGS, "users.csv": USERS}
    with opened(zipped(tmp_path / "q.zip", content)) as package:
        assert ("users.csv", "roles.csv") in package.issues.filter(code="FILE-028").select("file", "cause").rows()


def test_an_empty_file_that_others_need_refuses_the_package(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files(orgs=text("sourcedId,name,type")))) as package:
        assert package.refused
        assert set(package.issues["code"]) >= {"FILE-003", "FILE-028"}


def test_files_of_the_other_version_are_passed_over(tmp_path: Path) -> None:
    content = files() | {"scoreScales.csv": "sourcedId\r\ns1\r\n"}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert codes(package) == ["FILE-042"]
        assert set(package.mode) == {"orgs", "users"}


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        ("results", {"lineItems", "users"}),
        ("lineItems", {"classes", "categories", "academicSessions"}),
        ("classResources", {"classes", "resources"}),
    ],
)
def test_files_of_the_other_services_need_others_too(tmp_path: Path, file: str, needed: set[str]) -> None:
    header = ",".join(CATALOGUE.files("1.1")[file].csv_header("1.1"))
    row = "k1" + "," * header.count(",")
    content: Content = {"manifest.csv": manifest("orgs", file), "orgs.csv": ORGS, f"{file}.csv": text(header, row)}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert package.refused
        assert set(package.issues.filter(code="FILE-028")["cause"]) == {f"{name}.csv" for name in needed}


@pytest.mark.parametrize(
    ("file", "header", "version"),
    [
        ("lineItems", CATALOGUE["lineItems"].csv_header("1.1"), "1.1"),
        ("lineItems", CATALOGUE["lineItems"].csv_header("1.2"), "1.2"),
        ("categories", CATALOGUE["categories"].csv_header("1.1"), "1.1"),
        ("userResources", CATALOGUE["userResources"].csv_header("1.2"), "1.2"),
        ("resources", CATALOGUE["resources"].csv_header("1.1"), "1.2"),
    ],
)
def test_without_manifest_other_files_tell_the_version_too(
    tmp_path: Path, file: str, header: tuple[str, ...], version: str
) -> None:
    content: Content = {"orgs.csv": ORGS, f"{file}.csv": text(",".join(header), "k1" + "," * (len(header) - 1))}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert package.version == version
