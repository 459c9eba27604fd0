"""Which objects a small package of changes names: the rest of a large district need not be read for it."""

from __future__ import annotations

import polars as pl

from connectors.protocol import Package
from transforms.catalogue import CATALOGUE, Entity
from transforms.naming import named
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
        found += [named(entity, package.version, batch.frame) for batch in package.batches(file)]
    return pl.concat(found).unique()


def comes(package: Package, entity: Entity) -> bool:
    """Whether a package says anything of an entity: by its own file, or by changes of what nests in it."""
    files = [c.csv_file for c in CATALOGUE.components_of(entity.name)]
    return entity.csv_file in package.mode or any(package.mode.get(file) == "delta" for file in files)
