"""Secrets overlap for as long as was asked, and are stored for one row only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest

from hub.crypto import column_key, seal
from hub.errors import HubError
from hub.webhooks.keyring import MOST_PREVIOUS, Keyring
from hub.webhooks.sign import public_key, scheme

NOW = datetime(2026, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = column_key(b"a master key of the tests, long enough")


def test_the_old_secret_signs_until_the_overlap_ends() -> None:
    first = Keyring.new()
    second = first.rotated(NOW, DAY)
    assert second.live(NOW) == [second.secret, first.secret]
    assert second.live(NOW + DAY) == [second.secret]


def test_no_overlap_ends_all_older_secrets_at_once() -> None:
    ring = Keyring.new().rotated(NOW, DAY).rotated(NOW, timedelta())
    assert ring.live(NOW) == [ring.secret]


def test_only_so_many_old_secrets_are_kept() -> None:
    ring = Keyring.new()
    for _ in range(10):
        ring = ring.rotated(NOW, DAY)
    assert len(ring.live(NOW)) == 1 + MOST_PREVIOUS


def test_both_schemes_rotate_and_show_the_public_half_alone() -> None:
    first = Keyring.new(("v1a", "v1"))
    second = first.rotated(NOW, DAY)
    private = second.live(NOW)[2:]
    assert [scheme(key) for key in second.live(NOW)] == ["v1", "v1", "v1a", "v1a"]
    assert [shown.key for shown in second.public_keys] == [public_key(key) for key in private]
    assert [shown.until for shown in second.public_keys] == [None, NOW + DAY]
    assert second.public_keys[1].key == first.public_keys[0].key
    assert len(second.live(NOW + DAY)) == 2
    assert len(second.rotated(NOW, timedelta()).live(NOW)) == 2


def test_another_scheme_leaves_the_keys_of_the_one_that_stays() -> None:
    ring = Keyring.new().rotated(NOW, DAY)
    both = ring.of(["v1a", "v1"])
    assert both.schemes == ("v1", "v1a")
    assert both.live(NOW)[:2] == ring.live(NOW)
    alone = both.of(["v1a"])
    assert (alone.secret, alone.public_keys) == (None, both.public_keys)
    assert alone.of(["v1"]).secret not in ring.live(NOW)


def test_a_ring_from_before_v1a_is_read() -> None:
    until = (NOW + DAY).isoformat()
    plain = orjson.dumps({"current": "whsec_AAAA", "previous": [["whsec_BBBB", until]]})
    sealed = seal(KEY, plain, district_id=UUID(int=1), table="subscriptions", column="secret", row=str(UUID(int=2)))
    ring = Keyring.unsealed(KEY, sealed, UUID(int=1), UUID(int=2))
    assert ring.live(NOW) == ["whsec_AAAA", "whsec_BBBB"]
    assert ring.live(NOW + DAY) == ["whsec_AAAA"]


@pytest.mark.threat("T26")
def test_a_stored_ring_opens_in_its_own_row_only() -> None:
    ring = Keyring.new(("v1", "v1a")).rotated(NOW, DAY)
    sealed = ring.sealed(KEY, UUID(int=1), UUID(int=2))
    assert Keyring.unsealed(KEY, sealed, UUID(int=1), UUID(int=2)) == ring
    for district, row in ((1, 3), (2, 2)):
        with pytest.raises(HubError):
            Keyring.unsealed(KEY, sealed, UUID(int=district), UUID(int=row))
