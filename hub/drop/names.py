"""Which names a vendor may give to what it puts down, and what they mean."""

from __future__ import annotations

from pathlib import PurePosixPath

import asyncssh

from connectors.names import is_unsafe

LONGEST_NAME = 120
ARCHIVE = ".zip"
TABLES = (".csv", ".txt", ".tsv")
#: What clients call a file until it is whole.
_TEMPORARY = (".part", ".partial", ".filepart", ".tmp", ".temp", ".uploading", ".upload", ".inprogress")
_KINDS = (
    "Only .zip archives and .csv files are taken. While they are uploaded they may begin with a dot or end in .part or"
    " .tmp."
)


def plain(path: bytes) -> str:
    """The name of a file in the one folder that there is. Raises SFTPNoSuchFile, SFTPInvalidFilename."""
    try:
        whole = PurePosixPath("/", path.decode())
    except UnicodeDecodeError:
        raise asyncssh.SFTPInvalidFilename("The name is not UTF-8.") from None
    parts = whole.parts[1:]
    if len(parts) != 1:
        raise asyncssh.SFTPNoSuchFile("There are no folders here: put files down where the login begins.")
    if is_unsafe(parts[0].lstrip(".")) or is_unsafe(parts[0]) or len(parts[0].encode()) > LONGEST_NAME:
        raise asyncssh.SFTPInvalidFilename("Give the file a plain name.")
    return parts[0]


def is_root(path: bytes) -> bool:
    """Whether a path is that of the one folder."""
    return not [part for part in path.split(b"/") if part not in {b"", b"."}]


def is_temporary(name: str) -> bool:
    """Whether a file of this name waits to be renamed."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY)


def is_archive(name: str) -> bool:
    """Whether a file of this name is a whole package."""
    return not is_temporary(name) and name.lower().endswith(ARCHIVE)


def is_table(name: str) -> bool:
    """Whether a file of this name is a part of a package."""
    return not is_temporary(name) and name.lower().endswith(TABLES)


def check_kind(name: str) -> None:
    """Raises SFTPFailure for a file that nothing would ever become of."""
    if not (is_temporary(name) or is_archive(name) or is_table(name)):
        raise asyncssh.SFTPFailure(_KINDS)
