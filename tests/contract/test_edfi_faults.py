"""The connector of Ed-Fi hosts behind a proxy that lets its answers go wrong: pages by tokens, and by offsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.edfi import SPEC
from connectors.limits import Timeouts
from connectors.protocol import SourceContext
from tests.contract.test_edfi import context
from tests.fakes.edfi_district import ods
from tests.fakes.edfi_server import Quirks, Server, running

HASTY = Timeouts(connect=2.0, idle=0.3, total=2.5)


def kind_of(method: str, path: str) -> str | None:
    """Pages of schools and sections alone: counts are no pages."""
    parts = urlsplit(path)
    name = parts.path.rpartition("/")[2]
    return name if method == "GET" and name in {"sections", "schools"} and "limit=0" not in parts.query else None


def case_of(quirks: Quirks, folder: Path) -> Iterator[FaultCase]:
    with running(Server(ods(30), quirks)) as server, standing(FaultyProxy(server.url, kind_of)) as proxy:

        def hasty(url: str) -> SourceContext:
            entities = ["orgs", "courses", "classes"]
            whole = context(server, folder, url=url, page_rows=2, entities=entities, school_year=2026, changes=False)
            return replace(whole, timeouts=HASTY)

        yield FaultCase(SPEC, proxy, hasty, folder)


@pytest.mark.threat("F8", "T34")
class TestHostWithTokens(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        yield from case_of(Quirks(), tmp_path)


@pytest.mark.threat("F8", "T34")
class TestHostWithOffsets(FaultContract):
    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        yield from case_of(Quirks(version="6.1"), tmp_path)
