"""The rows of one file, from frames of records to the text of a part of the file. CPU-bound: call it in threads.

A package holds no row without its required values: strict readers refuse the whole file for one. Such rows are counted.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from hub.export import complete as completing
from hub.export import nested
from hub.export.cells import cells, one_line, read
from hub.export.complete import Known, complete
from hub.export.layout import File
from hub.export.older import converted, extras
from hub.export.people import People
from hub.export.people import fields as deciding
from hub.export.sight import Sight
from hub.scope.v1p1 import Style
from hub.store.extract import Records, Wanted
from transforms.catalogue import Field

ACTIVE, DELETED = "active", "tobedeleted"
_SPECIAL = '",\r\n'
_BATCH = 2048  # rows that are written at a time: a fifth faster than with a quarter or four times of it


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file as text, how many they are, and how many were left out because they lack a value."""

    text: bytes
    rows: int
    omitted: int


@dataclass(frozen=True)
class Seen:
    """What an app sees at one moment, and what rows need beside the records themselves."""

    sight: Sight
    known: Known = field(default_factory=Known)
    people: People = field(default_factory=People)


@dataclass(frozen=True)
class Writer:
    """Makes the rows of one file. ``metadata``: names of the records' own metadata that get a column.

    ``persons``: whether users of 1.1 say which person they are.
    """

    file: File
    metadata: tuple[str, ...] = ()
    style: Style = field(default_factory=Style)
    persons: bool = False

    def wanted(self, sight: Sight) -> Wanted:
        """What has to be read of records."""
        file = self.file
        if file.field is not None:
            fields, documents = nested.fields(file), nested.documents(file, sight)
            return Wanted(file.owner, fields, documents=documents, only_documents=not fields)
        more = (*completing.fields(file), *(deciding(sight) if self._of_people else ()), *self._extras(sight))
        by_name = {f.name: f for f in (*read(file, sight), *more)}
        return Wanted(file.owner, tuple(by_name.values()), self.metadata, completing.documents(file, sight))

    def names(self, sight: Sight) -> tuple[str, ...]:
        """The columns of the file, those of metadata at their end."""
        metadata = {*self.metadata, *(f.name for f in self._extras(sight)), *(["person"] if self.persons else [])}
        return (*self.file.header, *(f"metadata.{name}" for name in sorted(metadata)))

    def header(self, sight: Sight) -> bytes:
        """The first line of the file."""
        return (",".join(map(_quoted, self.names(sight))) + "\r\n").encode()

    @property
    def _of_people(self) -> bool:
        return self.file.version == "1.1" and self.file.entity.name == "users"

    def _extras(self, sight: Sight) -> tuple[Field, ...]:
        return extras(self.file, sight, self.style)

    def rows(self, seen: Seen, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of records of the owner: rid, and all columns of the file but status and dateLastModified."""
        file, sight = self.file, seen.sight
        if file.field is not None:
            found = nested.rows(file, sight, table)
        else:
            found = complete(file, sight, table, cells(file, sight, table), seen.known)
            if file.version == "1.1":
                found = converted(file, sight, self.style, seen.people, table, found)
        names = (n for n in self.names(sight) if n not in {"status", "dateLastModified"})
        return found.select(
            "rid", *(pl.col(n) if n in found.columns else pl.lit(None, pl.String).alias(n) for n in names)
        )

    def sound(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that have all required values."""
        lacking = [n for n in self.file.required if rows[n].null_count()]
        return rows.drop_nulls(lacking) if lacking else rows

    def bulk(self, seen: Seen, records: Records) -> Part:
        """The rows of records in a bulk file."""
        rows = self.rows(seen, records.frame)
        sound = self.sound(rows)
        nothing = pl.lit(None, pl.String)
        whole = sound.with_columns(status=nothing, dateLastModified=nothing).select(self.names(seen.sight))
        # Lists have commas of our own, and ids that an app chose may have any.
        quoted = records.quoted or bool(seen.sight.shown) or any(f.many for f in self.file.columns)
        return Part(_text(whole, quoted=quoted, broken=records.broken), sound.height, rows.height - sound.height)

    def delta(
        self, seen: Seen, after: pl.DataFrame, before: pl.DataFrame, modified: pl.Series
    ) -> Part:  # fmt: skip
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
        text = _text(both.select(self.names(seen.sight)), quoted=True, broken=True)
        return Part(text, both.height, after.height - rows.height)


def _text(frame: pl.DataFrame, *, quoted: bool, broken: bool) -> bytes:
    buffer = io.BytesIO()
    style: Literal["necessary", "never"] = "necessary" if quoted else "never"
    whole = one_line(frame) if broken else frame
    whole.write_csv(buffer, include_header=False, line_terminator="\r\n", quote_style=style, batch_size=_BATCH)
    return buffer.getvalue()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(c in name for c in _SPECIAL) else name
