"""RosterHub's suite of faults: whatever goes wrong, the pull is exact or fails as a whole and says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fake_system import running
from rosterhub_example_sis import SPEC
from test_contract import context

from connectors.contract_faults import FaultCase, FaultContract
from connectors.contract_proxy import FaultyProxy, standing
from connectors.limits import Timeouts


def kind_of(method: str, path: str) -> str | None:
    """The collection that a request is for."""
    return urlsplit(path).path.removeprefix("/api/") if method == "GET" else None


class TestExampleSisFaults(FaultContract):
    """The suite's tests."""

    @pytest.fixture
    def faulty(self, tmp_path: Path) -> Iterator[FaultCase]:
        hasty = Timeouts(connect=2.0, idle=0.3, total=2.5)
        with running() as url, standing(FaultyProxy(url, kind_of)) as proxy:
            yield FaultCase(SPEC, proxy, lambda at: replace(context(at, tmp_path), timeouts=hasty), tmp_path)
