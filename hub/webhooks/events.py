"""What happens to subscriptions and somebody has to hear of. The one place that is told of it."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import structlog

from hub.store.database import Transaction

log = structlog.get_logger()

Kind = Literal[
    "failing", "recovered", "paused", "disabled", "parked", "superseded", "resync_required", "replayed"
]  # fmt: skip
#: A subscription counts as failing from so many failures in a row; those that are tried again at once do not count.
FAILING_FROM = 3


async def happened(tx: Transaction, subscription_id: UUID, kind: Kind, **details: str | int | None) -> None:
    """Notes an event in the transaction that makes it so. ``details``: ids, codes and counts, nothing personal."""
    about = {"district": str(tx.district_id), "subscription": str(subscription_id)}
    tx.after_commit(lambda: log.info("subscription", event_kind=kind, **about, **details))
