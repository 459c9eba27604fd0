"""The rows of one file, from frames of records to the text of a part of the file. CPU-bound: call it in threads.

A package holds no row without its required values: strict readers refuse the whole file for one. Such rows are counted.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import polars as pl

from hub.export import complete as completing
from hub.export import nested
from hub.export.cells import cells, one_line, read
from hub.export.complete import Known, complete
from hub.export.layout import File
from hub.export.sight import Sight
from hub.store.extract import Records, Wanted

ACTIVE, DELETED = "active", "tobedeleted"
_SPECIAL = '",\r\n'


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file as text, how many they are, and how many were left out because they lack a value."""

    text: bytes
    rows: int
    omitted: int


@dataclass(frozen=True)
class Writer:
    """Makes the rows of one file. ``metadata``: names of metadata columns, in their order."""

    file: File
    metadata: tuple[str, ...] = ()

    def wanted(self, sight: Sight) -> Wanted:
        """What has to be read of records."""
        file = self.file
        if file.field is not None:
            fields, documents = nested.fields(file), nested.documents(file, sight)
            return Wanted(file.owner, fields, documents=documents, only_documents=not fields)
        by_name = {f.name: f for f in (*read(file, sight), *completing.fields(file))}
        return Wanted(file.owner, tuple(by_name.values()), self.metadata, completing.documents(file, sight))

    @property
    def header(self) -> bytes:
        """The first line of the file."""
        names = (*self.file.header, *(f"metadata.{name}" for name in self.metadata))
        return (",".join(map(_quoted, names)) + "\r\n").encode()

    def rows(self, sight: Sight, known: Known, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of records of the owner: rid, and all columns of the file but status and dateLastModified."""
        if self.file.field is not None:
            found = nested.rows(self.file, sight, table)
        else:
            found = complete(self.file, sight, table, cells(self.file, sight, table), known)
        return found.select(
            "rid",
            *(
                pl.col(name) if name in found.columns else pl.lit(None, pl.String).alias(name)
                for name in (*self.file.header, *(f"metadata.{name}" for name in self.metadata))
                if name not in {"status", "dateLastModified"}
            ),
        )

    def sound(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that have all required values."""
        lacking = [n for n in self.file.required if rows[n].null_count()]
        return rows.drop_nulls(lacking) if lacking else rows

    def bulk(self, sight: Sight, known: Known, records: Records) -> Part:
        """The rows of records in a bulk file."""
        rows = self.rows(sight, known, records.frame)
        sound = self.sound(rows)
        nothing = pl.lit(None, pl.String)
        whole = sound.with_columns(status=nothing, dateLastModified=nothing)
        # Lists have commas of our own.
        quoted = records.quoted or any(f.many for f in self.file.columns)
        return Part(self._text(whole, quoted=quoted, broken=records.broken), sound.height, rows.height - sound.height)

    def delta(self, after: pl.DataFrame, before: pl.DataFrame, modified: pl.Series) -> Part:
        """What changed between the rows of some records ``before`` and ``after``, in a delta file.

        ``modified``: at the index of a rid, the time to state. Rows that are gone say what their required columns said
        last, since strict readers ask for it, and nothing else.
        """
        rows = self.sound(after)
        was = self.sound(before)
        columns = [name for name in rows.columns if name != "rid"]
        new = rows.join(was, on=columns, how="anti", nulls_equal=True).with_columns(status=pl.lit(ACTIVE))
        gone = was.join(rows, on="sourcedId", how="anti").with_columns(status=pl.lit(DELETED))
        gone = gone.with_columns(
            pl.lit(None, pl.String).alias(name) for name in columns if name not in self.file.required
        )
        both = pl.concat([new, gone]).sort("sourcedId")
        both = both.with_columns(modified.gather(both["rid"]).alias("dateLastModified"))
        return Part(self._text(both, quoted=True, broken=True), both.height, after.height - rows.height)

    def _text(self, frame: pl.DataFrame, *, quoted: bool, broken: bool) -> bytes:
        names = (*self.file.header, *(f"metadata.{name}" for name in self.metadata))
        whole = frame.select(names)
        if broken:
            whole = one_line(whole)
        buffer = io.BytesIO()
        style: Literal["necessary", "never"] = "necessary" if quoted else "never"
        whole.write_csv(buffer, include_header=False, line_terminator="\r\n", quote_style=style)
        return buffer.getvalue()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in _SPECIAL) else name
