"""Where a reader stands in a feed, and the opaque texts that say so.

A place is a step of the feed, and inside a stretch that takes several answers also the stretch's end and how many of
its changes were told. No text holds anything but numbers of the app's own feed and short hashes, by which a place of
another life of the feed is told from one of this (a backup was restored, or the app was given another grant).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

_TAG = 3
_CHECK = 3
_KEY = 5
_ONE, _MANY = "p", "e"
#: A place of this many characters still fits into an address with everything else.
LONGEST = 7_000
_MOST_DIGITS = 15
_BITS, _MASK = 7, 0x7F
_MOST_BITS = 42  # of PostgreSQL's 63, so that no sum is too large for it


@dataclass(frozen=True, slots=True)
class Place:
    """Everything up to ``step`` was told. ``tag``: of the step; None where nobody knows.

    ``to``: the end of the stretch after it of which ``offset`` changes were told, which had the form ``check``; None
    between stretches.
    """

    step: int
    tag: bytes | None = None
    to: int | None = None
    offset: int = 0
    check: bytes = b""


@dataclass(frozen=True, slots=True)
class Places:
    """A place for each of some grants, by ``key``. ``turn``: of which of them the next answer begins with."""

    of: Mapping[bytes, Place] = field(default_factory=dict)
    turn: int = 0


def tag(grant_id: UUID, at: datetime | None) -> bytes:
    """What tells a step of a grant's feed from the same one of another life: by when it was made."""
    moment = b"" if at is None else at.isoformat().encode()
    return hashlib.blake2s(grant_id.bytes + moment, digest_size=_TAG).digest()


def check(entities: Iterable[str], changes: int) -> bytes:
    """The form of a stretch: an offset means the same in another look at it only if that has the same."""
    text = f"{sorted(entities)} {changes}"
    return hashlib.blake2s(text.encode(), digest_size=_CHECK).digest()


def key(grant_id: UUID) -> bytes:
    """By which a grant stands among an app's others."""
    return grant_id.bytes[-_KEY:]


def written(place: Place) -> str:
    """The text of a place in one feed."""
    return _ONE + _text(_packed(place))


def read(text: str) -> Place:
    """A place from its text, or from a plain step. Raises ValueError."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return Place(int(text))
    bytes_ = _Bytes(_bytes(text, _ONE))
    found = bytes_.place()
    bytes_.end()
    return found


def written_all(places: Places) -> str:
    """The text of places in several feeds."""
    parts = b"".join(one + _packed(place) for one, place in sorted(places.of.items()))
    return _MANY + _text(_number(places.turn) + parts)


def read_all(text: str) -> Places:
    """The inverse of ``written_all``. Raises ValueError."""
    bytes_ = _Bytes(_bytes(text, _MANY))
    turn, found = bytes_.number(), dict[bytes, Place]()
    while bytes_.left:
        one = bytes_.take(_KEY)
        found[one] = bytes_.place()
    return Places(found, turn)


def _packed(place: Place) -> bytes:
    inside = place.to is not None
    head = _number(place.step << 1 | inside) + (place.tag or bytes(_TAG))
    if place.to is None:
        return head
    return head + _number(place.to - place.step) + _number(place.offset) + place.check


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; all bytes but the last have the eighth set."""
    out = bytearray()
    while value > _MASK:
        out.append(value & _MASK | 0x80)
        value >>= _BITS
    out.append(value)
    return bytes(out)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str, kind: str) -> bytes:
    if not text.startswith(kind) or len(text) > LONGEST or not text.isascii():
        raise ValueError("no place")
    coded = text[1:]
    try:
        return base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("no place") from None


class _Bytes:
    """Takes what ``_packed`` wrote apart. Raises ValueError for anything else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise ValueError("cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & _MASK) << shift
            if byte <= _MASK:
                break
            shift += _BITS
            if shift > _MOST_BITS:
                raise ValueError("too large")
        return value

    def place(self) -> Place:
        head = self.number()
        tag_ = self.take(_TAG)
        if not head & 1:
            return Place(head >> 1, tag_)
        step = head >> 1
        return Place(step, tag_, step + self.number(), self.number(), self.take(_CHECK))

    def end(self) -> None:
        if self.left:
            raise ValueError("too long")
