"""A package at a path of the hub's machine, once nothing is being written there any more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from connectors.protocol import ConnectorError, Intent


def settled(path: Path | None, settle_seconds: int, now: Callable[[], datetime]) -> Path:
    """The configured place, where nothing is being written any more.

    Raises ConnectorError (``no_package``, ``package_missing``, ``package_unsettled``).
    """
    if path is None:
        message = "Nothing was uploaded and the source has no path to pull from."
        raise ConnectorError("no_package", message, intent=Intent.ASK_HUMAN)
    try:
        parts = [path, *path.iterdir()] if path.is_dir() else [path]
        newest = max(part.stat().st_mtime for part in parts)
    except OSError as error:
        message = "There is no package at the source's path yet, or it cannot be read."
        raise ConnectorError("package_missing", message, intent=Intent.RETRY) from error
    age = now() - datetime.fromtimestamp(newest, now().tzinfo)
    if age.total_seconds() < settle_seconds:
        message = "The package at the source's path changed a moment ago and may still be growing."
        raise ConnectorError("package_unsettled", message, intent=Intent.RETRY)
    return path
