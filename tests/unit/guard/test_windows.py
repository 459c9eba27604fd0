"""The guard's calendar: windows by the clock of the district's zone, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.sync.guard import Counts, Facts, Settings, reasons, rules_of
from hub.sync.guard.rules import Window, instants, zone_of

MINUTE = timedelta(minutes=1)


def window(starts: str, ends: str, kind: str = "blackout", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "name": "w", "starts": starts, "ends": ends, **more}


def settings(zone: str, *windows: dict[str, Any]) -> dict[str, Any]:
    return Settings.model_validate({"time_zone": zone, "windows": list(windows)}).as_json()


@pytest.mark.threat("F11")
@pytest.mark.parametrize(
    ("zone", "starts", "ends", "first", "last"),
    [
        ("UTC", "2026-06-01T00:00", "2026-06-02T00:00", "2026-06-01T00:00Z", "2026-06-01T23:59Z"),
        # Summer and winter time of one zone.
        ("America/Chicago", "2026-06-01T00:00", "2026-06-02T00:00", "2026-06-01T05:00Z", "2026-06-02T04:59Z"),
        ("America/Chicago", "2026-01-05T00:00", "2026-01-06T00:00", "2026-01-05T06:00Z", "2026-01-06T05:59Z"),
        # A day of 23 and one of 25 hours.
        ("America/Chicago", "2026-03-08T00:00", "2026-03-09T00:00", "2026-03-08T06:00Z", "2026-03-09T04:59Z"),
        ("America/Chicago", "2026-11-01T00:00", "2026-11-02T00:00", "2026-11-01T05:00Z", "2026-11-02T05:59Z"),
        # 02:30 never comes, 01:30 comes twice: the window is the longer one.
        ("America/Chicago", "2026-03-08T02:30", "2026-03-08T04:00", "2026-03-08T07:30Z", "2026-03-08T08:59Z"),
        ("America/Chicago", "2026-03-08T00:00", "2026-03-08T02:30", "2026-03-08T06:00Z", "2026-03-08T08:29Z"),
        ("America/Chicago", "2026-11-01T01:30", "2026-11-01T03:00", "2026-11-01T06:30Z", "2026-11-01T08:59Z"),
        ("America/Chicago", "2026-11-01T00:00", "2026-11-01T01:30", "2026-11-01T05:00Z", "2026-11-01T07:29Z"),
        # Half an hour of summer time, and a zone whose day begins on the day before.
        ("Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-06T00:00", "2026-04-04T13:00Z", "2026-04-05T13:29Z"),
        ("Pacific/Kiritimati", "2026-01-01T00:00", "2026-01-01T12:00", "2025-12-31T10:00Z", "2025-12-31T21:59Z"),
    ],
)  # fmt: skip
def test_a_window_is_open_from_its_start_until_before_its_end(
    zone: str, starts: str, ends: str, first: str, last: str
) -> None:
    own = settings(zone, window(starts, ends))

    def is_open(at: datetime) -> bool:
        return rules_of(own, {}, at).open("blackout") is not None

    begins, closes = datetime.fromisoformat(first), datetime.fromisoformat(last)
    assert [is_open(begins - MINUTE), is_open(begins), is_open(closes), is_open(closes + MINUTE)] == [
        False, True, True, False,
    ]  # fmt: skip


def test_no_window_is_shorter_than_the_hands_of_the_clock_say() -> None:
    zone = zone_of("America/Chicago")
    for day in ("2026-03-08", "2026-11-01"):
        for hour in range(5):
            one = Window.model_validate(window(f"{day}T0{hour}:30", f"{day}T0{hour + 1}:30"))
            starts, ends = instants(one, zone)
            assert ends.timestamp() - starts.timestamp() >= 3600, (day, hour)


@pytest.mark.threat("F11")
def test_a_rollover_window_widens_and_lifts_and_says_so() -> None:
    rules = {"limits": {"default": {"deleted": {"share": 0.5}, "moved": None}}, "emptied_school": "allow"}
    own = settings("UTC", window("2026-06-01T00:00", "2026-09-01T00:00", "rollover", rules=rules))
    counts = {"users": Counts(before=100, deleted=40, moved=60), "classes": Counts(before=100, deleted=51)}
    facts = Facts(counts, emptied=["school"])

    inside = reasons(rules_of(own, {}, datetime(2026, 7, 1, tzinfo=UTC)), facts)
    assert [(r.code, r.subject) for r in inside if r.holds] == [("too_many_deleted", "classes")]
    passed = {(r.code, r.subject) for r in inside if not r.holds}
    assert passed == {
        ("too_many_deleted_let_pass", "users"), ("too_many_moved_let_pass", "users"),
        ("school_emptied_let_pass", "orgs"),
    }  # fmt: skip
    assert all("window w lets it pass" in r.text for r in inside if not r.holds)

    outside = reasons(rules_of(own, {}, datetime(2026, 9, 1, tzinfo=UTC)), facts)
    assert len([r for r in outside if r.holds]) == len(outside) == 4


def test_a_sources_settings_lie_over_its_districts_and_their_windows_add_up() -> None:
    district = settings("America/Chicago", window("2026-06-01T00:00", "2026-06-02T00:00"))
    source = Settings.model_validate(
        {"hold_days": 3, "limits": {"users": {"deleted": {"share": 0.01}}},
         "windows": [window("2026-06-01T00:00", "2026-06-02T00:00", "additive")]}
    ).as_json()  # fmt: skip
    rules = rules_of(district, source, datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert {w.kind for w in rules.windows} == {"blackout", "additive"}
    assert rules.hold_days == 3
    limit = rules.limit("limits", "users", "deleted")
    assert limit is not None
    assert (limit.share, limit.above) == (0.01, 20)


@pytest.mark.parametrize("name", ["Nowhere/Atall", "../../etc/passwd", "America", "", "/etc/localtime"])
def test_a_zone_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such time zone"):
        zone_of(name)
