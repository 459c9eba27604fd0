"""One cheap pass over a file's bytes that tells whether the fast reader may be trusted with it.

The fast reader (Polars) takes rows with too few cells and lines inside quotes without a word. So cells and quotes are
counted here, vectorised; a file that is not plainly well-formed goes through ``mend`` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from connectors.oneroster_csv.encoding import chunks, whole_lines

_QUOTE, _COMMA, _LF, _CR = ord('"'), ord(","), ord("\n"), ord("\r")
_BEFORE_OPENING = np.isin(np.arange(256), (_COMMA, _LF, _QUOTE))
_AFTER_CLOSING = np.isin(np.arange(256), (_COMMA, _LF, _CR, _QUOTE))

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Scan:
    """What the pass found. ``rows`` and ``quotes`` hold for the whole file only if both others are true."""

    utf8: bool
    well_formed: bool
    rows: int
    quotes: bool


def scan(path: Path, start: int, width: int, longest: int) -> Scan:
    """Checks the rows of the file from byte ``start`` on: ``width`` cells each, no line over ``longest`` bytes."""
    rows, quotes = 0, False
    with path.open("rb") as stream:
        stream.seek(start)
        for block in whole_lines(chunks(stream)):
            if not block.isascii() and not _is_utf8(block):
                return Scan(utf8=False, well_formed=False, rows=rows, quotes=quotes)
            quoted = b'"' in block
            found = _rows(block, width, longest, quoted=quoted)
            if found is None:
                return Scan(utf8=True, well_formed=False, rows=rows, quotes=quotes)
            rows += found
            quotes = quotes or quoted
    return Scan(utf8=True, well_formed=True, rows=rows, quotes=quotes)


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _rows(block: bytes, width: int, longest: int, *, quoted: bool) -> int | None:
    """The number of rows in whole lines, or None when they are not plainly well-formed."""
    if b"\0" in block:
        return None
    if not block.endswith(b"\n"):  # the end of the file
        block += b"\n"
    data = np.frombuffer(block, np.uint8)
    separator = (data == _COMMA) | (data == _LF)
    if quoted:
        inside = _inside_quotes(data)
        if inside is None:
            return None
        separator &= ~inside
    places = np.flatnonzero(separator)
    ends = places[width - 1 :: width]
    well_formed = (
        len(places) % width == 0
        # Every width-th separator is a line feed, and there are no other line feeds, in quotes or not.
        and bool((data[ends] == _LF).all())
        and np.count_nonzero(data == _LF) == len(ends)
        and np.count_nonzero(data == _CR) == np.count_nonzero(data[ends - 1] == _CR)
        and int(np.diff(ends, prepend=-1).max()) <= longest
    )
    return len(ends) if well_formed else None


def _inside_quotes(data: Bytes) -> npt.NDArray[np.bool_] | None:
    """Which bytes are inside quotes; None when a quote opens or closes in the middle of a cell."""
    quote = data == _QUOTE
    places = np.flatnonzero(quote)
    if len(places) % 2:
        return None
    opening, closing = places[::2], places[1::2]
    before = data[opening - 1] if opening[0] else np.concatenate(([_LF], data[opening[1:] - 1]))
    if not _BEFORE_OPENING[before].all() or not _AFTER_CLOSING[data[closing + 1]].all():
        return None
    inside: npt.NDArray[np.bool_] = np.bitwise_xor.accumulate(quote)
    return inside
