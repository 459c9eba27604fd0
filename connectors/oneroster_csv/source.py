"""The source: a package that somebody sent, or one that lies in a local folder and is looked at again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from connectors.oneroster_csv.encoding import Encoding
from connectors.oneroster_csv.names import known_file
from connectors.oneroster_csv.reader import open_package
from connectors.oneroster_csv.table import Reading
from connectors.places import taking
from connectors.places.place import Placed
from connectors.places.probe import probe
from connectors.places.settled import settled
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext


class OneRosterCsvConfig(Placed):
    """What a district may set for its OneRoster CSV source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(
        default=None, description="A ZIP archive or folder on the hub's machine that is pulled. Empty: uploads only."
    )
    settle_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        description="A file at path must be this old, so that it is not still being written. At a place of another"
        " machine: how far apart it is looked at twice, 600 at most.",
    )
    encoding: Encoding | None = Field(
        default=None, description="The encoding of the files where it is known and they do not say so themselves."
    )
    aliases: dict[str, str] = Field(
        default_factory=dict, description="Column names of the source's own, each with the standard's name."
    )
    partial: bool = Field(
        default=False,
        description="Packages hold some files only: what they refer to may come from other sources of the district.",
    )


class OneRosterCsvSource:
    """One district's OneRoster CSV packages."""

    def __init__(self, context: SourceContext, config: OneRosterCsvConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Packages that are sent, and pulls where there is a path or a place."""
        sent = frozenset({Capability.BULK, Capability.DELTA, Capability.UPLOAD})
        return sent | {Capability.PULL} if self._config.path or self._config.place else sent

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Opens the package that was sent, or the newest one at the configured path or place.

        A package is always read whole; the new cursor holds its digest. At a place nothing is copied that ``cursor``
        says is known. Raises ConnectorError (``no_package``, ``package_missing``, ``package_unsettled``,
        ``unreadable``, and for a place what ``connectors.places.taking.pull`` raises).
        """
        config, context = self._config, self._context
        if context.upload is None and config.place is not None:
            return await taking.pull(config.place, context, config.settle_seconds, cursor, known_file, self._read)
        return await asyncio.to_thread(self._pull)

    def _pull(self) -> Pull:
        config, context = self._config, self._context
        return self._read(context.upload or settled(config.path, config.settle_seconds, context.now))

    def _read(self, path: Path) -> Pull:
        config, context = self._config, self._context
        reading = Reading(config.encoding, config.aliases)
        package = open_package(
            path, context.limits, reading=reading, partial=config.partial, work_folder=context.work_folder
        )
        return Pull(package, {"digest": package.digest})

    async def waiting(self, cursor: Mapping[str, Any] | None) -> list[Any] | None:
        """What has come into the watched folder since ``cursor`` and is whole. Raises ConnectorError."""
        config = self._config
        return await taking.waiting(config.place, self._context, config.settle_seconds, cursor, known_file)

    async def probe(self) -> Sequence[Found]:
        """Looks whether there is a package, and takes nothing."""
        config = self._config
        return await probe(config.place, config.path, config.settle_seconds, self._context, known_file)


def open_source(context: SourceContext) -> OneRosterCsvSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, OneRosterCsvConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return OneRosterCsvSource(context, context.config)
