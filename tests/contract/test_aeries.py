"""The shipped contract suite on the connector of Aeries' own API: as it is documented, and as older servers may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.aeries import SPEC
from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import SourceContext
from tests.fakes.aeries_district import district
from tests.fakes.aeries_server import CERTIFICATE, Quirks, Server, running

EVERYTHING = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")


def context(
    server: Server, folder: Path, *, url: str = "", certificate: str = CERTIFICATE, waits: list[float] | None = None,
    **more: Any,
) -> SourceContext:  # fmt: skip
    settings = {"url": url or server.url, "page_rows": 10, "entities": EVERYTHING, "contacts": True} | more
    config = SPEC.config_model.model_validate(settings)

    async def noted(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    return SourceContext(
        config, work_folder=folder, secrets={"certificate": certificate}, reachable=lambda *_: True,
        now=lambda: server.now, sleep=noted,
    )  # fmt: skip


def case_of(quirks: Quirks, folder: Path, **more: Any) -> Iterator[ContractCase]:
    with running(Server(district(), quirks)) as server:
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder, **more),
            unreachable=lambda: context(server, folder, url="http://127.0.0.1:9/aeries"),
            wrong_config={"url": "http://aeries.example/aeries?year=2"},
        )


class TestAeries(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(), tmp_path)


class TestAeriesThatSaysLess(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        off = {"StudentDataChanges/class", "SectionDataChanges"}
        yield from case_of(Quirks(windows="ignored", off=off, old_names=True, system=False), tmp_path, page_rows=30)
