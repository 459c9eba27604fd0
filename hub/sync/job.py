"""What every kind of run works with: the claim, the database, the clock and where it says how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from hub.addresses import Network
from hub.clock import Clock
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.store import runs
from hub.store.database import Database
from hub.store.runs import Claim
from hub.sync.progress import Progress


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed run under way.

    ``pulls`` has a place for each pull of this process; None: there is no bound. ``key``: hub.crypto.load_key; None
    where no worker gave it. ``allow``: the private networks that a pull may reach. ``watch``: below it, a folder for
    each district.
    """

    db: Database
    claim: Claim
    clock: Clock
    progress: Progress
    pulls: asyncio.Semaphore | None = None
    key: Keys | None = None
    allow: tuple[Network, ...] = ()
    watch: Path | None = None

    @property
    def secret(self) -> Keys:
        """The key. Raises HubError(INTERNAL) where there is none."""
        if self.key is None:
            raise HubError(Code.INTERNAL, "The worker has no key: it can neither open secrets nor tell who was erased.")
        return self.key

    async def beat(self) -> None:
        """Renews the lease and shows the progress. Raises HubError(FENCED) when the lease is somebody else's now."""
        progress = self.progress
        await runs.heartbeat(self.db, self.claim, stage=progress.stage, progress=progress.as_json())
