"""The source: a package that somebody sent, or one that lies in a local folder and is looked at again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from connectors.oneroster_csv.encoding import Encoding
from connectors.oneroster_csv.reader import open_package
from connectors.oneroster_csv.table import Reading
from connectors.protocol import Capability, ConnectorError, Intent, Pull, SourceContext


class OneRosterCsvConfig(BaseModel):
    """What a district may set for its OneRoster CSV source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(
        default=None, description="A ZIP archive or folder on the hub's machine that is pulled. Empty: uploads only."
    )
    settle_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        description="A file at path must be this old, so that it is not still being written.",
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

    capabilities = frozenset({Capability.BULK, Capability.DELTA, Capability.UPLOAD})

    def __init__(self, context: SourceContext, config: OneRosterCsvConfig) -> None:
        self._context = context
        self._config = config

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Opens the package that was sent, or the one at the configured path.

        A package is always read whole, whatever ``cursor`` says; the new cursor holds its digest. Raises ConnectorError
        (``no_package``, ``package_missing``, ``package_unsettled``, ``unreadable``).
        """
        return await asyncio.to_thread(self._pull)

    def _pull(self) -> Pull:
        path = self._context.upload or self._settled()
        reading = Reading(self._config.encoding, self._config.aliases)
        context = self._context
        package = open_package(
            path, context.limits, reading=reading, partial=self._config.partial, work_folder=context.work_folder
        )
        return Pull(package, {"digest": package.digest})

    def _settled(self) -> Path:
        path = self._config.path
        if path is None:
            message = "Nothing was uploaded and the source has no path to pull from."
            raise ConnectorError("no_package", message, intent=Intent.ASK_HUMAN)
        try:
            parts = [path, *path.iterdir()] if path.is_dir() else [path]
            newest = max(part.stat().st_mtime for part in parts)
        except OSError as error:
            message = "There is no package at the source's path yet, or it cannot be read."
            raise ConnectorError("package_missing", message, intent=Intent.RETRY) from error
        age = self._context.now() - datetime.fromtimestamp(newest, self._context.now().tzinfo)
        if age.total_seconds() < self._config.settle_seconds:
            message = "The package at the source's path changed a moment ago and may still be growing."
            raise ConnectorError("package_unsettled", message, intent=Intent.RETRY)
        return path


def open_source(context: SourceContext) -> OneRosterCsvSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, OneRosterCsvConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return OneRosterCsvSource(context, context.config)
