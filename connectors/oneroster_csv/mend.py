"""The careful way through a file that is not plainly well-formed: good lines are kept, bad ones reported, none lost.

The result is a file that the fast reader can take, and the line number of each of its rows. A row is one line: the
standard permits no line break inside a cell. Where a quoted cell does run over several lines, all of them are kept out
as one row, so that text inside a cell can never pass for a row.
"""

from __future__ import annotations

import re
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from connectors.limits import Limits
from connectors.oneroster_csv import rules
from connectors.oneroster_csv.encoding import decode_line
from transforms.issues import Rule

_CELL = r'(?:"(?:[^"]++|"")*+"|[^",]*+)'
_LINES_OF_ONE_CELL = 200
#: A file with more bad rows is refused whatever its size, so nobody needs to read on.
MAX_BAD_ROWS = 100_000
_START_OF_OVERLONG = 1024  # bytes that are looked at for a key
# A key is repeated in findings only if it can be one: text of a broken row may be anything.
_KEY = re.compile(r"[^\s\x00-\x1f\x7f\",]{1,255}")


@dataclass(slots=True)
class Mended:
    """``lines``: the line number of each good row. ``bad``: rule, line and key (or nothing) of each row kept out.

    ``last``: the number of the last line, and ``ended`` whether a line feed ends it.
    """

    path: Path
    lines: array[int] = field(default_factory=lambda: array("I"))
    bad: list[tuple[Rule, int, str]] = field(default_factory=list)
    quotes: bool = False
    not_utf8: bool = False
    blank_lines: bool = False
    line_ends: bool = False
    last: int = 0
    ended: bool = True

    @property
    def cut_short(self) -> bool:
        """Whether the file ends in the middle of a row."""
        return not self.ended and any(line == self.last for _, line, _ in self.bad)

    def keep_out(self, rule: Rule, line: int, key: str) -> None:
        """Notes a row that is kept out."""
        self.bad.append((rule, line, key))


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    overlong: bool


def mend(path: Path, start: int, width: int, key_column: int, limits: Limits) -> Mended:
    """Goes through the rows of ``path`` from byte ``start`` on; ``key_column`` is the place of sourcedId."""
    result = Mended(path.with_name(path.name + "~"))
    shape = _Shape(width, key_column, limits.line)
    with path.open("rb") as stream, result.path.open("xb") as good:
        good.write(b"\n")  # stands for the header
        stream.seek(start)
        ahead: deque[_Line] = deque()
        lines = _lines(stream, limits.line, result)
        while (line := ahead.popleft() if ahead else next(lines, None)) is not None and len(result.bad) <= MAX_BAD_ROWS:
            rule = shape.fault(line)
            if rule is None:
                result.lines.append(line.number)
                result.quotes = result.quotes or '"' in line.text
                good.write(line.text.encode() + b"\n")
                continue
            result.keep_out(rule, line.number, shape.key(line.text))
            if not line.overlong and shape.opens.fullmatch(line.text):
                _keep_out_rest(line, lines, ahead, shape, result)
    return result


class _Shape:
    """What a row of one file looks like."""

    def __init__(self, width: int, key_column: int, longest: int) -> None:
        self.longest = longest
        self.commas = width - 1
        self.row = re.compile(f"{_CELL}(?:,{_CELL}){{{width - 1}}}")
        self.opens = re.compile(rf'(?:{_CELL},)*+"(?:[^"]++|"")*+')
        self.start = re.compile(f"(?:{_CELL},){{{key_column}}}({_CELL})(?:,|$)")

    def fault(self, line: _Line) -> Rule | None:
        """The rule that keeps this line out, or None for a good row."""
        if line.overlong:
            return rules.ROW_BROKEN
        if "\0" in line.text:
            return rules.ROW_UNDECODABLE
        fits = self.row.fullmatch(line.text) if '"' in line.text else line.text.count(",") == self.commas
        return None if fits and "\r" not in line.text else rules.ROW_BROKEN

    def key(self, text: str) -> str:
        """The sourcedId of a broken row where it can be read, else nothing."""
        found = self.start.match(text)
        key = found[1].removeprefix('"').removesuffix('"') if found else ""
        return key if _KEY.fullmatch(key) else ""


def _keep_out_rest(first: _Line, lines: Iterator[_Line], ahead: deque[_Line], shape: _Shape, result: Mended) -> None:
    """Keeps out the lines that belong to the open quote of ``first``, if they close it into a row of the right width.

    Looks at ``_LINES_OF_ONE_CELL`` lines and ``shape.longest`` characters, and stops as soon as no further line could
    help, so that a stray quote costs little.
    """
    text = [first.text]
    for count in range(_LINES_OF_ONE_CELL):
        while len(ahead) <= count:
            following = next(lines, None)
            if following is None:
                return
            ahead.append(following)
        text.append(ahead[count].text)
        if '"' not in ahead[count].text:
            continue
        text = ["\n".join(text)]
        if shape.row.fullmatch(text[0]):
            _keep_out_inner([ahead.popleft() for _ in range(count + 1)], shape, result)
            return
        if len(text[0]) > shape.longest or not shape.opens.fullmatch(text[0]):
            return


def _keep_out_inner(inner: list[_Line], shape: _Shape, result: Mended) -> None:
    """Names the lines inside a cell that could be rows, so that nobody takes their records for deleted."""
    for line in inner:
        if shape.fault(line) is None:
            result.keep_out(rules.ROW_BROKEN, line.number, shape.key(line.text))


def _lines(stream: IO[bytes], longest: int, result: Mended) -> Iterator[_Line]:
    """All lines but blank ones, from number 2 on, none held in memory beyond ``longest`` bytes."""
    number = 1
    while raw := stream.readline(longest + 1):
        number += 1
        overlong = len(raw) > longest
        rest = raw
        while overlong and rest and not rest.endswith(b"\n"):
            rest = stream.readline(longest + 1)
        result.last, result.ended = number, rest.endswith(b"\n")
        body = raw.removesuffix(b"\n")
        stripped = body.rstrip(b"\r")
        result.line_ends = result.line_ends or len(body) - len(stripped) > 1
        if overlong:
            yield _Line(number, raw[:_START_OF_OVERLONG].decode(errors="ignore"), overlong)
            continue
        if not stripped:
            result.blank_lines = True
            continue
        text, not_utf8 = decode_line(stripped)
        result.not_utf8 = result.not_utf8 or not_utf8
        yield _Line(number, text, overlong)
