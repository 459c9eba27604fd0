"""The connector of PowerSchool behind a proxy that lets its answers go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts
from connectors.powerschool import SPEC
from connectors.protocol import SourceContext
from tests.contract.test_powerschool import context, install
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import running

HASTY = Timeouts(connect=2.0, idle=0.25, total=0.5)


def kind_of(_method: str, path: str) -> str | None:
    """Pages of enrollments, which are several."""
    return "page" if ".enrollments?" in path else None


@pytest.mark.threat("F8", "T34")
class TestServer(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        with running(filled(students=60)) as server, standing(FaultyProxy(server.url, kind_of)) as proxy:
            install(server, entities=["enrollments"])

            def hasty(url: str) -> SourceContext:
                few: dict[str, Any] = {
                    "entities": ["enrollments"],
                    "demographics": False,
                    "contacts": False,
                    "student_email": None,
                    "data_version": None,
                }
                made = context(server, tmp_path, url=url, page_rows=28, at_once=1, **few)
                return replace(made, timeouts=HASTY)

            yield FaultCase(SPEC, proxy, hasty, tmp_path)
