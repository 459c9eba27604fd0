from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from pyroaring import BitMap

from hub.scope.feed import FeedEntry, Sets
from hub.scope.grants import GrantDefinition, Rule
from hub.scope.sets import bitmap, mask, members, pack, rids, unpack
from hub.scope.stamps import Stamps, cut, text
from hub.scope.view import EntityView, View
from tests.property.small_districts import District, Record, columns_of

START = datetime(2025, 8, 1, 6, tzinfo=UTC)


def role(name: str, org: int) -> dict[str, object]:
    return {"role": name, "roleType": "primary", "org": org, "userProfile": ""}


def district() -> District:
    """Two orgs; user 0 teaches at 0 and is a parent at 1, user 1 studies at 1, user 2 studies at 0 but is unseen."""
    return {
        "orgs": {rid: Record() for rid in (0, 1)},
        "users": {
            0: Record(roles=[role("teacher", 0), role("parent", 1)]),
            1: Record(roles=[role("student", 1)]),
            2: Record(roles=[role("student", 0)]),
        },
    }  # fmt: skip


def view(definition: GrantDefinition | None = None, orgs: tuple[int, ...] = (0, 1)) -> View:
    entities = {"users": EntityView(BitMap([0, 1]), BitMap([9])), "orgs": EntityView(BitMap(orgs))}
    return View(uuid.UUID(int=1), 4, definition or GrantDefinition(), entities)


def test_a_view_lists_tombstones_but_does_not_see_them() -> None:
    assert view().listed("users") == BitMap([0, 1, 9])
    assert view().sees("users", 1)
    assert not view().sees("users", 9)
    assert not view().sees("users", 2)


@pytest.mark.threat("T12")
def test_who_is_a_student_or_teacher_follows_from_visible_roles() -> None:
    columns = columns_of(district())
    assert view().with_role(columns, "student") == BitMap([1])
    assert view().with_role(columns, "parent") == BitMap([0])
    assert view().with_role(columns, "teacher", org=0) == BitMap([0])
    assert not view().with_role(columns, "teacher", org=1)
    assert not view(orgs=(0,)).with_role(columns, "parent")
    teachers = GrantDefinition(rules=(Rule(roles=("teacher",)),))
    assert not view(teachers).with_role(columns, "parent")
    assert view(teachers).visible_roles(columns).tolist() == [True, False, False, False]


def test_an_entry_moves_presence_tombstones_and_stamps_together() -> None:
    before = EntityView(BitMap([1, 2]), BitMap([5]), BitMap(), Stamps())
    after = before.after(START, FeedEntry("users", BitMap([5]), BitMap(), BitMap([1])), Sets(BitMap([2, 5])))
    assert after.gone == BitMap([1])
    assert after.listed == BitMap([1, 2, 5])
    assert after.stamps.texts([5, 1]) == ["2025-08-01T06:00:00.000Z"] * 2
    assert before.gone == BitMap([5])


def test_the_stamp_of_a_record_that_was_never_there_is_an_error() -> None:
    stamps = Stamps().apply(START, FeedEntry("users", BitMap([3])))
    for rid in (2, 4):
        with pytest.raises(KeyError):
            stamps.of([3, rid])


def test_times_are_utc_and_cut_to_milliseconds() -> None:
    local = datetime(2025, 8, 1, 8, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert text(cut(local)) == "2025-08-01T06:00:00.999Z"
    with pytest.raises(ValueError, match="offset"):
        cut(local.replace(tzinfo=None))


def test_more_entries_than_a_small_number_can_count() -> None:
    entries = [FeedEntry("users", BitMap([rid])) for rid in range(3)]
    feed = [(START + timedelta(seconds=n), entries[n % 3]) for n in range(70_000)]
    stamps = Stamps.of_feed(feed)
    assert stamps.layers.dtype == np.uint32
    assert stamps.of([69_999 % 3]) == [feed[-1][0]]
    grown = Stamps.of_feed(feed[:65_535]).apply(*feed[65_535])
    assert grown.of([65_535 % 3, 65_534 % 3]) == [feed[65_535][0], feed[65_534][0]]


def test_sets_change_their_form_and_stay_the_same() -> None:
    held = BitMap([0, 5, 70_000])
    assert unpack(pack(held)) == held
    assert bitmap(rids(held)) == held
    assert members(mask(held, 70_001)) == held
    assert bitmap(np.array([5, 0, 5], np.int64)) == BitMap([0, 5])
    assert not bitmap(np.empty(0, np.int32))
    with pytest.raises(IndexError):
        mask(held, 70_000)
