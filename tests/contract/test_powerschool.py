"""The shipped contract suite on the connector of PowerSchool: a plain server, and odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.powerschool import SPEC
from connectors.protocol import SourceContext
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import CLIENT, SECRET, Quirks, Server, running

ALL = {"demographics": True, "contacts": True, "student_email": "u_studentsuserfields.student_email"}


def install(server: Server, **options: Any) -> None:
    """Installs the plugin that the connector makes."""
    kit = SPEC.kit
    assert kit is not None
    server.install(kit.make(kit.options.model_validate(options), server.now))


def context(server: Server, folder: Path, *, url: str = "", **config: Any) -> SourceContext:
    settings = {"url": url or server.url, "client_id": CLIENT, "page_rows": 7, "sweep_hours": 0, **ALL, **config}

    async def at_once(_seconds: float) -> None:
        """Waits for nothing."""

    return SourceContext(
        SPEC.config_model.model_validate(settings), work_folder=folder, secrets={"client_secret": SECRET},
        reachable=lambda *_: True, now=lambda: server.now, sleep=at_once,
    )  # fmt: skip


def case_of(quirks: Quirks, folder: Path, **config: Any) -> Iterator[ContractCase]:
    with running(filled(quirks)) as server:
        install(server, **ALL)
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder, **config),
            unreachable=lambda: context(server, folder, url="http://127.0.0.1:9"),
            wrong_config={"url": "https://sis.example/path", "client_id": CLIENT},
        )


class TestPlainServer(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(), tmp_path)


class TestOddServer(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(cap=3, numbers=True, nested=True, look=False, clock="milliseconds"), tmp_path)


class TestServerWithoutVersions(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(versions="refused", ceiling=None, clock="words"), tmp_path)
