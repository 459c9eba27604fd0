"""The signing keys of one subscription: for each scheme one that is current, and older ones that sign for a while."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import orjson

from hub.crypto import Keys, Sealer, seal, unseal
from hub.webhooks.sign import Scheme, new_private_key, new_secret, public_key, scheme

#: In the order in which they are shown and sign.
SCHEMES: tuple[Scheme, ...] = ("v1", "v1a")
USUAL: tuple[Scheme, ...] = ("v1",)
LONGEST_OVERLAP = timedelta(days=7)
#: More replaced keys of one scheme than this are not kept; the oldest goes first.
MOST_PREVIOUS = 4


@dataclass(frozen=True, slots=True)
class Key:
    """A ``whsec_`` or a ``whsk_``; ``until`` is None for the current one, else the end of its overlap."""

    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What of an ed25519 key may be shown: the ``whpk_``, and until when it signs (None: it is the current one)."""

    key: str
    until: datetime | None

    def as_json(self) -> dict[str, Any]:
        """The form that is stored beside the sealed keys."""
        return {"key": self.key, "until": self.until.isoformat() if self.until else None}


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys by scheme, each newest first. Stored encrypted in ``secret`` of subscriptions, and of recipients."""

    keys: tuple[Key, ...]

    @classmethod
    def new(cls, schemes: Collection[Scheme] = USUAL) -> Self:
        """One fresh key for each scheme."""
        return cls(tuple(_fresh(name) for name in SCHEMES if name in schemes))

    @property
    def secret(self) -> str | None:
        """The current ``whsec_``; None where v1 is not used. A private key is never shown, so it has no such way."""
        return next((k.text for k in self.keys if k.until is None and scheme(k.text) == "v1"), None)

    @property
    def public_keys(self) -> tuple[PublicKey, ...]:
        """What receivers need for v1a, newest first."""
        return tuple(PublicKey(public_key(k.text), k.until) for k in self.keys if scheme(k.text) == "v1a")

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Which signatures are made."""
        return tuple(name for name in SCHEMES if any(scheme(k.text) == name for k in self.keys))

    def live(self, now: datetime) -> list[str]:
        """The keys to sign with, newest first."""
        return [k.text for k in self.keys if k.until is None or k.until > now]

    def rotated(self, now: datetime, overlap: timedelta) -> Self:
        """Fresh keys; the current ones go on signing for ``overlap`` (zero ends them and all older ones at once)."""
        kept: list[Key] = []
        for name in self.schemes:
            mine = [k for k in self.keys if scheme(k.text) == name]
            older = [Key(k.text, now + overlap) if k.until is None else k for k in mine if overlap]
            kept += [_fresh(name), *[k for k in older if k.until is not None and k.until > now][:MOST_PREVIOUS]]
        return type(self)(tuple(kept))

    def of(self, schemes: Collection[Scheme]) -> Self:
        """The ring for other schemes: fresh keys for new ones, none for those that are gone, the rest as they are."""
        return type(self)(
            tuple(
                key
                for name in SCHEMES
                if name in schemes
                for key in ([k for k in self.keys if scheme(k.text) == name] or [_fresh(name)])
            )
        )

    def sealed(self, key: Sealer | Keys, district_id: UUID, row_id: UUID, *, table: str = "subscriptions") -> bytes:
        """Encrypted for this one row."""
        plain = orjson.dumps({"keys": [[k.text, k.until.isoformat() if k.until else None] for k in self.keys]})
        return seal(key, plain, district_id=district_id, table=table, column="secret", row=str(row_id))

    @classmethod
    def unsealed(
        cls, key: Keys, sealed: bytes, district_id: UUID, row_id: UUID, *, table: str = "subscriptions"
    ) -> Self:
        """The inverse of ``sealed``. Raises HubError(INTERNAL) for a ciphertext of another row."""
        data = orjson.loads(unseal(key, sealed, district_id=district_id, table=table, column="secret", row=str(row_id)))
        return cls(tuple(Key(text, datetime.fromisoformat(until) if until else None) for text, until in _stored(data)))


def _stored(data: dict[str, Any]) -> Iterable[tuple[str, str | None]]:
    """The keys of a stored ring; before there was v1a, one secret and those before it."""
    if "keys" in data:
        return [(text, until) for text, until in data["keys"]]
    return [(data["current"], None), *((text, until) for text, until in data["previous"])]


def _fresh(name: Scheme) -> Key:
    return Key(new_private_key() if name == "v1a" else new_secret())
