"""Entity tags: an app that kept an answer asks whether it still holds, and no document is read to say yes.

A tag stands for one position of one grant, for how that grant shows records, and for the question. A position moves
only when the app sees something change, so a tag tells nothing of what is hidden (T16). Tags are weak: they promise the
same information and not the same bytes, which differ between codings and releases of a compressor, and one tag serves
all codings. Source: RFC 9110 §8.8.3 and §13.1.2.
"""

from __future__ import annotations

from hashlib import blake2b

_TAG_BYTES = 16
#: More than this of If-None-Match is not looked at, and the whole answer comes.
_LONGEST = 4_096
ANY = "*"


def entity_tag(*parts: str) -> str:
    """The weak tag of these parts in this order; none of them holds a zero character."""
    return f'W/"{blake2b(chr(0).join(parts).encode(), digest_size=_TAG_BYTES).hexdigest()}"'


def matches(header: str | None, tag: str) -> bool:
    """Whether If-None-Match names this tag; weak and strong ones are compared alike. ``*`` is for the caller."""
    if header is None or len(header) > _LONGEST:
        return False
    opaque = tag.removeprefix("W/")
    return any(given.strip().removeprefix("W/") == opaque for given in header.split(","))
