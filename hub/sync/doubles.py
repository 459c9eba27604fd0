"""People of whom the run's source has several records: each row is compared by itself, the person is made of all.

Rows keep the number of the record to which they led by themselves. What refers to them leads to the record that speaks
of the person, and it is noted which of the records was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from hub.store import doubles
from hub.store.database import Transaction
from hub.store.doubles import PLACES
from hub.store.people import USERS
from hub.sync.job import Job
from hub.sync.merging import Merging
from hub.sync.said import Said
from transforms.catalogue import CATALOGUE, Entity

_NOWHERE = pl.DataFrame(schema=PLACES)
_OWN = {"key": pl.String, "rid": pl.UInt32}


@dataclass(frozen=True, slots=True)
class Told:
    """What a run brings of such people. ``places``: rids of the records that speak of them.

    ``rows``: key, rid, sourcedId and hash of what the source says anew, ``own`` the same in canonical columns; None:
    it only says less. ``members``: all records of these people; ``kept``: those of which what it said stands.
    """

    places: pl.Series
    rows: pl.DataFrame
    own: pl.DataFrame | None
    members: frozenset[int]
    kept: frozenset[int]


class Doubles:
    """The doubles of one run. ``noted``: whether it is to keep something of them at its end."""

    def __init__(self, job: Job, said: Said, merging: Merging | None, *, merged: bool) -> None:
        self._job, self._said = job, said
        self._merging = merging if merged else None
        self._aside: dict[str, list[tuple[pl.DataFrame, pl.DataFrame]]] = {}
        self._own = self._index = pl.DataFrame(schema=_OWN)
        self._meant: dict[str, dict[int, list[int] | None]] = {}
        self._made: dict[str, int] = {}

    @property
    def noted(self) -> bool:
        """Whether the run is to keep something."""
        return bool(self._meant or self._made)

    async def load(
        self, tx: Transaction, entity: Entity, stored: pl.DataFrame, others: pl.DataFrame | None
    ) -> None:  # fmt: skip
        """Reads which records of an entity are doubles: of ``stored``, and of ``others`` that have the same keys."""
        if self._merging is None or not doubles.is_person(entity):
            return
        rids = pl.concat([stored["rid"], *([others["rid"]] if others is not None else [])]).unique()
        if self._said.named is None:
            found = (await doubles.places(tx)).filter(pl.col("rid").is_in(rids.implode()))
        else:  # the others of a person are not named
            led = await doubles.around(tx, rids.to_list())
            found = pl.DataFrame(list(led.items()), schema=PLACES, orient="row")
        if entity.rid_of and (users := self._places(USERS)).height:
            found = pl.concat([found, users]).unique("rid")
        if found.height:
            self._merging.doubles[entity.name] = found
            self._merging.share(entity, pl.concat([found["rid"], found["place"]]))

    def _places(self, entity: Entity) -> pl.DataFrame:
        return _NOWHERE if self._merging is None else self._merging.doubles.get(entity.name, _NOWHERE)

    async def lead(self, entity: Entity, index: pl.DataFrame) -> pl.DataFrame:
        """An index (key, rid, sourcedId) where doubles lead to the record that speaks of the person."""
        places = self._places(entity)
        if not places.height:
            return index
        self._own, self._index = index.join(places, on="rid", how="semi").select("key", "rid"), index
        found = index.join(places, on="rid", how="left", maintain_order="left")
        ids = (await self._said.ids(entity, places["place"])).rename({"rid": "place", "sourcedId": "id"})
        found = found.join(ids, on="place", how="left", maintain_order="left")
        return found.select(
            "key", pl.coalesce("place", "rid").alias("rid"), pl.coalesce("id", "sourcedId").alias("sourcedId")
        )

    def by_home(self, found: pl.DataFrame) -> pl.DataFrame:
        """Key and rid of known people, with the records to which the keys led by themselves."""
        own = found.join(self._own.rename({"rid": "own"}), on="key", how="left", maintain_order="left")
        return own.select("key", pl.coalesce("own", "rid").alias("rid"))

    def once(self, minted: pl.DataFrame) -> pl.DataFrame:
        """New rows that take the number of their person, one for each; the next whole package brings the others."""
        if not self._own.height:
            return minted
        marked = minted.with_columns(double=pl.col("key").is_in(self._own["key"].implode()))
        once = marked.sort("rid", "double", "key").unique("rid", keep="first", maintain_order=True)
        homes = once.filter("double").select("key").join(self._own, on="key")
        self._made |= dict(homes.rows())
        return once.drop("double")

    async def ids(self, entity: Entity, rids: pl.Series) -> pl.DataFrame:
        """Rid and sourcedId of records; a double that has no row of its own goes by the one of its person."""
        places = self._places(entity)
        if not places.height:
            return await self._said.ids(entity, rids)
        known = await self._said.ids(entity, pl.concat([rids, places["place"]]))
        theirs = places.rename({"rid": "double", "place": "rid"}).join(known, on="rid", how="inner")
        more = theirs.select(pl.col("double").alias("rid"), "sourcedId")
        return pl.concat([known, more.join(known, on="rid", how="anti")])

    def put_aside(
        self, entity: Entity, rows: pl.DataFrame, own: pl.DataFrame
    ) -> tuple[pl.DataFrame, pl.DataFrame]:  # fmt: skip
        """Keeps rows about such people until all rows have been seen; gives back the others."""
        places = self._places(entity)
        if not places.height:
            return rows, own
        mine = pl.col("rid").is_in(pl.concat([places["rid"], places["place"]]).implode())
        self._aside.setdefault(entity.name, []).append((rows.filter(mine), own.filter(mine)))
        return rows.filter(~mine), own.filter(~mine)

    def told(self, entity: Entity, gone: pl.DataFrame) -> Told | None:
        """What the run brings of such people, if anything. ``gone``: key and rid of what is said no more."""
        places = dict(self._places(entity).rows())
        members = {*places, *places.values()}
        aside = [part for part in self._aside.pop(entity.name, ()) if part[0].height]
        fallen = members.intersection(gone["rid"])
        if not aside and not fallen:
            return None
        own = pl.concat([part[1] for part in aside], how="diagonal") if aside else None
        names = ("key", "rid", "sourcedId", "hash")
        empty = {"key": pl.String, "rid": pl.UInt32, "sourcedId": pl.String, "hash": pl.UInt64}
        rows = pl.concat([part[0].select(names) for part in aside]) if aside else pl.DataFrame(schema=empty)
        said = set(rows["rid"])
        touched = {places.get(rid, rid) for rid in said | fallen}
        whose = frozenset(rid for rid in members if places.get(rid, rid) in touched)
        return Told(
            pl.Series("rid", sorted(touched), dtype=pl.UInt32), rows, own, whose, frozenset(whose - said - fallen)
        )

    async def refer(self, entity: Entity, fresh: pl.DataFrame, known: pl.DataFrame) -> None:
        """Notes whom rows mean that refer to people of whom the source has several records."""
        fields = [f for f in entity.references if f.target == USERS.name]
        if not fields or not self._own.height:
            return
        name = fields[0].name
        rows = pl.concat([part.select("rid", name) for part in (fresh, known) if part.height] or [fresh.head(0)])
        named = [(rid, keys if isinstance(keys, list) else [keys]) for rid, keys in rows.select("rid", name).rows()]
        own: dict[str, int] = dict(self._own.rows())
        hits = {rid: keys for rid, keys in named if not own.keys().isdisjoint(keys)}
        others = {key for keys in hits.values() for key in keys} - set(own)
        noted = self._meant.setdefault(entity.name, {})
        async with self._job.db.district(self._job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            homes = dict(self._index.filter(pl.col("key").is_in(others)).select("key", "rid").rows())
            homes |= own | await doubles.homes_of_keys(tx, self._said.source_id, others)
            before = await doubles.said(tx, entity, known["rid"].to_list() if known.height else [])
        noted |= {rid: _known(keys, homes) for rid, keys in hits.items()}
        noted |= {rid: None for rid, who in before if who == self._said.source_id and rid not in hits}
        if not noted:
            del self._meant[entity.name]

    async def keep(self, tx: Transaction) -> None:
        """Keeps that, in the run's own transaction."""
        source = self._said.source_id
        for name, meant in self._meant.items():
            await doubles.note(tx, CATALOGUE[name], {(rid, source): homes for rid, homes in meant.items()})
        await doubles.lead_back(tx, source, self._made)


def _known(keys: Iterable[str], homes: Mapping[str, int]) -> list[int]:
    return [homes[key] for key in keys if key in homes]
