"""What a source leaves behind when it departs, and what it gets back when that is undone. In the run's transaction."""

from __future__ import annotations

from uuid import UUID

from pyroaring import BitMap

from hub.scope.sets import unpack
from hub.store import departures, source_parts, sources, staging, statement_history, statements
from hub.store.database import Transaction
from hub.store.departures import Departed
from hub.store.statement_history import Moment
from hub.sync.prepared import Departure, Retold
from transforms.catalogue import CATALOGUE


async def leave(tx: Transaction, source_id: UUID, departure: Departure, moment: Moment) -> None:
    """Notes of what a source spoke, hands over what its heir goes on with, and lets it go.

    What it said is withdrawn after this, as of any source that says nothing any more.
    """
    claims = {
        name: (rids.serialize(), departure.handed.get(name, BitMap()).serialize())
        for name, rids in departure.claims.items()
    }
    handed = {name: list(rids) for name, rids in departure.handed.items() if rids and departure.to is not None}
    await departures.note(tx, Departed(moment.position, source_id, departure.state, departure.to, claims), handed)
    for name, rids in handed.items():
        assert departure.to is not None, "nothing is handed to nobody"
        await staging.hand_over(tx, CATALOGUE[name], source_id, departure.to, rids)
        await source_parts.hand_over(tx, name, source_id, departure.to, rids)
        merged = list(set(rids) & set(await statements.merged_since(tx, name, rids)))
        await statement_history.keep_silence(tx, name, departure.to, merged, moment)
        await departures.inherit(tx, name, source_id, departure.to, merged)
    await sources.change(tx, source_id, state="departed")


async def retell(tx: Transaction, retold: Retold, moment: Moment) -> None:
    """Takes away what sources say because of a run that is undone; a source that departed with it comes back."""
    for (name, source_id), rids in retold.silent.items():
        await statement_history.withdraw(tx, name, source_id, rids, moment)
    if retold.returning is not None:
        await _come_back(tx, retold.returning, moment.position)


async def _come_back(tx: Transaction, departed: Departed, now: int) -> None:
    then = departed.position
    for name, (withdrawn, handed) in departed.claims.items():
        given = list(unpack(handed))
        if given and departed.heir is not None:
            await departures.take_back(tx, name, departed.heir, given, then)
        await departures.give_back(tx, name, departed.source_id, list(unpack(withdrawn)), position=then, now=now)
    await sources.returned(tx, departed.source_id, departed.state)
