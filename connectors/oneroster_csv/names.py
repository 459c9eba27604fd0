"""Which files a OneRoster package may hold, and which of the archive's names stands for which of them.

Names from outside are only compared with this list; none is ever used as a path.
Source: CSV binding 1.2.1 sections 1 and 4; 1.1 the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from connectors.names import is_unsafe
from transforms.catalogue import CATALOGUE, Version

__all__ = [
    "MANIFEST", "VERSIONS", "clashing", "data_files", "is_archive", "is_exact", "is_junk", "is_unsafe", "known_file",
    "top_folder",
]  # fmt: skip

MANIFEST = "manifest"
VERSIONS: tuple[Version, ...] = ("1.1", "1.2")
#: A misprint of the official list of files, copied by producers.
_FILE_ALIASES = {"courseresourses": "courseResources"}
_JUNK = {".ds_store", "thumbs.db", "desktop.ini"}
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar")


def data_files(version: Version) -> tuple[str, ...]:
    """All data files of ``version`` without ``.csv``, in the order of the manifest: alphabetical, case ignored."""
    return tuple(sorted(CATALOGUE.files(version), key=str.lower))


_KNOWN = {name.lower(): name for version in VERSIONS for name in (MANIFEST, *data_files(version))}


def known_file(name: str) -> str | None:
    """The standard's file that ``name`` (a base name with ``.csv``) stands for, case ignored; None: not a known one."""
    stem, dot, extension = name.strip().lower().rpartition(".")
    if not dot or extension != "csv":
        return None
    return _KNOWN.get(stem) or _FILE_ALIASES.get(stem)


def is_exact(name: str) -> bool:
    """Whether ``name`` is spelt exactly as the standard spells it."""
    return name.endswith(".csv") and name.removesuffix(".csv") in _KNOWN.values()


def is_junk(path: str) -> bool:
    """Whether an archive's entry is what operating systems leave behind."""
    parts = path.split("/")
    return parts[0] == "__MACOSX" or parts[-1].lower() in _JUNK or parts[-1].startswith("._")


def is_archive(path: str) -> bool:
    """Whether the name says that the entry is itself an archive."""
    return path.lower().endswith(_ARCHIVES)


def clashing(paths: Iterable[str]) -> bool:
    """Whether two names are the same on a system that ignores case or composes accents."""
    folded = [unicodedata.normalize("NFC", path).casefold().rstrip("/") for path in paths]
    return len(folded) != len(set(folded))


def top_folder(paths: Iterable[str]) -> str:
    """The one folder (with its slash) that all ``paths`` are in, or nothing."""
    tops = {path.partition("/")[0] + "/" if "/" in path else "" for path in paths}
    return tops.pop() if len(tops) == 1 else ""
