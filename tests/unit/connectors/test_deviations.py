"""How packages of real systems depart from the standard: each is read, or a finding says what to mend. None raises.

The list is that of public code, vendors' guides and issue threads. The small roster goes through the whole chain.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from hub.sync.examine import Examined, examine
from tests.fakes.rosters import clean
from tests.unit.connectors.packages import loose, manifest, zipped
from transforms.catalogue import CATALOGUE, Version
from transforms.issues import RULES, Action

FILES = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")
Package = dict[str, str]
Change = Callable[[Package], None]


def package(version: Version = "1.1", files: Sequence[str] = FILES) -> Package:
    """The clean roster as texts of OneRoster CSV."""
    rows = clean(version)
    content = {"manifest.csv": manifest(*files, version=version)}
    for file in files:
        out = io.StringIO()
        header = CATALOGUE.files(version)[file].csv_header(version)
        writer = csv.DictWriter(out, header, extrasaction="ignore", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows[file])
        content[f"{file}.csv"] = out.getvalue()
    return content


def swap(file: str, old: str, new: str, count: int = 1) -> Change:
    """Other text in a file; it must have been there."""

    def change(content: Package) -> None:
        assert old in content[f"{file}.csv"], content[f"{file}.csv"]
        content[f"{file}.csv"] = content[f"{file}.csv"].replace(old, new, count)

    return change


def rewritten(file: str, edit: Callable[[list[str]], list[str]]) -> Change:
    """Every row of a file edited as a list of cells, the header as well."""

    def change(content: Package) -> None:
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerows(map(edit, csv.reader(io.StringIO(content[f"{file}.csv"]))))
        content[f"{file}.csv"] = out.getvalue()

    return change


def filled(cells: list[str]) -> list[str]:
    return cells if cells[0] == "sourcedId" else [cells[0], "active", "2024-08-01 10:00:00", *cells[3:]]


def metadata_in_the_middle(cells: list[str]) -> list[str]:
    return [*cells[:-1], "metadata.classification" if cells[0] == "sourcedId" else "public", cells[-1]]


def header_alone(content: Package) -> None:
    content["demographics.csv"] = content["demographics.csv"].partition("\r\n")[0] + "\r\n"


def renamed(old: str, new: str) -> Change:
    return lambda content: content.update({new: content.pop(old)})


def together(*changes: Change) -> Change:
    def change(content: Package) -> None:
        for one in changes:
            one(content)

    return change


def in_a_folder(content: Package) -> None:
    for name in list(content):
        content[f"export/{name}"] = content.pop(name)


DEVIATIONS: dict[str, tuple[Change, set[str]]] = {
    "status and date in a bulk file": (rewritten("users", filled), {"FILE-020"}),
    "a header alone": (header_alone, {"FILE-003"}),
    "no manifest": (lambda content: content.__delitem__("manifest.csv"), {"FILE-022"}),
    "file.systemName in the manifest": (
        lambda content: content.update({"manifest.csv": content["manifest.csv"] + "file.systemName,SIS\r\n"}),
        {"FILE-023"}),
    "stars of the table copied into the manifest": (swap("manifest", "file.users,", "file.users*,"), {"FILE-023"}),
    "listed words in another case": (swap("enrollments", ",student,", ",Student,"), {"VOC-001"}),
    "TRUE and FALSE": (swap("users", ",true,", ",TRUE,"), {"USR-002"}),
    "1 for true": (swap("users", ",true,", ",1,"), {"USR-002"}),
    "Y for true": (swap("users", ",true,", ",Y,"), {"USR-002"}),
    "F for female": (swap("demographics", ",female,", ",F,"), {"DEM-003"}),
    "Female": (swap("demographics", ",female,", ",Female,"), {"DEM-003"}),
    "days as month/day/year": (swap("enrollments", "2025-06-20", "6/20/2025"), {"DAT-004"}),
    "days with a time": (swap("enrollments", "2025-06-20", "2025-06-20 00:00:00"), {"DAT-004"}),
    "headers of 1.0": (
        together(swap("demographics", "sourcedId", "userSourcedId"), swap("demographics", "birthDate", "birthdate"),
                 swap("courses", "schoolYearSourcedId", "schoolYearId")), {"FILE-010", "FILE-011"}),
    "sourceID": (swap("users", "sourcedId", "sourceID"), {"FILE-011"}),
    "columns of one's own as ext_": (
        rewritten("users", lambda cells: [*cells, "ext_house" if cells[0] == "sourcedId" else "Blue"]), {"FILE-011"}),
    "metadata before other columns": (rewritten("orgs", metadata_in_the_middle), {"FILE-012"}),
    "another order of columns": (rewritten("users", lambda cells: [cells[0], *cells[:0:-1]]), {"FILE-012"}),
    "a top folder": (in_a_folder, {"FILE-040"}),
    "a file name in another case": (renamed("users.csv", "Users.CSV"), {"FILE-041"}),
    "other files beside": (lambda content: content.update({"readme.txt": "Hello"}), {"FILE-042"}),
    "lists separated by semicolons": (swap("classes", '"t1,t2"', "t1;t2"), {"LST-001"}),
    "lists separated by bars": (swap("classes", '"t1,t2"', "t1|t2"), {"LST-001"}),
    "commas in subject names": (
        swap("courses", '"Algebra,Geometry"', '"Algebra,Plane, Solid"'), {"CRS-003", "LST-001"}),
    "grades by name": (swap("users", ",09,", ",Grade 9,"), {"GRD-001"}),
    "a byte order mark": (swap("users", "sourcedId", "\ufeffsourcedId"), {"FILE-001"}),
}  # fmt: skip

#: What costs a row, or the package. The finding says what to do: a transform, names of the source, another export.
KEPT_OUT: dict[str, tuple[Change, set[str]]] = {
    "a class without a course": (swap("classes", ",c1,", ",,"), {"REQ-001"}),
    "an aide among enrollments": (swap("enrollments", ",teacher,", ",aide,"), {"VOC-003"}),
    "a guardian among enrollments": (swap("enrollments", ",student,", ",guardian,"), {"VOC-003"}),
}
REFUSED: dict[str, tuple[Change, set[str]]] = {
    "prefixes on headers": (
        rewritten("users", lambda cells: [f"a_{c}" for c in cells] if cells[0] == "sourcedId" else cells),
        {"FILE-002"}),
    "a file that the manifest does not name": (swap("manifest", "file.users,bulk", "file.users,absent"), {"FILE-005"}),
    "tabs for commas": (
        lambda content: content.update({"orgs.csv": content["orgs.csv"].replace(",", "\t")}), {"FILE-017"}),
}  # fmt: skip


@pytest.mark.parametrize("as_folder", [False, True])
def test_the_roster_itself_has_no_finding(tmp_path: Path, as_folder: bool) -> None:
    assert found(tmp_path, lambda _: None, as_folder=as_folder).issues.is_empty()


@pytest.mark.parametrize("name", DEVIATIONS)
def test_what_is_meant_is_read_and_reported(tmp_path: Path, name: str) -> None:
    change, codes = DEVIATIONS[name]
    rows = {file: len(clean("1.1")[file]) for file in FILES}

    result = found(tmp_path, change)

    assert (result.refused, set(result.issues["code"])) == (False, codes)
    assert result.good == {file: n for file, n in rows.items() if file in result.files}
    assert set(FILES) - set(result.files) == ({"demographics"} if name == "a header alone" else set())


@pytest.mark.parametrize("name", KEPT_OUT)
def test_a_row_that_nobody_can_read_is_explained(tmp_path: Path, name: str) -> None:
    change, codes = KEPT_OUT[name]

    result = found(tmp_path, change)

    assert not result.refused
    first = result.issues.filter(pl.col("code").is_in(list(codes)))
    assert first.height == 1
    assert all(RULES[code].action is Action.QUARANTINE and RULES[code].howto for code in first["code"])
    assert sum(result.good.values()) < sum(result.rows.values())


@pytest.mark.parametrize("name", REFUSED)
def test_a_package_that_nobody_can_read_is_explained(tmp_path: Path, name: str) -> None:
    change, codes = REFUSED[name]

    result = found(tmp_path, change)

    assert result.refused
    assert codes <= set(result.issues["code"])
    assert result.good == {}


@pytest.mark.parametrize(("file", "refused"), [("roles", True), ("users", True), ("orgs", False)])
def test_roles_and_their_users_are_meant_alike(tmp_path: Path, file: str, refused: bool) -> None:
    content = package("1.2", (*FILES, "roles"))
    swap("manifest", f"file.{file},bulk", f"file.{file},delta")(content)

    result = examine(zipped(tmp_path / "p.zip", content))

    assert ("FILE-026" in set(result.issues["code"])) is refused
    assert result.refused is refused


def found(folder: Path, change: Change, *, as_folder: bool = False) -> Examined:
    content = package()
    change(content)
    return examine(loose(folder / "p", content) if as_folder else zipped(folder / "p.zip", content))
