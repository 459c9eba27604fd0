"""The source: tables that somebody sent, or that lie in a local folder and are looked at again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from connectors.oneroster_csv.encoding import Encoding
from connectors.oneroster_csv.source import settled
from connectors.oneroster_csv.table import Reading
from connectors.protocol import Capability, ConnectorError, Intent, Pull, SourceContext
from connectors.table_csv.opening import open_tables
from transforms.shaping import definition
from transforms.shaping.mapping import AUTO, check_mapping
from transforms.shaping.steps import Fault


class TableCsvConfig(BaseModel):
    """What a district may set for a source of tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(
        default=None, description="A ZIP archive or folder on the hub's machine that is pulled. Empty: uploads only."
    )
    settle_seconds: int = Field(
        default=60, ge=0, le=86_400,
        description="A file at path must be this old, so that it is not still being written.",
    )  # fmt: skip
    encoding: Encoding | None = Field(
        default=None, description="The encoding of the files where it is known and they do not say so themselves."
    )
    mapping: definition.Mapping = Field(
        default=definition.Mapping(base=AUTO),
        description="How the tables give OneRoster files; the source's transform may state another.",
    )

    @field_validator("mapping")
    @classmethod
    def _fits(cls, mapping: definition.Mapping) -> definition.Mapping:
        faults: list[Fault] = []
        check_mapping(mapping, faults)
        if faults:
            raise ValueError(f"{faults[0].place.removeprefix('mapping.')}: {faults[0].message}")
        return mapping


class TableCsvSource:
    """One district's tables."""

    capabilities = frozenset({Capability.BULK, Capability.UPLOAD})

    def __init__(self, context: SourceContext, config: TableCsvConfig) -> None:
        self._context = context
        self._config = config

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Opens the package that was sent, or the one at the configured path.

        A package is always read whole, whatever ``cursor`` says; the new cursor holds its digest. Raises ConnectorError
        (``no_package``, ``package_missing``, ``package_unsettled``, ``unreadable``, ``bad_mapping``).
        """
        return await asyncio.to_thread(self._pull)

    def _pull(self) -> Pull:
        config, context = self._config, self._context
        path = context.upload or settled(config.path, config.settle_seconds, context.now)
        reading = Reading(config.encoding)
        package = open_tables(path, config.mapping, context.limits, reading=reading, work_folder=context.work_folder)
        return Pull(package, {"digest": package.digest})


def open_source(context: SourceContext) -> TableCsvSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, TableCsvConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return TableCsvSource(context, context.config)
