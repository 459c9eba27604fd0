"""The connector of OneRoster servers behind a proxy that lets its answers go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts
from connectors.oneroster_rest import SPEC
from connectors.protocol import SourceContext
from tests.contract.test_oneroster_rest import context
from tests.fakes import rosters
from tests.fakes.oneroster_server import Quirks, filled, running

HASTY = Timeouts(connect=2.0, idle=0.3, total=2.5)


def kind_of(method: str, path: str) -> str | None:
    return urlsplit(path).path.rpartition("/")[2] if method == "GET" else None


def case_of(quirks: Quirks, folder: Path) -> Iterator[FaultCase]:
    with (
        running(filled("1.2", rosters.clean("1.2"), quirks)) as server,
        standing(FaultyProxy(server.url, kind_of)) as proxy,
    ):

        def hasty(url: str) -> SourceContext:
            whole = context(server, folder, url=url)
            config = whole.config.model_copy(update={"entities": ("orgs", "users")})
            return replace(whole, config=config, timeouts=HASTY)

        yield FaultCase(SPEC, proxy, hasty, folder)


@pytest.mark.threat("F8", "T34")
class TestPlainServer(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        yield from case_of(Quirks(), tmp_path)


@pytest.mark.threat("F8", "T34")
class TestServerWithLinksAlone(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        yield from case_of(Quirks(links="relative", totals="none"), tmp_path)
