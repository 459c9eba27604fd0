"""How many changes a receiver takes in time."""

from __future__ import annotations

import pytest

from hub.webhooks.portions import grown, halved


@pytest.mark.parametrize(
    ("size", "milliseconds", "full", "found"),
    [
        (None, 10, False, None),
        (42, 10, False, 92),
        (460, 10, False, None),  # as many as it may be again
        (42, 3_001, False, 42),  # more than a fifth of the time-out
        (92, 10, True, None),  # a batch is shorter than that by its bytes: the size bounds nothing
        (92, 3_001, True, 92),
    ],
)
def test_a_tenth_more_after_each_quick_answer(
    size: int | None, milliseconds: int, full: bool, found: int | None
) -> None:
    assert grown(size, 500, milliseconds=milliseconds, timeout=15, full=full) == found


def test_half_after_a_time_out_but_one_at_the_least() -> None:
    assert (halved(84), halved(3), halved(1)) == (42, 1, 1)
