"""The dispatcher of pass-back: targets that have something to take, several of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub import dispatcher
from hub.passback.rounds import Porter, turn
from hub.store import grade_targets
from hub.store.grade_targets import Claim

#: Targets that one worker serves at a time.
IN_PROCESS = 8


@dataclass(frozen=True, slots=True)
class Passback:
    """Claims are targets, a turn is one round; see hub.dispatcher.Work."""

    porter: Porter

    async def claim(self, limit: int, token: UUID) -> Sequence[Claim]:
        """Targets that are behind."""
        return await grade_targets.claim(self.porter.db, token, limit=limit, lease_seconds=self.porter.lease_seconds)

    async def next_due(self) -> float | None:
        """Seconds until the next target is due."""
        return await grade_targets.next_due(self.porter.db)

    async def turn(self, claim: Claim) -> bool:
        """Makes one round."""
        return await turn(self.porter, claim)

    async def give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease."""
        async with self.porter.db.district(claim.district_id, wait_seconds=self.porter.patience) as tx:
            await grade_targets.release(tx, claim, wait_seconds=wait_seconds)

    def name(self, claim: Claim) -> dict[str, str]:
        """The target."""
        return {"target": str(claim.target_id)}


class Dispatcher(dispatcher.Dispatcher[Claim]):
    """Passes grades back. ``listen_url``: a direct address of PostgreSQL for LISTEN; None goes without."""

    def __init__(self, porter: Porter, *, listen_url: str | None = None) -> None:
        super().__init__(Passback(porter), in_process=IN_PROCESS, listen_url=listen_url)
