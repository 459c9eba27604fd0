"""The signing secrets of one subscription: one that is current, and older ones that still sign for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from hub.crypto import seal, unseal
from hub.webhooks.sign import new_secret

LONGEST_OVERLAP = timedelta(days=7)
#: More live secrets than this are not kept; the oldest goes first.
MOST_PREVIOUS = 4


@dataclass(frozen=True, slots=True)
class Previous:
    """A replaced secret that signs beside the current one until ``until``."""

    secret: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Keyring:
    """The secrets, newest first. Stored encrypted in the column ``secret`` of subscriptions, and of recipients."""

    current: str
    previous: tuple[Previous, ...] = ()

    @classmethod
    def new(cls) -> Keyring:
        """One fresh secret."""
        return cls(new_secret())

    def live(self, now: datetime) -> list[str]:
        """The secrets to sign with, newest first."""
        return [self.current, *(p.secret for p in self.previous if p.until > now)]

    def rotated(self, now: datetime, overlap: timedelta) -> Keyring:
        """A fresh secret; the current one goes on signing for ``overlap`` (zero ends it and all older ones at once)."""
        if not overlap:
            return Keyring.new()
        kept = (Previous(self.current, now + overlap), *(p for p in self.previous if p.until > now))
        return Keyring(new_secret(), kept[:MOST_PREVIOUS])

    def sealed(self, key: bytes, district_id: UUID, row_id: UUID, *, table: str = "subscriptions") -> bytes:
        """Encrypted for this one row."""
        plain = orjson.dumps(
            {"current": self.current, "previous": [[p.secret, p.until.isoformat()] for p in self.previous]}
        )
        return seal(key, plain, district_id=district_id, table=table, column="secret", row=str(row_id))

    @classmethod
    def unsealed(
        cls, key: bytes, sealed: bytes, district_id: UUID, row_id: UUID, *, table: str = "subscriptions"
    ) -> Keyring:
        """The inverse of ``sealed``. Raises HubError(INTERNAL) for a ciphertext of another row."""
        plain = unseal(key, sealed, district_id=district_id, table=table, column="secret", row=str(row_id))
        data = orjson.loads(plain)
        return cls(data["current"], tuple(Previous(s, datetime.fromisoformat(u)) for s, u in data["previous"]))
