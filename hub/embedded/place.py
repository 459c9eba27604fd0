"""Where an embedded server's data and programs lie, and as which account it runs.

PostgreSQL refuses to run as root, and root's home directory is closed to every other account. So, when we are root,
the servers run as an existing unprivileged account; data and programs that this account cannot reach go to a place of
their own under the system's directory for state, and the caller's folder remembers which. Nothing that exists is opened
up for that: no account is made and no permission of a folder that we did not make is changed.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hub.embedded.process import run
from hub.errors import Code, HubError

ACCOUNTS = ("postgres", "nobody", "daemon")
ROOTS = (Path("/var/lib"), Path(tempfile.gettempdir()))


@dataclass(frozen=True)
class Place:
    """The account of the servers (None: our own), the caller's folder, and the base of data and copied programs."""

    account: pwd.struct_passwd | None
    folder: Path
    base: Path

    def reachable(self, path: Path) -> bool:
        """Whether the servers' account can enter and read ``path``; the kernel is asked, as that account."""
        script = 'test -r "$1" && test -x "$1"'
        return run(["/bin/sh", "-c", script, "sh", path], account=self.account, cwd=Path("/")).returncode == 0

    def make(self, name: str) -> Path:
        """The directory ``name`` under the base, made for the account alone when it is not there."""
        path = self.base / name
        if not path.exists():
            path.mkdir(mode=0o700)
            self.hand_over(path)
        return path

    def hand_over(self, path: Path) -> None:
        """Make the servers' account the owner of something that we have just made."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def discard(self, server: str) -> None:
        """Remove a server's data, password and log. Lock files stay, for others may be waiting on them."""
        for path in {*self.base.glob(f"{server}*"), *self.folder.glob(f"{server}*")}:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix not in {".lock", ".users"}:
                path.unlink()
        self._tidy()

    def _tidy(self) -> None:
        """Remove a base that lies away from the folder, and the note of it, once no server has data there."""
        if self.base == self.folder or any((self.base / name).exists() for name in ("postgres", "redis")):
            return
        shutil.rmtree(self.base, ignore_errors=True)
        _note(self.folder).unlink(missing_ok=True)


def find_place(folder: Path) -> Place:
    """The place of the servers whose files the caller wants in ``folder``, which is made when it is missing."""
    folder = folder.absolute()
    # 0711: the account may pass through to its own directory, and list nothing.
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    folder = folder.resolve()
    _refuse_strange(folder)
    note = _note(folder)
    base = _remembered(note) if note.exists() else folder
    account = (_owner_of_data(base) or find_account()) if os.geteuid() == 0 else None
    here = Place(account, folder, base)
    if base != folder or account is None or _can_pass(here):
        return here
    base = _new_base()
    write_private(note, f"{base}\n")
    return Place(account, folder, base)


def find_account() -> pwd.struct_passwd:
    """An existing unprivileged account that this process can change to."""
    for name in ACCOUNTS:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0 and run(["/bin/sh", "-c", ":"], account=account, cwd=Path("/")).returncode == 0:
            return account
    raise HubError(
        Code.UNAVAILABLE,
        f"the embedded servers do not run as root, and none of the accounts {', '.join(ACCOUNTS)} can be used: start"
        " the hub as an ordinary user, or set HUB_DATABASE_URL and HUB_REDIS_URL",
    )


def _owner_of_data(base: Path) -> pwd.struct_passwd | None:
    """The account that the data was made for: a better one may have appeared since, and could not open it."""
    for name in ("postgres", "redis"):
        try:
            account = pwd.getpwuid((base / name).stat().st_uid)
        except (FileNotFoundError, KeyError):
            continue
        if account.pw_uid != 0:
            return account
    return None


def secret(path: Path) -> str:
    """The password kept in ``path``, made at random when there is none yet. The caller holds the server's lock."""
    if path.exists():
        return path.read_text().strip()
    value = secrets.token_urlsafe(32)
    write_private(path, value)
    return value


def write_private(path: Path, text: str) -> None:
    """Write a file that only we can read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
    draft.replace(path)


def _note(folder: Path) -> Path:
    return folder / "embedded.place"


def _can_pass(place: Place) -> bool:
    """Whether the account can reach what we would make in the folder: asked with a directory made for that."""
    with tempfile.TemporaryDirectory(dir=place.folder, prefix=".reach-") as name:
        probe = Path(name)
        place.hand_over(probe)
        return place.reachable(probe)


def _remembered(note: Path) -> Path:
    base = Path(note.read_text().strip())
    if not base.is_dir() or base.stat().st_uid != os.geteuid():
        raise HubError(
            Code.UNAVAILABLE,
            f"the embedded servers' data should lie in {base}, but that is no directory of this user: bring it back, or"
            f" remove {note.parent} to start anew",
        )
    return base


def _new_base() -> Path:
    for root in ROOTS:
        try:
            base = Path(tempfile.mkdtemp(prefix="rosterhub-", dir=root.resolve()))
        except OSError:
            continue
        base.chmod(0o711)
        return base
    raise HubError(Code.UNAVAILABLE, f"no directory for the embedded servers' data can be made in {ROOTS[0]}")


def _refuse_strange(folder: Path) -> None:
    """Another user's folder could be exchanged under us, and its servers would not be ours."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise HubError(
            Code.UNAVAILABLE,
            f"{folder} belongs to user {owner}, not to the user that runs the hub ({os.geteuid()}): choose another"
            " folder with HUB_DATA_DIR",
        )
