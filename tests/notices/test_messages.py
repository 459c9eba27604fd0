"""What a message says: the last of each source and kind, on one line each, with a link."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest

from hub.notices.message import MOST_SHOWN, Message, compose
from hub.store.notices import Notice

AT = datetime(2026, 5, 5, 2, 0, tzinfo=UTC)
DISTRICT = UUID(int=9)
ONE = Notice(UUID(int=1), "SIS", "failed", "source_failed", 1, AT, UUID(int=77), AT + timedelta(minutes=1))


def message(*notices: Notice, district: str = "Springfield") -> Message:
    return compose(notices, batch_id="ntc_1", district_id=DISTRICT, district=district, base_url="https://hub.example")


def test_a_failure_is_told_with_a_link_to_its_run() -> None:
    got = message(ONE)
    run = f"https://hub.example/admin/v1/districts/{DISTRICT}/runs/{ONE.run_id}"
    assert got.subject == "RosterHub, Springfield: syncs 1 failed"
    assert "SIS: failed\n  since 2026-05-05 02:00 UTC (source_failed)\n" in got.text
    assert run in got.text
    assert orjson.loads(got.body) == {
        "id": "ntc_1", "type": "syncs.noticed", "district": str(DISTRICT), "counts": {"failed": 1}, "more": 0,
        "notices": [{
            "kind": "failed", "source": str(ONE.source_id), "code": "source_failed", "times": 1,
            "since": "2026-05-05T02:00:00+00:00", "at": "2026-05-05T02:01:00+00:00", "run": str(ONE.run_id),
            "link": run,
        }],
    }  # fmt: skip


def test_five_hundred_failures_of_a_source_are_one_line_and_many_sources_are_cut() -> None:
    again = [replace(ONE, times=n, at=AT + timedelta(minutes=n)) for n in range(1, 501)]
    got = message(*again)
    assert got.text.count("SIS") == 1
    assert "500 times" in got.text
    many = [replace(ONE, source_id=UUID(int=n)) for n in range(1, MOST_SHOWN + 11)]
    body = orjson.loads(message(*many).body)
    assert (len(body["notices"]), body["more"], body["counts"]) == (MOST_SHOWN, 10, {"failed": MOST_SHOWN + 10})
    assert "and 10 more" in message(*many).text


def test_the_same_notices_make_the_same_bytes() -> None:
    some = [ONE, replace(ONE, kind="held", code="too_many_deleted"), replace(ONE, kind="late", run_id=None)]
    assert message(*some) == message(*some)
    assert message(*some).subject.endswith("1 held, 1 failed, 1 late")


@pytest.mark.parametrize("name", ["x\r\nBcc: everybody@district.example", "a\x00b", "n" * 5000, "\u2028two"])
def test_a_name_cannot_become_a_header_or_a_line(name: str) -> None:
    got = message(replace(ONE, source=name), district=name)
    assert "\n" not in got.subject
    assert "\r" not in got.subject + got.text
    assert len(got.text.splitlines()) == len(message(ONE).text.splitlines())
    assert len(got.subject) < 200
