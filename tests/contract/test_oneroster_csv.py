"""The shipped contract suite on our own OneRoster CSV connector: archive and folder, clean and dirty."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.oneroster_csv import SPEC
from connectors.oneroster_csv.source import OneRosterCsvConfig
from connectors.protocol import SourceContext

ORGS = (
    "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\nd1,,,District,district,,\r\n"
) + "".join(f"s{n},,,School {n},school,,d1\r\n" for n in range(9))
USERS = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password,metadata.house\r\n"
) + "".join(
    f'u{n},,,true,"s1,s2",student,login{n},,Given{n},Family{n},,,person{n}@example.org,,,,05,secret{n},\r\n'
    for n in range(30)
)
CLEAN = {"orgs": ORGS, "users": USERS}
DIRTY = {
    "orgs": ORGS.replace("sourcedId,status", "Sourced_ID,Status", 1).replace("s3,,,", "s3,tobedeleted,2025-01-01,"),
    "users": USERS.replace("u7,,,true,", "u7,,,true,Grünwald,").replace("u9,", '"u9,').replace("\r\n", "\n"),
}


def manifest(files: dict[str, str]) -> str:
    rows = ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.1", "source.systemName,Example"]
    return "\r\n".join([*rows, *(f"file.{name},bulk" for name in files)]) + "\r\n"


def contents(files: dict[str, str]) -> dict[str, bytes]:
    return {f"{name}.csv": text.encode("cp1252") for name, text in {**files, "manifest": manifest(files)}.items()}


def archive(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in contents(files).items():
            target.writestr(name, data)
    return path


def folder(path: Path, files: dict[str, str]) -> Path:
    path.mkdir()
    for name, data in contents(files).items():
        (path / name).write_bytes(data)
    return path


def contract_case(path: Path, *, upload: bool) -> ContractCase:
    def context(place: Path) -> SourceContext:
        if upload:
            return SourceContext(OneRosterCsvConfig(), upload=place)
        return SourceContext(OneRosterCsvConfig(path=place, settle_seconds=0))

    return ContractCase(
        spec=SPEC,
        context=lambda: context(path),
        unreachable=lambda: context(path.with_name("nowhere.zip")),
        wrong_config={"encoding": "morse"},
    )


class TestCleanArchiveSentByUpload(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ContractCase:
        return contract_case(archive(tmp_path / "p.zip", CLEAN), upload=True)


class TestDirtyArchiveAtAPath(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ContractCase:
        return contract_case(archive(tmp_path / "p.zip", DIRTY), upload=False)


class TestCleanFolderAtAPath(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ContractCase:
        return contract_case(folder(tmp_path / "drop", CLEAN), upload=False)
