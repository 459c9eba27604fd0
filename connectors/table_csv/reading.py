"""One table: a CSV file with headers of its own, made readable with the means of the OneRoster connector.

Which separator it has is told by its first row. Columns that hold passwords are never read.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from connectors.limits import Limits
from connectors.oneroster_csv import encoding, rules
from connectors.oneroster_csv.headers import Header, cells
from connectors.oneroster_csv.table import LINE, Reading, Table, as_utf8, open_utf8
from transforms import issues
from transforms.catalogue import Entity
from transforms.shaping.mapping import OWN, is_secret

SUFFIXES = (".csv", ".txt", ".tsv")
_SEPARATORS = (";", "\t", "|")


@dataclass(frozen=True, slots=True)
class RawTable:
    """A readable table. ``columns``: the names of its header; ``bad``: findings about rows that cannot be read."""

    name: str
    table: Table
    columns: tuple[str, ...]

    @property
    def bad(self) -> pl.DataFrame:
        """Findings about rows that are kept out; nobody can tell which records they are."""
        return self.table.bad

    @property
    def rows(self) -> int:
        """How many rows can be read."""
        return self.table.rows

    @property
    def last_line(self) -> int:
        """No row, readable or not, stands further down."""
        lines = self.table.lines
        last = int(lines[-1]) if lines is not None and lines.len() else self.table.rows + 1
        return max([last, *map(int, self.bad[LINE].drop_nulls().tail(1))])  # sorted by line

    def batches(self, columns: frozenset[str], size: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """These columns under ``t:`` with the rows' lines; blank where the table lacks one. Findings beside them."""
        present = sorted(columns & set(self.columns))
        lacking = [pl.lit(None, pl.String).alias(OWN + name) for name in sorted(columns - set(self.columns))]
        read = [OWN + name for name in present] or [OWN + self.columns[0]]
        for frame, found in self.table.numbered(read, size):
            yield frame.with_columns(lacking), found

    def whole(self, columns: frozenset[str]) -> pl.DataFrame:
        """The same in one frame."""
        return pl.concat([frame for frame, _ in self.batches(columns, 1 << 30)])


def first_row(path: Path, reading: Reading, limits: Limits) -> list[str]:
    """The names in the header of a file, which may be in any encoding and with any separator."""
    with path.open("rb") as stream:
        start = stream.read(limits.header)
    name, mark = encoding.sniff(start[: len(start) & ~3])
    known = reading.encoding if name == "utf-8" and reading.encoding else name
    text = start[mark:].decode(known, "replace").replace("\0", "")
    line = (text.splitlines() or [""])[0]
    separator = _separator(line)
    return _names(line, separator)


def _names(line: str, separator: str) -> list[str]:
    if separator == ",":
        return [_tidy(cell) for cell in cells(line)]
    try:
        return [_tidy(cell) for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _tidy(name: str) -> str:
    return "".join(c for c in name if c.isprintable()).strip()


def _separator(line: str) -> str:
    """The mark that cuts the header into most cells; the comma where none does better."""
    counts = {mark: len(_names(line, mark)) for mark in (",", *_SEPARATORS)}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] > counts[","] else ","


def open_raw(
    path: Path, name: str, wanted: frozenset[str], limits: Limits, reading: Reading
) -> tuple[RawTable | None, list[pl.DataFrame]]:
    """Makes a table readable, of which the columns ``wanted`` will be read.

    Returns findings about the file, and no table where it has no rows or is refused.
    """
    entity = Entity(name, name, (), name)
    found: list[pl.DataFrame] = []
    path = as_utf8(path, entity, reading, found)
    with path.open("rb") as stream:
        first, _ = encoding.decode_line(stream.readline(limits.header).removeprefix(encoding.UTF8_BOM))
    separator = _separator(first.rstrip("\r\n"))
    if separator != ",":
        path = encoding.rewritten(path, with_commas(separator))

    def header(line: str) -> Header:
        return _header(line, name, wanted, limits)

    table, about = open_utf8(path, entity, "1.2", limits, header)
    found.extend(about)
    found = [frame.with_columns(entity=pl.lit(""), key=pl.lit("")) for frame in found]
    if table is None:
        return None, found
    names = tuple(c.removeprefix(OWN) for c in table.columns if c)
    anonymous = table.bad.with_columns(entity=pl.lit(""), key=pl.lit(""))
    kept = Table(table.entity, "1.2", table.path, table.columns, table.rows, table.quotes, table.lines, anonymous)
    return RawTable(name, kept, names), found


def _header(line: str, name: str, wanted: frozenset[str], limits: Limits) -> Header:
    """The columns by the names that they have. Findings repeat only names that the mapping knows."""
    names = _names(line, ",")
    if len(names) > limits.columns:
        return Header((), (issues.one(rules.TOO_MANY_COLUMNS, file=f"{name}.csv", line=1),), usable=False)
    counts = Counter(names)
    twice = sorted(n for n in wanted if counts[n] > 1)
    if twice:
        found = issues.one(rules.COLUMN_TWICE, file=f"{name}.csv", line=1, field=", ".join(twice))
        return Header((), (found,), usable=False)
    columns = tuple(OWN + n if n and counts[n] == 1 and not is_secret(n) else None for n in names)
    if not any(columns):
        found = issues.one(rules.COLUMN_MISSING, file=f"{name}.csv", line=1, cause="no header row")
        return Header((), (found,), usable=False)
    return Header(columns, (), usable=True)


def with_commas(separator: str) -> Callable[[IO[bytes]], Iterator[bytes]]:
    """A rewriting from another separator to commas, line by line, so that every row keeps its line."""

    def rewrite(stream: IO[bytes]) -> Iterator[bytes]:
        mark = separator.encode()
        for block in encoding.whole_lines(encoding.chunks(stream)):
            if b"," not in block and b'"' not in block:
                yield block.replace(mark, b",")
            else:
                yield b"".join(_line(line, mark) for line in block.splitlines(keepends=True))

    return rewrite


def _line(line: bytes, mark: bytes) -> bytes:
    body = line.rstrip(b"\r\n")
    parts: list[bytes] = []
    quoted, start = False, 0
    for place in range(len(body)):
        byte = body[place : place + 1]
        if byte == b'"':
            quoted = not quoted
        elif byte == mark and not quoted:
            parts.append(body[start:place])
            start = place + 1
    parts.append(body[start:])
    if quoted:  # an open quote: the careful reader says so
        return line
    made = (b'"' + p + b'"' if b"," in p and not p.startswith(b'"') else p for p in parts)
    return b",".join(made) + line[len(body) :]
