"""From JSON objects to the body of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from hub.objects.bases import Bases, addressed

#: The JSON objects of records: a text for each, or all of them as bytes in pieces that follow each other, with commas
#: between the objects, in which the addresses stand already.
Objects = list[str] | tuple[bytes | memoryview, ...]


def collection(envelope: str, objects_: Objects, bases: Bases, more: str = "") -> bytes:
    """The body of a collection; the addresses in ``bases`` take the places of their bytes in texts.

    ``more`` is empty, or members beside the envelope's, with a comma before them.
    """
    made = objects_ if isinstance(objects_, tuple) else (joined(objects_, bases),)
    return b"".join((f'{{"{envelope}":['.encode(), *made, f"]{more}}}".encode()))


def joined(objects_: Sequence[str], bases: Bases) -> bytes:
    """Objects with commas between. One by one they are bytes sooner: most are ASCII, which a page seldom is."""
    return addressed(b",".join([text.encode() for text in objects_]), bases)


def single(envelope: str, document: str, bases: Bases, more: str = "") -> bytes:
    """The body of a single read, with ``more`` as in ``collection``."""
    return addressed(f'{{"{envelope}":{document}{more}}}'.encode(), bases)
