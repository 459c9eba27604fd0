"""A sourcedId that names another person now: that one is new, with ids of the hub's own, and the former one ends.

Nobody is renamed into somebody else, and nobody inherits: what hung on the id, such as enrollments, ends with the
person whose it was, and is made anew where the source says it of the new one. A person whose id comes back is the
person again. Where they are too many, or nothing may be deleted now, nothing of this is done: the guard holds the run,
or they wait (hub.sync.rebinding).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from connectors.protocol import Package
from hub.store import columns, districts, doubles, incarnations, statements
from hub.store.database import Transaction
from hub.store.people import USERS
from hub.sync.difference import birth, is_rebound
from hub.sync.job import Job
from hub.sync.judging import Judging
from hub.sync.merging import Merging
from hub.sync.recognising import birth_dates
from hub.sync.resolve import empty_index, resolve
from hub.sync.said import Said
from hub.sync.writing import Indexes
from transforms.catalogue import CATALOGUE, Entity
from transforms.diff import Difference
from transforms.marks import stacked
from transforms.render import render
from transforms.rules.guarded import ID_005
from transforms.rules.settings import RuleSettings

_ENDED: Final = {"key": pl.String, "rid": pl.UInt32}
_NOBODY: Final = pl.DataFrame(schema=_ENDED)
_NAMES: Final = {"given_name": "givenName", "family_name": "familyName"}
#: What the run's source alone says of records (rid, sourcedId): rid, doc and doc_private among others.
Words = Callable[[Entity, pl.DataFrame], Awaitable[pl.DataFrame]]


class Incarnations:
    """The new people of one run under known sourcedIds. ``keys``: these."""

    def __init__(
        self, job: Job, package: Package, said: Said, merging: Merging | None, rules: RuleSettings, words: Words
    ) -> None:
        self._job, self._package, self._said, self._merging = job, package, said, merging
        self._words, self._runs = words, rules.runs(ID_005)
        self._ended: dict[str, pl.DataFrame] = {}
        self._back = pl.DataFrame(schema=_ENDED)
        self.keys: list[str] = []

    def ended(self, entity: Entity) -> pl.DataFrame:
        """Key and rid of what ends because its person has lost the id."""
        return self._ended.get(entity.name, _NOBODY)

    async def looked(
        self, entity: Entity, found: Difference, frame: pl.DataFrame, stored: dict[str, pl.DataFrame],
        indexes: Mapping[str, pl.DataFrame],
    ) -> Difference:  # fmt: skip
        """The difference where rows of users that name somebody else are new.

        ``frame``: all rows; ``stored``, by entity: what the source said last, where these are taken out.
        """
        rows = stacked([found.updated, found.reactivated])
        if entity is not USERS or not self._runs or not rows.height:
            return found
        keys = await self._others(rows, dict(indexes))
        if not keys or not await self._may(len(keys), int(stored[USERS.name]["active"].sum())):
            return found
        self.keys = sorted(keys)
        theirs = pl.col("key").is_in(self.keys)
        self._ended[USERS.name] = stored[USERS.name].filter(theirs).select("key", "rid")
        stored[USERS.name] = stored[USERS.name].filter(~theirs)
        former = await self._former(rows.filter(theirs), dict(indexes))
        back = pl.DataFrame(list(former.items()), schema=_ENDED, orient="row")
        self._back = back
        stored[USERS.name] = pl.concat([stored[USERS.name], _silent(back)])
        new = rows.filter(theirs).select(found.created.columns)
        again = new.join(back, on="key", how="inner", maintain_order="left").select(found.reactivated.columns)
        return replace(
            found,
            created=pl.concat([found.created, new.join(back, on="key", how="anti", maintain_order="left")]),
            updated=self._referring(found, frame, stored[USERS.name]).filter(~theirs),
            reactivated=pl.concat([found.reactivated.filter(~theirs), again]),
        )

    async def _others(self, rows: pl.DataFrame, indexes: Indexes) -> set[str]:
        """The keys of rows that name somebody else than the source did before."""
        claim = self._job.claim
        async with self._job.db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
            named = await columns.small(tx, USERS, (), tuple(_NAMES), rids=rows["rid"].to_list())
        beside = rows.join(named, on="rid", how="inner")
        others = pl.all_horizontal(
            pl.col(was).fill_null("").str.to_lowercase() != pl.col(now).fill_null("").str.to_lowercase()
            for was, now in _NAMES.items()
        )
        if self._merging is not None:  # what all say is not what the source said
            others |= self._merging.is_shared(USERS)
        asked = rows.filter(pl.col("rid").is_in(beside.filter(others)["rid"].implode()))
        if not asked.height:
            return set()
        asked = asked.join(await self._said.ids(USERS, asked["rid"]), on="rid", how="inner")
        now = await asyncio.to_thread(_documents, asked, indexes | {USERS.name: empty_index()})
        other = await self._differs(asked)
        return {key for key, rid, *texts in now if other(key, rid, (texts[0], texts[1]))}

    async def _differs(self, rows: pl.DataFrame) -> Callable[[str, int, tuple[str, str]], bool]:
        """Whether a document of a key is of another person than what the source said of a record, of ``rows``."""
        before = {rid: (doc, private) for rid, doc, private in await self._texts(USERS, rows)}
        about = await self._texts(CATALOGUE["demographics"], rows)
        births = {rid: birth((doc, private)) for rid, doc, private in about}
        told = await asyncio.to_thread(birth_dates, self._package)
        born = {key: str(day) if day else None for key, day, _ in told.rows()}
        for rid in await self._passed_by_others(rows["rid"].to_list()):  # a birth date of theirs says nothing of it
            births.pop(rid, None)

        def differs(key: str, rid: int, now: tuple[str, str]) -> bool:
            was = births.get(rid)
            return rid in before and is_rebound(before[rid], now, (was, born.get(key, was)))

        return differs

    async def _passed_by_others(self, rids: list[int]) -> set[int]:
        """Those of some users whose ids other sources with the same keys have given to somebody else."""
        same = [] if self._merging is None else self._merging.parties.same_keys
        if not same:
            return set()
        async with self._job.db.district(self._job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            return await incarnations.superseded(tx, USERS, [source.source_id for source in same], rids)

    async def _former(self, rows: pl.DataFrame, indexes: Indexes) -> dict[str, int]:
        """By key, the record of an earlier person who has it again: of new people under known keys (``rows``)."""
        claim = self._job.claim
        async with self._job.db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
            claims = await columns.superseded(tx, self._said.source_id, USERS.name, rows["key"].to_list())
            ids = await columns.sourced_ids(tx, USERS, claims["rid"].to_list())
        if not claims.height:
            return {}
        differs = await self._differs(claims.join(ids, on="rid", how="inner"))
        texts = await asyncio.to_thread(_documents, rows, indexes | {USERS.name: empty_index()})
        now = {key: (doc, private) for key, _, doc, private in texts}
        found: dict[str, int] = {}
        for key, rid in claims.sort("rid", descending=True).select("key", "rid").rows():
            if not differs(key, rid, now[key]):
                found.setdefault(key, rid)
        return found

    async def _texts(self, entity: Entity, rows: pl.DataFrame) -> list[tuple[int, str, str]]:
        """What the source said of records: of merged ones its own word, as long as that is kept."""
        merged = pl.Series("rid", [], dtype=pl.UInt32)
        if self._merging is not None and entity is USERS:  # a birth date may have come from it alone all the same
            merged = self._merging.shared[USERS.name]
        shared = pl.col("rid").is_in(merged.implode())
        names, theirs = ("rid", "doc", "doc_private"), rows.filter(shared)["rid"].to_list()
        words = await self._words(entity, rows.filter(~shared).select("rid", "sourcedId"))
        async with self._job.db.district(self._job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            said = await statements.of_records(tx, entity.name, theirs)
        own = said.filter(pl.col("source") == str(self._said.source_id))
        return [*words.select(names).rows(), *own.select(names).rows()]

    async def _may(self, number: int, of: int) -> bool:
        """Whether so many may be new: no more than the guard lets pass, unless a person has approved the run."""
        judging = await Judging.begin(self._job, whole=True)
        if judging.additive or judging.withhold is not None:
            return False
        limit = judging.rules.in_windows.limit("limits", USERS.name, "rebound")
        return judging.approved is not None or limit is None or not limit.exceeded(number, of)

    def _referring(self, found: Difference, frame: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
        """The changed rows, and those that did not change but refer to the new people."""
        named = frame.filter(pl.col("agents").list.set_intersection(pl.lit(self.keys)).list.len() > 0)
        rows = named.join(stored.filter("active").select("key", "rid"), on="key", how="inner")
        more = rows.select(found.updated.columns).join(found.updated, on="rid", how="anti")
        return pl.concat([found.updated, more])

    async def without(self, entity: Entity, stored: pl.DataFrame) -> pl.DataFrame:
        """What the source said last of an entity, without what hung on ids that are another person's now."""
        rids = self.ended(USERS)["rid"]
        if not rids.len() or entity is USERS:
            return stored
        theirs = rids if entity.rid_of == USERS.name else await self._of(entity, rids.to_list())
        mine = pl.col("rid").is_in(theirs.implode())
        self._ended[entity.name] = stored.filter(mine).select("key", "rid")
        left = stored.filter(~mine)
        return pl.concat([left, await self._back_again(entity)]) if entity.rid_of else left

    async def _back_again(self, entity: Entity) -> pl.DataFrame:
        """What the source once said of people who have their ids again, of an entity that shares their numbers."""
        async with self._job.db.district(self._job.claim.district_id, readonly=True, wait_seconds=30) as tx:
            keys = self._back["key"].to_list()
            found = await columns.superseded(tx, self._said.source_id, entity.name, keys)
        return _silent(found.filter(pl.col("rid").is_in(self._back["rid"].implode())))

    async def _of(self, entity: Entity, rids: list[int]) -> pl.Series:
        """The records of an entity that the source has said of some users."""
        single = [f.table_column for f in entity.references if f.target == USERS.name and not f.many]
        if not single:
            return pl.Series("rid", [], dtype=pl.UInt32)
        claim = self._job.claim
        async with self._job.db.district(claim.district_id, readonly=True, wait_seconds=30) as tx:
            led = await doubles.around(tx, rids)
            places = {led.get(rid, rid) for rid in rids}
            found = (await columns.small(tx, entity, (single[0],))).filter(pl.col(single[0]).is_in(list(places)))
            noted = await doubles.said(tx, entity, found["rid"].to_list())
        others = [rid for (rid, who), homes in noted.items() if who == self._said.source_id and not {*homes} & {*rids}]
        return found.filter(~pl.col("rid").is_in(others))["rid"]

    async def keep(self, tx: Transaction) -> None:
        """Notes in the run's own transaction that the keys are others' now."""
        if not self._ended:
            return
        position, _ = await districts.lock(tx)
        for name, ended in self._ended.items():
            await incarnations.supersede(tx, CATALOGUE[name], self._said.source_id, ended["rid"].to_list(), position)


def _silent(claims: pl.DataFrame) -> pl.DataFrame:
    """Keys and rids as what the source said last (transforms.diff.STORED), and says no more."""
    return claims.select("key", "rid", hash=pl.lit(0, pl.UInt64), active=pl.lit(value=False))


def _documents(rows: pl.DataFrame, indexes: Indexes) -> list[tuple[str, int, str, str]]:
    documents = render(USERS.name, resolve(USERS, rows, indexes).documents)
    return pl.concat([rows.select("key", "rid"), documents], how="horizontal").rows()
