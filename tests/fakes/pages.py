"""A school system that is read page by page, and breaks off, repeats itself or counts wrongly where a test says so.

Its rows come from a CSV package; what is faked is the way in which such systems fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

from connectors.oneroster_csv import CsvPackage, Reading, open_package
from connectors.protocol import (
    Batch,
    Capability,
    ConnectorError,
    ConnectorSpec,
    Intent,
    Mode,
    Pull,
    SourceContext,
    Version,
)  # fmt: skip

Fault = Literal["none", "500", "refused", "reset", "not json", "short", "repeated", "at once"]


class PagesConfig(BaseModel):
    """Where the rows come from, and what goes wrong at which page of which file."""

    path: Path
    fault: Fault = "none"
    file: str = "enrollments"
    page: int = 0
    size: int = 200
    announces: bool = True


class Pages:
    """The package, page by page. ``rows`` says how many rows came, as a connector knows once it has read all pages."""

    def __init__(self, package: CsvPackage, config: PagesConfig) -> None:
        self._package, self._config = package, config
        self.version: Version = package.version
        self.mode: Mapping[str, Mode] = package.mode
        self.digest = f"{package.digest}:{config.fault}:{config.file}:{config.page}"
        self.issues = package.issues
        self.source_system = "pages"

    def rows(self, file: str) -> int | None:
        lost = {"short": -1, "repeated": 1}.get(self._config.fault, 0) if file == self._config.file else 0
        rows = self._package.rows(file)
        return None if rows is None else rows + lost

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        faulty = file == self._config.file
        for number, batch in enumerate(self._package.batches(file, self._config.size)):
            if faulty and number == self._config.page:
                match self._config.fault:
                    case "500":
                        raise ConnectorError("away", "The system answered 500.", intent=Intent.RETRY)
                    case "refused":
                        raise ConnectorError("login", "The system wants another login.", intent=Intent.ASK_HUMAN)
                    case "reset":
                        raise ConnectorError("away", "The connection broke.", intent=Intent.RETRY)
                    case "not json":
                        raise ConnectorError("no_json", "The page is no JSON.", intent=Intent.GIVE_UP)
                    case "short":
                        yield Batch(batch.frame.head(batch.frame.height - 1), batch.issues)
                        continue
                    case "repeated":
                        yield Batch(pl.concat([batch.frame, batch.frame.head(1)]), batch.issues)
                        continue
            yield batch

    def keys(self, file: str) -> pl.Series:
        return self._package.keys(file)

    def close(self) -> None:
        self._package.close()


class PagesSource:
    """One such system."""

    capabilities = frozenset({Capability.BULK})

    def __init__(self, config: PagesConfig) -> None:
        self._config = config

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        if self._config.fault == "at once":
            raise ConnectorError("away", "The system does not answer.", intent=Intent.RETRY)
        package = await asyncio.to_thread(open_package, self._config.path, reading=Reading())
        announced = {file: package.rows(file) or 0 for file in package.mode} if self._config.announces else {}
        return Pull(Pages(package, self._config), {"page": self._config.page}, announced)


def _open(context: SourceContext) -> PagesSource:
    assert isinstance(context.config, PagesConfig)
    return PagesSource(context.config)


SPEC = ConnectorSpec("pages", "A system of pages", PagesConfig, _open)
