"""The source: tables that somebody sent, or that lie in a local folder and are looked at again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from connectors.oneroster_csv.encoding import Encoding
from connectors.oneroster_csv.table import Reading
from connectors.places import taking
from connectors.places.place import Placed
from connectors.places.probe import probe
from connectors.places.settled import settled
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.table_csv.opening import open_tables, stem
from transforms.shaping import definition
from transforms.shaping.mapping import AUTO, check_mapping
from transforms.shaping.steps import Fault


class TableCsvConfig(Placed):
    """What a district may set for a source of tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(
        default=None, description="A ZIP archive or folder on the hub's machine that is pulled. Empty: uploads only."
    )
    settle_seconds: int = Field(
        default=60, ge=0, le=86_400,
        description="A file at path must be this old, so that it is not still being written. At a place of another"
        " machine: how far apart it is looked at twice, 600 at most.",
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

    def __init__(self, context: SourceContext, config: TableCsvConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Packages that are sent, and pulls where there is a path or a place."""
        sent = frozenset({Capability.BULK, Capability.UPLOAD})
        return sent | {Capability.PULL} if self._config.path or self._config.place else sent

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Opens the package that was sent, or the newest one at the configured path or place.

        A package is always read whole; the new cursor holds its digest. At a place nothing is copied that ``cursor``
        says is known. Raises ConnectorError (``no_package``, ``package_missing``, ``package_unsettled``,
        ``unreadable``, ``bad_mapping``, and for a place what ``connectors.places.taking.pull`` raises).
        """
        config, context = self._config, self._context
        if context.upload is None and config.place is not None:
            return await taking.pull(config.place, context, config.settle_seconds, cursor, stem, self._read)
        return await asyncio.to_thread(self._pull)

    def _pull(self) -> Pull:
        config, context = self._config, self._context
        return self._read(context.upload or settled(config.path, config.settle_seconds, context.now))

    def _read(self, path: Path) -> Pull:
        config, context = self._config, self._context
        reading = Reading(config.encoding)
        package = open_tables(path, config.mapping, context.limits, reading=reading, work_folder=context.work_folder)
        return Pull(package, {"digest": package.digest})

    async def waiting(self, cursor: Mapping[str, Any] | None) -> list[Any] | None:
        """What has come into the watched folder since ``cursor`` and is whole. Raises ConnectorError."""
        config = self._config
        return await taking.waiting(config.place, self._context, config.settle_seconds, cursor, stem)

    async def probe(self) -> Sequence[Found]:
        """Looks whether there is a package, and takes nothing."""
        config = self._config
        return await probe(config.place, config.path, config.settle_seconds, self._context, stem)


def open_source(context: SourceContext) -> TableCsvSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, TableCsvConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return TableCsvSource(context, context.config)
