"""The body of a page: in one piece as most are, or in many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from hub.api.bodies import Body, Gathering, UnderWay
from hub.api.compression import Coding
from hub.api.oneroster import page
from hub.objects.bases import Bases, addressed

#: Pages of no more objects are made at once. Longer ones come in pieces of these many, and of no more than these bytes.
PIECE = 250
_PIECE_BYTES = 200_000
#: Records that one statement reads of a longer page.
STATEMENT = 2_500
Maker = Callable[[Sequence[int]], Awaitable[page.Objects]]


async def collected(
    make: Maker, envelope: str, rids: Sequence[int], bases: Bases, more: str, *, coding: Coding | None,
    under_way: UnderWay,
) -> bytes | Body:  # fmt: skip
    """The body of a collection with these records, which are listed; a long one comes coded already.

    ``more`` are members beside the envelope's, see page.collection. Every statement looks through the gate, so all of
    them see one position. Raises gate.ClosedError.
    """
    if len(rids) <= PIECE:
        return page.collection(envelope, await make(rids) if rids else [], bases, more)
    gathering = Gathering(coding)
    before = f'{{"{envelope}":['.encode()
    for start in range(0, len(rids), STATEMENT):
        objects = await make(rids[start : start + STATEMENT])
        if coding is Coding.GZIP:  # takes some milliseconds
            await asyncio.to_thread(_add, gathering, before, objects, bases)
        else:
            _add(gathering, before, objects, bases)
        before = b","
    gathering.add(f"]{more}}}".encode())
    return gathering.body(under_way)


async def gathered(
    envelope: str, objects: list[str], bases: Bases, more: str, *, coding: Coding | None, under_way: UnderWay
) -> bytes | Body:
    """The body of a collection of objects that are there already, with ``more`` as in ``collected``."""
    if len(objects) <= PIECE:
        return page.collection(envelope, objects, bases, more)
    gathering = Gathering(coding)
    before = f'{{"{envelope}":['.encode()
    await asyncio.to_thread(_add, gathering, before, objects, bases)
    gathering.add(f"]{more}}}".encode())
    return gathering.body(under_way)


def _add(gathering: Gathering, before: bytes, objects: page.Objects, bases: Bases) -> None:
    if not isinstance(objects, list):
        whole = addressed(b"".join(objects), bases) if isinstance(objects, tuple) else objects
        gathering.add(before, *(whole[at : at + _PIECE_BYTES] for at in range(0, len(whole), _PIECE_BYTES)))
        return
    for start in range(0, len(objects), PIECE):
        part = before + page.joined(objects[start : start + PIECE], bases)
        gathering.add(*(part[at : at + _PIECE_BYTES] for at in range(0, len(part), _PIECE_BYTES)))
        before = b","
