"""What secrets that come with a call are sealed with, before the transaction that writes them begins."""

from __future__ import annotations

import asyncio

from hub import vault
from hub.api.admin.call import Call
from hub.crypto import Sealer, load_key


async def sealer(call: Call, count: int = 1) -> Sealer:
    """The data key of the call's district, for so many secrets."""
    keys = await asyncio.to_thread(load_key, call.context.settings)
    async with call.context.db.district(call.district_id) as tx:
        return await vault.to_seal(tx, keys, count)
