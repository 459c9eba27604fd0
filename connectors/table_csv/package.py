"""A package of tables as RAW OneRoster frames: every row is read from its table and mapped on the way.

Rows of one OneRoster file may come from several tables, one after the other. Their lines count on from table to table,
so that they grow as the protocol asks; ``located`` brings a finding back to its table and its line there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from connectors.oneroster_csv.table import LINE
from connectors.protocol import Batch, ConnectorError, Intent, Mode
from connectors.table_csv.reading import RawTable
from transforms import issues
from transforms.catalogue import CATALOGUE, Version
from transforms.issues import RULES, Severity
from transforms.shaping import rules
from transforms.shaping.mapping import CheckedFile, CheckedMapping, CheckedPart, mapped, partners
from transforms.shaping.steps import apply

_FIRST_LINE = 2


@dataclass(slots=True)
class TablePackage:
    """A package as ``connectors.protocol.Package`` describes it. Its files stand in a private temporary folder."""

    version: Version
    mode: Mapping[str, Mode]
    digest: str
    issues: pl.DataFrame
    source_system: str | None
    folder: Path
    tables: Mapping[str, RawTable] = field(repr=False)
    mapping: CheckedMapping = field(repr=False)
    closed: bool = False
    lookups: dict[tuple[str, int], list[pl.DataFrame]] = field(default_factory=dict, repr=False)

    @property
    def refused(self) -> bool:
        """Whether a finding refuses the whole package."""
        return any(RULES[code].severity is Severity.BLOCK_SYNC for code in self.issues["code"].unique().to_list())

    def rows(self, file: str) -> int | None:
        """How many rows the tables of the file have; None where some of them may give none."""
        parts = self._parts(file)
        if any(p.where is not None or p.part.distinct for p in parts) or self.mapping.files[file].steps.where:
            return None
        return sum(self.tables[p.part.table].rows for p in parts)

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of ``file``, at most ``size`` at a time."""
        if size < 1:
            raise ValueError("a batch has at least one row")
        self._open()
        checked = self.mapping.files[file]
        dropped = several = 0
        for number, part in enumerate(self._parts(file)):
            offset = self._offset(file, number)
            for frame, found, unclear in self._mapped(checked, number, part, size):
                shaped, left_out = apply(checked.steps, frame)
                dropped += left_out
                several += unclear
                yield Batch(_moved(shaped, offset), _moved(found, offset))
        yield Batch(_nothing(checked), self._about(file, dropped, several))

    def keys(self, file: str) -> pl.Series:
        """The sourcedIds of ``file``."""
        return pl.concat([batch.frame["sourcedId"] for batch in self.batches(file)])

    def close(self) -> None:
        """Removes the temporary folder."""
        self.closed = True
        shutil.rmtree(self.folder, ignore_errors=True)

    def located(self, found: pl.DataFrame) -> pl.DataFrame:
        """Findings about rows of OneRoster files with the tables' names and lines in the place of these."""
        frames = [found.filter(~self._ours(found))]
        for file in self.mode:
            here = found.filter(self._ours(found) & (pl.col("file") == f"{file}.csv"))
            for number, part in enumerate(self._parts(file)):
                offset = self._offset(file, number)
                end = offset + self.tables[part.part.table].last_line
                rows = here.filter(pl.col(LINE).is_between(offset + _FIRST_LINE, end))
                moved = rows.with_columns(
                    (pl.col(LINE) - offset).cast(pl.UInt32), file=pl.lit(f"{part.part.table}.csv")
                )
                frames.append(moved)
        return pl.concat(frames)

    def _ours(self, found: pl.DataFrame) -> pl.Expr:
        names = [f"{file}.csv" for file in self.mode]
        return (pl.col("file").is_in(names) & (pl.col(LINE) >= _FIRST_LINE)).fill_null(value=False)

    def _parts(self, file: str) -> list[CheckedPart]:
        if file not in self.mode:
            raise KeyError(file)
        return [p for p in self.mapping.files[file].parts if p.part.table in self.tables]

    def _offset(self, file: str, number: int) -> int:
        """What is added to the lines of a file's part."""
        return sum(self.tables[p.part.table].last_line for p in self._parts(file)[:number])

    def _open(self) -> None:
        if self.closed:
            raise ConnectorError("package_closed", "The package was closed already.", intent=Intent.GIVE_UP)

    def _mapped(
        self, file: CheckedFile, number: int, part: CheckedPart, size: int
    ) -> Iterator[tuple[pl.DataFrame, pl.DataFrame, int]]:
        """Rows of a part, findings about them, and how many found partners that disagree."""
        lookups = self._lookups(file.file, number, part)
        unsure = [j.table in self.tables and self.tables[j.table].bad.height > 0 for j in part.part.join]
        table = self.tables[part.part.table]
        seen: list[pl.DataFrame] = []
        for rows, bad in table.batches(part.needs[part.part.table], size):
            made = mapped(part, file.columns, rows, lookups, unsure)
            kept, found = _without_lost(made.frame, made.lost, file.file)
            if part.part.distinct:
                seen.append(kept)
                kept = kept.clear()
            yield kept, issues.collect([_of_file(bad, file.file), found]), made.several
        if seen:
            whole = pl.concat(seen).unique(file.columns, keep="first", maintain_order=True)
            for frame in whole.iter_slices(size):
                yield frame, issues.empty(), 0

    def _lookups(self, file: str, number: int, part: CheckedPart) -> list[pl.DataFrame]:
        if (file, number) not in self.lookups:
            frames = []
            for join in part.part.join:
                columns = part.needs[join.table]
                if join.table in self.tables:
                    rows = self.tables[join.table].whole(columns)
                else:
                    rows = pl.DataFrame(schema={f"t:{name}": pl.String for name in columns})
                frames.append(partners(part, join, rows))
            self.lookups[file, number] = frames
        return self.lookups[file, number]

    def _about(self, file: str, dropped: int, several: int) -> pl.DataFrame:
        """Findings about the whole file, told with its last batch."""
        name = f"{file}.csv"
        entity = CATALOGUE.files(self.version)[file].name
        found = []
        if dropped:
            found.append(issues.one(rules.LEFT_OUT, entity=entity, file=name, cause=f"{dropped:,} rows"))
        if several:
            found.append(issues.one(rules.SEVERAL_PARTNERS, entity=entity, file=name, cause=f"{several:,} rows"))
        return issues.collect(found)


def digest(parts: Mapping[str, str], *more: str) -> str:
    """SHA-256 over files (name to SHA-256) and what else decides what comes out."""
    total = hashlib.sha256()
    for name in sorted(parts):
        total.update(f"{name}.csv\0{parts[name]}\n".encode())
    for text in more:
        total.update(f"\0{text}".encode())
    return total.hexdigest()


def _moved(frame: pl.DataFrame, offset: int) -> pl.DataFrame:
    return frame.with_columns((pl.col(LINE) + offset).cast(pl.UInt32)) if offset else frame


def _of_file(bad: pl.DataFrame, file: str) -> pl.DataFrame:
    """Findings about a table's rows as findings about the file that is made of them."""
    return bad.with_columns(file=pl.lit(f"{file}.csv"))


def _without_lost(frame: pl.DataFrame, lost: pl.Series, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without those whose partner may be among unreadable rows."""
    if not lost.any():
        return frame, issues.empty()
    gone = frame.filter(lost)
    found = gone.select(
        code=pl.lit(rules.PARTNER_UNREADABLE.code), entity=pl.lit(""), file=pl.lit(f"{file}.csv"), line=pl.col(LINE),
        field=pl.lit(""), key=pl.col("sourcedId").fill_null(""), cause=pl.lit(""),
    )  # fmt: skip
    return frame.filter(~lost), found


def _nothing(file: CheckedFile) -> pl.DataFrame:
    empty = pl.DataFrame(schema={**dict.fromkeys(file.columns, pl.String), LINE: pl.UInt32})
    return apply(file.steps, empty)[0]
