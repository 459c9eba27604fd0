"""By which id an app whose grant names a source knows a record: decided when that comes into its view, for good.

Then, because nobody has been told another id of it yet: whatever sources say later, an id that an app was told stays
what it is and means what it meant. Everything here happens in the transaction that moves the view.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from hub.errors import Code, HubError
from hub.scope.feed import FeedEntry
from hub.scope.personas import EXTENSION, ROLES_11, suffix
from hub.store import shown_ids, sources
from hub.store.database import Transaction
from hub.store.grants import Grant, Sets
from hub.store.shown_ids import Clash, naming
from transforms.catalogue import CATALOGUE, Entity

#: Records whose ids are written by one statement.
MOST: Final = 50_000
#: A regular expression that no text matches.
_NOTHING: Final = "$ ^"
#: Clashes that an answer names.
_NAMED: Final = 3
_OTHER: Final = {
    "source": "another record that this source calls the same",
    "hub": "another record of which this is the hub's own id",
    "app": "an object that the app has called so itself",
}


def never(entity: Entity) -> str:
    """A regular expression for ids by which records of an entity are not known.

    In 1.1 further roles of people have ids that end with them (hub.scope.personas): such an id would name two.
    """
    if entity.name != "users":
        return _NOTHING
    roles = "|".join(re.escape(suffix(role)) for role in ROLES_11)
    return f".{re.escape(suffix(EXTENSION))}|.({roles})$"


async def enter(tx: Transaction, grant: Grant, stored: Mapping[str, Sets], entries: Sequence[FeedEntry]) -> None:
    """Decides by which ids the app of a grant that names a source knows what comes into its view.

    ``stored``: the view as it was.
    """
    if grant.source_ids is None:
        return
    told: dict[str, BitMap] = {}
    for name, sets in stored.items():
        listed = BitMap.deserialize(sets.present) | BitMap.deserialize(sets.gone)
        base = naming(CATALOGUE[name]).name
        told[base] = told.get(base, BitMap()) | listed
    for entry in entries:
        entity = naming(CATALOGUE[entry.entity])
        rids = (entry.entered - told.get(entity.name, BitMap())).to_array()
        for start in range(0, len(rids), MOST):
            await shown_ids.add(
                tx, grant.grant_id, entity, list(rids[start : start + MOST]), source_id=grant.source_ids,
                app_id=grant.app_id, never=never(entity),
            )  # fmt: skip


async def check(tx: Transaction, source_id: UUID, app_id: UUID | None, entities: Collection[str]) -> None:
    """Raises HubError(NOT_FOUND) for a source that is not the district's, HubError(CONFLICT) where ids would clash."""
    await sources.get(tx, source_id)
    found: list[Clash] = []
    for entity in dict.fromkeys(naming(CATALOGUE[name]) for name in entities):
        found += await shown_ids.clashes(tx, entity, source_id=source_id, app_id=app_id, most=_NAMED)
        if len(found) >= _NAMED:
            break
    if found:
        which = "; ".join(f"{c.entity} {c.sourced_id} and {_OTHER[c.other]}" for c in found[:_NAMED])
        raise HubError(
            Code.CONFLICT,
            f"By the ids of this source two records would have one id: {which}. Mend the ids at the source, or leave "
            "source_ids out.",
        )
