"""What the runs of one process share: memory, pulls, and a lane in which small runs pass the large ones.

A large district may take minutes, so runs of which few rows are expected have places of their own. In the others the
run whose turn it is waits until there is memory for it, and nothing passes it by: small ones keep their lane, large
ones their turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from hub.addresses import Network
from hub.settings import Settings
from hub.store import runs
from hub.store.database import Database
from hub.store.runs import Claim

#: What a sync keeps in memory for each row of its package, at its peak, and what the process needs besides (estimates).
BYTES_PER_ROW = 400
BASE_BYTES = 200_000_000


class Room:
    """The room of one process. ``small_rows``: what counts as small; ``rows``: that fit into memory together.

    ``allow``: the private networks that its pulls may reach; ``watch``: the folder with those of districts.
    """

    def __init__(
        self, *, small_rows: int, rows: int, pulls: int, allow: Sequence[Network] = (), watch: Path | None = None
    ) -> None:
        self.small_rows, self.rows, self.allow = small_rows, rows, tuple(allow)
        self.watch = watch
        self.pulls = asyncio.Semaphore(pulls)
        self._taken: dict[UUID, int] = {}
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Room:
        """The room that the settings give."""
        rows = max(0, settings.sync_memory_mb * 1_000_000 - BASE_BYTES) // BYTES_PER_ROW
        return cls(
            small_rows=settings.sync_small_rows,
            rows=rows,
            pulls=settings.sync_pulls,
            allow=settings.source_allow,
            watch=settings.watch_folder,
        )

    async def claim(self, db: Database, *, small: bool) -> Claim | None:
        """Claims a run that has room. One that is larger than all of it goes alone, but for the lane of small ones."""
        if small:
            return await runs.claim(db, small=self.small_rows)
        async with self._turn:
            free = max(0, self.rows - sum(self._taken.values())) if self._taken else None
            claim = await runs.claim(db, free=free)
            if claim is not None:
                self._taken[claim.lease_token] = claim.run.expected_rows
            return claim

    def leave(self, claim: Claim) -> None:
        """Gives the room of a run back that is over."""
        self._taken.pop(claim.lease_token, None)
