"""Which objects a small package of changes names: the rest of a large district need not be read for it."""

from __future__ import annotations

import polars as pl

from connectors.protocol import Package
from transforms.catalogue import CATALOGUE, Kind
from transforms.sheet import no_keys

#: Packages with more rows are compared with all that their source has said.
MOST_ROWS = 20_000


def named_keys(package: Package) -> pl.Series | None:
    """All keys that a package of changes alone names, its own and those it refers to; None for any other package.

    Reads the files once more; call it in a thread.
    """
    if not package.mode or any(mode != "delta" for mode in package.mode.values()):
        return None
    rows = [package.rows(file) for file in package.mode]
    if any(count is None for count in rows) or sum(count or 0 for count in rows) > MOST_ROWS:
        return None
    found = [no_keys()]
    for file in package.mode:
        entity = CATALOGUE.files(package.version)[file]
        references = (f.csv_name for f in entity.csv_columns(package.version) if f.kind is Kind.REF)
        columns = {"sourcedId", *(name for name in references if name)}
        for batch in package.batches(file):
            for name in columns & set(batch.frame.columns):
                values = batch.frame[name].drop_nulls()
                # As they stand and as items of a list: an id may have a comma or spaces in it.
                found += [values, values.str.strip_chars(), values.str.split(",").explode().str.strip_chars()]
    return pl.concat([part.rename("key").cast(pl.String) for part in found]).drop_nulls().unique()
