"""Bringing the views of a district's grants to a new position: after a sync, and when a grant is made or edited.

Everything here happens inside the transaction that changes the records or the grant, under the district's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from hub.crashpoints import crash_point
from hub.scope.columns import Columns
from hub.scope.feed import FeedEntry
from hub.scope.grants import GrantDefinition
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync import source_ids
from hub.sync.changes import EntityChanges
from hub.sync.columns import current_columns, keep_columns
from hub.sync.following import Next, Standing, following

#: Grants whose sets are in memory at once: half a megabyte each where what they see is scattered over a large district.
_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to one grant's view: counts of entered, updated and left per entity."""

    grant_id: UUID | None
    app_id: UUID | None
    entities: Mapping[str, Mapping[str, int]]

    def as_json(self) -> dict[str, Any]:
        """The effect as reports show it."""
        return {"grant": str(self.grant_id), "app": str(self.app_id), "entities": self.entities}


async def refresh(
    tx: Transaction, position: int, at: datetime, *, run_id: UUID, changes: Mapping[str, EntityChanges],
    columns: Columns | None = None,
) -> list[Effect]:  # fmt: skip
    """Moves all living grants of the district to what the records now are; what that does to each view.

    ``columns``: what ``load_columns`` would give, where that is known. A grant whose view stays as it is keeps its
    position: its app cannot tell that anything happened.
    """
    grants = await store.listing(tx, living=True)
    if not grants:
        return []
    if columns is None:
        columns = await current_columns(tx)
    else:
        await keep_columns(tx, position, columns)
    # Those with equal definitions side by side: who sees the same is looked at once.
    ordered = sorted(grants, key=lambda grant: orjson.dumps(grant.definition, option=orjson.OPT_SORT_KEYS))
    effects: dict[UUID, Effect] = {}
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        ahead = await following(tx, columns, await _standing(tx, some), changes)
        await _move(tx, some, position, ahead, at, run_id)
        effects |= {grant.grant_id: _effect(grant, one) for grant, one in zip(some, ahead, strict=True)}
    return [effects[grant.grant_id] for grant in grants]


async def regrant(
    tx: Transaction, grant: store.Grant, definition: GrantDefinition, position: int, at: datetime
) -> Effect:
    """Moves one grant to the view of ``definition``; ``grant`` still has the definition from before."""
    ahead = await following(tx, await current_columns(tx), await _standing(tx, [grant], definition), {})
    await _move(tx, [grant], position, ahead, at, None)
    return _effect(grant, ahead[0])


async def preview(tx: Transaction, grant: store.Grant | None, definition: GrantDefinition) -> Effect:
    """What making (``grant`` None) or editing a grant would do, without doing it."""
    nothing = [Standing(None, definition, definition, {}, ())]
    standing = await _standing(tx, [grant], definition) if grant else nothing
    (ahead,) = await following(tx, await current_columns(tx), standing, {})
    return _effect(grant, ahead)


async def _standing(
    tx: Transaction, grants: Sequence[store.Grant], definition: GrantDefinition | None = None
) -> list[Standing]:
    """The views of grants as they are stored. ``definition``: what counts now in place of their own."""
    ids = [grant.grant_id for grant in grants]
    sets, several = await store.views_of(tx, ids), await store.several_roles_of(tx, ids)
    standing = []
    for grant in grants:
        own = GrantDefinition.model_validate(grant.definition)
        stored, roles = sets.get(grant.grant_id, {}), several.get(grant.grant_id, ())
        standing.append(Standing(grant, own, definition or own, stored, roles))
    return standing


async def _move(
    tx: Transaction, grants: Sequence[store.Grant], position: int, ahead: Sequence[Next], at: datetime,
    run_id: UUID | None,
) -> None:  # fmt: skip
    moves = []
    for grant, one in zip(grants, ahead, strict=True):
        if one.sets or one.extra_roles:
            await source_ids.enter(tx, grant, one.stored, one.entries)
            entries = [entry_of(entry) for entry in one.entries]
            moves.append(store.Move(grant.grant_id, one.sets, entries, one.extra_roles))
    if moves:
        cause: store.Cause = "sync" if run_id else "grant"
        await store.move(tx, position, moves, at=at, run_id=run_id, cause=cause)
        crash_point("feed.moved")


def _effect(grant: store.Grant | None, ahead: Next) -> Effect:
    counts = {
        e.entity: {"entered": len(e.entered), "updated": len(e.updated), "left": len(e.left)} for e in ahead.entries
    }
    return Effect(grant.grant_id if grant else None, grant.app_id if grant else None, counts)


def entry_of(entry: FeedEntry) -> store.Entry:
    """An entry as the feed stores it."""
    return store.Entry(entry.entity, entry.entered.serialize(), entry.updated.serialize(), entry.left.serialize())
