"""A grant's view, made of what is stored of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from pyroaring import BitMap

from hub.scope.feed import FeedEntry
from hub.scope.grants import GrantDefinition
from hub.scope.sets import unpack
from hub.scope.stamps import Stamps
from hub.scope.view import EntityView, Step, View
from hub.store.grants import Entry, Sets
from hub.store.views import Dated, Stored
from transforms.catalogue import CATALOGUE

_NOTHING = BitMap().serialize()


def of_stored(stored: Stored) -> View:
    """The view of a grant with its whole feed."""
    feed = _by_entity(stored.feed)
    entities = {}
    for name in (e.name for e in CATALOGUE.entities):
        sets, stamps = stored.sets.get(name), Stamps.of_feed(feed[name])
        entities[name] = EntityView(stamps=stamps) if sets is None else _entity(sets, stamps)
    grant = stored.grant
    definition = GrantDefinition.model_validate(grant.definition)
    return View(grant.grant_id, grant.position, definition, entities, tuple(_steps(stored.feed)), _extra_roles(stored))


def later(view: View, stored: Stored) -> View:
    """A view of the same definition at a later position, given what was stored since."""
    feed = _by_entity(stored.feed)
    changed = {name: _entity(sets, view.entities[name].stamps.after(feed[name])) for name, sets in stored.sets.items()}
    entities = {**view.entities, **changed}
    return view.later(stored.grant.position, entities, tuple(_steps(stored.feed)), _extra_roles(stored))


def past(feed: list[Dated]) -> dict[str, EntityView]:
    """The sets that the beginning of a feed leads to, ``trimmed`` left out."""
    by_entity = _by_entity(feed)
    return {e.name: EntityView.of_feed(by_entity[e.name]) for e in CATALOGUE.entities}


def _entity(sets: Sets, stamps: Stamps) -> EntityView:
    return EntityView(unpack(sets.present), unpack(sets.gone), unpack(sets.trimmed), stamps)


def _extra_roles(stored: Stored) -> list[tuple[int, str, BitMap]]:
    return [(position, role, unpack(people)) for position, role, people in stored.extra_roles]


def _feed_entry(entry: Entry) -> FeedEntry:
    return FeedEntry(entry.entity, *(unpack(part) for part in (entry.entered, entry.updated, entry.departed)))


def _by_entity(feed: Iterable[Dated]) -> defaultdict[str, list[tuple[datetime, FeedEntry]]]:
    out: defaultdict[str, list[tuple[datetime, FeedEntry]]] = defaultdict(list)
    for dated in feed:
        out[dated.entry.entity].append((dated.at, _feed_entry(dated.entry)))
    return out


def _steps(feed: Iterable[Dated]) -> Iterable[Step]:
    at: dict[int, tuple[int, datetime]] = {}
    rewritten: defaultdict[int, set[str]] = defaultdict(set)
    for dated in feed:
        at[dated.position] = dated.step, dated.at
        if dated.entry.updated != _NOTHING or dated.entry.departed != _NOTHING:
            rewritten[dated.position].add(dated.entry.entity)
    return (Step(number, position, when, frozenset(rewritten[position])) for position, (number, when) in at.items())
