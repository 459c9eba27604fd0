"""The shipped contract suite on packages that are pulled from SFTP servers and buckets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import oneroster_csv, table_csv
from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import ConnectorSpec, SourceContext
from tests.contract.test_oneroster_csv import CLEAN, DIRTY, archive, folder
from tests.contract.test_table_csv import CLEAN as CLEAN_TABLES
from tests.contract.test_table_csv import OWN
from tests.fakes import s3_server
from tests.fakes.sftp_server import PASSWORD, running


def case_of(
    root: Path, spec: ConnectorSpec, more: dict[str, Any] | None = None, **place: str
) -> Iterator[ContractCase]:
    with running(root) as vendor:

        def context(port: int) -> SourceContext:
            config = spec.config_model.model_validate(
                {"place": vendor.place(port=port, **place), "settle_seconds": 0} | (more or {})
            )
            return SourceContext(
                config, work_folder=root.parent, secrets={"password": PASSWORD}, reachable=lambda *_: True
            )

        yield ContractCase(
            spec=spec,
            context=lambda: context(vendor.port),
            unreachable=lambda: context(9),
            wrong_config={"place": {"kind": "sftp", "host": "a b", "username": "x"}},
        )


class TestArchiveOverSftp(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        (tmp_path / "root").mkdir()
        archive(tmp_path / "root" / "p.zip", DIRTY)
        yield from case_of(tmp_path / "root", oneroster_csv.SPEC)


class TestFolderOverSftp(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        (tmp_path / "root").mkdir()
        folder(tmp_path / "root" / "drop", CLEAN)
        yield from case_of(tmp_path / "root", oneroster_csv.SPEC, folder="drop", package="folder")


class TestTablesOverSftp(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        root = tmp_path / "root"
        root.mkdir()
        for name, text in CLEAN_TABLES.items():
            (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
        yield from case_of(root, table_csv.SPEC, more={"mapping": OWN}, package="folder")


class TestArchiveInABucket(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        path = archive(tmp_path / "p.zip", CLEAN)
        with s3_server.running() as bucket:
            bucket.objects["out/p.zip"] = (path.read_bytes(), 1_700_000_000)

            def context(name: str) -> SourceContext:
                place = bucket.place(folder="out", bucket=name)
                config = oneroster_csv.SPEC.config_model.model_validate({"place": place, "settle_seconds": 0})
                keys = {"access_key": s3_server.ACCESS, "secret_key": s3_server.SECRET}
                return SourceContext(config, work_folder=tmp_path, secrets=keys, reachable=lambda *_: True)

            yield ContractCase(
                spec=oneroster_csv.SPEC,
                context=lambda: context(bucket.name),
                unreachable=lambda: context("nowhere"),
                wrong_config={"place": bucket.place(endpoint="ftp://x")},
            )
