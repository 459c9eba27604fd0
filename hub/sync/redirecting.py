"""References to people whose words come to stand elsewhere, and where these belong.

A reference belongs to the record to which its speaker's word about the person led. Where a source has several records
of the person, it is noted which one it means. Where several could be meant, or nobody speaks of the record (an app
wrote it), it belongs where it was made: that is kept.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

import polars as pl

from hub.store import columns, doubles, people
from hub.store.database import Transaction
from hub.store.people import USERS, Claim
from hub.sync.changes import members
from hub.sync.parties import Parties
from transforms.catalogue import Entity
from transforms.parse import parse
from transforms.render import render

#: A record, and who says it.
_Said = tuple[int, UUID]
_Texts = tuple[str, str]


@dataclass(frozen=True)
class Turns:
    """How words about people turn. ``claims``: all words about them; ``into``, ``before``: home to its record.

    ``doubles``: homes that stand by themselves though another record speaks of the person.
    """

    claims: Sequence[Claim]
    into: Mapping[int, int]
    before: Mapping[int, int]
    doubles: frozenset[int]

    @cached_property
    def own(self) -> Mapping[tuple[UUID, int], int]:
        """By source and the record that speaks of a person: the home of the source's word that stands there."""
        active = (claim for claim in self.claims if claim.active)
        return {(c.source_id, c.rid): c.home for c in active if c.rid == self.before[c.home]}

    def shared(self, parties: Parties) -> Mapping[tuple[UUID, int], int]:
        """The same of sources without a word of their own: that of the one other with their keys, if it is one."""
        spaces = {source.source_id: source.key_space for source in parties.others}
        found = defaultdict[tuple[UUID, int], set[int]](set)
        for claim in (one for one in self.claims if one.active):
            for source, space in spaces.items():
                if space is not None and space == spaces.get(claim.source_id):
                    found[source, self.before[claim.home]].add(claim.home)
        return {
            key: min(homes) for key, homes in found.items() if len({self.into[home] for home in homes}) == 1
        }  # fmt: skip


@dataclass(slots=True)
class Redirected:
    """``records``: those with a reference that changes. ``homes``: of references by nobody's word, where they belong.

    None among the homes: where the reference leads now. ``said``: whom sources mean, to be noted; None: no more.
    ``places``: by double, the record that speaks of the person, among ``records``. ``many``: the field that is a list.
    """

    turns: Turns
    records: set[int] = field(default_factory=set)
    homes: dict[int, int | None] = field(default_factory=dict)
    said: dict[_Said, list[int] | None] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    _by: dict[int, dict[str | None, dict[str, str]]] = field(default_factory=dict)
    many: str = ""

    def renamed(self, rid: int, source: str | None = None) -> Mapping[str, str]:
        """The sourcedIds that change in what a source says of a record, or in one of which at most one speaks."""
        by = self._by.get(rid, {})
        return next(iter(by.values()), {}) if source is None else by.get(source, {})

    def rename(self, rid: int, source: UUID | None, old: str, new: str) -> None:
        """Notes such a change; ``source`` None: nobody speaks of the record."""
        self.records.add(rid)
        self._by.setdefault(rid, {}).setdefault(str(source) if source else None, {})[old] = new

    async def lists(
        self, tx: Transaction, entity: Entity, words: pl.DataFrame, stored: Mapping[int, tuple[bool, str, str]]
    ) -> dict[tuple[int, str | None], _Texts]:
        """The documents of which a list of references changes, by record and source (None: at most one speaks).

        ``words`` (STATEMENTS) of sources; ``stored``: documents of records that are not merged.
        """
        if not self.many or not self.records:
            return {}
        speakers = await people.speakers(tx, entity, list(stored))
        rows = [(rid, source, doc, private) for rid, source, _, doc, private in words.rows() if rid in self.records]
        rows += [
            (rid, next((str(one) for one in speakers.get(rid, ())), None), doc, private)
            for rid, (_, doc, private) in stored.items()
        ]  # fmt: skip
        rows = [row for row in rows if self.many in members(row[2], row[3])]
        named = sorted({one["sourcedId"] for _, _, *texts in rows for one in _items(texts, self.many)})
        rids = await columns.rids_of(tx, USERS, named)
        at = await doubles.homes_at(tx, list(rids.values()))
        noted = await doubles.said(tx, entity, {rid for rid, *_ in rows})
        meant: list[list[int]] = []
        for rid, source, *texts in rows:
            now = [rids[one["sourcedId"]] for one in _items(texts, self.many) if one["sourcedId"] in rids]
            who = UUID(source) if source else None
            homes = [at.get((who, each), each) if who else each for each in now]
            meant.append(noted.get((rid, who), homes) if who else homes)
            if who is not None:
                self.note(rid, who, meant[-1], known=(rid, who) in noted)
        led = await self._led(tx, {home for homes in meant for home in homes})
        names = {rid: str(named[0]) for rid, named in (await people.named(tx, set(led.values()))).items()}
        lists = [list(dict.fromkeys(names[led[home]] for home in homes)) for homes in meant]
        texts_now = await asyncio.to_thread(_relisted, entity, self.many, rows, lists)
        keys = [(rid, None if rid in stored else source) for rid, source, *_ in rows]
        return dict(zip(keys, texts_now, strict=True))

    async def _led(self, tx: Transaction, homes: Collection[int]) -> dict[int, int]:
        others = await people.into(tx, [home for home in homes if home not in self.turns.into])
        return {home: self.turns.into.get(home, others.get(home, home)) for home in homes}

    def note(self, rid: int, source: UUID, homes: Sequence[int], *, known: bool) -> None:
        """Notes whom a source means, where that does not follow from where the reference leads; ``known``: it was."""
        if self.turns.doubles.intersection(homes):
            self.said[rid, source] = list(homes)
        elif known:
            self.said[rid, source] = None


def _items(texts: Sequence[str], field: str) -> list[dict[str, str]]:
    """The references of a list in a document."""
    found: list[dict[str, str]] = members(*texts).get(field, [])  # type: ignore[assignment]
    return found


def _relisted(
    entity: Entity, field: str, rows: Sequence[tuple[int, str | None, str, str]], lists: Sequence[Sequence[str]]
) -> list[_Texts]:
    """The documents of rows with other lists of references."""
    schema = {"rid": pl.UInt32, "doc": pl.String, "doc_private": pl.String}
    numbered = pl.DataFrame([(n, *row[2:]) for n, row in enumerate(rows)], schema=schema, orient="row")
    parsed = parse(entity.name, numbered.with_columns(sourcedId=pl.lit("")))
    texts = render(entity.name, parsed.with_columns(pl.Series(field, lists, pl.List(pl.String))))
    return list(texts.select("doc", "doc_private").iter_rows())


async def redirected(tx: Transaction, entity: Entity, turns: Turns, parties: Parties) -> Redirected:
    """Which references of an entity's records follow the words about users that move."""
    found = Redirected(turns)
    fields = [f for f in entity.references if f.target == USERS.name]
    if not fields:
        return found
    (field,) = fields
    places = set(turns.before.values()) | set(turns.into.values())
    pairs = await people.referrers(tx, entity, field.name, places)
    rids = {rid for rid, _ in pairs}
    if field.many:
        await _beside(tx, found, rids)
        found.many = field.name
        return found
    names: dict[int, str] = dict((await columns.sourced_ids(tx, USERS, sorted(places))).rows())
    speakers = await people.speakers(tx, entity, rids)
    noted = await people.reference_homes(tx, entity, rids)
    said = await doubles.said(tx, entity, rids)
    homes = dict(turns.shared(parties)) | dict(turns.own)
    for rid, user in pairs:
        sources = speakers.get(rid, [])
        meant: dict[UUID, int] = {}
        for source in sources:
            own = next(iter(said.get((rid, source), ())), homes.get((source, user)))
            if own in turns.into and own is not None:
                meant[source] = own
                found.note(rid, source, [own], known=(rid, source) in said)
        to: dict[UUID | None, int] = {source: turns.into[home] for source, home in meant.items()}
        if not to:
            home = noted.get(rid, user)
            place = turns.into.get(home, user)
            to = dict.fromkeys(sources, place) or {None: place}
            if place != user:
                found.homes[rid] = None if home == place else home
        for who, place in to.items():
            if place != user:
                found.rename(rid, who, names[user], names[place])
    return found


async def _beside(tx: Transaction, found: Redirected, rids: Collection[int]) -> None:
    """Records with lists of references, and doubles of them: those say so beside them."""
    led = await doubles.around(tx, rids)
    found.places = {rid: place for rid, place in led.items() if place in rids}
    found.records |= {*rids, *found.places}
