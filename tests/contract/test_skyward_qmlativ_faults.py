"""Qmlativ's connector behind a proxy that lets its answers go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts
from connectors.protocol import SourceContext
from connectors.skyward_qmlativ import SPEC
from tests.contract.test_skyward_qmlativ import context
from tests.fakes.qmlativ_district import district
from tests.fakes.qmlativ_server import ROOT, Quirks, Server, running

HASTY = Timeouts(connect=2.0, idle=0.3, total=0.6)


def kind_of(_method: str, path: str) -> str | None:
    found = re.search(r"/(Entity|Course)/\d+/\d+\?", path)
    return None if found is None else found[1]


@pytest.mark.threat("F8", "T34")
class TestQmlativ(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        with (
            running(Server(district(12), Quirks(next="absolute"))) as server,
            standing(FaultyProxy(server.url.removesuffix(ROOT), kind_of)) as proxy,
        ):

            def hasty(url: str) -> SourceContext:
                whole = context(server, tmp_path, url=f"{url}{ROOT}", entities=("orgs", "courses"), page_rows=2)
                return replace(whole, timeouts=HASTY)

            yield FaultCase(SPEC, proxy, hasty, tmp_path)
