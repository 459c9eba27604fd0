"""A package seen in another way: shaped, without somebody, with what ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from connectors.protocol import Batch, Mode, Package, located, pair_marks
from transforms.catalogue import Version


class Around:
    """What a subclass does not say otherwise is as ``package`` says; closing it closes that."""

    package: Package

    @property
    def version(self) -> Version:
        """That of the package."""
        return self.package.version

    @property
    def mode(self) -> Mapping[str, Mode]:
        """That of the package."""
        return self.package.mode

    @property
    def digest(self) -> str:
        """That of the package."""
        return self.package.digest

    @property
    def issues(self) -> pl.DataFrame:
        """Those of the package."""
        return self.package.issues

    @property
    def source_system(self) -> str | None:
        """That of the package."""
        return self.package.source_system

    def rows(self, file: str) -> int | None:
        """The rows of the package."""
        return self.package.rows(file)

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of the package."""
        return self.package.batches(file, size)

    def keys(self, file: str) -> pl.Series:
        """The keys of all rows of the package."""
        return self.package.keys(file)

    def marks(self, file: str) -> pl.Series:
        """Those of all rows of the package."""
        return pair_marks(self.package, file)

    def located(self, found: pl.DataFrame) -> pl.DataFrame:
        """As the package says."""
        return located(self.package, found)

    def close(self) -> None:
        """Closes the package."""
        self.package.close()
