"""Reading the files of a package, and remembering which rows could not be read: nothing may be concluded from those."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from connectors.protocol import Package
from transforms.catalogue import CATALOGUE, Entity
from transforms.issues import RULES, Severity
from transforms.marks import stacked
from transforms.pipeline import Outcome
from transforms.sheet import no_keys


class Files:
    """The files of one package. ``issues`` grow while they are read.

    ``unread``, by file: the keys of rows that the reader kept out. ``unreadable``: files with a row of which nobody can
    tell whose it is.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self.issues: list[pl.DataFrame] = [package.issues]
        self.unread: dict[str, list[pl.Series]] = {}
        self.unreadable: set[str] = set()

    def rows(self, file: str, size: int) -> Iterator[pl.DataFrame]:
        """RAW frames of one file. Rows that the reader kept out count as known; of unreadable ones nobody can tell."""
        # Connectors declare their rules when they are loaded, which may be after this module was.
        blocking = [code for code, rule in RULES.items() if rule.severity is Severity.BLOCK_RECORD]
        for batch in self._package.batches(file, size):
            self.issues.append(batch.issues)
            if batch.issues.height:
                kept_out = batch.issues["key"].filter(batch.issues["code"].is_in(blocking))
                if (kept_out.fill_null("") == "").any():
                    self.unreadable.add(file)
                self.unread.setdefault(file, []).append(kept_out)
            yield batch.frame

    def unread_keys(self, entity: Entity) -> pl.Series:
        """The keys of rows that the reader kept out: their older versions stay, so references to them hold."""
        found = self.unread.get(entity.csv_file)
        return stacked([no_keys(), *found]).drop_nulls() if found else no_keys()

    def partial(self, entity: Entity, outcome: Outcome) -> pl.Series:
        """The keys of rows that lack components which could not be read; nobody knows whose those of the reader are."""
        files = [component.csv_file for component in CATALOGUE.components_of(entity.name)]
        if any(keys.len() for file in files for keys in self.unread.get(file, [])):
            return stacked([outcome.frame["key"], outcome.partial])
        return outcome.partial
