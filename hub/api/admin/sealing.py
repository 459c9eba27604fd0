"""What secrets that come with a call are sealed with."""

from __future__ import annotations

import asyncio

from hub import vault
from hub.api.admin.call import Call
from hub.crypto import Sealer, load_key
from hub.store.database import Transaction


async def sealer(call: Call, count: int = 1, tx: Transaction | None = None) -> Sealer:
    """The data key of the call's district, for so many secrets. ``tx``: the one that writes them, if it is open."""
    keys = await asyncio.to_thread(load_key, call.context.settings)
    if tx is not None:
        return await vault.to_seal(tx, keys, count)
    async with call.context.db.district(call.district_id) as own:
        return await vault.to_seal(own, keys, count)
