"""Which objects the rows of a RAW frame name, before anything is known of them: themselves and what they refer to."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Entity, Kind, Version
from transforms.normalise.lists import items
from transforms.sheet import no_keys
from transforms.validate.identifiers import trimmed


def named(entity: Entity, version: Version, frame: pl.DataFrame) -> pl.Series:
    """The keys, each as it stands and as the chain reads it (trimmed, from lists): more than are meant, never fewer."""
    fields = {f.csv_name: f for f in entity.csv_columns(version) if f.kind is Kind.REF and f.csv_name}
    found = [no_keys()]
    for column in {"sourcedId", *fields} & set(frame.columns):
        cells = frame[column].drop_nulls().unique()
        found += [cells, trimmed(cells)]
        if column in fields and fields[column].many:
            listed = items(cells, identifiers=True)["item"]
            found += [listed, trimmed(listed)]
    return pl.concat([part.rename("key").cast(pl.String) for part in found]).drop_nulls().unique()
