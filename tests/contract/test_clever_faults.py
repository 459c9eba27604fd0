"""Clever's connector behind a proxy that lets its answers go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.clever import SPEC
from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts
from connectors.protocol import SourceContext
from tests.contract.test_clever import context
from tests.fakes.clever_district import district
from tests.fakes.clever_server import Quirks, Server, running

HASTY = Timeouts(connect=2.0, idle=0.3, total=2.5)


def kind_of(method: str, path: str) -> str | None:
    name = urlsplit(path).path.rpartition("/")[2]
    return name if method == "GET" and name in {"schools", "users"} else None


@pytest.mark.threat("F8", "T34")
class TestClever(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        with (
            running(Server(district(12), Quirks(links="absolute"))) as server,
            standing(FaultyProxy(server.url, kind_of)) as proxy,
        ):

            def hasty(url: str) -> SourceContext:
                whole = context(server, tmp_path, url=url, application=True, page_rows=8, entities=("orgs", "users"))
                return replace(whole, timeouts=HASTY)

            yield FaultCase(SPEC, proxy, hasty, tmp_path)
