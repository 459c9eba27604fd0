"""Few people: a list of values for each column, where a column of the engine would take longer than all that is asked.

To make a frame of three people takes a millisecond, and each question to one of its columns some microseconds more. So
a few are lists from the database to the arrays that are compared; a district is a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True, slots=True)
class Few:
    """What a frame has, as lists of one length by name."""

    lists: Mapping[str, Sequence[Any]]

    def __getitem__(self, name: str) -> Sequence[Any]:
        """The values of a column."""
        return self.lists[name]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.lists)

    @property
    def height(self) -> int:
        """How many they are."""
        return len(self.lists["rid"])

    def beside(self, made: Mapping[str, Sequence[Any]]) -> Few:
        """The same with more columns."""
        return Few({**self.lists, **made})

    def above(self, others: Few) -> Few:
        """The same with others below, who have the same columns."""
        return Few({name: [*values, *others.lists[name]] for name, values in self.lists.items()})

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Few:
        """The rows of a frame."""
        return cls(frame.to_dict(as_series=False))

    def frame(self, schema: Mapping[str, Any]) -> pl.DataFrame:
        """A frame of some of the columns."""
        return pl.DataFrame([pl.Series(name, self.lists[name], dtype) for name, dtype in schema.items()])


People = pl.DataFrame | Few
