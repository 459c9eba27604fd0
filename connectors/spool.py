"""What was pulled, on disk: rows go there as pages come, so that memory does not grow with the district."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from connectors.protocol import Mode

LINE = "line"
METADATA = "metadata."
FIRST_LINE = 2
#: Rows of one file on disk, and cells of the standard's columns: so many wait in memory. Cut by rows, not by pages, so
#: that the digest does not depend on the size of pages.
CHUNK_ROWS, CHUNK_CELLS = 50_000, 125_000
_DIGEST_ROWS = 5_000


@dataclass
class Spool:
    """The rows of one CSV file. ``header``: the standard's columns, which all chunks have."""

    folder: Path
    file: str
    header: tuple[str, ...]
    mode: Mode = "bulk"
    rows: int = 0
    chunks: list[Path] = field(default_factory=list)
    metadata: set[str] = field(default_factory=set)
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, frame: pl.DataFrame) -> None:
        """Adds rows. CPU-bound, and writes to disk: call it in a thread."""
        if frame.height:
            self.rows += frame.height
            self._waiting.append(frame)
            self._write(whole=False)

    def finish(self) -> None:
        """Writes what still waits."""
        self._write(whole=True)

    def begin_again(self) -> None:
        """Forgets all rows: the walk through the pages starts anew."""
        for chunk in self.chunks:
            chunk.unlink()
        self.rows, self.chunks, self._waiting = 0, [], []
        self.metadata, self._digest = set(), hashlib.sha256()

    @property
    def chunk_rows(self) -> int:
        """The rows of each file on disk but the last."""
        return max(1, min(CHUNK_ROWS, CHUNK_CELLS // len(self.header)))

    @property
    def digest(self) -> str:
        """SHA-256 of the rows; after ``finish``."""
        return self._digest.hexdigest()

    @property
    def columns(self) -> list[str]:
        """All columns, the line last."""
        return [*self.header, *sorted(self.metadata), LINE]

    def frames(self, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
        """The rows chunk by chunk, all with the same columns."""
        wanted = columns or self.columns
        empty = pl.DataFrame(schema={c: pl.UInt32 if c == LINE else pl.String for c in wanted})
        if not self.chunks:
            yield empty
        for chunk in self.chunks:
            yield pl.concat([empty, pl.read_ipc(chunk)], how="diagonal").select(wanted)

    def keep_last(self) -> int:
        """Of rows with one sourcedId keeps the last; how many went. Rows are read and written once more where some go.

        After ``finish``. CPU-bound, and writes to disk: call it in a thread.
        """
        if self._distinct():
            return 0
        place = pl.DataFrame({"key": self.keys()}).with_row_index("row")
        kept = place.filter(pl.col("key").is_null() | pl.col("key").is_last_distinct())["row"]
        before, old, start = self.rows, self.chunks, 0
        self.chunks = []
        self.begin_again()
        for chunk in old:
            frame = pl.read_ipc(chunk).drop(LINE)
            chunk.unlink()  # before another one is written under its name: the frame may be the file itself
            here = kept.filter((kept >= start) & (kept < start + frame.height)) - start
            self.add(frame[here])
            start += frame.height
        self.finish()
        return before - self.rows

    def change(self, how: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Reads and writes all rows once more, chunk by chunk, as ``how`` changes them; it keeps their number.

        After ``finish``. CPU-bound, and writes to disk: call it in a thread.
        """
        old, self.chunks = self.chunks, []
        self.metadata, self._digest = set(), hashlib.sha256()
        for chunk in old:
            frame = pl.read_ipc(chunk).drop(LINE)
            chunk.unlink()
            self._put(_without_empty(how(frame), self.header))

    def keys(self) -> pl.Series:
        """The column sourcedId, what still waits included."""
        parts = [pl.read_ipc(c, columns=["sourcedId"])["sourcedId"] for c in self.chunks]
        nothing = pl.Series("sourcedId", [], dtype=pl.String)
        return pl.concat([nothing, *parts, *(frame["sourcedId"] for frame in self._waiting)])

    def _distinct(self) -> bool:
        """Whether each sourcedId is there once. After ``finish``. By hashes: of ids alike these are alike."""
        parts = [pl.read_ipc(c, columns=["sourcedId"])["sourcedId"].hash() for c in self.chunks]
        return not parts or pl.concat(parts).n_unique() == self.rows

    def _write(self, *, whole: bool) -> None:
        waiting, most = sum(frame.height for frame in self._waiting), self.chunk_rows
        if not waiting or (waiting < most and not whole):
            return
        rows = pl.concat(self._waiting, how="diagonal")
        end = waiting if whole else waiting // most * most
        for start in range(0, end, most):
            self._put(_without_empty(rows[start : min(start + most, end)], self.header))
        self._waiting = [rows[end:]] if end < waiting else []

    def _put(self, frame: pl.DataFrame) -> None:
        extra = sorted(c for c in frame.columns if c.startswith(METADATA))
        self.metadata |= set(extra)
        frame = frame.select(*self.header, *extra)
        for number, piece in enumerate(frame.iter_slices(_DIGEST_ROWS)):  # its text needs as much memory again
            self._digest.update(piece.write_csv(include_header=number == 0).encode())
        line = FIRST_LINE + self.chunk_rows * len(self.chunks)
        path = self.folder / f"{self.file}-{len(self.chunks)}.arrow"
        lines = pl.int_range(line, line + frame.height, dtype=pl.UInt32, eager=True).alias(LINE)
        frame.with_columns(lines).write_ipc(path)
        self.chunks.append(path)


def _without_empty(frame: pl.DataFrame, header: tuple[str, ...]) -> pl.DataFrame:
    """Without columns of metadata that no row here fills."""
    return frame.drop([c for c in frame.columns if c not in header and frame[c].null_count() == frame.height])
