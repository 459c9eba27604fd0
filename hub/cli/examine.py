"""Reading a package as a sync would, without a database: what ``hub validate`` and nobody else needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from connectors.oneroster_csv import CsvPackage, open_package
from transforms.catalogue import CATALOGUE, Entity
from transforms.issues import RULES, Severity, collect
from transforms.pipeline import Transform, duplicated

#: Entities that others refer to are taken whole, the large ones in batches.
_BATCH_ROWS = 250_000
_WHOLE = 1 << 30


@dataclass
class Examined:
    """What a package is and what was found in it. ``good``: rows per entity that would be applied."""

    version: str
    refused: bool
    digest: str
    files: list[str]
    rows: dict[str, int] = field(default_factory=dict)
    good: dict[str, int] = field(default_factory=dict)
    findings: list[pl.DataFrame] = field(default_factory=list)

    @property
    def issues(self) -> pl.DataFrame:
        """All findings in one frame."""
        return collect(self.findings)


def examine(path: Path, progress: Callable[[str, int | None], None] = lambda *_: None) -> Examined:
    """Reads the package at ``path`` through the whole chain; ``progress`` is told (file, its rows).

    Raises ConnectorError (``unreadable``) when its bytes cannot be read.
    """
    package = open_package(path)
    try:
        files = sorted(package.mode)
        found = Examined(package.version, package.refused, package.digest, files, findings=[package.issues])
        if not package.refused:
            _entities(package, found, progress)
        return found
    finally:
        package.close()


def _entities(package: CsvPackage, found: Examined, progress: Callable[[str, int | None], None]) -> None:
    run = Transform(package.version)
    for entity in CATALOGUE.entities:
        if entity.csv_file not in package.mode:
            continue
        rows = package.rows(entity.csv_file)
        progress(entity.csv_file, rows)
        found.rows[entity.name] = rows or 0
        found.good[entity.name] = 0
        whole = entity.rid_of is None and any(f.target == entity.name for e in CATALOGUE.entities for f in e.references)
        size = _WHOLE if whole else _BATCH_ROWS
        files = [c.csv_file for c in CATALOGUE.components_of(entity.name) if c.csv_file in package.mode]
        outcomes = run.entity(
            entity.name,
            _raw(package, entity, entity.csv_file, size, found),
            components={name: _raw(package, entity, name, _WHOLE, found) for name in files},
            duplicate_keys=None if whole else duplicated(package.keys(entity.csv_file)),
        )
        for outcome in outcomes:
            found.findings.append(outcome.issues)
            found.good[entity.name] += outcome.frame.height


def _raw(package: CsvPackage, entity: Entity, file: str, size: int, found: Examined) -> Iterator[pl.DataFrame]:
    """RAW frames of one file; what its reader found is kept under the entity that the file belongs to."""
    blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_RECORD]
    for batch in package.batches(file, size):
        found.findings.append(batch.issues.with_columns(entity=pl.lit(entity.name)))
        if file == entity.csv_file:  # lines that are no rows are among those that do not go in
            found.rows[entity.name] += batch.issues.filter(pl.col("code").is_in(blocking)).height
        yield batch.frame
