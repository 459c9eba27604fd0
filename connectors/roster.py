"""OneRoster files that a connector makes from a system's own objects: rows are added as they come, and go to disk."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from connectors.http import Web
from connectors.protocol import ConnectorError, Intent, Mode, SourceContext
from connectors.spool import METADATA, Spool
from connectors.spooled import SpooledPackage
from transforms import issues
from transforms.catalogue import CATALOGUE, Version


@dataclass
class Roster:
    """The files of one pull. ``findings``: what there is to say about them.

    A file of changes (``mode`` "delta") says of each row that it is active, or of keys that they ended.
    """

    folder: Path
    version: Version = "1.2"
    spools: dict[str, Spool] = field(default_factory=dict)
    findings: list[pl.DataFrame] = field(default_factory=list)

    def begin(self, file: str, mode: Mode = "bulk") -> None:
        """A file (its name without ``.csv``) is there, if only without rows; what it had so far is forgotten."""
        if file in self.spools:
            self.spools[file].begin_again()
        header = CATALOGUE.files(self.version)[file].csv_header(self.version)
        self.spools[file] = Spool(self.folder, file, header, mode)

    def add(self, file: str, columns: Mapping[str, Sequence[str | None] | pl.Series]) -> None:
        """Rows of a file that was begun, column by column; columns that are missing are blank.

        Takes processor time, and writes to disk: call it in a thread. Raises KeyError for a column that is neither of
        the file's header nor ``metadata.<name>``.
        """
        self.put(file, pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name, values in columns.items()}))

    def put(self, file: str, frame: pl.DataFrame) -> None:
        """The same of a frame of String columns."""
        spool, columns = self.spools[file], frame.columns
        if unknown := [n for n in columns if n not in spool.header and not n.startswith(METADATA)]:
            raise KeyError(f"{file}.csv has no column {unknown[0]}")
        missing = [n for n in spool.header if n not in columns]
        frame = frame.with_columns(pl.all().replace("", None), *(pl.lit(None, pl.String).alias(n) for n in missing))
        if spool.mode == "delta" and "status" not in columns:
            frame = frame.with_columns(pl.lit("active").alias("status"))
        spool.add(frame.select(*spool.header, *(n for n in columns if n not in spool.header)))

    def end(self, file: str, keys: Iterable[str]) -> None:
        """Rows of a file of changes: the objects with these keys ended."""
        found = list(keys)
        self.add(file, {"sourcedId": found, "status": ["tobedeleted"] * len(found)})

    def finish(self, file: str) -> int:
        """Ends a file. Of rows with one sourcedId the last stays; how many went."""
        self.spools[file].finish()
        return self.spools[file].keep_last()

    def drop(self, file: str) -> None:
        """A file is not there after all: what the hub has of it stays."""
        self.spools.pop(file).begin_again()

    def package(self, source_system: str | None = None) -> SpooledPackage:
        """All files that were begun, each finished."""
        return SpooledPackage(self.version, self.folder, self.spools, issues.collect(self.findings), source_system)


@asynccontextmanager
async def pulling(context: SourceContext, quiet_seconds: float = 0.0) -> AsyncIterator[tuple[Web, Path]]:
    """Connections and a folder for one pull; what an error leaves in the folder goes.

    ``quiet_seconds``: for how long the system wants to be left alone. Raises ConnectorError (``quiet_hours``).
    """
    if quiet_seconds:
        text = "The system has its quiet hours. The source is pulled when they are over."
        raise ConnectorError("quiet_hours", text, intent=Intent.RETRY, wait_seconds=quiet_seconds)
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="rosterhub-pull-", dir=context.work_folder))
    try:
        async with Web.of(context) as web:
            yield web, folder
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
