"""What sources said of merged records before a run that is undone, so that the records are merged anew from that.

A record of which one source speaks alone is what it says: there the record's own past is enough. Of a merged one the
undone run changed what its source says; the record, and where its values come from, follow from all statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import polars as pl
from pyroaring import BitMap

from hub.scope.sets import unpack
from hub.store import departures, doubles, past, sources, statement_history, statements
from hub.store.database import Transaction
from hub.store.departures import Departed
from hub.store.past import Image
from hub.store.runs import Run
from hub.store.statement_history import Spoken, Word
from hub.store.statements import STATEMENTS
from hub.sync.merging import REPLACED, Words
from hub.sync.prepared import Retold
from hub.sync.restoring import reworded
from transforms.catalogue import CATALOGUE, Entity

#: Records that are looked at at a time: three versions of each are in memory.
LOOKED_AT = 5_000


@dataclass(slots=True)
class Unsaid:
    """What an undo makes of what was said of one entity's records.

    ``again``: the records to be merged anew, with ``words`` in the place of what is said of them now. ``conflicts``:
    fields (rid, name) that a source has said otherwise since. ``forgotten``: records of which nobody kept what was
    said.
    """

    again: BitMap = field(default_factory=BitMap)
    words: Words = field(default_factory=lambda: Words(pl.DataFrame(schema=STATEMENTS), pl.DataFrame(schema=REPLACED)))
    conflicts: list[tuple[int, str]] = field(default_factory=list)
    forgotten: BitMap = field(default_factory=BitMap)


@dataclass(frozen=True, slots=True)
class Undone:
    """The run that is undone. ``source_id``: the source of the run or, of an undo, of the run that was undone."""

    position: int
    source_id: UUID | None
    departed: Departed | None


async def undone_run(tx: Transaction, run: Run, root: Run) -> Undone:
    """What is to be known of a run. ``root``: the run itself or, of an undo, the one that was undone first."""
    position = run.position or 0
    departed = await departures.at(tx, position)
    if departed is not None and (await sources.get(tx, departed.source_id)).state != "departed":
        departed = None  # it is back already
    return Undone(position, root.source_id, departed)


async def unsaid(
    tx: Transaction, undone: Undone, log: Mapping[str, tuple[BitMap, BitMap, BitMap]]
) -> tuple[dict[str, Unsaid], Retold]:
    """What was said of merged records, by entity. ``log``: the records that the run created, updated and ended."""
    retold = Retold(returning=undone.departed)
    changed = await statement_history.changed_at(tx, undone.position)
    found = {}
    for entity in CATALOGUE.entities:
        touched = BitMap().union(*log.get(entity.name, ())) | BitMap(changed.get(entity.name, ()))
        one = Unsaid()
        spoken: list[Spoken] = []
        led = await doubles.around(tx, list(touched)) if doubles.is_person(entity) else {}
        for part in slices(touched | BitMap(led.values())):
            spoken += await _of_merged(tx, undone, entity, part, log, one, led)
        if undone.departed is not None:
            spoken = await _of_heir(tx, undone.departed, entity, spoken, one)
        one.again = BitMap(led.get(rid, rid) for rid in one.again)
        _reword(entity, spoken, one, retold)
        found[entity.name] = one
    return found, retold


def slices(rids: BitMap) -> Iterator[Sequence[int]]:
    """Records in parts that may be in memory together."""
    every = list(rids)
    return (every[n : n + LOOKED_AT] for n in range(0, len(every), LOOKED_AT))


async def _of_merged(
    tx: Transaction, undone: Undone, entity: Entity, rids: Sequence[int],
    log: Mapping[str, tuple[BitMap, BitMap, BitMap]], one: Unsaid, led: Mapping[int, int],
) -> list[Spoken]:  # fmt: skip
    """What the run changed of what is said of those of some records that are merged by now.

    ``led``: to which records doubles among them belong (hub.store.doubles): these are merged as long as those are.
    """
    since = await statements.merged_since(tx, entity.name, rids)
    places = await statements.merged_since(tx, entity.name, [led[rid] for rid in rids if rid in led])
    since |= {rid: places[led[rid]] for rid in rids if led.get(rid) in places}
    one.again |= BitMap(since)
    spoken = await statement_history.at(tx, entity.name, undone.position, list(since))
    known = {each.rid for each in spoken}
    later = [rid for rid, first in since.items() if rid not in known and first is not None and first > undone.position]
    if later and undone.source_id is not None:
        spoken += await _alone_then(tx, undone, undone.source_id, entity, later, log)
    one.forgotten |= BitMap(rid for rid, first in since.items() if first is None) - BitMap(known)
    return spoken


async def _alone_then(
    tx: Transaction, undone: Undone, source_id: UUID, entity: Entity, rids: Sequence[int],
    log: Mapping[str, tuple[BitMap, BitMap, BitMap]],
) -> list[Spoken]:  # fmt: skip
    """Of records that others joined later: what they were before and after the run is what its source said."""
    said = await statements.of_records(tx, entity.name, rids)
    rows = said.filter(pl.col("source") == str(source_id)).drop("source").rows()
    now = {rid: Word(*word) for rid, *word in rows}
    found = [
        Spoken(each.rid, source_id, _word(each.before), _word(each.after), now.get(each.rid))
        for each in await past.versions(tx, entity, undone.position, rids)
    ]
    created = [rid for rid in rids if rid in log[entity.name][0]] if entity.name in log else []
    images = await past.after(tx, entity, undone.position, created)
    return found + [Spoken(rid, source_id, None, _word(image), now.get(rid)) for rid, image in images.items()]


def _word(image: Image) -> Word | None:
    """A record of which one source spoke alone, as its word; since when it said so nobody knows."""
    return Word(0, *image.documents) if image.active else None


async def _of_heir(
    tx: Transaction, departed: Departed, entity: Entity, spoken: list[Spoken], one: Unsaid
) -> list[Spoken]:
    """The same for a source that comes back, whose records went to an heir: what that one has said itself stays."""
    handed = unpack(departed.claims[entity.name][1]) if entity.name in departed.claims else BitMap()
    if departed.heir is None or not handed:
        return spoken
    silent, own = BitMap(), BitMap()
    for part in slices(handed):
        silent |= BitMap(await departures.silent(tx, entity.name, departed.heir, part))
        own |= BitMap(await departures.speaking(tx, entity.name, departed.heir, part))
        since = await statements.merged_since(tx, entity.name, part)
        own |= BitMap(rid for rid, first in since.items() if first is not None and first > departed.position)
    kept = [each for each in spoken if each.source_id != departed.heir or each.rid in silent]
    both = own - silent - BitMap(each.rid for each in spoken)
    for part in slices(both):
        images = await past.after(tx, entity, departed.position, part)
        kept += [Spoken(rid, departed.source_id, Word(0, *i.documents), None, None) for rid, i in images.items()]
    one.again |= both
    return kept


def _reword(entity: Entity, spoken: Iterable[Spoken], one: Unsaid, retold: Retold) -> None:
    said, replaced = [], []
    for each in spoken:
        word, conflicts = reworded(entity, each)
        one.conflicts += [(each.rid, name) for name in conflicts]
        if word == each.now:
            continue
        replaced.append((each.rid, str(each.source_id)))
        if word is None:
            retold.silent.setdefault((entity.name, each.source_id), []).append(each.rid)
        else:
            said.append((each.rid, str(each.source_id), *word))
            retold.speakers.add(each.source_id)
    one.words = Words(
        pl.DataFrame(said, schema=STATEMENTS, orient="row"), pl.DataFrame(replaced, schema=REPLACED, orient="row")
    )
