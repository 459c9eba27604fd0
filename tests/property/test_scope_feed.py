"""Feed entries, their merging and stamps against models that go record by record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.scope.columns import Columns
from hub.scope.compile import compile_grant
from hub.scope.feed import Changed, FeedEntry, Sets, compact, diff_view, edit_view, gone_after, merge
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.stamps import Stamps, cut
from hub.scope.trim import trim, trim_changes
from hub.scope.view import EntityView
from tests.property.small_districts import (
    ENTITIES,
    District,
    changed,
    columns_of,
    definitions,
    districts,
    document,
    members_of,
    resolve,
    rids_of,
)  # fmt: skip
from transforms.catalogue import CATALOGUE

START = datetime(2025, 8, 1, tzinfo=UTC)


def _look(district: District, views: dict[str, BitMap], projection: Projection) -> dict[int, str]:
    """How each present record looks, with all references filtered, whether that is needed or not."""
    looks = {}
    for rid in views[projection.entity]:
        record = district[projection.entity][rid]
        looks[rid] = projection.members(
            *document(projection.entity, record), refs=rids_of(record, projection.references),
            sees=lambda target, other: other in views[target],
        )  # fmt: skip
    return looks


def _changed_fields(entity: str, before: District, after: District) -> Changed:
    """What the store notes of a sync: which fields of which records changed."""
    rids, fields = [], []
    for rid, new in after[entity].items():
        old_members, new_members = members_of(entity, before[entity][rid]), members_of(entity, new)
        names = [f.name for f in CATALOGUE[entity].body]
        bits = sum(1 << i for i, name in enumerate(names) if old_members.get(name) != new_members.get(name))
        if bits:
            rids.append(rid)
            fields.append(bits)
    return Changed(np.array(rids, np.int32), np.array(fields, np.uint64))


def _projections(definition: GrantDefinition) -> dict[str, Projection]:
    return {entity: Projection(definition, entity) for entity in ENTITIES}


def _sets(
    columns: Columns, definition: GrantDefinition, projections: dict[str, Projection]
) -> tuple[dict[str, BitMap], dict[str, Sets]]:
    views = compile_grant(definition, columns, resolve)
    return views, {e: Sets(views[e], trim(projections[e], views, columns)) for e in ENTITIES}


@pytest.mark.threat("T16")
@settings(max_examples=300, deadline=None)
@given(definitions(), districts(), st.data())
def test_a_record_is_updated_exactly_when_it_looks_different(
    definition: GrantDefinition, before: District, data: st.DataObject
) -> None:
    after = data.draw(changed(before))
    columns, projections = columns_of(after), _projections(definition)
    old_views, old = _sets(columns_of(before), definition, projections)
    new_views, new = _sets(columns, definition, projections)
    for entity, projection in projections.items():
        moved = trim_changes(projection, old_views, new_views, columns)
        diff = diff_view(projection, old[entity], new[entity], _changed_fields(entity, before, after), moved)
        was, now = _look(before, old_views, projection), _look(after, new_views, projection)
        differing = BitMap(rid for rid in was.keys() & now.keys() if was[rid] != now[rid])
        entry = diff.settle(differing & diff.check)
        assert entry.entered == BitMap(now.keys() - was.keys())
        assert entry.left == BitMap(was.keys() - now.keys())
        assert entry.updated == differing


@settings(max_examples=300, deadline=None)
@given(definitions(), definitions(), districts())
def test_an_edit_updates_exactly_what_looks_different(
    first: GrantDefinition, second: GrantDefinition, district: District
) -> None:
    columns, before = columns_of(district), _projections(first)
    old_views, old = _sets(columns, first, before)
    for edited in (second, first.model_copy(update={"rules": second.rules})):
        after = _projections(edited)
        new_views, new = _sets(columns, edited, after)
        for entity in ENTITIES:
            was_so, is_so = before[entity], after[entity]
            moved = trim_changes(is_so, old_views, new_views, columns)
            diff = edit_view(was_so, is_so, old[entity], new[entity], moved)
            was, now = _look(district, old_views, was_so), _look(district, new_views, is_so)
            differing = BitMap(rid for rid in was.keys() & now.keys() if was[rid] != now[rid])
            entry = diff.settle(differing & diff.check)
            assert (set(entry.entered), set(entry.left)) == (now.keys() - was.keys(), was.keys() - now.keys())
            assert entry.updated == differing


RIDS = st.sets(st.integers(0, 7))


@st.composite
def histories(draw: st.DrawFn) -> tuple[set[int], list[FeedEntry]]:
    """What is present at first, and entries that can follow one another."""
    start = draw(RIDS)
    present, entries = set(start), []
    for _ in range(draw(st.integers(1, 6))):
        entered, left = draw(RIDS) - present, draw(RIDS) & present
        updated = draw(RIDS) & present - left
        entries.append(FeedEntry("users", BitMap(entered), BitMap(updated), BitMap(left)))
        present = present - left | entered
    return start, entries


def _presence(start: set[int], entries: list[FeedEntry]) -> Iterator[set[int]]:
    present = set(start)
    for entry in entries:
        present = present - set(entry.left) | set(entry.entered)
        yield set(present)


@settings(deadline=None)
@given(histories())
def test_merging_gives_the_net_effect(history: tuple[set[int], list[FeedEntry]]) -> None:
    start, entries = history
    *_, end = _presence(start, entries)
    touched = {rid for entry in entries for rid in entry.touched}
    merged = merge(entries)
    assert set(merged.entered) == end - start
    assert set(merged.left) == start - end
    assert set(merged.updated) == start & end & touched


@settings(deadline=None)
@given(histories(), st.integers(0, 5))
def test_merging_in_parts_gives_the_same(history: tuple[set[int], list[FeedEntry]], at: int) -> None:
    entries = history[1]
    parts = [merge(part) for part in (entries[:at], entries[at:]) if part]
    assert merge(parts) == merge(entries)


def test_merging_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])
    with pytest.raises(ValueError, match="different entities"):
        merge([FeedEntry("users"), FeedEntry("orgs")])


@settings(deadline=None)
@given(histories())
def test_tombstones_are_those_that_left_and_did_not_return(history: tuple[set[int], list[FeedEntry]]) -> None:
    start, entries = history
    gone = BitMap()
    ever = set(start)
    for entry, present in zip(entries, _presence(start, entries), strict=True):
        gone = gone_after(gone, entry)
        ever |= present
        assert set(gone) == ever - present


@st.composite
def feeds(draw: st.DrawFn) -> list[FeedEntry]:
    """A feed from its first entry on, some of its entries empty."""
    present, feed = set[int](), []
    for _ in range(draw(st.integers(0, 9))):
        entered, left = draw(RIDS) - present, draw(RIDS) & present
        updated = draw(RIDS) & present - left
        feed.append(FeedEntry("users", BitMap(entered), BitMap(updated), BitMap(left)))
        present = present - left | entered
    return feed


def _net(feed: list[FeedEntry]) -> FeedEntry:
    return merge(feed) if feed else FeedEntry("users")


def _dated(feed: list[FeedEntry]) -> list[tuple[datetime, FeedEntry]]:
    return [(START + timedelta(seconds=second), entry) for second, entry in enumerate(feed)]


@settings(deadline=None, max_examples=300)
@given(feeds(), st.data())
def test_who_reads_a_compacted_feed_on_from_anywhere_is_told_the_same(
    feed: list[FeedEntry], data: st.DataObject
) -> None:
    compacted, old, settled = feed, 0, 0
    for _ in range(data.draw(st.integers(1, 3))):  # as the days go by
        old = data.draw(st.integers(old, len(feed)))
        settled = data.draw(st.integers(settled, old))
        # A purge may end anywhere: what is newer was dealt with first.
        broken_off = data.draw(st.integers(0, old))
        compacted = [*compacted[:broken_off], *compact(compacted[:old], settled)[broken_off:], *compacted[old:]]
    # Who came before the settled entries is turned away; from their end on every cursor is told as before.
    for cursor in range(settled, len(feed) + 1):
        assert _net(compacted[cursor:]) == _net(feed[cursor:])
    known = sorted(set().union(*(entry.touched for entry in feed)))
    assert Stamps.of_feed(_dated(compacted)).of(known) == Stamps.of_feed(_dated(feed)).of(known)
    # The sets of every step from the old ones' end on, which walks over pages ask for.
    for step in range(old, len(feed) + 1):
        then, before = EntityView.of_feed(_dated(compacted[:step])), EntityView.of_feed(_dated(feed[:step]))
        assert (then.present, then.gone) == (before.present, before.gone)


@settings(deadline=None)
@given(feeds(), st.data())
def test_each_record_stands_in_a_compacted_feed_once(feed: list[FeedEntry], data: st.DataObject) -> None:
    settled = data.draw(st.integers(0, len(feed)))
    parts = compact(feed, settled)
    assert compact(parts, settled) == parts
    for old, records in ((parts[:settled], feed[:settled]), (parts[settled:], feed[settled:])):
        assert sum(len(entry.updated) for entry in old) <= len(set().union(*(entry.touched for entry in records)))
    assert not any(entry.updated for entry in parts[:settled])
    known = set().union(*(entry.touched for entry in feed[:settled]))
    assert sum(len(entry.touched) for entry in parts[:settled]) == len(known)
    # Who came and went stands there each time, and nothing else does.
    for entry, before in zip(parts[settled:], feed[settled:], strict=True):
        assert (entry.entered, entry.left) == (before.entered, before.left)
        assert entry.updated <= before.updated


@pytest.mark.threat("T16")
@settings(deadline=None)
@given(histories(), st.data())
def test_the_newest_entry_stamps_a_record(history: tuple[set[int], list[FeedEntry]], data: st.DataObject) -> None:
    entries = history[1]
    steps = st.sampled_from([timedelta(0), timedelta(microseconds=700), timedelta(seconds=5), -timedelta(seconds=3)])
    clock, newest, model, feed = START, START, {}, []
    stamps = Stamps()
    for entry in entries:
        clock += data.draw(steps)
        feed.append((clock, entry))
        stamps = stamps.apply(clock, entry)
        if entry:
            newest = max(newest, cut(clock)) if model else cut(clock)
        model |= dict.fromkeys(entry.touched, newest)
    rids = sorted(model)
    built = Stamps.of_feed(feed)
    for each in (stamps, built):
        assert each.of(rids) == [model[rid] for rid in rids]
        ranks = each.ranks(np.array(rids, np.int64)).tolist()
        assert [ranks[i] < ranks[j] for i in range(len(rids)) for j in range(len(rids))] == [
            model[a] < model[b] for a in rids for b in rids
        ]
        for after in {START, START + timedelta(milliseconds=1), *model.values()}:
            assert set(each.since(after, inclusive=True)) == {rid for rid in rids if model[rid] >= after}
            assert set(each.since(after, inclusive=False)) == {rid for rid in rids if model[rid] > after}
