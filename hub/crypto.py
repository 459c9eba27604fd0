"""Encryption of single columns: AES-256-GCM under data keys, which are wrapped by the master key.

Each district has a random data key of its own. It stands in the database as the master key wraps it (once for each
master key, while one replaces another), and is counted: see hub/vault.py. A ciphertext names its data key and is bound
to the place where it stands (district, table, column, row). Copied to another row or district it does not open, so
that nobody with write access to the database can make one subscription sign with another's secret.

Version 1 of a ciphertext is under a key that is derived from the master key itself. Such ones are opened and not made
any more, but for what never leaves the process.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.errors import Code, HubError, Intent
from hub.settings import Settings, master_keys

DERIVED, ENVELOPE = 1, 2  # the versions of ciphertexts
KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_BYTES = 16
#: What other keys than data keys are for: they are wrapped too, so that they outlive the master key that made them.
WALKS, ERASURES, DROPS = "walks", "erasures", "drops"
#: All of them.
FIXED = (WALKS, ERASURES, DROPS)


class Keys:
    """The keys of one process: the master keys that its settings name, and what was unwrapped with them since.

    One for each set of master keys, see ``load_key``. What it learns of data keys is true for ever: they are random,
    have ids of their own and never change.
    """

    def __init__(self, masters: tuple[bytes, ...]) -> None:
        self._derived = tuple(AESGCM(_column_key(master)) for master in masters)
        self._wrapping = {_master_id(master): AESGCM(_wrapping_key(master)) for master in masters}
        self.master_id = _master_id(masters[0])
        self._first_made = {
            WALKS: _walk_key(masters[-1]), ERASURES: _erasure_key(masters[-1]), DROPS: _drop_key(masters[-1]),
        }  # fmt: skip
        self._journals = _derive(masters[0], b"rosterhub journals of pulls 1")
        self._fixed: dict[str, bytes] = {}
        self._data: dict[UUID, bytes] = {}

    def missing(self, sealed: bytes | None) -> UUID | None:
        """The data key without which a ciphertext cannot be opened; None when there is nothing in the way."""
        if sealed is None or len(sealed) <= _ID_BYTES or sealed[0] != ENVELOPE:
            return None
        key_id = _named_key(sealed)
        return None if key_id in self._data else key_id

    def data_key(self, key_id: UUID) -> bytes | None:
        """A data key that was unwrapped."""
        return self._data.get(key_id)

    def learn(self, key_id: UUID, data_key: bytes) -> None:
        """Keeps a data key, for as long as the process runs."""
        self._data[key_id] = data_key

    def wrap(self, data_key: bytes, *, district_id: UUID, key_id: UUID, purpose: str) -> dict[str, bytes]:
        """A key wrapped under each master key that this process has, so that others with either can open it."""
        return {
            name: _closed(cipher, data_key, _wrap_place(district_id, key_id, purpose, name))
            for name, cipher in self._wrapping.items()
        }

    def unwrap(self, wrapped: dict[str, bytes], *, district_id: UUID, key_id: UUID, purpose: str) -> bytes:
        """The inverse of ``wrap``.

        Raises HubError(SETTINGS_CONTRADICT) where it is wrapped under none of the master keys that this process has,
        HubError(INTERNAL) where it was altered or is another row's.
        """
        for name, cipher in self._wrapping.items():
            if name in wrapped:
                try:
                    return _opened(cipher, wrapped[name], _wrap_place(district_id, key_id, purpose, name))
                except (InvalidTag, ValueError):
                    text = "A data key cannot be unwrapped. Was its row altered or copied?"
                    raise HubError(Code.INTERNAL, text, intent=Intent.ASK_HUMAN) from None
        raise HubError(
            Code.SETTINGS_CONTRADICT,
            "The keys in the database are wrapped under another master key. Set it as HUB_MASTER_KEY, or beside a newer"
            " one as HUB_MASTER_KEY_FORMER.",
        )

    def fixed(self, purpose: str) -> bytes:
        """The one key of a purpose; before it was read, what it is as long as no master key was replaced."""
        return self._fixed.get(purpose) or self._first_made[purpose]

    def fix(self, purpose: str, key: bytes) -> None:
        """Notes what the database says that the key of a purpose is."""
        self._fixed[purpose] = key

    def journal(self, run_id: UUID, asked: bytes) -> bytes:
        """The key of what a run's pull keeps on disk for its next attempt, as long as that asks for the same."""
        return hashlib.blake2b(run_id.bytes + asked, digest_size=KEY_BYTES, key=self._journals).digest()

    def open_derived(self, sealed: bytes, place: bytes) -> bytes:
        """A ciphertext of version 1, under whichever master key it was made. Raises InvalidTag."""
        for cipher in self._derived:
            try:
                return _opened(cipher, sealed, place)
            except InvalidTag:
                continue
        raise InvalidTag

    def close_derived(self, plain: bytes, place: bytes) -> bytes:
        """A ciphertext of version 1, without the byte that says so."""
        return _closed(self._derived[0], plain, place)


@dataclass(frozen=True, slots=True)
class Sealer:
    """A district's data key under which encryptions were counted: what ``seal`` needs. Made by hub.vault.to_seal."""

    district_id: UUID
    key_id: UUID
    key: bytes = field(repr=False)


@lru_cache(64)
def _of(masters: tuple[bytes, ...]) -> Keys:
    return Keys(masters)


def column_key(master: bytes, *former: bytes) -> Keys:
    """The keys of a process with this master key; with the same ones, the same object."""
    return _of((master, *former))


def load_key(settings: Settings) -> Keys:
    """The keys that the settings lead to. May read a file: call it in a thread."""
    return _of(master_keys(settings))


def erased_digest(key: bytes, district_id: UUID, source_id: UUID, name: str) -> bytes:
    """What is kept of the key ``name`` by which a source called an erased person: BLAKE2b under ``Keys.fixed``."""
    return hashlib.blake2b(district_id.bytes + source_id.bytes + name.encode(), digest_size=32, key=key).digest()


def seal(key: Sealer | Keys, plain: bytes, *, district_id: UUID, table: str, column: str, row: str) -> bytes:
    """``plain`` encrypted for one place: version (1 byte), data key (16 bytes), nonce (12 bytes), ciphertext with tag.

    With ``Keys`` alone it is one of version 1. Raises HubError(INTERNAL) for a data key of another district.
    """
    if isinstance(key, Keys):
        return bytes([DERIVED]) + key.close_derived(plain, _place(district_id, table, column, row, str(DERIVED)))
    if key.district_id != district_id:
        raise HubError(Code.INTERNAL, "A value would be encrypted with another district's key.")
    place = _place(district_id, table, column, row, f"{ENVELOPE}.{key.key_id}")
    return bytes([ENVELOPE]) + key.key_id.bytes + _closed(AESGCM(key.key), plain, place)


def unseal(keys: Keys, sealed: bytes, *, district_id: UUID, table: str, column: str, row: str) -> bytes:
    """The inverse of ``seal``. Call hub.vault.to_open first, where a transaction is at hand.

    Raises HubError(INTERNAL) when the ciphertext was made for another place, with another key, or was altered.
    """
    try:
        if sealed[0] == DERIVED:
            return keys.open_derived(sealed[1:], _place(district_id, table, column, row, str(DERIVED)))
        key_id = _named_key(sealed)
        place = _place(district_id, table, column, row, f"{sealed[0]}.{key_id}")
        return _opened(AESGCM(keys.data_key(key_id) or b""), sealed[1 + _ID_BYTES :], place)
    except (InvalidTag, IndexError, ValueError):
        raise HubError(
            Code.INTERNAL,
            f"A value of {table}.{column} cannot be decrypted. Was the master key changed, or the row copied?",
            intent=Intent.ASK_HUMAN,
        ) from None


def _named_key(sealed: bytes) -> UUID:
    return UUID(bytes=sealed[1 : 1 + _ID_BYTES])


def _closed(cipher: AESGCM, plain: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plain, place)


def _opened(cipher: AESGCM, closed: bytes, place: bytes) -> bytes:
    return cipher.decrypt(closed[:_NONCE_BYTES], closed[_NONCE_BYTES:], place)


def _place(district_id: UUID, table: str, column: str, row: str, version: str) -> bytes:
    """The associated data; the bar cannot occur in any part but the last."""
    return f"{district_id}|{table}|{column}|{version}|{row}".encode()


def _wrap_place(district_id: UUID, key_id: UUID, purpose: str, master_id: str) -> bytes:
    return f"{district_id}|{key_id}|{purpose}|{master_id}".encode()


def _derive(master: bytes, use: bytes, length: int = KEY_BYTES) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=use).derive(master)


def _column_key(master: bytes) -> bytes:
    return _derive(master, b"rosterhub encrypted columns 1")


def _wrapping_key(master: bytes) -> bytes:
    return _derive(master, b"rosterhub wrapped data keys 1")


def _master_id(master: bytes) -> str:
    """A name for a master key, from which nothing of it can be told."""
    return _derive(master, b"rosterhub name of the master key 1", 8).hex()


def _walk_key(master: bytes) -> bytes:
    """The key that signs positions in links from page to page, see hub/api/oneroster/pins.py."""
    return _derive(master, b"rosterhub walks over pages 1")


def _erasure_key(master: bytes) -> bytes:
    """The key of the digests of erased people's keys."""
    return _derive(_column_key(master), b"rosterhub erased keys 1")


def _drop_key(master: bytes) -> bytes:
    """What the key of the hub's own SFTP server is made of, see hub/drop/host_key.py."""
    return _derive(master, b"rosterhub sftp host key 1")
