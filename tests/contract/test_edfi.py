"""The shipped contract suite on the connector of Ed-Fi hosts: a new one, and an old one that tells of no changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import ConnectorContract, ContractCase
from connectors.edfi import SPEC
from connectors.protocol import SourceContext
from tests.fakes.edfi_district import ods
from tests.fakes.edfi_server import KEY, SECRET, Quirks, Server, running

EVERYTHING = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")


def context(server: Server, folder: Path, *, url: str = "", **more: Any) -> SourceContext:
    settings = {"url": url or server.url, "key": KEY, "page_rows": 10, "entities": EVERYTHING}
    config = SPEC.config_model.model_validate(settings | more)

    async def at_once(_seconds: float) -> None:
        """Waits for nothing."""

    return SourceContext(
        config, work_folder=folder, secrets={"secret": SECRET}, reachable=lambda *_: True, now=lambda: server.now,
        sleep=at_once,
    )  # fmt: skip


def case_of(server: Server, folder: Path, **more: Any) -> Iterator[ContractCase]:
    with running(server):
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder, **more),
            unreachable=lambda: context(server, folder, url="http://127.0.0.1:9"),
            wrong_config={"url": "https://ods.example", "key": "k", "descriptors": {"TermDescriptor": {"x": "year"}}},
        )


class TestNewHost(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Server(ods()), tmp_path)


class TestOldHost(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        quirks = Quirks(
            version="6.1", model="4.0.0", mode="Year Specific", route="2026", change_queries=False, largest_limit=100
        )
        server = Server(ods(model=4), quirks)
        yield from case_of(server, tmp_path, school_year=2026, page_rows=200, client_auth="body")
