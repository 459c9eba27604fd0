"""Values of merged records that go back and forth between sources: who looks at rules of survivorship wants to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import orjson
import polars as pl

from hub.store import past, statements
from hub.store.database import Database
from hub.sync.changes import Update, members
from hub.sync.difference import named
from hub.sync.metadata import OVERRIDE
from transforms import issues
from transforms.catalogue import Entity
from transforms.sheet import findings
from transforms.validate.speaking import SNAP_003

#: Records that are looked at in one batch, and how far back.
_RECORDS, _IMAGES = 1_000, 5


async def found_flips(
    db: Database, district_id: UUID, entity: Entity, keys: pl.DataFrame, provenance: pl.DataFrame,
    updates: Mapping[int, Update],
) -> pl.DataFrame:  # fmt: skip
    """Findings about fields of merged records that a run gives the value and the source that they had before the last.

    ``keys``: rid and key of the records that the run has merged, ``provenance``: rid and fields (JSON) of what they
    become; ``updates``: what changes, by rid.
    """
    changed = [rid for rid in keys["rid"] if rid in updates]
    if not changed:
        return issues.empty()
    now = dict(provenance.filter(pl.col("rid").is_in(changed)).select("rid", "fields").iter_rows())
    async with db.district(district_id, readonly=True, wait_seconds=30) as tx:
        was = await statements.provenance_of(tx, entity.name, changed)
        suspects = {
            rid: names for rid in changed if rid in was and rid in now
            and (names := handed_over(named(entity, updates[rid]), was[rid], orjson.loads(now[rid])))
        }  # fmt: skip
        asked = list(suspects)[:_RECORDS]
        images = await past.images(tx, entity, asked, _IMAGES) if asked else {}
    rows = [(rid, name) for rid in asked for name in suspects[rid] if returns(name, updates[rid], images.get(rid, ()))]
    told = pl.DataFrame(rows, schema={"rid": pl.UInt32, "field": pl.String}, orient="row").join(keys, on="rid")
    line, cause = pl.lit(None, pl.UInt32), pl.lit(None, pl.String)
    return issues.collect(
        findings(SNAP_003, entity, part.select("key", line=line, cause=cause), str(name))
        for (name,), part in told.group_by("field", maintain_order=True)
    )


def handed_over(changed: Iterable[str], was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The changed fields that come from another source than before; what persons set is theirs to change."""
    found = ((name, was.get(name, ""), now.get(name, "")) for name in changed)
    return [name for name, old, new in found if old and new and old != new and not _by_hand(old) and not _by_hand(new)]


def returns(name: str, update: Update, images: Sequence[tuple[str, str]]) -> bool:
    """Whether a field becomes what it was before its last change. ``images``: how the record was, newest first."""
    value, becomes = members(*update.old).get(name), members(*update.new).get(name)
    for image in images:
        if (older := members(*image).get(name)) != value:
            return older == becomes
    return False


def _by_hand(source: str) -> bool:
    return source.startswith(OVERRIDE)
