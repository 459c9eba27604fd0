"""Small packages for tests: a district, a school and some students, as text that a test can spoil."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from connectors.limits import DEFAULT_LIMITS, Limits
from connectors.oneroster_csv import CsvPackage, Reading, open_package
from connectors.oneroster_csv.names import VERSIONS, data_files

ORG_HEADER = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"
USER_HEADER = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password"
)


def org(key: str, name: str = "A school") -> str:
    return f"{key},,,{name},school,,"


def user(key: str, given: str = "Ana", status: str = "", date: str = "") -> str:
    return f"{key},{status},{date},true,s1,student,{key},,{given},Silva,,,,,,,05,"


def text(header: str, *rows: str) -> str:
    return "".join(f"{row}\r\n" for row in (header, *rows))


ORGS = text(ORG_HEADER, org("s1"), org("s2"))
USERS = text(USER_HEADER, *(user(f"u{n}") for n in range(1, 6)))


def manifest(*files: str, version: str = "1.1", mode: str = "bulk") -> str:
    known = next(v for v in VERSIONS if v == version)
    rows = [f"file.{name},{mode if name in files else 'absent'}" for name in data_files(known)]
    return text("propertyName,value", "manifest.version,1.0", f"oneroster.version,{version}", *rows)


def files(users: str | bytes = USERS, orgs: str | bytes = ORGS) -> dict[str, str | bytes]:
    """A complete 1.1 package of orgs and users."""
    return {"manifest.csv": manifest("orgs", "users"), "orgs.csv": orgs, "users.csv": users}


def zipped(path: Path, content: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def loose(path: Path, content: Mapping[str, str | bytes]) -> Path:
    path.mkdir()
    for name, data in content.items():
        (path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def opened(
    path: Path, limits: Limits = DEFAULT_LIMITS, reading: Reading | None = None, *, partial: bool = False
) -> Iterator[CsvPackage]:
    package = open_package(path, limits, reading=reading or Reading(), partial=partial)
    try:
        yield package
    finally:
        package.close()


def codes(package: CsvPackage) -> list[str]:
    """The distinct codes of all findings, those of rows included."""
    found = [package.issues, *(b.issues for file in package.mode for b in package.batches(file))]
    return sorted(set(pl.concat(found)["code"]))


def frame(package: CsvPackage, file: str) -> pl.DataFrame:
    return pl.concat([b.frame for b in package.batches(file)])


def row_issues(package: CsvPackage, file: str) -> pl.DataFrame:
    return pl.concat([b.issues for b in package.batches(file)])
