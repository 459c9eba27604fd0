"""One CSV file of a package: made readable once, then read in batches as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from connectors.limits import Limits
from connectors.oneroster_csv import encoding, rules, short
from connectors.oneroster_csv.headers import Header, read_header
from connectors.oneroster_csv.mend import MAX_BAD_ROWS, Mended, mend
from connectors.oneroster_csv.scan import scan
from connectors.protocol import Batch
from transforms import issues
from transforms.catalogue import Entity, Version
from transforms.issues import Rule
from transforms.validate.alike import PAIR_COLUMNS, pair_marks

LINE = "line"
_FIRST_LINE = 2
_FEW = 20_000  # rows for which starting the engine that reads in batches costs more than reading them
_SHOWN = 100  # findings about rows that a refused file shows
_MODE_COLUMNS = ("status", "dateLastModified")
_NOT_IN_BULK = ("tobedeleted", "inactive", "deleted")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a source wants its files read. ``aliases``: its own column names to the standard's."""

    encoding: encoding.Encoding | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A file that Polars can read: one header line, then ``rows`` well-formed rows.

    ``lines`` holds the rows' line numbers where they do not simply count on. ``bad`` are findings about rows kept out,
    sorted by line. ``delta``: the rows are changes, so that their status and date count.
    """

    entity: Entity
    version: Version
    path: Path
    columns: tuple[str | None, ...]
    rows: int
    quotes: bool
    lines: pl.Series | None
    bad: pl.DataFrame
    delta: bool = False

    def filled_modes(self) -> bool:
        """Whether every row has a status and a date of its last change, as rows of a delta file do."""
        present = [name for name in _MODE_COLUMNS if name in self.columns]
        if len(present) < len(_MODE_COLUMNS):
            return False
        return bool(self._scan(present).select(pl.all_horizontal(pl.col(present).is_not_null().all())).collect().item())

    def keys(self) -> pl.Series:
        """The sourcedIds of all rows that ``batches`` yields."""
        wanted = ["sourcedId", *(name for name in ("status",) if name in self.columns)]
        frame = self._scan(wanted).collect()
        if "status" in wanted and not self.delta:
            frame = frame.filter(~_deleted())
        return frame["sourcedId"]

    def marks(self) -> pl.Series:
        """The marks of all rows, of those marked as deleted too."""
        marks = self._scan(list(PAIR_COLUMNS)).select(pair_marks())
        return marks.collect(engine="streaming" if self.rows > _FEW else "in-memory").to_series()

    def batches(self, size: int) -> Iterator[Batch]:
        """The rows that count, at most ``size`` at a time, with the findings made on the way."""
        read = [c for c in self.columns if c is not None and not _never_kept(self.entity, self.version, c)]
        status_seen = False
        for numbered, found in self.numbered(read, size):
            kept, about_status = numbered, issues.empty()
            if not self.delta:
                kept, about_status = _without_modes(numbered, self.entity, reported=status_seen)
            status_seen = status_seen or about_status.height > 0
            yield Batch(kept, issues.collect([found, about_status]))

    def numbered(self, columns: list[str], size: int) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Some columns of all readable rows with their lines, and findings about rows kept out among them."""
        seen = 0
        pending = self.bad
        for frame in self._frames(columns, size):
            last = seen + frame.height == self.rows
            numbered = self._numbered(frame, seen)
            seen += frame.height
            found = pending if last else pending.filter(pl.col(LINE) <= numbered[LINE][-1])
            pending = pending.slice(found.height)
            yield numbered, found

    def _frames(self, columns: list[str], size: int) -> Iterator[pl.DataFrame]:
        if self.rows == 0:
            yield pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
            return
        if self.rows <= min(size, _FEW):
            yield self._whole(columns)
            return
        for frame in self._scan(columns).collect_batches(chunk_size=size, maintain_order=True):
            yield from frame.iter_slices(size)

    def _whole(self, columns: list[str]) -> pl.DataFrame:
        """What ``_scan`` gives, of a file that is held whole: to plan how it is read costs more than to read it."""
        if len(self.columns) > 1 and self.path.stat().st_size <= short.LONGEST:
            return short.read_short(self.path, self.columns, columns)
        places = {name: place for place, name in enumerate(self.columns)}
        names = sorted(columns, key=lambda name: places[name])
        frame = pl.read_csv(
            self.path.read_bytes(), columns=[places[name] for name in names], has_header=False, skip_lines=1,
            schema=self._schema(), glob=False,
        )  # fmt: skip
        frame.columns = names
        return (frame.with_columns(pl.all().replace("", None)) if self.quotes else frame)[columns]

    def _scan(self, columns: list[str]) -> pl.LazyFrame:
        places = {name: f"{place}" for place, name in enumerate(self.columns) if name is not None}
        frame = pl.scan_csv(
            self.path,
            has_header=False,
            skip_lines=1,
            schema=self._schema(),
            glob=False,
        ).select(pl.col(places[name]).alias(name) for name in columns)
        # Only a quoted empty cell comes as an empty text.
        return frame.with_columns(pl.all().replace("", None)) if self.quotes else frame

    def _schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        return {f"{place}": pl.String for place in range(len(self.columns))}

    def _numbered(self, frame: pl.DataFrame, seen: int) -> pl.DataFrame:
        if self.lines is not None:
            return frame.hstack([self.lines.slice(seen, frame.height).alias(LINE)])
        first = seen + _FIRST_LINE
        numbers = pl.Series(LINE, np.arange(first, first + frame.height, dtype=np.uint32))
        return frame.hstack([numbers])


def _never_kept(entity: Entity, version: Version, column: str) -> bool:
    return any(f.csv_name == column and not f.stored for f in entity.csv_columns(version))


def _deleted() -> pl.Expr:
    return pl.col("status").str.strip_chars().str.to_lowercase().is_in(_NOT_IN_BULK).fill_null(value=False)


def _without_modes(frame: pl.DataFrame, entity: Entity, *, reported: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without status and date, and without those that are marked as deleted; findings about both."""
    present = [name for name in _MODE_COLUMNS if name in frame.columns]
    filled = [name for name in present if frame[name].null_count() < frame.height]
    found = []
    if filled and not reported:
        found.append(_about(rules.STATUS_IN_BULK, entity, field=", ".join(filled)))
    if "status" in filled:
        gone = frame.filter(_deleted())
        found.append(_rows_found(rules.DELETED_IN_BULK, entity, gone[LINE], gone["sourcedId"], "status"))
        frame = frame.filter(~_deleted())
    return frame[[name for name in frame.columns if name not in present]], issues.collect(found)


def open_table(
    path: Path, entity: Entity, version: Version, limits: Limits, reading: Reading
) -> tuple[Table | None, list[pl.DataFrame]]:
    """Makes a file readable. Returns findings about the file, and no table where it has no rows or is refused."""
    found: list[pl.DataFrame] = []
    path = as_utf8(path, entity, reading, found)

    def standard(line: str) -> Header:
        return read_header(line, entity, version, limits, reading.aliases)

    table, about = open_utf8(path, entity, version, limits, standard)
    return table, [*found, *about]


def open_utf8(
    path: Path, entity: Entity, version: Version, limits: Limits, read: Callable[[str], Header]
) -> tuple[Table | None, list[pl.DataFrame]]:
    """The same for a file that ``as_utf8`` has gone over. ``read`` makes sense of the first row."""
    line, _ = _first_line(path, limits)
    if line is None:
        return None, [_about(rules.TOO_MANY_COLUMNS, entity)]
    if not line.strip():
        return None, [_about(rules.NO_ROWS, entity)]
    header = read(line)
    found = list(header.findings)
    if not header.usable:
        return None, found
    table, about_rows = _readable(path, header, entity, version, limits)
    found.extend(about_rows)
    return table, found


def as_utf8(path: Path, entity: Entity, reading: Reading, found: list[pl.DataFrame]) -> Path:
    """The file in UTF-8 but for single rows, with line feeds."""
    with path.open("rb") as stream:
        begin = stream.read(1024)
    name, mark = encoding.sniff(begin[: len(begin) & ~3])
    if name == "utf-8" and mark:
        found.append(_about(rules.ENCODING, entity, cause="byte order mark"))
    elif name == "utf-8" and reading.encoding not in {None, "utf-8"}:
        name = str(reading.encoding)
        path = encoding.rewritten(path, encoding.from_encoding(name))
    elif name != "utf-8":
        found.append(_about(rules.ENCODING, entity, cause=name))
        path = encoding.rewritten(path, encoding.from_encoding(name, skip=mark))
    if encoding.only_carriage_returns(path):
        found.append(_about(rules.LINE_ENDS, entity, cause="CR"))
        path = encoding.rewritten(path, encoding.with_line_feeds)
    return path


def _first_line(path: Path, limits: Limits) -> tuple[str | None, int]:
    """The header and where the rows begin; None for a header that is too long."""
    with path.open("rb") as stream:
        raw = stream.readline(limits.header + 1)
    if len(raw) > limits.header:
        return None, 0
    text, _ = encoding.decode_line(raw.removeprefix(encoding.UTF8_BOM))
    return text.rstrip("\r\n"), len(raw)


def _readable(
    path: Path, header: Header, entity: Entity, version: Version, limits: Limits
) -> tuple[Table | None, list[pl.DataFrame]]:
    found = []
    start = _first_line(path, limits)[1]
    seen = scan(path, start, header.width, limits.line)
    mixed = not seen.utf8
    if mixed:
        path = encoding.rewritten(path, encoding.from_mixed)
        start = _first_line(path, limits)[1]
        seen = scan(path, start, header.width, limits.line)
    if seen.well_formed:
        table = Table(entity, version, path, header.columns, seen.rows, seen.quotes, None, issues.empty())
    else:
        mended = mend(path, start, header.width, header.key_column, limits)
        path.unlink()
        table, about = _mended_table(mended, header, entity, version, limits)
        found.extend(about)
        mixed = mixed or mended.not_utf8
    if mixed:
        found.append(_about(rules.ENCODING, entity, cause="windows-1252"))
    if table.rows == 0 and not any(rules.TOO_MANY_BROKEN.code in frame["code"] for frame in found):
        return None, [*found, _about(rules.NO_ROWS, entity)]
    return table, found


def _mended_table(
    mended: Mended, header: Header, entity: Entity, version: Version, limits: Limits
) -> tuple[Table, list[pl.DataFrame]]:
    found = []
    good, broken = len(mended.lines), len(mended.bad)
    bad = _bad_rows(mended, entity)
    hopeless = broken > max(limits.bad_rows, limits.bad_share * (good + broken)) or (broken and not good)
    if hopeless or broken > MAX_BAD_ROWS:
        # The package is refused, so nobody will come for the rows: the first of them are shown with the refusal.
        found.extend([_about(rules.TOO_MANY_BROKEN, entity), bad.head(_SHOWN)])
        bad = issues.empty()
    if mended.cut_short:
        found.append(_about(rules.CUT_SHORT, entity))
    if mended.blank_lines:
        found.append(_about(rules.BLANK_LINES, entity))
    if mended.line_ends:
        found.append(_about(rules.LINE_ENDS, entity, cause="CR CR LF"))
    lines = pl.Series(LINE, np.frombuffer(mended.lines, np.uint32)) if good else pl.Series(LINE, [], pl.UInt32)
    return Table(entity, version, mended.path, header.columns, good, mended.quotes, lines, bad), found


def _bad_rows(mended: Mended, entity: Entity) -> pl.DataFrame:
    frames = []
    for rule in (rules.ROW_BROKEN, rules.ROW_UNDECODABLE):
        rows = [(line, key) for found, line, key in mended.bad if found is rule]
        lines, keys = pl.Series([r[0] for r in rows], dtype=pl.UInt32), pl.Series([r[1] for r in rows], dtype=pl.String)
        frames.append(_rows_found(rule, entity, lines, keys))
    return issues.collect(frames).sort(LINE)


def _rows_found(rule: Rule, entity: Entity, lines: pl.Series, keys: pl.Series, field: str = "") -> pl.DataFrame:
    return pl.DataFrame({LINE: lines, "key": keys}).select(
        code=pl.lit(rule.code),
        entity=pl.lit(entity.name),
        file=pl.lit(f"{entity.csv_file}.csv"),
        line=pl.col(LINE),
        field=pl.lit(field),
        key=pl.col("key"),
        cause=pl.lit(""),
    )


def _about(rule: Rule, entity: Entity, *, field: str = "", cause: str = "") -> pl.DataFrame:
    return issues.one(rule, entity=entity.name, file=f"{entity.csv_file}.csv", field=field, cause=cause)
