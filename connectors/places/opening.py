"""From what a district said to an open place."""

from __future__ import annotations

from connectors.places.local import open_folder
from connectors.places.place import AnyPlace, FolderPlace, S3Place
from connectors.places.s3 import open_bucket
from connectors.places.sftp import open_sftp
from connectors.places.store import Opened
from connectors.protocol import SourceContext


def opened(place: AnyPlace, context: SourceContext) -> Opened:
    """The place, to be entered. Entering raises ConnectorError."""
    if isinstance(place, FolderPlace):
        return open_folder(place, context)
    return open_bucket(place, context) if isinstance(place, S3Place) else open_sftp(place, context)
