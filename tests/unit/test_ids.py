"""Ids are UUIDv7, ascend within a batch and never repeat."""

from __future__ import annotations

import time
from uuid import UUID

from hub import ids
from hub.sync import minting


def test_they_are_version_7_of_now() -> None:
    before = time.time_ns() // 1_000_000
    found = [*(UUID(text) for text in minting.mint(100)), *ids.few(100), ids.new_id()]

    assert {(i.version, i.variant) for i in found} == {(7, "specified in RFC 4122")}
    assert all(before <= i.int >> 80 <= time.time_ns() // 1_000_000 for i in found)


def test_a_batch_ascends_past_one_millisecond_and_none_repeats() -> None:
    found = minting.mint(20_000)

    assert found.is_sorted()
    assert found.n_unique() == 20_000
    assert found.str.len_chars().unique().to_list() == [36]
    some = [str(i) for i in ids.few(2_000)]
    assert sorted(set(some)) == some


def test_two_batches_share_nothing() -> None:
    assert not set(minting.mint(5_000)) & set(minting.mint(5_000))
    assert minting.mint(0).len() == 0


def test_the_rest_is_random() -> None:
    for found in ([UUID(text) for text in minting.mint(5_000)], [i for _ in range(5) for i in ids.few(1_000)]):
        rest = {i.int & (2**62 - 1) for i in found}

        assert len(rest) == 5_000
        assert 2**61 * 0.9 < sum(rest) / len(rest) < 2**61 * 1.1
