"""Where bytes wait until a package is whole: a folder for each source below the hub's data folder.

All of it survives a kill: a file's state stands in its name on the disk, and a file that was acknowledged as whole was
written through before. Names of vendors are kept encoded, so none of them is ever a path. All functions are
synchronous; call them in threads.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from hub.errors import Code, HubError

_OPEN, _WHOLE, _BATCH, _DRAFT = "o-", "w-", "b-", "draft-"


@dataclass(frozen=True, slots=True)
class Item:
    """A file that waits. ``at``: when it last changed or was renamed, POSIX seconds."""

    name: str
    size: int
    at: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of one source."""

    root: Path
    district_id: UUID
    source_id: UUID

    @property
    def path(self) -> Path:
        """Where it is; it may not exist."""
        return self.root / str(self.district_id) / str(self.source_id)

    def items(self) -> list[Item]:
        """The files that wait, sorted by name."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as listing:
            for entry in listing:
                name = _name(entry.name)
                with contextlib.suppress(FileNotFoundError):
                    if name is not None:
                        there = entry.stat(follow_symlinks=False)
                        at = max(there.st_mtime, there.st_ctime)
                        found.append(Item(name, there.st_size, at, entry.name.startswith(_WHOLE)))
        return sorted(found, key=lambda item: item.name)

    def item(self, name: str) -> Item | None:
        """One file."""
        return next((item for item in self.items() if item.name == name), None)

    def bytes(self) -> tuple[int, int]:
        """Bytes of the files that wait, and of those that were taken and are there still."""
        taken = 0
        for folder in (*self.path.glob(f"{_BATCH}*"), *self.path.glob(f"{_DRAFT}*")):
            with contextlib.suppress(FileNotFoundError), os.scandir(folder) as listing:
                taken += sum(entry.stat(follow_symlinks=False).st_size for entry in listing)
        return sum(item.size for item in self.items()), taken

    def open(self, name: str, *, fresh: bool) -> int:
        """A descriptor to write to; the file is not whole from now on. ``fresh``: without what was there."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = self.path / _kept(_OPEN, name)
        with contextlib.suppress(FileNotFoundError):
            (self.path / _kept(_WHOLE, name)).rename(target)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if fresh else 0)
        return os.open(target, flags, 0o600)

    def finish(self, name: str, descriptor: int) -> None:
        """Writes a file through and closes it: it is whole, and stays so after a kill.

        What cannot be written through is emptied, so that nobody goes on from it. Raises OSError.
        """
        try:
            try:
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, 0)
                raise
            (self.path / _kept(_OPEN, name)).rename(self.path / _kept(_WHOLE, name))
            _through(self.path)
        finally:
            os.close(descriptor)

    def rename(self, name: str, new: str) -> None:
        """Gives a whole file another name; one that has it is replaced. Raises FileNotFoundError."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / _kept(_OPEN, new)).unlink()
        (self.path / _kept(_WHOLE, name)).rename(self.path / _kept(_WHOLE, new))
        _through(self.path)

    def remove(self, name: str) -> None:
        """Removes a file. Raises FileNotFoundError."""
        removed = False
        for state in (_OPEN, _WHOLE):
            with contextlib.suppress(FileNotFoundError):
                (self.path / _kept(state, name)).unlink()
                removed = True
        if not removed:
            raise FileNotFoundError(name)

    def take(self, names: list[str]) -> Path:
        """Puts whole files together as one batch, in one step, so that the next ones may come under the same names.

        Raises OSError where one of them went meanwhile, or the disk fails: they all wait again then.
        """
        batch = self.path / f"{_BATCH}{uuid4()}"
        draft = self.path / f"{_DRAFT}{uuid4()}"
        draft.mkdir(mode=0o700)
        try:
            for name in names:
                (self.path / _kept(_WHOLE, name)).rename(draft / _kept(_WHOLE, name))
            draft.rename(batch)
        except OSError:
            with contextlib.suppress(OSError):  # ``mend`` does it when next it can be done
                self._put_back(draft)
            raise
        _through(self.path)
        return batch

    def batches(self) -> list[Path]:
        """Batches that wait to be handed over, oldest first."""
        found = [p for p in self.path.glob(f"{_BATCH}*") if p.is_dir()]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def mend(self) -> None:
        """After a ``take`` that a kill or the disk cut short: what was to be taken waits again. Raises OSError."""
        for draft in self.path.glob(f"{_DRAFT}*"):
            self._put_back(draft)

    def _put_back(self, draft: Path) -> None:
        """Lets the files of a draft wait again, but for those whose next ones came under the same names."""
        newer = {item.name for item in self.items()}
        for file in draft.iterdir():
            if _name(file.name) in newer:
                file.unlink()
            else:
                file.rename(self.path / file.name)
        draft.rmdir()

    def sweep(self, older_seconds: float) -> list[str]:
        """Removes what waits for so long without a change, and the folder when it is empty; the names of the files."""
        old = [item.name for item in self.items() if time.time() - item.at > older_seconds]
        for name in old:
            with contextlib.suppress(FileNotFoundError):
                self.remove(name)
        with contextlib.suppress(OSError):
            self.path.rmdir()
        return old


def packed(batch: Path, most: int) -> tuple[Path, str]:
    """One file with a batch's package, and its name for people: the archive that came, or one made of the tables.

    Raises HubError(TOO_LARGE) where the files have more bytes than ``most``: the disk has no room for all that twice.
    """
    files = {name: path for path in batch.iterdir() if (name := _name(path.name)) is not None}
    if sum(path.stat().st_size for path in files.values()) > most:
        raise HubError(Code.TOO_LARGE, f"The package is larger than the limit of {most} bytes.")
    if len(files) == 1 and next(iter(files)).lower().endswith(".zip"):
        name, path = next(iter(files.items()))
        return path, name
    made, draft = batch / "package", batch / "packing"
    if not made.exists():  # it is tried again each second while the database is away
        with draft.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, path in sorted(files.items()):
                    archive.write(path, name)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(made)
    return made, "package.zip"


def gone(batch: Path) -> None:
    """Removes a batch that was handed over."""
    shutil.rmtree(batch, ignore_errors=True)


def folders(root: Path) -> Iterator[Folder]:
    """All folders in which something may wait."""
    with contextlib.suppress(FileNotFoundError):
        for district in sorted(root.iterdir()):
            if not district.is_dir():
                continue
            for source in sorted(district.iterdir()):
                with contextlib.suppress(ValueError):
                    yield Folder(root, UUID(district.name), UUID(source.name))


def _kept(state: str, name: str) -> str:
    return state + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name(kept: str) -> str | None:
    """The vendor's name of a file; None for what is none."""
    if not kept.startswith((_OPEN, _WHOLE)):
        return None
    text = kept[2:]
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _through(folder: Path) -> None:
    """Writes a folder's names through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
