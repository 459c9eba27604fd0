"""Reading a package as a sync would, without a database: what ``hub validate`` says, and a transform's preview."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import polars as pl

from connectors.oneroster_csv import open_package
from connectors.protocol import Package, located
from connectors.shaped import shape
from connectors.table_csv import headers, open_tables
from hub.sync.outcomes import repeated_pairs
from transforms.catalogue import CATALOGUE, Entity
from transforms.issues import RULES, Severity, collect
from transforms.pipeline import Transform, duplicated
from transforms.rules.settings import DEFAULTS, RuleSettings
from transforms.shaping.checking import Checked
from transforms.shaping.definition import Mapping
from transforms.shaping.detect import detected
from transforms.shaping.mapping import AUTO
from transforms.shaping.rules import RECOGNISED

#: Entities that others refer to are taken whole, the large ones in batches.
_BATCH_ROWS = 250_000
_WHOLE = 1 << 30


@dataclass
class Examined:
    """What a package is and what was found in it. ``good``: rows per entity that would be applied.

    ``format``: that of tables whose headers told it.
    """

    version: str
    refused: bool
    digest: str
    files: list[str]
    format: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    good: dict[str, int] = field(default_factory=dict)
    findings: list[pl.DataFrame] = field(default_factory=list)

    @property
    def issues(self) -> pl.DataFrame:
        """All findings in one frame."""
        return collect(self.findings)


def opened(path: Path, transform: Checked | None = None) -> Package:
    """The package at ``path``: OneRoster, or tables by the transform's mapping or one that their headers tell.

    Raises ConnectorError. The caller closes the package.
    """
    mapping = transform.definition.mapping if transform is not None else None
    if mapping is None:
        name = detected(headers(path))
        mapping = None if name is None else Mapping(base=AUTO)
    return shape(open_package(path) if mapping is None else open_tables(path, mapping), transform)


def examine(
    path: Path, progress: Callable[[str, int | None], None] = lambda *_: None, transform: Checked | None = None,
    today: date | None = None, rules: RuleSettings = DEFAULTS,
) -> Examined:  # fmt: skip
    """Reads the package at ``path`` through the whole chain; ``progress`` is told (file, its rows).

    ``today``: the day on which students should have classes; without it nobody is missed. ``rules``: what was set
    for rules. Raises ConnectorError (``unreadable``, ``bad_mapping``, ``transform_failed``).
    """
    package = opened(path, transform)
    try:
        return examined(package, progress, today, rules)
    finally:
        package.close()


def examined(
    package: Package, progress: Callable[[str, int | None], None] = lambda *_: None, today: date | None = None,
    rules: RuleSettings = DEFAULTS,
) -> Examined:  # fmt: skip
    """The same of a package that is open, which stays so."""
    blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_SYNC]
    refused = bool(package.issues["code"].is_in(blocking).any())
    told = package.issues.filter(pl.col("code") == RECOGNISED.code)["cause"].to_list()
    found = Examined(package.version, refused, package.digest, sorted(package.mode), format=told[0] if told else None)
    if not refused:
        _entities(package, found, progress, today, rules)
    found.findings = [rules.kept(f) for f in (package.issues, *(located(package, frame) for frame in found.findings))]
    return found


def _entities(
    package: Package, found: Examined, progress: Callable[[str, int | None], None], today: date | None,
    rules: RuleSettings,
) -> None:  # fmt: skip
    run = Transform(package.version, today=today, rules=rules)
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
            _raw(package, entity, entity.csv_file, size, found, counted=rows is None),
            components={name: _raw(package, entity, name, _WHOLE, found) for name in files},
            duplicate_keys=None if whole else duplicated(package.keys(entity.csv_file)),
            repeated=repeated_pairs(package, entity),
        )
        for outcome in outcomes:
            found.findings.append(outcome.issues)
            found.good[entity.name] += outcome.frame.height


def _raw(
    package: Package, entity: Entity, file: str, size: int, found: Examined, *, counted: bool = False
) -> Iterator[pl.DataFrame]:
    """RAW frames of one file; what its reader found is kept under the entity that the file belongs to.

    ``counted``: the package did not know beforehand how many rows it has.
    """
    blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_RECORD]
    for batch in package.batches(file, size):
        found.findings.append(batch.issues.with_columns(entity=pl.lit(entity.name)))
        if file == entity.csv_file:  # lines that are no rows are among those that do not go in
            found.rows[entity.name] += batch.issues.filter(pl.col("code").is_in(blocking)).height
        found.rows[entity.name] += batch.frame.height if counted else 0
        yield batch.frame
