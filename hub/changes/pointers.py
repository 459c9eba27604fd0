"""Where people went who leave a view because another record speaks of them now, as far as the app sees that one."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from hub.identifiers import Identifiers
from hub.scope.sets import unpack
from hub.store import feed, grants, people
from hub.store.database import Transaction
from hub.store.people import USERS


async def merged_into(
    tx: Transaction, grant_id: UUID, identifiers: Identifiers, rids: Collection[int]
) -> dict[int, str]:
    """Rid to the sourcedId, as the app knows it, of the record that speaks of the person now and that its view shows.

    ``rids``: users that are not in the view.
    """
    led = await people.into(tx, rids) if rids else {}
    if not led:
        return {}
    views = await grants.views(tx, grant_id)
    present = unpack(views[USERS.name].present) if USERS.name in views else unpack(b"")
    shown = {rid: to for rid, to in led.items() if to in present}
    ids = await feed.sourced_ids(tx, USERS, sorted(set(shown.values())))
    names = await identifiers.names(tx, ids.values())
    return {rid: names.get(ids[to], ids[to]) for rid, to in shown.items() if to in ids}
