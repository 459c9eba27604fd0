"""What one pull brought, as ``connectors.protocol.Package`` describes it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from connectors.protocol import Batch, ConnectorError, Intent, Mode
from connectors.spool import Spool
from transforms import issues as findings
from transforms.catalogue import Version


@dataclass(slots=True)
class SpooledPackage:
    """The rows of all files, in a private folder. All findings are about whole files, so batches have none."""

    version: Version
    folder: Path
    spools: Mapping[str, Spool] = field(repr=False)
    issues: pl.DataFrame
    source_system: str | None = None
    closed: bool = False

    @property
    def mode(self) -> Mapping[str, Mode]:
        """The files and how each is meant."""
        return {file: spool.mode for file, spool in self.spools.items()}

    @property
    def digest(self) -> str:
        """SHA-256 over the files, how they are meant and their rows."""
        total = hashlib.sha256(self.version.encode())
        for file in sorted(self.spools):
            total.update(f"{file}\0{self.spools[file].mode}\0{self.spools[file].digest}\n".encode())
        return total.hexdigest()

    def rows(self, file: str) -> int | None:
        """The number of rows."""
        return self.spools[file].rows

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """The rows of ``file``, at most ``size`` at a time."""
        if size < 1:
            raise ValueError("a batch has at least one row")
        waiting: list[pl.DataFrame] = []
        for frame in self._open(file).frames():
            waiting.append(frame)
            if sum(one.height for one in waiting) >= size:
                rows = pl.concat(waiting)
                end = rows.height // size * size
                for start in range(0, end, size):
                    yield Batch(rows[start : start + size], findings.empty())
                waiting = [rows[end:]]
        if any(one.height for one in waiting) or not self._open(file).rows:
            yield Batch(pl.concat(waiting), findings.empty())

    def keys(self, file: str) -> pl.Series:
        """The sourcedIds of ``file``."""
        return self._open(file).keys()

    def close(self) -> None:
        """Removes the folder."""
        self.closed = True
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, file: str) -> Spool:
        if self.closed:
            raise ConnectorError("package_closed", "The package was closed already.", intent=Intent.GIVE_UP)
        return self.spools[file]
