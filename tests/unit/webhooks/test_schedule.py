"""The waits between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.webhooks.schedule import DAY, HOUR, MINUTE, STEPS, wait, worn_out

MIDDLE = 0.5  # of the jitter: none


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 5), (2, 5 * MINUTE), (3, 30 * MINUTE), (4, 2 * HOUR), (5, 5 * HOUR), (6, 10 * HOUR), (7, 14 * HOUR),
     (8, 20 * HOUR), (9, 24 * HOUR), (10, HOUR), (11, HOUR), (500, HOUR)],
)  # fmt: skip
def test_the_schedule(failures: int, seconds: float) -> None:
    assert wait(failures, chance=MIDDLE) == seconds


def test_ten_attempts_span_75_hours() -> None:
    assert sum(STEPS) == 75 * HOUR + 35 * MINUTE + 5


@given(failures=st.integers(1, 200), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_is_a_fifth_either_way(failures: int, chance: float) -> None:
    middle = wait(failures, chance=MIDDLE)
    assert 0.8 * middle <= wait(failures, chance=chance) <= 1.2 * middle * (1 + 1e-9)


@pytest.mark.parametrize(
    ("failures", "asked", "seconds"),
    [
        (1, 0, 5),
        (1, 30, 30),
        (4, 30, 30),
        (1, 3600, 3600),
        (1, 3601, 3600),
        (1, 1e9, 3600),
        (10, 0, 300),
        (10, 600, 600),
    ],
)
def test_what_the_receiver_asks_for_is_honoured_within_bounds(failures: int, asked: float, seconds: float) -> None:
    assert wait(failures, chance=0.9, retry_after=asked) == seconds


@pytest.mark.parametrize(
    ("failing", "apart", "paused"),
    [(0, 0, False), (5 * DAY - 1, 5 * DAY - HOUR, False), (5 * DAY, 5 * DAY - HOUR, True), (5 * DAY, 12 * HOUR, True),
     (6 * DAY, 12 * HOUR - 1, False), (30 * DAY, 0, False)],
)  # fmt: skip
def test_five_days_of_failures_that_lie_apart_pause(failing: float, apart: float, paused: bool) -> None:
    assert worn_out(failing, apart) is paused
