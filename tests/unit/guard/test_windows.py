"""The guard's calendar: windows by the clock of the district's zone, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.sync.guard import Counts, Facts, Settings, reasons, rules_of
from hub.sync.guard.calendar import Occurrence, instants
from hub.sync.guard.rules import Window, coming, zone_of

MINUTE = timedelta(minutes=1)


def window(starts: str, ends: str, kind: str = "blackout", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "name": "w", "starts": starts, "ends": ends} | more


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
            one = Occurrence(*(datetime.fromisoformat(f"{day}T0{h}:30") for h in (hour, hour + 1)))
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
    assert {one.window.kind for one in rules.windows} == {"blackout", "additive"}
    assert rules.hold_days == 3
    limit = rules.limit("limits", "users", "deleted")
    assert limit is not None
    assert (limit.share, limit.above) == (0.01, 20)


@pytest.mark.threat("F11")
@pytest.mark.parametrize(
    ("zone", "starts", "ends", "inside", "outside"),
    [
        ("UTC", "06-15T00:00", "08-20", ["2026-06-15T00:00Z", "2027-08-19T23:59Z", "2031-07-01T00:00Z"],
         ["2026-06-14T23:59Z", "2027-08-20T00:00Z"]),
        # By the clock of the zone, in summer and in winter time; the zone's year counts, not UTC's.
        ("America/Chicago", "06-01", "06-02", ["2026-06-01T05:00Z", "2030-06-02T04:59Z"], ["2026-06-01T04:59Z"]),
        ("America/Chicago", "12-31T18:00", "12-31T23:00", ["2027-01-01T00:00Z", "2028-01-01T04:59Z"],
         ["2026-12-31T23:59Z", "2027-01-01T05:00Z"]),
        # Over the turn of the year.
        ("Europe/Berlin", "12-20", "01-07T06:00", ["2026-12-19T23:00Z", "2027-01-01T00:00Z", "2027-01-07T04:59Z"],
         ["2026-12-19T22:59Z", "2027-01-07T05:00Z", "2027-06-01T00:00Z"]),
        # With and without a 29 February.
        ("UTC", "02-28", "03-01", ["2027-02-28T12:00Z", "2028-02-29T12:00Z"], ["2027-03-01T00:00Z"]),
        # 02:30 never comes in 2026 on 8 March, and comes once in 2027.
        ("America/Chicago", "03-08T02:30", "03-08T04:00", ["2026-03-08T07:30Z", "2027-03-08T08:30Z"],
         ["2027-03-08T08:29Z"]),
    ],
)  # fmt: skip
def test_a_window_without_years_is_open_every_year(
    zone: str, starts: str, ends: str, inside: list[str], outside: list[str]
) -> None:
    own = settings(zone, window(starts, ends))
    assert own["windows"][0]["starts"] == starts
    for times, is_open in ((inside, True), (outside, False)):
        for at in times:
            found = rules_of(own, {}, datetime.fromisoformat(at)).open("blackout")
            assert (found is not None) is is_open, at


def test_the_calendar_says_when_windows_are_next() -> None:
    own = settings(
        "America/Chicago", window("06-15", "08-20", name="summer"), window("12-20", "01-07", name="winter"),
        window("2026-03-01", "2026-04-01", name="over"), window("2027-04-12", "2027-04-17", name="tests"),
    )  # fmt: skip

    def shown(at: str) -> list[tuple[str, str, str, bool]]:
        moment = datetime.fromisoformat(at)
        times = coming(own, rules_of(own, {}, moment), moment)
        return [(w.name, s.isoformat("T", "minutes"), e.isoformat("T", "minutes"), o) for w, s, e, o in times]

    assert shown("2027-01-02T12:00Z") == [
        ("winter", "2026-12-20T00:00-06:00", "2027-01-07T00:00-06:00", True),
        ("tests", "2027-04-12T00:00-05:00", "2027-04-17T00:00-05:00", False),
        ("summer", "2027-06-15T00:00-05:00", "2027-08-20T00:00-05:00", False),
    ]
    assert [(name, starts[:4], o) for name, starts, _, o in shown("2027-08-20T05:00Z")] == [
        ("winter", "2027", False), ("summer", "2028", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("starts", "ends", "words"),
    [
        ("02-29", "03-05", "not in every year"),
        ("06-15", "2027-08-20T00:00", "both have a year"),
        ("06-15", "06-15T00:00", "ends before it starts"),
        ("2027-06-15", "2027-06-15", "ends before it starts"),
        ("13-01", "14-01", "month must be in"),
        ("2026-02-29", "2026-03-01", "day"),
        ("6-15", "8-20", "write a local time"),
        ("2027-06-15T00:00Z", "2027-06-16T00:00Z", "write a local time"),
    ],
)
def test_a_window_of_no_time_is_refused(starts: str, ends: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Window.model_validate(window(starts, ends))


@pytest.mark.parametrize("name", ["Nowhere/Atall", "../../etc/passwd", "America", "", "/etc/localtime"])
def test_a_zone_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such time zone"):
        zone_of(name)
