"""What every statement that reads for an app looks through.

It answers only while the grant is active and at the position for which its caller knows the view, and while the access
token is valid, or the client that signed the request active. So a revocation and a sync show at once, without a second
round trip and without trusting a notification. Answers at another position are never mixed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from hub.store.database import ITS_DISTRICT, Transaction

#: So many parameters has every gate.
PARAMETERS: Final = 6


class Bearer(NamedTuple):
    """An access token that has to be valid at ``now``."""

    token_hash: bytes
    now: datetime


class Signer(NamedTuple):
    """A client that signed its request with OAuth 1, and has to be active and to have this secret still."""

    client_id: str
    sealed_secret: bytes


class Sender(NamedTuple):
    """What the hub sends by itself: nobody shows a credential, grant and district have to be in these states."""

    grant_state: str = "active"
    district_state: str = "active"


class Gate(NamedTuple):
    """What has to be true for an answer: this version of a grant, and a credential that still counts."""

    grant_id: UUID
    position: int
    changed_at: datetime
    credential: Bearer | Signer | Sender

    def values(self, tx: Transaction) -> tuple[object, ...]:
        """The values of the parameters in ``condition``."""
        return tx.district_id, *self.own_values

    @property
    def own_values(self) -> tuple[object, ...]:
        """The values behind the district, the first."""
        return self.grant_id, self.position, self.changed_at, *self.credential

    @property
    def condition(self) -> str:
        """The gate in SQL, with ``PARAMETERS`` parameters."""
        return _GATES[type(self.credential)]

    async def stands(self, tx: Transaction) -> bool:
        """Whether credential and grant still count, wherever the view has moved to since."""
        later = self.condition.replace("g.position = $3", "g.position >= $3")
        return bool(await tx.fetchval(f"SELECT {later}", *self.values(tx)))


class ClosedError(Exception):
    """The gate is closed: look at the credential and the grant again."""


#: No part refers to a row, so PostgreSQL evaluates it once per statement.
_GRANT = (
    "EXISTS (SELECT FROM grants g JOIN districts d ON d.district_id = g.district_id WHERE g.district_id = $1 "
    "AND g.grant_id = $2 AND g.position = $3 AND g.changed_at = $4 AND g.state = 'active' AND d.state = 'active') "
)
_GATES: dict[type, str] = {
    Bearer: _GRANT + "AND EXISTS (SELECT FROM access_tokens a WHERE a.token_hash = $5 AND a.expires_at > $6 "
    "AND a.revoked_at IS NULL)",
    Signer: _GRANT + "AND EXISTS (SELECT FROM clients c WHERE c.client_id = $5 AND c.state = 'active' "
    "AND (c.oauth1_secret = $6 OR (c.oauth1_old_secret = $6 AND c.oauth1_old_until > statement_timestamp())))",
    Sender: _GRANT.replace("g.state = 'active' AND d.state = 'active'", "g.state = $5 AND d.state = $6"),
}


async def check(tx: Transaction, gate: Gate) -> None:
    """For answers that need no record. Raises ClosedError."""
    ((stands,),) = await tx.alone(f"SELECT {gate.condition} FROM {ITS_DISTRICT}", *gate.own_values)
    if not stands:
        raise ClosedError
