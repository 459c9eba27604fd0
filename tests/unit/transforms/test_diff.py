"""Created, changed, back again, the same, and gone."""

from __future__ import annotations

import polars as pl

from tests.fakes.rosters import clean, frames, raw, run
from transforms.diff import STORED, diff, vanished


def stored(rows: list[tuple[str, int, int, bool]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=STORED, orient="row")


FRAME = pl.DataFrame(
    {"key": ["new", "same", "other", "back"], "hash": [1, 2, 3, 4]}, schema={"key": pl.String, "hash": pl.UInt64}
)


def test_each_kind_of_change() -> None:
    store = stored([("same", 1, 2, True), ("other", 2, 9, True), ("back", 3, 4, False), ("gone", 4, 1, True)])

    found = diff(FRAME, store)

    assert found.created["key"].to_list() == ["new"]
    assert found.updated.select("key", "rid").rows() == [("other", 2)]
    assert found.reactivated.select("key", "rid").rows() == [("back", 3)]
    assert found.unchanged == 1
    assert sorted(found.seen) == [1, 2, 3]


def test_an_empty_store_makes_everything_new() -> None:
    found = diff(FRAME, stored([]))

    assert found.created.height == 4
    assert (found.unchanged, found.updated.height, found.seen.len()) == (0, 0, 0)


def test_gone_is_what_was_neither_seen_nor_kept_out() -> None:
    store = stored([("seen", 1, 1, True), ("bad", 2, 1, True), ("gone", 3, 1, True), ("dead", 4, 1, False)])

    found = vanished(store, [pl.Series("rid", [1], dtype=pl.UInt32)], [pl.Series("key", ["bad"])])

    assert found.rows() == [("gone", 3)]
    assert vanished(store, [], [])["key"].sort().to_list() == ["bad", "gone", "seen"]


def test_a_small_batch_against_a_large_store() -> None:
    store = stored([(f"k{i}", i, i, True) for i in range(100)])
    batch = pl.DataFrame({"key": ["k7", "new", "k9"], "hash": [7, 1, 1]}, schema=FRAME.schema)

    found = diff(batch, store)

    assert found.created["key"].to_list() == ["new"]
    assert found.updated.select("key", "rid").rows() == [("k9", 9)]
    assert (found.unchanged, found.seen.to_list()) == (1, [7, 9])


def test_the_same_files_twice_are_unchanged() -> None:
    first = run("1.2", frames("1.2", clean("1.2")))
    second = run("1.2", {file: raw(file, "1.2", rows) for file, rows in clean("1.2").items()})  # not what is kept

    for name, frame in first.frames.items():
        store = frame.select("key", "hash", rid=pl.int_range(pl.len(), dtype=pl.UInt32), active=pl.lit(value=True))
        found = diff(second.frames[name], store.select(*STORED))
        assert found.unchanged == frame.height
        assert vanished(store.select(*STORED), [found.seen], []).height == 0


def test_any_changed_value_changes_the_hash() -> None:
    files = clean("1.2")
    before = run("1.2", frames("1.2", files))
    files["users"][0] |= {"preferredGivenName": None, "preferredFamilyName": "Bo"}
    files["roles"][1] |= {"endDate": "2030-01-01"}
    files["classes"][0] |= {"subjects": "Geometry"}
    files["courseResources"][0] |= {"resourceSourcedId": "b2"}
    files["scoreScales"][1] |= {"scoreScaleValue": "{0:No},{50:Yes}"}
    files["lineItemLearningObjectiveIds"].pop()
    files["resultLearningObjectiveIds"][0] |= {"score": "3"}
    files["results"][1] |= {"late": "false"}

    after = run("1.2", frames("1.2", files))

    changed = {
        name: set(frame.join(after.frames[name], on=["key", "hash"], how="anti")["key"])
        for name, frame in before.frames.items()
    }
    assert {name: keys for name, keys in changed.items() if keys} == {
        "courses": {"c1"}, "classes": {"k1"}, "users": {"u1", "u2"}, "scoreScales": {"a2"}, "lineItems": {"l1"},
        "results": {"x1", "x2"},
    }  # fmt: skip


def test_the_order_of_lists_without_meaning_does_not_change_the_hash() -> None:
    files = clean("1.2")
    before = run("1.2", frames("1.2", files))
    files["classes"][0] |= {"termSourcedIds": "t2,t1", "periods": "10,1,3"}
    files["users"][0] |= {"userIds": "{LTI:4711},{LDAP:ana}"}
    files["resources"][0] |= {"roles": "teacher,student"}
    for file in (
        "roles",
        "userProfiles",
        "classResources",
        "lineItemLearningObjectiveIds",
        "resultLearningObjectiveIds",
    ):
        files[file].reverse()

    after = run("1.2", frames("1.2", files))

    for name, frame in before.frames.items():
        assert dict(frame.select("key", "hash").iter_rows()) == dict(
            after.frames[name].select("key", "hash").iter_rows()
        )
