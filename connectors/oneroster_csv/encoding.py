"""Which encoding a file has, and its text as UTF-8.

UTF-8 is tried first, row by row, because exports are glued together from sources with different encodings. A row that
is not UTF-8 is read as Windows-1252 (which holds all printable characters of Latin-1). A row that is neither gets a NUL
in the place of what cannot be read, and rows with a NUL are kept out later on.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

Encoding = Literal["utf-8", "cp1252", "latin-1", "iso8859-15", "cp1250", "mac-roman", "cp932", "utf-16"]

CHUNK = 1 << 20
UTF8_BOM = codecs.BOM_UTF8
#: UTF-32 first: its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNREADABLE = "\ufffd"


def sniff(start: bytes) -> tuple[str, int]:
    """The encoding that the first bytes tell and the length of the byte order mark; ("utf-8", 0) if they tell none."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name, len(mark)
    if start.startswith(UTF8_BOM):
        return "utf-8", len(UTF8_BOM)
    # A header is ASCII: without a mark, UTF-16 shows as every other byte NUL.
    if len(start) >= 4 and start[1::2].strip(b"\0") == b"" and b"\0" not in start[0::2]:
        return "utf-16-le", 0
    if len(start) >= 4 and start[0::2].strip(b"\0") == b"" and b"\0" not in start[1::2]:
        return "utf-16-be", 0
    return "utf-8", 0


def decode_line(line: bytes) -> tuple[str, bool]:
    """The text of one row, and whether it was not UTF-8. Unreadable characters become NUL."""
    try:
        return line.decode(), False
    except UnicodeDecodeError:
        return _readable(line.decode("cp1252", "replace")), True


def from_encoding(encoding: str, skip: int = 0) -> Callable[[IO[bytes]], Iterator[bytes]]:
    """A rewriting from ``encoding`` to UTF-8 that leaves out the first ``skip`` bytes."""

    def rewrite(stream: IO[bytes]) -> Iterator[bytes]:
        stream.seek(skip)
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        for chunk in chunks(stream):
            yield _readable(decoder.decode(chunk)).encode()
        yield _readable(decoder.decode(b"", final=True)).encode()

    return rewrite


def from_mixed(stream: IO[bytes]) -> Iterator[bytes]:
    """A rewriting to UTF-8 of a file whose rows are UTF-8 or Windows-1252."""
    for block in whole_lines(chunks(stream)):
        try:
            block.decode()
        except UnicodeDecodeError:
            yield b"".join(decode_line(line)[0].encode() for line in block.splitlines(keepends=True))
        else:
            yield block


def with_line_feeds(stream: IO[bytes]) -> Iterator[bytes]:
    """A rewriting of line ends CR to LF."""
    for chunk in chunks(stream):
        yield chunk.replace(b"\r", b"\n")


def rewritten(path: Path, how: Callable[[IO[bytes]], Iterable[bytes]]) -> Path:
    """A new file beside ``path`` with its content rewritten; ``path`` itself is removed."""
    target = path.with_name(path.name + "+")
    with path.open("rb") as stream, target.open("xb") as copy:
        for chunk in how(stream):
            copy.write(chunk)
    path.unlink()
    return target


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """What is left of ``stream``, about a MiB at a time."""
    while chunk := stream.read(CHUNK):
        yield chunk


def whole_lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes cut after line feeds; what has none for long is handed on as it is."""
    carry = b""
    for part in parts:
        block = carry + part
        cut = block.rfind(b"\n") + 1
        if cut == 0 and len(block) > 2 * CHUNK:
            cut = len(block)
        if cut:
            yield block[:cut]
        carry = block[cut:]
    if carry:
        yield carry


def _readable(text: str) -> str:
    return text.replace(_UNREADABLE, "\0")


def only_carriage_returns(path: Path) -> bool:
    """Whether lines end with CR as on old Macs: the file has no LF at all."""
    carriage_return = False
    with path.open("rb") as stream:
        for chunk in chunks(stream):
            if b"\n" in chunk:
                return False
            carriage_return = carriage_return or b"\r" in chunk
    return carriage_return
