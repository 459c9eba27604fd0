"""Where the values of merged records come from, kept until a run is applied.

The same few sets of origins recur in all records of a district, each of them some hundred bytes: each is kept once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import orjson
import polars as pl
from pyroaring import BitMap

from hub.store.statements import Origins
from transforms.catalogue import Entity
from transforms.marks import as_list


class Provenance:
    """Of the records that a run merges. Each record is added once."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self._records: dict[str, pl.DataFrame] = {}

    def __bool__(self) -> bool:
        return bool(self._records)

    def add(self, entity: Entity, provenance: pl.DataFrame) -> Origins:
        """Keeps rid and fields (JSON, field to source) of records of an entity; the same as it is written."""
        numbers = self._numbers[entity.name]
        for fields in provenance["fields"].unique(maintain_order=True):
            numbers.setdefault(fields, len(numbers))
        which = provenance["fields"].replace_strict(numbers, return_dtype=pl.Int32).alias("number")
        more = pl.DataFrame([provenance["rid"].cast(pl.Int32), which])
        self._records[entity.name] = pl.concat([self._records.get(entity.name, more.clear()), more])
        return self._origins(entity.name, more)

    def withhold(self, entity: Entity, rids: Iterable[int]) -> None:
        """Leaves some records out."""
        if (known := self._records.get(entity.name)) is not None:
            withheld = pl.Series(list(rids), dtype=pl.Int32)
            self._records[entity.name] = known.filter(~known["rid"].is_in(as_list(withheld)))

    def left(self, written: Mapping[str, BitMap]) -> Iterator[Origins]:
        """By entity, those of records that are not written yet."""
        for name, found in self._records.items():
            done = pl.Series(list(written.get(name, ())), dtype=pl.Int32)
            rows = found.filter(~found["rid"].is_in(as_list(done))) if done.len() else found
            if rows.height:
                yield self._origins(name, rows)

    def _origins(self, entity: str, rows: pl.DataFrame) -> Origins:
        """Rows in the order of their key."""
        rows, fields = rows.sort("rid"), [orjson.loads(text) for text in self._numbers[entity]]
        return Origins(entity, rows["rid"].to_list(), rows["number"].to_list(), fields)
