"""Encryption of single columns: AES-256-GCM under a key that is derived from the master key.

A ciphertext is bound to the place where it stands (district, table, column, row). Copied to another row or district it
does not open, so that nobody with write access to the database can make one subscription sign with another's secret.
"""

from __future__ import annotations

import hashlib
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.errors import Code, HubError, Intent
from hub.settings import Settings, master_key

KEY_VERSION = 1
_NONCE_BYTES = 12


def column_key(master: bytes) -> bytes:
    """The 32 byte key of all encrypted columns: HKDF-SHA256 of the master key."""
    return HKDF(SHA256(), 32, salt=None, info=b"rosterhub encrypted columns 1").derive(master)


def walk_key(master: bytes) -> bytes:
    """The 32 byte key that signs positions in links from page to page, see hub/api/oneroster/pins.py."""
    return HKDF(SHA256(), 32, salt=None, info=b"rosterhub walks over pages 1").derive(master)


def erasure_key(column: bytes) -> bytes:
    """The 32 byte key of the digests of erased people's keys: HKDF-SHA256 of ``column_key``."""
    return HKDF(SHA256(), 32, salt=None, info=b"rosterhub erased keys 1").derive(column)


def erased_digest(key: bytes, district_id: UUID, source_id: UUID, name: str) -> bytes:
    """What is kept of the key ``name`` by which a source called an erased person: BLAKE2b under ``erasure_key``."""
    return hashlib.blake2b(district_id.bytes + source_id.bytes + name.encode(), digest_size=32, key=key).digest()


def load_walk_key(settings: Settings) -> bytes:
    """``walk_key`` of the settings' master key. May read a file: call it in a thread."""
    return walk_key(master_key(settings))


def load_key(settings: Settings) -> bytes:
    """``column_key`` of the settings' master key. May read a file: call it in a thread."""
    return column_key(master_key(settings))


def seal(key: bytes, plain: bytes, *, district_id: UUID, table: str, column: str, row: str) -> bytes:
    """``plain`` encrypted for one place: key version (1 byte), nonce (12 bytes), ciphertext with tag."""
    nonce = os.urandom(_NONCE_BYTES)
    place = _place(district_id, table, column, row, KEY_VERSION)
    return bytes([KEY_VERSION]) + nonce + AESGCM(key).encrypt(nonce, plain, place)


def unseal(key: bytes, sealed: bytes, *, district_id: UUID, table: str, column: str, row: str) -> bytes:
    """The inverse of ``seal``.

    Raises HubError(INTERNAL) when the ciphertext was made for another place, with another key, or was altered.
    """
    nonce = sealed[1 : 1 + _NONCE_BYTES]
    try:
        place = _place(district_id, table, column, row, sealed[0])
        return AESGCM(key).decrypt(nonce, sealed[1 + _NONCE_BYTES :], place)
    except (InvalidTag, IndexError, ValueError):
        raise HubError(
            Code.INTERNAL,
            f"A value of {table}.{column} cannot be decrypted. Was the master key changed, or the row copied?",
            intent=Intent.ASK_HUMAN,
        ) from None


def _place(district_id: UUID, table: str, column: str, row: str, version: int) -> bytes:
    """The associated data; the bar cannot occur in any part but the last."""
    return f"{district_id}|{table}|{column}|{version}|{row}".encode()
