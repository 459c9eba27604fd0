"""What a message says: the last of each source and kind, on one line each, with a link."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest

from hub.notices.message import _WORDS, MOST_SHOWN, Message, Told, compose
from hub.store.notices import ALL_KINDS, Notice

AT = datetime(2026, 5, 5, 2, 0, tzinfo=UTC)
DISTRICT, APP = UUID(int=9), UUID(int=8)
ONE = Notice(
    "failed",
    "source_failed",
    1,
    AT,
    AT + timedelta(minutes=1),
    DISTRICT,
    "Springfield",
    UUID(int=1),
    "SIS",
    UUID(int=77),
)
FAILING = Notice(
    "subscriptions.failing", "timeout_read", 3, AT, AT + timedelta(minutes=6), DISTRICT, "Springfield",
    subscription_id=UUID(int=5), app="Math",
)  # fmt: skip


def message(*notices: Notice, district: str = "Springfield", app: str | None = None) -> Message:
    told = Told(district, district_id=DISTRICT) if app is None else Told(app, app_id=APP)
    return compose(notices, batch_id="ntc_1", told=told, base_url="https://hub.example")


def test_a_failure_is_told_with_a_link_to_its_run() -> None:
    got = message(ONE)
    run = f"https://hub.example/admin/v1/districts/{DISTRICT}/runs/{ONE.run_id}"
    assert got.subject == "RosterHub, Springfield: syncs 1 failed"
    assert "SIS: failed\n  since 2026-05-05 02:00 UTC (source_failed)\n" in got.text
    assert run in got.text
    assert orjson.loads(got.body) == {
        "id": "ntc_1", "type": "notices.told", "district": str(DISTRICT), "app": None, "counts": {"failed": 1},
        "more": 0,
        "notices": [{
            "kind": "failed", "district": str(DISTRICT), "source": str(ONE.source_id), "code": "source_failed",
            "times": 1, "since": "2026-05-05T02:00:00+00:00", "at": "2026-05-05T02:01:00+00:00", "run": str(ONE.run_id),
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


def test_of_subscriptions_a_district_hears_whose_and_an_app_where() -> None:
    link = f"https://hub.example/admin/v1/districts/{DISTRICT}/subscriptions/{FAILING.subscription_id}"
    to_district = message(ONE, FAILING)
    assert to_district.subject == "RosterHub, Springfield: syncs 1 failed; subscriptions 1 failing"
    assert f"Math: webhooks fail\n  since 2026-05-05 02:00 UTC, 3 times (timeout_read)\n  {link}" in to_district.text
    elsewhere = replace(FAILING, district="Shelbyville", district_id=UUID(int=10), subscription_id=UUID(int=6))
    to_app = message(FAILING, elsewhere, app="Math")
    assert to_app.subject == "RosterHub, Math: subscriptions 2 failing"
    assert "Shelbyville: webhooks fail" in to_app.text
    assert "your app made you a recipient" in to_app.text
    body = orjson.loads(to_app.body)
    assert (body["district"], body["app"]) == (None, str(APP))
    assert body["notices"][0] == {
        "kind": "subscriptions.failing", "district": str(DISTRICT), "subscription": str(FAILING.subscription_id),
        "code": "timeout_read", "times": 3, "since": "2026-05-05T02:00:00+00:00", "at": "2026-05-05T02:06:00+00:00",
        "link": link,
    }  # fmt: skip


def test_each_kind_has_its_words() -> None:
    assert sorted(_WORDS) == sorted(ALL_KINDS)
