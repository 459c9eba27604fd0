"""Answers of many records, made and sent piece by piece, so that no client's slowness costs the process memory.

A page of 10,000 records has some 8 MB. It is never one text: each piece is finished, and compressed where the client
takes that, before the next is read. What a client has not taken after a moment, or at once where much is under way,
waits in the process compressed to a tenth, at a cost of about a millisecond for each megabyte.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from hub.api.compression import Coding, Compressor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PACK_LEVEL = 1
_PATIENCE = 0.5  # seconds that a body waits as it is
Piece = bytes | memoryview


class _Packed(NamedTuple):
    """A piece that waits compressed."""

    data: bytes


@dataclass(slots=True)
class UnderWay:
    """How many bytes of pieces wait in a process as they are, and how many may before all are packed at once."""

    most: int = 16 * 2**20
    bytes: int = 0


class Body(Payload):
    """A body in pieces. ``coding``: what they are compressed with; others may be packed while they wait."""

    _autoclose = True

    def __init__(self, pieces: Sequence[Piece], under_way: UnderWay, coding: Coding | None) -> None:
        super().__init__(None, headers={"Content-Encoding": coding.value} if coding else None)
        self._size = sum(map(len, pieces))
        self._pieces: deque[Piece | _Packed] = deque(pieces)
        self._under_way = under_way
        self._packable = coding is None
        self._packed = 0  # of the pieces at the end
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Sends the pieces, each once the client has taken most of the one before it."""
        if self._packable:
            loop, counted = asyncio.get_running_loop(), self._under_way
            counted.bytes += sum(len(piece) for piece in self._pieces)
            self._timer = loop.call_later(0 if counted.bytes > counted.most else _PATIENCE, self._pack)
        try:
            while self._pieces:
                piece = self._pieces.popleft()
                if isinstance(piece, _Packed):
                    self._packed -= 1
                    await writer.write(zstd.decompress(piece.data))
                else:
                    self._forget(piece)
                    await writer.write(piece)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for rest in self._pieces:
                if not isinstance(rest, _Packed):
                    self._forget(rest)
            self._pieces.clear()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Bodies are sent and never looked at."""
        raise TypeError("a body in pieces is not decoded")

    def _pack(self) -> None:
        """Packs the last piece that is not, and goes on when the loop has done what else there is."""
        place = len(self._pieces) - 1 - self._packed
        if place < 0:
            return
        if not self._packed:  # what looks into larger memory would keep all of that until the last piece is packed
            self._pieces = deque(bytes(piece) if isinstance(piece, memoryview) else piece for piece in self._pieces)
        piece = self._pieces[place]
        if not isinstance(piece, _Packed):
            self._pieces[place] = _Packed(zstd.compress(piece, _PACK_LEVEL))
            self._packed += 1
            self._forget(piece)
        self._timer = asyncio.get_running_loop().call_soon(self._pack)

    def _forget(self, piece: Piece) -> None:
        if self._packable:
            self._under_way.bytes -= len(piece)


class Gathering:
    """Collects the parts of one body, compressed where ``coding`` says so."""

    def __init__(self, coding: Coding | None) -> None:
        self._coding = coding
        self._compressor = None if coding is None else Compressor(coding)
        self._pieces: list[Piece] = []

    def add(self, *parts: Piece) -> None:
        """Adds parts, each of them a piece of its own."""
        for part in parts:
            piece = part if self._compressor is None else self._compressor.add(part)
            if piece:
                self._pieces.append(piece)

    def body(self, under_way: UnderWay) -> Body:
        """The whole body; nothing can be added any more."""
        if self._compressor is not None:
            self._pieces.append(self._compressor.end())
        return Body(self._pieces, under_way, self._coding)
