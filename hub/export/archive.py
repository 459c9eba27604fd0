"""A zip archive that is sent while it grows: nothing is held back and nothing is gone back to.

Sizes and checksums stand behind each entry (a data descriptor), as APPNOTE.TXT 4.3.9 has it for streams. The same
entries give the same bytes: nothing of the clock or the machine goes in. Deflate comes from ISA-L, which is several
times as fast as zlib.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib

_LOCAL, _DESCRIPTOR, _CENTRAL, _END = 0x04034B50, 0x08074B50, 0x02014B50, 0x06054B50
_END_64, _LOCATOR_64 = 0x06064B50, 0x07064B50
_VERSION, _VERSION_64 = 20, 45
_UNIX = 3 << 8
#: Bit 3: sizes follow the data. Bit 11: names are UTF-8.
_FLAGS = 0x0808
_DEFLATE = 8
#: The first moment that the format knows, 1 January 1980.
_TIME, _DATE = 0, 0x21
_MODE = 0o100644 << 16
_MOST_32 = 0xFFFFFFFF
_MOST_16 = 0xFFFF
_LEVEL = 1


@dataclass(slots=True)
class _Entry:
    name: bytes
    offset: int
    big: bool
    checksum: int = 0
    size: int = 0
    packed: int = 0


class Archive:
    """Give it the entries one after the other; every method answers with the bytes that come next.

    Deflating is CPU-bound: call ``add`` in a thread.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._open: _Entry | None = None
        self._deflate: Any = None
        self._length = 0

    def begin(self, name: str, *, big: bool = False) -> bytes:
        """Opens an entry. ``big``: it may grow beyond 4 GB."""
        assert self._open is None
        entry = _Entry(name.encode(), self._length, big)
        self._entries.append(entry)
        self._open = entry
        self._deflate = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
        # Both sizes are unknown here; that they will have 64 bits is said by this extra field alone.
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if big else b""
        size = _MOST_32 if big else 0
        head = struct.pack(
            "<IHHHHHIIIHH", _LOCAL, _VERSION_64 if big else _VERSION, _FLAGS, _DEFLATE, _TIME, _DATE, 0, size, size,
            len(entry.name), len(extra),
        )  # fmt: skip
        return self._counted(head + entry.name + extra)

    def add(self, data: bytes) -> bytes:
        """Adds to the open entry."""
        entry = self._open
        assert entry is not None
        entry.checksum = isal_zlib.crc32(data, entry.checksum)
        entry.size += len(data)
        return self._packed(entry, self._deflate.compress(data))

    def end(self) -> bytes:
        """Closes the open entry. Raises ValueError when it grew beyond 4 GB without having been opened as ``big``."""
        entry = self._open
        assert entry is not None
        rest = self._packed(entry, self._deflate.flush())
        if not entry.big and max(entry.size, entry.packed) > _MOST_32:
            raise ValueError("an entry is larger than was said when it began")
        self._open = None
        form = "<IIQQ" if entry.big else "<IIII"
        return rest + self._counted(struct.pack(form, _DESCRIPTOR, entry.checksum, entry.packed, entry.size))

    def finish(self) -> bytes:
        """The directory at the archive's end."""
        start = self._length
        directory = b"".join(map(_listed, self._entries))
        count, size = len(self._entries), len(directory)
        tail = b""
        if start > _MOST_32 or size > _MOST_32:
            tail = struct.pack(
                "<IQHHIIQQQQ", _END_64, 44, _UNIX | _VERSION_64, _VERSION_64, 0, 0, count, count, size, start
            ) + struct.pack("<IIQI", _LOCATOR_64, 0, start + size, 1)
        end = struct.pack(
            "<IHHHHIIH", _END, 0, 0, min(count, _MOST_16), min(count, _MOST_16), min(size, _MOST_32),
            min(start, _MOST_32), 0,
        )  # fmt: skip
        return self._counted(directory + tail + end)

    def _packed(self, entry: _Entry, data: bytes) -> bytes:
        entry.packed += len(data)
        return self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        self._length += len(data)
        return data


def _listed(entry: _Entry) -> bytes:
    """An entry's line in the directory; numbers that do not fit 32 bits stand in an extra field of their own."""
    numbers = (entry.size, entry.packed, entry.offset)
    large = [n for n in numbers if n >= _MOST_32]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, packed, offset = (min(n, _MOST_32) for n in numbers)
    version = _VERSION_64 if entry.big or large else _VERSION
    head = struct.pack(
        "<IHHHHHHIIIHHHHHII", _CENTRAL, _UNIX | version, version, _FLAGS, _DEFLATE, _TIME, _DATE, entry.checksum,
        packed, size, len(entry.name), len(extra), 0, 0, 0, _MODE, offset,
    )  # fmt: skip
    return head + entry.name + extra
