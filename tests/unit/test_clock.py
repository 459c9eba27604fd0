"""The clock tells whole milliseconds, cut and never rounded up, as documents and pages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import clock
from hub.clock import SystemClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Until 2100.
LATEST = 4_102_444_800_000_000_000


@given(st.integers(0, LATEST))
def test_now_is_cut_to_milliseconds(nanoseconds: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "time_ns", lambda: nanoseconds)
        now = SystemClock().now()
    assert now == EPOCH + timedelta(milliseconds=nanoseconds // 1_000_000)
    assert now.tzinfo is UTC
