"""The connector of Aeries' own API behind a proxy that lets its answers go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors.aeries import SPEC
from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts
from connectors.protocol import SourceContext
from tests.contract.test_aeries import context
from tests.fakes.aeries_district import HIGH, district
from tests.fakes.aeries_server import Server, running

HASTY = Timeouts(connect=2.0, idle=0.3, total=0.6)


def kind_of(_method: str, path: str) -> str | None:
    name = urlsplit(path).path.rpartition("/")[2]
    return name if name in {"students", "schools"} else None


@pytest.mark.threat("F8", "T34")
class TestAeries(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        with (
            running(Server(district(12))) as server,
            standing(FaultyProxy(server.url.removesuffix("/aeries"), kind_of)) as proxy,
        ):

            def hasty(url: str) -> SourceContext:
                some: dict[str, Any] = {
                    "entities": ("orgs", "users"),
                    "contacts": False,
                    "changes": False,
                    "schools": (HIGH,),
                }
                return replace(context(server, tmp_path, url=f"{url}/aeries", **some), timeouts=HASTY)

            yield FaultCase(SPEC, proxy, hasty, tmp_path)
