"""Hours that count only on some days, in a zone whose clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.store.expected import DAYS, Expectation

CHICAGO = ZoneInfo("America/Chicago")
WEEK = DAYS[:5]


def chicago(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO)


@pytest.mark.parametrize(
    ("since", "hours", "days", "expected"),
    [
        ("2026-05-01T16:00", 24, WEEK, "2026-05-04T16:00"),  # Friday to Monday
        ("2026-05-01T16:00", 8, WEEK, "2026-05-02T00:00"),  # the last hour of Friday is one of Friday's
        ("2026-05-02T09:00", 24, WEEK, "2026-05-05T00:00"),  # from a Saturday on nothing counts until Monday
        ("2026-05-04T07:00", 24, WEEK, "2026-05-05T07:00"),
        ("2026-05-01T16:00", 24, None, "2026-05-02T16:00"),
        ("2026-05-04T12:00", 24, ("mon",), "2026-05-11T12:00"),
        ("2026-05-01T16:00", 240, WEEK, "2026-05-15T16:00"),  # ten days of school are two weeks
        ("2026-03-08T00:00", 24, ("sun",), "2026-03-15T01:00"),  # a day of 23 hours, and one more of the next
        ("2026-11-01T00:00", 24, ("sun",), "2026-11-01T23:00"),  # one of 25
    ],
)  # fmt: skip
def test_the_time_stands_still_on_other_days(
    since: str, hours: int, days: tuple[str, ...] | None, expected: str
) -> None:
    assert Expectation(hours, 0, days, CHICAGO.key).after(chicago(since)) == chicago(expected)


@given(
    st.integers(0, 40_000), st.integers(1, 400), st.sets(st.sampled_from(DAYS), min_size=1),
    st.sampled_from(["America/Chicago", "Asia/Kathmandu", "America/Havana"]),
)  # fmt: skip
def test_just_so_many_hours_of_these_days_pass(at: int, hours: int, days: set[str], zone: str) -> None:
    since = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=at)
    until = Expectation(hours, 0, days, zone).after(since)
    quarters, counted = since, timedelta()
    while quarters < until:  # offsets and changes of clocks are whole quarters of an hour
        if DAYS[quarters.astimezone(ZoneInfo(zone)).weekday()] in days:
            counted += timedelta(minutes=15)
        quarters += timedelta(minutes=15)
    assert counted == timedelta(hours=hours)
    last = (until - timedelta(minutes=15)).astimezone(ZoneInfo(zone))
    assert DAYS[last.weekday()] in days


async def test_it_is_late_again_after_each_further_stretch() -> None:
    for days, again in ((None, "2026-05-04T16:30"), (WEEK, "2026-05-04T16:30")):
        expectation = Expectation(24, 30, days, CHICAGO.key)
        late = await expectation.late_from(chicago("2026-04-30T16:00"))
        assert late == chicago("2026-05-01T16:30")
        assert await expectation.late_again(late, chicago("2026-05-03T20:00")) == chicago(again)
        assert await expectation.late_again(late, late) == chicago(
            "2026-05-02T16:30" if days is None else "2026-05-04T16:30"
        )
