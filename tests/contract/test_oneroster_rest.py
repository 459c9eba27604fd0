"""The shipped contract suite on the connector of OneRoster servers: a plain one, and odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.oneroster_rest import SPEC
from connectors.protocol import SourceContext
from tests.fakes import rosters
from tests.fakes.oneroster_server import CLIENT, SECRET, Quirks, Server, filled, running
from transforms.catalogue import CATALOGUE, Version


def context(server: Server, folder: Path, *, url: str = "") -> SourceContext:
    login = {"kind": "oauth2", "token_url": (url or server.url) + "/token", "client_id": CLIENT}
    entities = [e.name for e in CATALOGUE.entities if e.name in server.objects and e.csv_file]
    config = SPEC.config_model.model_validate(
        {
            "url": url or server.url,
            "version": server.version,
            "login": login,
            "entities": entities,
            "page_rows": 2,
            "sweep_hours": 0,
        }
    )

    async def at_once(_seconds: float) -> None:
        """Waits for nothing."""

    return SourceContext(
        config, work_folder=folder, secrets={"client_secret": SECRET}, reachable=lambda *_: True,
        now=lambda: server.now, sleep=at_once,
    )  # fmt: skip


def case_of(version: Version, quirks: Quirks, folder: Path) -> Iterator[ContractCase]:
    with running(filled(version, rosters.clean(version), quirks)) as server:
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder),
            unreachable=lambda: context(server, folder, url="http://127.0.0.1:9"),
            wrong_config={"url": "file:///etc/passwd", "login": {"kind": "bearer"}},
        )


class TestPlainServer(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of("1.2", Quirks(), tmp_path)


class TestOddServer(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        quirks = Quirks(cap=1, totals="none", booleans="json", status=False, filters="refused", envelope="Capitals")
        yield from case_of("1.1", quirks, tmp_path)


class TestServerWithLinks(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of("1.2", Quirks(links="foreign", totals="none", dated=False, date_header=False), tmp_path)
