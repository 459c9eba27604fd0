"""Who may log in: a source's drop by its password or one of its keys, and how often somebody may guess."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import asyncssh

from hub.api.buckets import Buckets
from hub.api.client_secrets import LONGEST_SECRET, Verifier
from hub.drop.handle import Handle
from hub.drop.pace import Pace
from hub.drop.spool import Folder
from hub.settings import Settings
from hub.store import drops
from hub.store.database import Database
from hub.store.drops import Drop

_NETWORK_BITS = 64  # of IPv6: who has one address there has all of them
#: One login may be tried from many addresses.
_LOGIN_SHARE = 2


class Account:
    """A drop that somebody logged in to.

    ``handles``: its files that are being written, in whichever session. ``granted``: bytes by which they may grow
    before the folder is counted again.

    ``lock`` is held by whoever changes the folder's files or their handles: two sessions that open, write and end one
    file would mix their bytes otherwise, or write to a descriptor that is another file's by then.
    """

    def __init__(
        self, db: Database, drop: Drop, folder: Folder, pace: Pace, former: Account | None, now: Callable[[], float]
    ) -> None:
        self._db, self.drop, self.folder, self.pace = db, drop, folder, pace
        self._now, self._looked_at = now, now()
        # Sessions of the login as it was may still be there: they and the new ones know of each other.
        self.handles: dict[str, Handle] = former.handles if former is not None else {}
        self.granted = 0
        self.lock: asyncio.Lock = former.lock if former is not None else asyncio.Lock()

    def take_over(self, name: str) -> None:
        """Ends what another session does with a file; under the lock and in a thread. Raises OSError."""
        handle = self.handles.pop(name, None)
        if handle is not None:
            handle.close()

    async def still_there(self, *, within: float = 0) -> bool:
        """Whether the login is what it was, or was it ``within`` so many seconds. Raises HubError(UNAVAILABLE)."""
        now = self._now()
        if now - self._looked_at < within:
            return True
        found = await drops.find(self._db, self.drop.username)
        same = found is not None and found.changed_at == self.drop.changed_at
        if same:
            self._looked_at = now
        return same


class Accounts:
    """All drops of the hub. ``root``: where their files wait."""

    def __init__(self, db: Database, settings: Settings, root: Path, now: Callable[[], float]) -> None:
        self._db, self._root, self._now = db, root, now
        self._per_second = settings.sftp_bytes_per_second
        rate, burst = settings.wrong_credentials_per_second, settings.wrong_credentials_burst
        self._by_address = Buckets(rate, burst, now)
        self._by_login = Buckets(rate * _LOGIN_SHARE, burst * _LOGIN_SHARE, now)
        self._verifier = Verifier()
        self._live: dict[str, Account] = {}

    async def by_password(self, username: str, password: str, address: str) -> Account | None:
        """The account of a name and its password; None alike for a wrong name, a wrong password and too many of them.

        Raises HubError(UNAVAILABLE).
        """
        place = network(address)
        if self._by_address.take(place) or self._by_login.take(username):
            return None
        found = await drops.find(self._db, username)
        stored = found.password_hash if found is not None else None
        if len(password) > LONGEST_SECRET or not await self._verifier.matches(stored, password) or found is None:
            return None
        self._by_address.give(place)
        self._by_login.give(username)
        return await self._admitted(found)

    async def by_key(self, username: str, key: asyncssh.SSHKey, address: str) -> Account | None:
        """The account of a name that has this key; asyncssh has the client prove that the key is its own."""
        place = network(address)
        if self._by_address.take(place):
            return None
        found = await drops.find(self._db, username)
        if found is None or key not in await asyncio.to_thread(_keys, found):
            return None
        self._by_address.give(place)
        return await self._admitted(found)

    async def _admitted(self, found: Drop) -> Account:
        account = self._live.get(found.username)
        if account is None or account.drop.changed_at != found.changed_at:
            folder, pace = Folder(self._root, found.district_id, found.source_id), Pace(self._per_second, self._now)
            account = self._live[found.username] = Account(self._db, found, folder, pace, account, self._now)
            async with account.lock:
                for name in list(account.handles):
                    with suppress(OSError):
                        await asyncio.to_thread(account.take_over, name)
        return account

    async def used(self, account: Account) -> None:
        """Notes that somebody logged in."""
        async with self._db.district(account.drop.district_id) as tx:
            await drops.used(tx, account.drop.source_id)


def network(address: str) -> str:
    """The address, or the network of it, that guesses are counted by."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False))
    return str(found)


def _keys(drop: Drop) -> list[asyncssh.SSHKey]:
    return [asyncssh.import_public_key(line) for line in drop.public_keys]
