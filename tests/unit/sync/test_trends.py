"""What several reports say together, and how long a run still takes."""

from __future__ import annotations

from typing import Any

import pytest

from hub.sync.progress import ENDING, Pace, Progress
from hub.sync.trends import trend


def report(**counts: int) -> dict[str, Any]:
    rules = [
        {"code": code, "entity": "users", "severity": "warn", "title": f"t {n}", "howto": "h", "count": n}
        for code, n in counts.items()
    ]
    return {"total": sum(counts.values()), "rules": rules}


def test_findings_are_new_gone_more_fewer_or_constant() -> None:
    found = trend([report(A=1, B=2, C=3, D=4), report(A=1, B=3, C=2, E=9)])
    assert [(r.code, r.counts, r.change) for r in found] == [
        ("E", [0, 9], "new"), ("B", [2, 3], "more"), ("A", [1, 1], "constant"), ("C", [3, 2], "fewer"),
        ("D", [4, 0], "gone"),
    ]  # fmt: skip
    assert next(r.title for r in found if r.code == "B") == "t 3"  # in the words of the newest report


def test_findings_open_and_close_by_themselves_and_have_a_rate() -> None:
    found = trend([report(A=1), report(B=2), report(A=1, B=4), report(A=3)], {"users": 60})

    assert [(r.code, r.opened, r.closed, r.share) for r in found] == [("A", 2, None, 0.05), ("B", None, 3, 0.0)]
    assert [r.share for r in trend([report(A=1)])] == [None]


def test_what_was_gone_and_came_back_is_new() -> None:
    assert [r.change for r in trend([report(A=1), report(), report(A=1)])] == ["new"]


def test_one_report_alone_is_all_new_and_none_says_nothing() -> None:
    assert [r.change for r in trend([report(A=1)])] == ["new"]
    assert trend([]) == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("hub.sync.progress.time.perf_counter", lambda: now[0])
    return now


def test_time_left_comes_from_the_last_run_until_the_rows_tell_more(clock: list[float]) -> None:
    progress = Progress(_since=clock[0], _began=clock[0])
    assert progress.seconds_left() is None
    progress.pace = Pace(rows=1000, prepare=20, apply=10)
    progress.rows_total = 2000
    progress.enter("transform", entity="users")
    assert progress.seconds_left() == 60  # twice the rows of last time
    clock[0] += 10
    progress.read(1000)  # half in ten seconds: faster than last time
    assert progress.seconds_left() == 10 + 20
    clock[0] += 10
    progress.read(1000)
    progress.enter("apply")
    assert progress.seconds_left() == 20
    clock[0] += 15
    assert progress.seconds_left() == 5
    progress.enter(ENDING)
    clock[0] += 100
    assert progress.seconds_left() == 0


def test_without_an_earlier_run_the_rows_alone_tell(clock: list[float]) -> None:
    progress = Progress(_since=clock[0], _began=clock[0])
    progress.rows_total = 100
    progress.enter("transform", entity="users", total=100)
    clock[0] += 4
    assert progress.seconds_left() is None
    progress.read(50)
    assert progress.seconds_left() == 4 + 4  # the other half, and half of the whole to apply it
    assert progress.as_json()["rows"] == 50
    progress.enter("transform", entity="users")
    assert progress.as_json() | {"timings": None} == {
        "entity": "users", "rows": 50, "total": 100, "rows_done": 50, "rows_total": 100, "seconds_left": 8.0,
        "timings": None,
    }  # fmt: skip
    progress.enter("compare", entity="orgs")
    assert (progress.rows, progress.total, progress.rows_done) == (0, None, 50)
