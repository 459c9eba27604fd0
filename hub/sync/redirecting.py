"""Records that refer to people whose words move: which of their references follow, and where these belong.

A reference belongs to the record to which its speaker's word about the person led. Where several could be meant, or
nobody speaks of the record (an app wrote it), it belongs where it was made: that is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from hub.store import columns, people
from hub.store.database import Transaction
from hub.store.people import USERS, Claim
from hub.sync.parties import Parties
from transforms.catalogue import Entity

#: By source and the record of a user: to which it is to lead.
_Turns = Mapping[tuple[UUID, int], int]


@dataclass(slots=True)
class Redirected:
    """``records``: those with a reference that changes. ``homes``: of references by nobody's word, where they belong.

    None among the homes: where the reference leads now.
    """

    records: set[int] = field(default_factory=set)
    homes: dict[int, int | None] = field(default_factory=dict)
    _by: dict[int, dict[str | None, dict[str, str]]] = field(default_factory=dict)

    def renamed(self, rid: int, source: str | None = None) -> Mapping[str, str]:
        """The sourcedIds that change in what a source says of a record, or in one of which at most one speaks."""
        by = self._by.get(rid, {})
        return next(iter(by.values()), {}) if source is None else by.get(source, {})

    def rename(self, rid: int, source: UUID | None, old: str, new: str) -> None:
        """Notes such a change; ``source`` None: nobody speaks of the record."""
        self.records.add(rid)
        self._by.setdefault(rid, {}).setdefault(str(source) if source else None, {})[old] = new


async def redirected(
    tx: Transaction, entity: Entity, claims: Sequence[Claim], into: Mapping[int, int], parties: Parties
) -> Redirected:
    """Which references of an entity's records follow the words about users that move.

    ``claims``: all words about the users; ``into``: home to the record to which it belongs now.
    """
    found = Redirected()
    fields = [f.name for f in entity.references if f.target == USERS.name]
    if not fields:
        return found
    places = {claim.rid for claim in claims} | set(into)
    names: dict[int, str] = dict((await columns.sourced_ids(tx, USERS, sorted(places))).rows())
    turns = _turns(claims, into, parties)
    for name in fields:
        pairs = await people.referrers(tx, entity, name, places)
        rids = {rid for rid, _ in pairs}
        speakers = await people.speakers(tx, entity, rids)
        noted = await people.reference_homes(tx, entity, rids) if not entity[name].many else {}
        for rid, user in pairs:
            sources = speakers.get(rid, [])
            to: dict[UUID | None, int] = {source: turns[source, user] for source in sources if (source, user) in turns}
            if not to:
                home = noted.get(rid, user)
                place = into.get(home, user)
                to = dict.fromkeys(sources, place) or {None: place}
                if place != user and not entity[name].many:
                    found.homes[rid] = None if home == place else home
            for source, place in to.items():
                if place != user:
                    found.rename(rid, source, names[user], names[place])
    return found


def _turns(claims: Sequence[Claim], into: Mapping[int, int], parties: Parties) -> _Turns:
    """Where each source's references to a user are to lead: its own word decides, then those of its key space."""
    spaces = {source.source_id: source.key_space for source in parties.others}
    own, shared = dict[tuple[UUID, int], int](), defaultdict[tuple[UUID, int], set[int]](set)
    for claim in (one for one in claims if one.active):
        own[claim.source_id, claim.rid] = into[claim.home]
        for source, space in spaces.items():
            if space is not None and space == spaces.get(claim.source_id):
                shared[source, claim.rid].add(into[claim.home])
    return {key: min(places) for key, places in shared.items() if len(places) == 1} | own
