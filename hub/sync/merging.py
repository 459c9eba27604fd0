"""Records of which several sources speak: their statements are merged, and each value keeps where it comes from.

A record of which one source speaks alone has no statements in the store: its document is what the source says. They are
written when a second one joins, or a person overrides a value.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

import orjson
import polars as pl
from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.scope import sets
from hub.scope.grants import WRITABLE
from hub.store import doubles, people, statements
from hub.store.database import Transaction
from hub.store.statements import STATEMENTS, Override
from hub.sync.doubled import Group, in_order, side_by_side, told_of
from hub.sync.job import Job
from hub.sync.metadata import METADATA, OVERRIDE, member, with_members
from hub.sync.parties import Parties
from hub.sync.prepared import Prepared
from hub.sync.provenance import Provenance
from hub.sync.resolve import is_target
from hub.sync.writing import Writer
from transforms.canonical import body
from transforms.catalogue import Entity, Kind, Privacy
from transforms.marks import as_list
from transforms.merge import STATEMENT, merge
from transforms.parse import parse
from transforms.render import render
from transforms.uniting import unite_roles

#: Whose words are replaced by others.
REPLACED = {"rid": pl.UInt32, "source": pl.String}
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Merged:
    """Records as they are by all statements. ``frame``: rid, sourcedId and the canonical body; ``documents``: theirs.

    ``provenance``: rid and fields (JSON, field to source). References are sourcedIds. Records that nobody speaks of any
    more are left out. ``stored``: rid, doc and doc_private of some active records as they are stored.
    """

    frame: pl.DataFrame
    documents: pl.DataFrame
    provenance: pl.DataFrame
    stored: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """What sources said once: ``said`` (STATEMENTS) takes the place of the statements of ``replaced`` (REPLACED)."""

    said: pl.DataFrame
    replaced: pl.DataFrame


class Merging:
    """The merging of one run. ``shared``, by entity: the rids (UInt32) of records that are merged.

    ``provenance``: of all that was merged. ``persons``: the users of whom several records came,
    where the run decides that itself; None: as the store has them. ``joining``: users who come to stand for more.
    ``into``: to which record users belong, where the run decides that itself. ``doubles``, by entity (PLACES): records
    whose words stand by themselves though another record speaks of the person (hub.store.doubles).
    """

    def __init__(self, job: Job, parties: Parties, writer: Writer) -> None:
        self._db, self._writer, self._at = job.db, writer, job.clock.now()
        self._district_id, self._run_id = job.claim.district_id, job.claim.lease_token
        self.parties = parties
        self.shared: dict[str, pl.Series] = {}
        self.provenance = Provenance()
        self._stated: set[str] = set()
        self._told: Counter[str] = Counter()  # how often what writes early hears of new statements, by entity
        self._alone: dict[tuple[str, UUID], BitMap] = {}
        self.persons: frozenset[int] | None = None
        self.joining: set[int] = set()
        self.into: Mapping[int, int] | None = None
        self.doubles: dict[str, pl.DataFrame] = {}
        self._before: dict[str, pl.Series] | None = None
        self._any_said = True  # unless it is known better

    def begin(self, entity: Entity) -> None:
        """Begins with an entity of which nothing is merged."""
        self.shared[entity.name] = pl.Series("rid", [], dtype=pl.UInt32)

    async def load(self, tx: Transaction, entity: Entity) -> None:
        """Reads which records of an entity are merged, or have overrides."""
        if self._before is None:
            self._before, self._any_said = await statements.every_merged(tx), await statements.any_said(tx)
        rids = self._before.get(entity.name, pl.Series("rid", [], dtype=pl.UInt32))
        if self.parties.overridden:
            overridden = [o.rid for o in await statements.overrides(tx, entity=entity.name)]
            rids = pl.concat([rids, pl.Series("rid", overridden, dtype=pl.UInt32)]).unique()
        self.shared[entity.name] = rids

    def share(self, entity: Entity, rids: pl.Series) -> None:
        """Notes records that the run's source joins."""
        self.shared[entity.name] = pl.concat([self.shared[entity.name], rids.cast(pl.UInt32)]).unique()

    def any_merged(self, entity: Entity) -> bool:
        """Whether any record of an entity was merged when the run began, as far as that is known."""
        return self._before is None or entity.name in self._before

    def is_shared(self, entity: Entity) -> pl.Expr:
        """Whether the record of a row (column rid) is merged."""
        return pl.col("rid").is_in(as_list(self.shared[entity.name]))

    async def merged(
        self, entity: Entity, ids: pl.DataFrame, own: pl.DataFrame | None, words: Words | None = None, *,
        kept: Collection[int] = (),
    ) -> Merged:  # fmt: skip
        """Merges some records anew, and has what was said staged.

        ``ids``: rid and sourcedId of the records. ``own``: what the run's source says of them, or of doubles of them,
        now, in canonical columns with sourcedIds for references, and rid; without it, the source says nothing of them
        any more, but of ``kept`` what it said. ``words``: what others say from now on.
        """
        rids = ids["rid"].to_list()
        async with self._db.district(self._district_id, readonly=True, wait_seconds=30) as tx:
            led = await self._led(tx, entity, rids)
            here = [rid for rid in rids if rid not in led]
            beside = {rid: place for rid, place in led.items() if place in set(here)}
            known = pl.DataFrame(schema=statements.STATEMENTS)
            if self._any_said:
                known = await statements.of_records(tx, entity.name, [*here, *beside])
            lone = sorted(set(here) - set(known["rid"]))
            alone, living = await statements.sole(tx, entity.name, entity.table, lone)
            told = await statements.overrides(tx, entity=entity.name, rids=[*here, *beside]) if here else []
            set_by_hand, _ = statements.in_force(told, beside)
            persons = await self._persons(tx, entity, here)
        ids = ids.select("rid", "sourcedId").filter(pl.col("rid").is_in(here))
        group = Group(ids, pl.DataFrame(list(beside.items()), schema=doubles.PLACES, orient="row"), frozenset(kept))
        stored = _as_stored(entity, alone, living)
        if words is not None:
            known, alone = (said.join(words.replaced, on=list(REPLACED), how="anti") for said in (known, alone))
            alone = pl.concat([alone, words.said.filter(pl.col("rid").is_in([*here, *beside]))])
        merged = await self._merged(
            entity, group, own, known, alone, set_by_hand, persons, words_are_theirs=words is None
        )
        return replace(merged, stored=stored)

    async def _led(self, tx: Transaction, entity: Entity, rids: Sequence[int]) -> Mapping[int, int]:
        """To which records those of some, and those that belong to some of them, belong that belong to others."""
        if not doubles.is_person(entity):
            return {}
        if self.into is not None:
            return {home: place for home, place in self.into.items() if home != place}
        return await doubles.around(tx, rids) if self.parties.merged else {}

    async def _persons(self, tx: Transaction, entity: Entity, rids: Sequence[int]) -> frozenset[int]:
        """Those of some records that stand for several that came."""
        if entity is not people.USERS:
            return frozenset()
        if self.persons is not None:
            return self.persons
        return frozenset(await people.whole(tx, rids)) | self.joining.intersection(rids)

    async def _merged(
        self, entity: Entity, group: Group, own: pl.DataFrame | None, known: pl.DataFrame, alone: pl.DataFrame,
        set_by_hand: list[Override], persons: frozenset[int], *, words_are_theirs: bool,
    ) -> Merged:  # fmt: skip
        source, ids = str(self.parties.own.source_id) if self.parties.own else "", group.ids
        stands = (pl.col("source") != source) | pl.col("rid").is_in(list(group.kept))
        before, known, alone = known, known.filter(stands), alone.filter(stands)
        left = self._documents(entity, alone) if words_are_theirs else alone

        async def stated() -> pl.DataFrame | None:
            said = await asyncio.to_thread(self._own, entity, group, own, before, source) if own is not None else None
            await self._state(entity, left, said)
            return said

        others = asyncio.to_thread(_heard, entity, group, pl.concat([known, alone]))
        said, heard = await asyncio.gather(stated(), others)
        everybody = await asyncio.to_thread(self._together, entity, group, said, heard, set_by_hand)
        rules = in_order(self.parties.survivorship(entity.name), everybody["source"])
        found = await asyncio.to_thread(merge, entity.name, everybody, rules)
        found = found.with_columns(told_of(pl.col("provenance")))
        if persons:
            found = await asyncio.to_thread(unite_roles, found, everybody, persons)
        if METADATA in found.columns:
            found = await asyncio.to_thread(with_members, found, set_by_hand)
        frame = found.join(ids.select("rid", "sourcedId"), on="rid", how="inner", maintain_order="left")
        documents = await asyncio.to_thread(render, entity.name, frame)
        provenance = frame.select("rid", fields="provenance")
        if provenance.height:
            origins = await asyncio.to_thread(self.provenance.add, entity, provenance)
            if (ahead := self._writer.joining) is not None and (after := self._told[entity.name]):
                ahead.origins(origins, after)
        return Merged(frame.drop("provenance"), documents, provenance)

    def _own(self, entity: Entity, group: Group, own: pl.DataFrame, known: pl.DataFrame, source: str) -> pl.DataFrame:
        """What the run's source says, as a statement and in canonical columns; an unchanged one keeps its time."""
        rows = own.select("rid", *(f.name for f in body(entity))).join(
            group.named, on="rid", how="left", maintain_order="left"
        )
        texts = render(entity.name, rows)
        before = known.filter(pl.col("source") == source).select(
            "rid", was="at", was_doc="doc", was_private="doc_private"
        )
        now = int(self._at.timestamp() * _MICROSECONDS)
        frame = pl.concat([rows, texts], how="horizontal").join(before, on="rid", how="left", maintain_order="left")
        same = (pl.col("doc") == pl.col("was_doc")) & (pl.col("doc_private") == pl.col("was_private"))
        at = pl.when(same.fill_null(value=False)).then(pl.col("was")).otherwise(pl.lit(now, pl.Int64))
        return frame.with_columns(at=at, source=pl.lit(source)).drop("was", "was_doc", "was_private")

    def _together(
        self, entity: Entity, group: Group, said: pl.DataFrame | None, others: pl.DataFrame,
        set_by_hand: list[Override],
    ) -> pl.DataFrame:  # fmt: skip
        """All statements of the records that a source speaks of, with the columns of ``merge``."""
        names = [f.name for f in body(entity)]
        parts = [others]
        if said is not None:
            parts.append(said.select("rid", "source", "at", *names))
        spoken = pl.concat(parts)
        last = max(self.parties.ranks.values(), default=0) + 1
        rank = pl.col("source").replace_strict(self.parties.ranks, default=last, return_dtype=pl.Int32)
        none = pl.lit(None, pl.List(pl.String))
        table = side_by_side(spoken.with_columns(rank=rank, cleared=none), group.beside).select(*STATEMENT, *names)
        if set_by_hand:
            said_of = set(table["rid"])
            of_fields = [o for o in set_by_hand if o.rid in said_of and member(o.field) is None]
            hand = _by_hand(entity, group.ids, of_fields)
            table = pl.concat([table, hand.select(*STATEMENT, *names)])
        return table

    def _documents(self, entity: Entity, alone: pl.DataFrame) -> pl.DataFrame:
        """Notes of whose records the documents are what a single source has said, so that nothing needs to be copied.

        Gives back the statements of which that is not so: apps may write such records until the run is applied.
        """
        if entity.name in WRITABLE:
            return alone
        ahead = self._writer.joining
        for (source,), part in alone.group_by("source"):
            key, rids = (entity.name, UUID(str(source))), sets.bitmap(part["rid"].sort().to_numpy())
            self._alone[key] = self._alone.get(key, BitMap()) | rids
            if ahead is not None:
                ahead.alone(entity, key[1], rids)
        return alone.clear()

    async def _state(self, entity: Entity, alone: pl.DataFrame, said: pl.DataFrame | None) -> None:
        """Has new statements staged while they are merged: what single sources have said, and the run's own says."""
        new = alone if said is None else pl.concat([alone, said.select(*STATEMENTS)])
        if new.height:
            self._stated.add(entity.name)
            whole = is_target(entity)  # of others there are many batches, and each would look through all
            self._told[entity.name] += whole
            await self._writer.beside(
                partial(self._stage, entity, new), (lambda ahead: ahead.said(entity)) if whole else None
            )

    def tell(self, prepared: Prepared) -> None:
        """Notes what the run brings beside the records: statements in staging, and provenance."""
        prepared.stated, prepared.alone, prepared.provenance = self._stated, self._alone, self.provenance

    async def _stage(self, entity: Entity, said: pl.DataFrame) -> None:
        # Those of a record side by side: the key's index is appended to.
        rows = said.sort("rid").select(
            run_id=pl.lit(str(self._run_id)), district_id=pl.lit(str(self._district_id)), entity=pl.lit(entity.name),
            rid="rid", source_id="source", said_at=pl.from_epoch("at", time_unit="us").dt.replace_time_zone("UTC"),
            doc="doc", doc_private="doc_private",
        )  # fmt: skip
        await statements.stage(self._db, rows)
        crash_point("merge.staged")


def _heard(entity: Entity, group: Group, words: pl.DataFrame) -> pl.DataFrame:
    """Statements as rid, source, at and canonical columns."""
    with_ids = words.join(group.named, on="rid", how="inner", maintain_order="left")
    return parse(entity.name, with_ids).select("rid", "source", "at", *(f.name for f in body(entity)))


def _as_stored(entity: Entity, alone: pl.DataFrame, living: pl.Series) -> pl.DataFrame:
    """Active records of which one source spoke: what it said is what is stored. Apps may write others meanwhile."""
    found = alone.select("rid", "doc", "doc_private")
    return found.clear() if entity.name in WRITABLE else found.filter(pl.col("rid").is_in(as_list(living)))


def _by_hand(entity: Entity, ids: pl.DataFrame, overrides: Sequence[Override]) -> pl.DataFrame:
    """Overrides as statements that go before all others, one each."""
    schema = {"rid": pl.UInt32, "source": pl.String, "at": pl.Int64, "doc": pl.String, "doc_private": pl.String}
    rows = [
        (o.rid, f"{OVERRIDE}{o.override_id}", int(o.created_at.timestamp() * _MICROSECONDS), *_document(entity, o))
        for o in overrides
    ]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame = frame.join(ids.select("rid", "sourcedId"), on="rid", how="left", maintain_order="left")
    cleared = pl.Series(
        "cleared", [[o.field] if o.value is None else None for o in overrides], dtype=pl.List(pl.String)
    )
    parsed = parse(entity.name, frame)
    return parsed.with_columns(cleared, rank=pl.lit(-1, pl.Int32))


def _document(entity: Entity, override: Override) -> tuple[str, str]:
    """The one member that an override sets, as documents have it."""
    if override.value is None:
        return "", ""
    field = entity[override.field]
    text = _json(field.kind, override.value)
    member = f',"{field.name}":{text}'
    return (member, "") if field.privacy is Privacy.DIRECTORY else ("", member)


def _json(kind: Kind, value: object) -> str:
    """References are given by their sourcedId alone."""
    if kind is Kind.REF:
        values: list[Mapping[str, str]] = value if isinstance(value, list) else [value]  # type: ignore[list-item]
        texts = [orjson.dumps({"sourcedId": one["sourcedId"]}).decode() for one in values]
        return f"[{','.join(texts)}]" if isinstance(value, list) else texts[0]
    return orjson.dumps(value).decode()
