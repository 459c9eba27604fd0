"""What a run has written it lets go of, at once: memory must not grow with what has been copied."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator

import pytest

from tests.districts import District
from tests.sync.conftest import first


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is found by Python's collector of garbage: what is gone went by itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def texts() -> int:
    return sum(isinstance(one, io.BytesIO) for one in gc.get_objects())


@pytest.mark.usefixtures("no_collector")
async def test_texts_that_were_copied_into_staging_are_gone_without_the_collector(district: District) -> None:
    before = texts()
    run = await district.sync(first())
    assert run.state == "applied"
    assert sum(counts["created"] for counts in run.counts.values()) > 100
    assert texts() == before
