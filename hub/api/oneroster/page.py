"""From JSON objects to the body of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from hub.objects.bases import Bases, addressed

#: The JSON objects of records: a text for each, or all of them with commas between, in pieces that follow each other or
#: as a memoryview, in which the addresses have their places already.
Objects = list[str] | tuple[bytes | memoryview, ...] | memoryview


def collection(envelope: str, objects_: Objects, bases: Bases, more: str = "") -> bytes:
    """The body of a collection; the addresses in ``bases`` take the places of their bytes in texts.

    ``more`` is empty, or members beside the envelope's, with a comma before them.
    """
    before, after = f'{{"{envelope}":['.encode(), f"]{more}}}".encode()
    if isinstance(objects_, tuple):  # put together first: each copy of a page takes as long as much else about it
        return addressed(b"".join((before, *objects_, after)), bases)
    return b"".join((before, joined(objects_, bases) if isinstance(objects_, list) else objects_, after))


def joined(objects_: Sequence[str], bases: Bases) -> bytes:
    """Objects with commas between. One by one they are bytes sooner: most are ASCII, which a page seldom is."""
    return addressed(b",".join([text.encode() for text in objects_]), bases)


def single(envelope: str, document: str, bases: Bases, more: str = "") -> bytes:
    """The body of a single read, with ``more`` as in ``collection``."""
    return addressed(f'{{"{envelope}":{document}{more}}}'.encode(), bases)
