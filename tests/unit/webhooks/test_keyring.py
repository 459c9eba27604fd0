"""Secrets overlap for as long as was asked, and are stored for one row only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from hub.crypto import column_key
from hub.errors import HubError
from hub.webhooks.keyring import MOST_PREVIOUS, Keyring

NOW = datetime(2026, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = column_key(b"a master key of the tests, long enough")


def test_the_old_secret_signs_until_the_overlap_ends() -> None:
    first = Keyring.new()
    second = first.rotated(NOW, DAY)
    assert second.live(NOW) == [second.current, first.current]
    assert second.live(NOW + DAY) == [second.current]


def test_no_overlap_ends_all_older_secrets_at_once() -> None:
    ring = Keyring.new().rotated(NOW, DAY).rotated(NOW, timedelta())
    assert ring.live(NOW) == [ring.current]


def test_only_so_many_old_secrets_are_kept() -> None:
    ring = Keyring.new()
    for _ in range(10):
        ring = ring.rotated(NOW, DAY)
    assert len(ring.live(NOW)) == 1 + MOST_PREVIOUS


@pytest.mark.threat("T26")
def test_a_stored_ring_opens_in_its_own_row_only() -> None:
    ring = Keyring.new().rotated(NOW, DAY)
    sealed = ring.sealed(KEY, UUID(int=1), UUID(int=2))
    assert Keyring.unsealed(KEY, sealed, UUID(int=1), UUID(int=2)) == ring
    for district, row in ((1, 3), (2, 2)):
        with pytest.raises(HubError):
            Keyring.unsealed(KEY, sealed, UUID(int=district), UUID(int=row))
