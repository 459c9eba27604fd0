"""Sending a file that takes long, for as long as the app may have it.

The credential and the grant are looked at again and again while the bytes go out. When they do not hold any more, or
anything else goes wrong, the connection is cut: the client sees that the file is not whole.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from hub.api.middleware import dress, places
from hub.export.jobs import PART_BYTES

#: The longest time in which bytes go out without a look at whether they still may.
LOOK_SECONDS = 0.25
_PIECE = 1 << 18
_log = structlog.get_logger(__name__)
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})\Z")


class BrokenOffError(Exception):
    """Nobody gets any more of what is being sent: the client is gone, or may not have it any more.

    No ConnectionError, which a transaction that it passes through would take for its own.
    """


class Sending:
    """An answer that is under way. ``stands``: whether the app may still have it."""

    def __init__(self, request: web.Request, answer: web.StreamResponse, stands: Callable[[], Awaitable[bool]]) -> None:
        self._request = request
        self._answer = answer
        self._stands = stands
        self._looked = -LOOK_SECONDS

    @classmethod
    async def begin(
        cls, request: web.Request, headers: Mapping[str, str], stands: Callable[[], Awaitable[bool]], *,
        status: int = 200,
    ) -> Self:  # fmt: skip
        """Sends the headers."""
        answer = web.StreamResponse(status=status, headers=headers)
        dress(request, answer)
        await answer.prepare(request)
        return cls(request, answer, stands)

    async def write(self, data: bytes) -> None:
        """Sends some bytes. Raises BrokenOffError."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(data), _PIECE):
            if loop.time() - self._looked >= LOOK_SECONDS:
                # In a task of its own: this one may have a transaction of the district open.
                if not await asyncio.create_task(self._look()):
                    raise BrokenOffError
                self._looked = loop.time()
            try:
                await self._answer.write(data[start : start + _PIECE])
            except ConnectionError:
                raise BrokenOffError from None

    async def _look(self) -> bool:
        return await self._stands()

    async def end(self) -> web.StreamResponse:
        """Says that the file is whole."""
        await self._answer.write_eof()
        return self._answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cuts the connection where the body failed, so that nobody takes what was sent for the whole."""
        if error is None:
            return
        if self._request.transport is not None:
            self._request.transport.abort()
        if isinstance(error, Exception):
            if not isinstance(error, BrokenOffError):  # there is no answer any more that could tell it
                _log.error("sending broken off", kind=type(error).__name__, at=places(error))
            raise ConnectionAbortedError("what was being sent is not whole") from None


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of a file are wanted: from ``start`` up to ``end``, not included."""

    status: int
    start: int
    end: int
    headers: Mapping[str, str] = field(default_factory=dict)

    async def cut(self, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """These bytes of ``data``, which begins with the stored part that holds the first of them."""
        place = self.start // PART_BYTES * PART_BYTES
        async for chunk in data:
            piece = chunk[max(0, self.start - place) : max(0, self.end - place)]
            if piece:
                yield piece
            place += len(chunk)
            if place >= self.end:
                return


def part_of(request: web.Request, size: int, tag: str) -> Part:
    """The part that a request wants (RFC 9110 §14): one range, all for anything else."""
    whole = Part(200, 0, size, {"Content-Length": str(size)})
    found = _RANGE.match(request.headers.get("Range", ""))
    if found is None or request.headers.get("If-Range", tag) != tag:
        return whole
    start, last = int(found[1]), int(found[2] or size - 1)
    end = min(last + 1, size)
    if start >= end:
        return Part(416, 0, 0, {"Content-Range": f"bytes */{size}"})
    return Part(
        206, start, end, {"Content-Length": str(end - start), "Content-Range": f"bytes {start}-{end - 1}/{size}"}
    )
