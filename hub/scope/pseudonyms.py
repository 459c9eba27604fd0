"""Ids of one grant: a keyed permutation of the hub's own, so that two apps cannot join what they are shown by them.

The hub's ids are UUIDs of version 7, of which 122 bits are free. These are enciphered with FF1 (NIST SP 800-38G) under
AES-256 with a key of the grant's own, as 122 binary digits and without a tweak, and come back as a UUID of version 8,
which RFC 9562 leaves to whoever makes it. So a pseudonym is a valid UUID, no two ids have the same one, the key alone
leads back, and neither version passes for the other. Nothing is stored but the key.

A page is enciphered at once: FF1 asks its block cipher ten times, one after the other, whatever the number of ids.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY_BYTES = 32
Words = npt.NDArray[np.uint64]
#: The ids of some records, 16 bytes each, in a row.
Blocks = npt.NDArray[np.uint8]
#: Ids as texts, a row of 36 characters each.
Written = npt.NDArray[np.uint8]

_ROUNDS = 10
_DIGITS = 122  # two halves of 61, so that every round is about as many
_HALF = np.uint64(_DIGITS // 2)
_LOW_HALF = np.uint64(2 ** (_DIGITS // 2) - 1)
#: Step 5 of FF1: version, method, addition, radix 2, rounds, digits of a half, digits, no tweak.
_P: Final = bytes([1, 2, 1, 0, 0, 2, 10, _DIGITS // 2, *_DIGITS.to_bytes(4), *bytes(4)])
_HUBS_VERSION = 7
_HUBS, _GRANTS = np.uint64(_HUBS_VERSION << 12), np.uint64(8 << 12)  # where the first half of a UUID has the version
_VARIANT = np.uint64(1 << 63)
_PSEUDONYM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
#: Where the dashes stand: (digits from, to, place in the text).
_GROUPS = ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24))
_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_BLOCK, _Y_AT = 16, 4  # bytes of a block, and where the last 64 bits of y begin in it


def is_pseudonym(text: str) -> bool:
    """Whether a text has the form of a pseudonym, whoever's it may be."""
    return _PSEUDONYM.fullmatch(text) is not None


class Pseudonyms:
    """The ids of one grant. ``key``: ``KEY_BYTES`` random bytes."""

    def __init__(self, key: bytes) -> None:
        # The mode is what FF1 is made of: every block is a question of its own, and no two of a round are equal.
        self._cipher = Cipher(AES(key), ECB())  # noqa: S305
        self._first = np.frombuffer(self._cipher.encryptor().update(_P), ">u8").astype(np.uint64)

    def of(self, sourced_ids: Sequence[str]) -> list[str]:
        """The pseudonyms of some records' ids, in their order. Raises ValueError for what is no id of the hub."""
        return texts(self.of_blocks(_parsed(sourced_ids)))

    def canonical(self, pseudonyms: Sequence[str]) -> list[str]:
        """The inverse of ``of``; ids of no record for what is another grant's. Raises ValueError for other forms."""
        if not pseudonyms:
            return []
        left, right = _halves(_parsed(pseudonyms), _GRANTS)
        asked = self._asking(len(left))
        for number in reversed(range(_ROUNDS)):
            left, right = (right - asked(number, left)) & _LOW_HALF, left
        return texts(_joined(left, right, _HUBS))

    def some(self, sourced_ids: Sequence[UUID]) -> tuple[UUID, ...]:
        """Like ``of``, with nobody's id for what is none of the hub's, and so no record's."""
        known = [str(id_) for id_ in sourced_ids if id_.version == _HUBS_VERSION]
        names = dict(zip(known, self.of(known), strict=True))
        return tuple(UUID(names[str(id_)]) if str(id_) in names else UUID(int=0) for id_ in sourced_ids)

    def of_blocks(self, ids: Blocks) -> Blocks:
        """Like ``of``, in bytes. CPU-bound for more than some thousands: call it in a thread."""
        if not len(ids):
            return ids
        left, right = _halves(ids, _HUBS)
        asked = self._asking(len(left))
        for number in range(_ROUNDS):
            left, right = right, (left + asked(number, right)) & _LOW_HALF
        return _joined(left, right, _GRANTS)

    def _asking(self, many: int) -> Callable[[int, Words], Words]:
        """Step 6 of FF1 up to y: the cipher of (round, half), behind ``_P`` as CBC has it, as a number of its digits.

        Of the 96 bits of y no more than 64 count, since sums are cut to 61. What is answered holds until the next one:
        all rounds have the same memory, as calls are most of what some hundred ids cost.
        """
        cipher, question = self._cipher.encryptor(), bytearray(many * _BLOCK)
        words, answer = np.ndarray((many, 2), ">u8", question), bytearray(many * _BLOCK + _BLOCK - 1)
        round_words, half_words = words[:, 0], words[:, 1]
        y: Words = np.ndarray(many, ">u8", answer, _Y_AT, (_BLOCK,))

        def asked(number: int, half: Words) -> Words:
            round_words[:] = self._first[0] ^ np.uint64(number)
            np.bitwise_xor(half, self._first[1], out=half_words)
            cipher.update_into(question, answer)
            return y

        return asked


def _parsed(ids: Sequence[str]) -> Blocks:
    """UUIDs as bytes. Raises ValueError for texts of another form."""
    return _packed("".join(ids).encode(), len(ids))


def _halves(ids: Blocks, version: np.uint64) -> tuple[Words, Words]:
    """The free bits of UUIDs as two numbers. Raises ValueError where the version is another one."""
    words = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    high, low = words[:, 0], words[:, 1]
    if ((high & np.uint64(0xF000)) != version).any() or ((low >> np.uint64(62)) != np.uint64(2)).any():
        raise ValueError("an id is of another version")
    free = (high >> np.uint64(16)) << np.uint64(12) | high & np.uint64(0xFFF)
    return free << np.uint64(1) | (low >> _HALF) & np.uint64(1), low & _LOW_HALF


def _joined(left: Words, right: Words, version: np.uint64) -> Blocks:
    free, words = left >> np.uint64(1), np.empty((len(left), 2), ">u8")
    words[:, 0] = (free >> np.uint64(12)) << np.uint64(16) | version | free & np.uint64(0xFFF)
    words[:, 1] = _VARIANT | (left & np.uint64(1)) << _HALF | right
    return words.view(np.uint8)


def texts(ids: Blocks) -> list[str]:
    """Ids as they are written."""
    whole = digits_of(ids).tobytes().decode()
    return [whole[start : start + _LENGTH] for start in range(0, len(whole), _LENGTH)]


def digits_of(ids: Blocks) -> Written:
    """Ids as they are written, a row of 36 characters each."""
    digits = np.frombuffer(ids.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    written = np.full((len(ids), _LENGTH), ord("-"), np.uint8)
    for start, end, at in _GROUPS:
        written[:, at : at + end - start] = digits[:, start:end]
    return written


def packed(written: Written) -> Blocks:
    """The inverse of ``digits_of``. Raises ValueError for texts of another form."""
    found = _packed(written.tobytes(), len(written))
    if (written[:, _DASHES] != ord("-")).any():
        raise ValueError("an id is no UUID")
    return found


def _packed(texts: bytes, many: int) -> Blocks:
    found = bytes.fromhex(texts.replace(b"-", b"").decode("latin-1"))
    if len(found) != 16 * many:
        raise ValueError("an id is no UUID")
    return np.frombuffer(found, np.uint8).reshape(-1, 16)
