"""A district's transform of one source, as it is saved: what becomes of each file's columns, values and rows.

For sources whose files have other headers it also says which tables make which OneRoster file (``mapping``). The models
refuse what they do not know; what only shows when expressions and names are read is found by ``checking``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from transforms.catalogue import Version
from transforms.shaping.tokens import LONGEST

#: The largest definition, as bytes of JSON.
LARGEST = 256 * 1024
Column = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Table = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
_NO_NUL = r"^[^\x00]*$"  # which no database keeps
Cell = Annotated[str, StringConstraints(max_length=1_000, pattern=_NO_NUL)]
Sql = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST, pattern=_NO_NUL)]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,40}$")]
_MOST = 500
_MOST_EXPRESSIONS = 100  # of one file or part: each is evaluated for every row


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True, serialize_by_alias=True)


class Steps(_Strict):
    """What becomes of the rows of one OneRoster file. The members act in the order in which they stand here."""

    columns: dict[Column, Column] = Field(
        default={}, max_length=_MOST, description="Column ← the other column of the file that it is taken from."
    )
    values: dict[Column, dict[Cell, Cell | None]] = Field(
        default={}, max_length=_MOST,
        description="Column → its values and what stands in their place (null: blank). In lists each item is.",
    )  # fmt: skip
    set: dict[Column, Sql] = Field(
        default={}, max_length=_MOST_EXPRESSIONS, description="Column ← an SQL expression over the columns of the row."
    )
    defaults: dict[Column, Cell] = Field(
        default={}, max_length=_MOST, description="Column → what stands where nothing else does."
    )
    where: Sql | None = Field(default=None, description="An SQL condition: rows that do not meet it are left out.")


class Join(_Strict):
    """Another table whose columns are at hand as ``name.column``. A join never multiplies rows."""

    table: Table
    name: Alias
    on: dict[Column, Column] = Field(min_length=1, max_length=8, description="Our column → the joined table's column.")
    many: Literal["one", "list"] = Field(
        default="one", description="What is taken of several rows that fit: the smallest value, or all as a list."
    )
    optional: bool = Field(default=False, description="The package may come without this table.")


class Part(_Strict):
    """Rows of one OneRoster file made from the rows of one table: each row gives one, or none."""

    table: Table
    join: list[Join] = Field(default=[], max_length=8)
    where: Sql | None = Field(default=None, description="Which rows of the table count.")
    columns: dict[Column, Column] = Field(default={}, max_length=_MOST, description="OneRoster column ← column.")
    set: dict[Column, Sql] = Field(
        default={}, max_length=_MOST_EXPRESSIONS, description="OneRoster column ← SQL expression."
    )
    distinct: bool = Field(default=False, description="Equal rows count once: for a file that is a part of wider rows.")
    optional: bool = Field(default=False, description="The package may come without this table.")
    may_lack: list[Column] = Field(
        default=[], max_length=_MOST, description="Columns that the tables may lack; they count as blank then."
    )


class MappedFile(Steps):
    """Where the rows of one OneRoster file come from, one after the other, and what becomes of them."""

    parts: list[Part] = Field(alias="from", min_length=1, max_length=20)


class Mapping(_Strict):
    """How tables with headers of their own give OneRoster files."""

    base: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None,
        description="A built-in mapping (`auto`: told by the headers), to which `files` adds.",
    )
    version: Version = Field(default="1.2", description="The OneRoster version of the files that are made.")
    files: dict[str, MappedFile] = {}


class Definition(_Strict):
    """A whole transform."""

    mapping: Mapping | None = Field(default=None, description="Only for sources of tables.")
    files: dict[str, Steps] = Field(default={}, description="OneRoster file (without .csv) → what becomes of its rows.")


def as_json(model: BaseModel) -> dict[str, object]:
    """The definition without what is left at its default."""
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def mark(model: BaseModel) -> str:
    """SHA-256 of a definition, in hex: equal meaning as written, equal mark."""
    text = orjson.dumps(model.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()
