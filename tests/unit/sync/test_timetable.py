"""When a schedule is due: time zones, clocks that change, and the spread."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from uuid import UUID, uuid4

import pytest

from hub.errors import Code, HubError
from hub.sync.timetable import Timetable, checked, share

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_times_are_those_of_the_zone() -> None:
    times = islice(Timetable("0 2 * * 1-5", "America/Chicago").times(utc("2026-01-16 09:00")), 2)
    assert list(times) == [utc("2026-01-19 08:00"), utc("2026-01-20 08:00")]  # Friday's has passed, then the weekend


def test_a_time_that_is_skipped_in_spring_comes_right_after_the_jump() -> None:
    times = islice(Timetable("30 2 * * *", BERLIN).times(utc("2026-03-28 12:00")), 2)
    assert list(times) == [utc("2026-03-29 01:00"), utc("2026-03-30 00:30")]  # 03:00 summer time, then 02:30


def test_a_time_that_comes_twice_in_autumn_is_taken_once() -> None:
    times = list(islice(Timetable("30 2 * * *", BERLIN).times(utc("2026-10-24 12:00")), 2))
    assert times[0] in {utc("2026-10-25 00:30"), utc("2026-10-25 01:30")}
    assert times[1] == utc("2026-10-26 01:30")


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_every_ten_minutes_follows_the_real_hours(day: str) -> None:
    times = list(islice(Timetable("*/10 * * * *", BERLIN).times(utc(f"{day} 22:00")), 60))
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=10)}


def test_a_thousand_districts_at_two_are_spread_over_the_window() -> None:
    night = Timetable("0 2 * * *", "UTC")
    two, after = utc("2026-05-06 02:00"), utc("2026-05-05 12:00")
    found = [night.following(after, share=share(uuid4(), uuid4()), spread_seconds=600) for _ in range(1000)]
    seconds = [(at - two).total_seconds() for at in found if at]
    assert len(seconds) == 1000
    assert all(0 <= s < 600 for s in seconds)
    per_minute = [sum(60 * m <= s < 60 * (m + 1) for s in seconds) for m in range(10)]
    assert min(per_minute) > 50
    assert max(per_minute) < 160


def test_a_source_keeps_its_moment() -> None:
    one, other = UUID(int=1), UUID(int=2)
    assert share(one, other) == share(one, other) != share(other, one)
    night = Timetable("0 2 * * *", "UTC")
    first = night.following(utc("2026-05-05 12:00"), share=0.5, spread_seconds=600)
    assert first == utc("2026-05-06 02:05")
    assert night.following(utc("2026-05-06 02:03"), share=0.5, spread_seconds=600) == first  # its moment is to come
    assert night.following(first, share=0.5, spread_seconds=600) == utc("2026-05-07 02:05")


def test_what_is_due_often_is_put_off_by_less_than_half_its_interval() -> None:
    often = Timetable("*/5 * * * *", "UTC")
    at = utc("2026-05-05 12:00")
    for _ in range(20):
        then = often.following(at, share=0.99, spread_seconds=3600)
        assert then is not None
        assert timedelta() < then - at <= timedelta(minutes=7.5)
        at = then


@pytest.mark.parametrize(
    ("cron", "zone", "place"),
    [
        ("0 2 * *", "UTC", "cron: must have five fields"),
        ("0 2 * * * *", "UTC", "cron: must have five fields"),
        ("61 2 * * *", "UTC", "cron: Bad minute"),
        ("0 25 * * *", "UTC", "cron: Bad hour"),
        ("0 2 * * mon-xyz", "UTC", "cron: Bad day-of-week"),
        ("0 0 30 2 *", "UTC", "cron: "),
        ("@daily", "UTC", "cron: must have five fields"),
        ("0 2 * * *", "Middle/Earth", "zone: unknown"),
        ("0 2 * * *", "../../etc/passwd", "zone: unknown"),
        ("0 2 * * *", "", "zone: unknown"),
        ("0 2 * * *", "a" * 5000, "zone: unknown"),
        ("0 2 * * *\x00", "UTC", "cron: "),
    ],
)
def test_a_mistake_is_refused_with_its_place(cron: str, zone: str, place: str) -> None:
    with pytest.raises(HubError) as refused:
        checked(cron, zone)
    assert refused.value.code is Code.INVALID_REQUEST
    assert refused.value.message.startswith(place)


def test_spaces_do_not_matter() -> None:
    assert checked("  0   2 * * 1-5 ", "UTC") == Timetable("0 2 * * 1-5", "UTC")
