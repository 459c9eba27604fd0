"""What a delivery needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub.clock import Clock
from hub.crypto import Keys
from hub.store.database import Database
from hub.webhooks.egress import Egress
from hub.webhooks.lively import Lively
from hub.webhooks.relay import Relay
from hub.webhooks.windows import Windows


@dataclass(frozen=True, slots=True)
class Courier:
    """What a delivery needs. ``key``: hub.crypto.load_key; ``base_url``: the hub's public address."""

    db: Database
    egress: Egress
    clock: Clock
    key: Keys
    base_url: str
    lease_seconds: float
    windows: Windows = field(default_factory=Windows)
    lively: Lively = field(default_factory=Lively)
    relay: Relay = field(init=False)

    def __post_init__(self) -> None:
        relay = Relay(self.db, lease_seconds=self.lease_seconds, patience=self.patience)
        object.__setattr__(self, "relay", relay)

    @property
    def patience(self) -> float:
        """How long to wait for a database connection, in seconds."""
        return self.lease_seconds / 3
