"""The shipped contract suite on Clever's connector: as Clever is documented, and without counts and events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.clever import SPEC
from connectors.contract import ConnectorContract, ContractCase
from connectors.protocol import SourceContext
from tests.fakes.clever_district import DISTRICT, district
from tests.fakes.clever_server import CLIENT, SECRET, TOKEN, Quirks, Server, running

EVERYTHING = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")


def context(
    server: Server, folder: Path, *, url: str = "", application: bool = False, waits: list[float] | None = None,
    **more: Any,
) -> SourceContext:  # fmt: skip
    base = url or server.url
    settings: dict[str, Any] = {"url": base, "token_url": base + "/oauth/tokens", "page_rows": 10}
    if application:
        settings |= {"login": {"kind": "application", "client_id": CLIENT}, "district": DISTRICT}
    config = SPEC.config_model.model_validate(settings | {"entities": EVERYTHING} | more)

    async def noted(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    return SourceContext(
        config, work_folder=folder, secrets={"secret": SECRET if application else TOKEN}, reachable=lambda *_: True,
        now=lambda: server.now, sleep=noted,
    )  # fmt: skip


def case_of(quirks: Quirks, folder: Path, **more: Any) -> Iterator[ContractCase]:
    with running(Server(district(), quirks)) as server:
        yield ContractCase(
            spec=SPEC,
            context=lambda: context(server, folder, **more),
            unreachable=lambda: context(server, folder, url="http://127.0.0.1:9"),
            wrong_config={"login": {"kind": "application", "client_id": "x"}},
        )


class TestClever(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        yield from case_of(Quirks(), tmp_path, application=True)


class TestCleverThatSaysLess(ConnectorContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[ContractCase]:
        quirks = Quirks(counts="none", links="absolute", envelopes=False, events=False, largest_limit=1_000)
        yield from case_of(quirks, tmp_path, page_rows=5_000)
