"""From a package, a ZIP archive or a folder, to private copies of its known files. Nothing in it is believed.

The central directory is measured before it is read, every entry is judged before any is unpacked, and unpacking counts
what really comes out. Bytes go to generated names in a folder of our own; names from the archive are only compared.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeVar

import polars as pl

from connectors.limits import Limits
from connectors.oneroster_csv import names, rules
from connectors.protocol import ConnectorError, Intent
from transforms import issues
from transforms.issues import Rule

CHUNK = 1 << 20
#: Entries that are unpacked, and files that are looked through, at a time.
_AT_A_TIME = 4
#: Bytes of a package up to which that takes less than to start threads.
_FEW = 1 << 20
_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL_HEADER = 30  # bytes of a local header without its name
_COMMENT_MAX = 65535
_ENCRYPTED = 0x1
_COMPRESSIONS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True, slots=True)
class Member:
    """One known file of a package: the private copy of its bytes and their SHA-256."""

    file: str
    path: Path
    sha256: str
    size: int


@dataclass(slots=True)
class Unpacked:
    """What came out of a package. ``refused``: nothing of it may be used, ``findings`` say why."""

    members: dict[str, Member] = field(default_factory=dict)
    findings: list[pl.DataFrame] = field(default_factory=list)
    refused: bool = False

    def report(self, rule: Rule, file: str = "", cause: str = "") -> None:
        """Adds a finding about the package or one of its files."""
        self.findings.append(issues.one(rule, file=file and f"{file}.csv", cause=cause))

    def refuse(self, rule: Rule, cause: str = "") -> Unpacked:
        """Adds a finding and gives the whole package up."""
        self.report(rule, cause=cause)
        self.members.clear()
        self.refused = True
        return self


_Given = TypeVar("_Given")
_Made = TypeVar("_Made")
#: Which file an entry's base name stands for; None: one that is not read.
Wanted = Callable[[str], str | None]


def unpack(path: Path, folder: Path, limits: Limits, wanted: Wanted = names.known_file) -> Unpacked:
    """Copies the wanted files of the package at ``path`` into ``folder``. Raises ConnectorError (``unreadable``)."""
    try:
        if path.is_dir():
            return _unpack_folder(path, folder, limits, wanted)
        return _unpack_zip(path, folder, limits, wanted)
    except OSError as error:
        name = type(error).__name__ if error.strerror is None else error.strerror
        raise ConnectorError("unreadable", f"The package cannot be read: {name}.", intent=Intent.RETRY) from error


class _Entry(Protocol):
    """One file of a package, before it is copied."""

    @property
    def name(self) -> str: ...
    @property
    def packed(self) -> int: ...
    def open(self) -> IO[bytes]: ...


def _unpack_zip(path: Path, folder: Path, limits: Limits, wanted: Wanted) -> Unpacked:
    result = Unpacked()
    with path.open("rb") as stream:
        refusal = _refuse_directory(stream, limits)
        if refusal is not None:
            return result.refuse(refusal)
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error):
            return result.refuse(rules.DAMAGED)
        with archive:
            refusal = _refuse_entries(archive, limits)
            if refusal is not None:
                return result.refuse(refusal)
            entries = [_ZipEntry(archive, info) for info in archive.infolist() if not info.is_dir()]
            return _copy_wanted(entries, folder, limits, result, wanted)


def _refuse_directory(stream: IO[bytes], limits: Limits) -> Rule | None:
    """Measures the central directory: its header may lie about the count, so its size is bounded too."""
    size = stream.seek(0, os.SEEK_END)
    tail_size = min(size, _COMMENT_MAX + _END.size + _END64_LOCATOR.size + _END64.size)
    stream.seek(size - tail_size)
    tail = stream.read(tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        stream.seek(0)
        return rules.DAMAGED if stream.read(4) == b"PK\x03\x04" else rules.NOT_A_ZIP
    _, _, _, _, count, directory, _, _ = _END.unpack_from(tail, at)
    # zipfile takes the record that stands right before the locator, wherever the locator points to; so do we.
    large = at - _END64_LOCATOR.size - _END64.size
    if large >= 0 and tail.startswith(b"PK\x06\x06", large) and tail.startswith(b"PK\x06\x07", large + _END64.size):
        _, _, _, _, _, _, on_disk, count, directory, _ = _END64.unpack_from(tail, large)
        count = max(on_disk, count)
    if count > limits.entries or directory > limits.directory:
        return rules.TOO_MANY_ENTRIES
    return None


def _refuse_entries(archive: zipfile.ZipFile, limits: Limits) -> Rule | None:
    """The first reason to refuse the archive that its directory shows."""
    infos = archive.infolist()
    checks = (
        (rules.TOO_MANY_ENTRIES, len(infos) > limits.entries),
        (rules.UNSAFE_NAME, any(_is_unsafe(info) for info in infos)),
        (rules.ENCRYPTED, any(info.flag_bits & _ENCRYPTED for info in infos)),
        (rules.COMPRESSION, any(info.compress_type not in _COMPRESSIONS for info in infos)),
        (rules.NESTED, any(names.is_archive(info.filename) for info in infos)),
        (rules.NAME_TWICE, names.clashing(info.filename for info in infos)),
        (rules.DAMAGED, _overlapping(infos, archive.start_dir)),
        (rules.TOO_LARGE, sum(info.file_size for info in infos) > limits.unpacked),
    )
    return next((rule for rule, found in checks if found), None)


def _is_unsafe(info: zipfile.ZipInfo) -> bool:
    # zipfile cuts names at a NUL; the name as it was sent is the one to judge.
    kind = stat.S_IFMT(info.external_attr >> 16)
    return names.is_unsafe(info.orig_filename) or kind not in {0, stat.S_IFREG, stat.S_IFDIR}


def _overlapping(infos: list[zipfile.ZipInfo], end: int) -> bool:
    """Whether two entries share bytes, the trick of bombs that need no nesting."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(info.header_offset for info in ordered[1:]), end]
    return any(
        info.header_offset < 0 or info.header_offset + _LOCAL_HEADER + info.compress_size > following
        for info, following in zip(ordered, starts, strict=False)
    )


@dataclass(frozen=True, slots=True)
class _ZipEntry:
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        return self.info.filename

    @property
    def packed(self) -> int:
        return self.info.compress_size

    def open(self) -> IO[bytes]:
        return self.archive.open(self.info)


@dataclass(frozen=True, slots=True)
class _FolderEntry:
    path: Path
    name: str

    @property
    def packed(self) -> int:
        return self.path.stat(follow_symlinks=False).st_size

    def open(self) -> IO[bytes]:
        # A link could be put in the file's place after it was judged.
        return os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _unpack_folder(path: Path, folder: Path, limits: Limits, wanted: Wanted) -> Unpacked:
    result = Unpacked()
    found: list[os.DirEntry[str]] = []
    with os.scandir(path) as listing:
        for entry in listing:
            found.append(entry)
            if len(found) > limits.entries:
                return result.refuse(rules.TOO_MANY_ENTRIES)
    # A folder may hold other things beside; only what bears a wanted name is judged and read.
    known = sorted((e for e in found if wanted(e.name)), key=lambda e: e.name)
    if any(not e.is_file(follow_symlinks=False) for e in known):
        return result.refuse(rules.UNSAFE_NAME)
    if names.clashing(e.name for e in known):
        return result.refuse(rules.NAME_TWICE)
    before = _stamps(path, known)
    entries = [_FolderEntry(Path(e.path), e.name) for e in known]
    result = _copy_wanted(entries, folder, limits, result, wanted)
    if not result.refused and _stamps(path, known) != before:
        return result.refuse(rules.DAMAGED, cause="changed while it was read")
    return result


def _stamps(folder: Path, entries: list[os.DirEntry[str]]) -> list[tuple[int, int]]:
    found = ((folder / e.name).stat(follow_symlinks=False) for e in entries)
    return [(s.st_size, s.st_mtime_ns) for s in found]


def _copy_wanted(
    entries: list[_ZipEntry] | list[_FolderEntry], folder: Path, limits: Limits, result: Unpacked, wanted: Wanted
) -> Unpacked:
    useful = [entry for entry in entries if not names.is_junk(entry.name)]
    top = names.top_folder(entry.name for entry in useful)
    if top:
        result.report(rules.TOP_FOLDER)
    bases = [(entry, entry.name.removeprefix(top)) for entry in useful]
    if any(wanted(base) is None for _, base in bases):
        # Their names are not repeated: people put names of people there.
        result.report(rules.FILE_IGNORED)
    found: dict[str, _Entry] = {}
    for entry, base in bases:
        file = wanted(base)
        if file is None:
            continue
        if file in found:
            return result.refuse(rules.NAME_TWICE)
        if wanted is names.known_file and not names.is_exact(base):
            result.report(rules.FILE_NAME, file)
        found[file] = entry
    room = _Room(limits.unpacked)
    copied = side_by_side(  # inflating and hashing hold no lock of Python's
        lambda one: _copy(found[one[1]], one[1], folder / f"{one[0]:02d}.csv", room, limits), list(enumerate(found)),
        sum(entry.packed for entry in found.values()),
    )  # fmt: skip
    for one in copied:
        if isinstance(one, Rule):
            return result.refuse(one)
        if one is not None:
            result.members[one.file] = one
    return result


def side_by_side(make: Callable[[_Given], _Made], given: Sequence[_Given], size: int) -> list[_Made]:
    """What is made of each of some files, which have so many bytes together."""
    if size <= _FEW:
        return [make(one) for one in given]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(make, given))


class _Room:
    """The bytes that may still come out of a package, whichever entries they come from."""

    def __init__(self, size: int) -> None:
        self._left, self._lock = size, threading.Lock()
        self.closed = False

    def take(self, size: int) -> bool:
        """Whether there was room for so many more."""
        with self._lock:
            self._left -= size
            return self._left >= 0


def _copy(entry: _Entry, file: str, target: Path, room: _Room, limits: Limits) -> Member | Rule | None:
    """Copies one entry, counting what comes out whatever its header says; None where another one has failed."""
    copied = _counted(entry, file, target, room, limits)
    if isinstance(copied, Rule):
        room.closed = True
    return copied


def _counted(entry: _Entry, file: str, target: Path, room: _Room, limits: Limits) -> Member | Rule | None:
    allowed = max(limits.ratio_floor, limits.ratio * entry.packed)
    digest, size = hashlib.sha256(), 0
    try:
        with entry.open() as stream, target.open("xb") as copy:
            for chunk in _chunks(stream):
                if room.closed:
                    return None
                if size == 0 and chunk.startswith(b"PK\x03\x04"):
                    return rules.NESTED
                size += len(chunk)
                if size > allowed or not room.take(len(chunk)):
                    return rules.TOO_LARGE
                digest.update(chunk)
                copy.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        return rules.DAMAGED
    return Member(file, target, digest.hexdigest(), size)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
