"""From what was asked for to a package that is ready to be written: the view, whole or since when, and for whom.

Whoever sends a package while it is made and whoever keeps it for later both begin here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import polars as pl

from hub import vault
from hub.behaviour import Behaviour
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.export import changes
from hub.export.changes import Changes
from hub.export.package import Order, Package, Progress
from hub.export.sight import Shown, instead, others
from hub.identifiers import pseudonyms_of
from hub.scope.feed import FeedEntry
from hub.scope.pseudonyms import Pseudonyms
from hub.scope.sets import unpack
from hub.scope.v1p1 import Style
from hub.scope.view import View
from hub.store import apps, exports, extract, feed, gradebook, grants, views
from hub.store.database import Transaction
from hub.store.exports import Export, Outcome
from hub.store.grants import Grant
from hub.store.shown_ids import naming
from hub.views import of_stored
from transforms.catalogue import CATALOGUE, Version

#: Raise it when files of the same records come to hold something else: whoever takes deltas then gets a whole package.
REVISION = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants. ``mode`` "delta" is a wish: without a package to begin at it becomes bulk.

    ``full_days``: a delta is refused when the last bulk package is older; None: never.
    """

    version: Version
    mode: str
    entities: frozenset[str]
    schedule_id: UUID | None = None
    full_days: int | None = None

    @classmethod
    def of(cls, export: Export, *, full_days: int | None = None) -> Asked:
        """What a queued export is to be."""
        version: Version = "1.1" if export.version == "1.1" else "1.2"
        return cls(version, export.mode, frozenset(export.entities), export.schedule_id, full_days)


@dataclass(frozen=True)
class Making:
    """A package that can be written now. ``changed_at``: the version of the grant that it is for."""

    package: Package
    kind: str
    policy: bytes
    position: int
    district_position: int
    changed_at: datetime

    def outcome(self) -> Outcome:
        """What was made, once all bytes have been taken."""
        made = self.package.made
        return Outcome(
            self.kind, self.policy, self.position, self.district_position, made.rows, made.omitted, made.bytes,
            made.sha256,
        )  # fmt: skip


async def begin(
    tx: Transaction, grant_id: UUID, asked: Asked, now: datetime, *, key: Keys,
    progress: Progress = lambda *_: None,
) -> Making:  # fmt: skip
    """Looks at the grant and its view. ``tx`` has asked nothing yet; it sees this one moment from here on.

    ``key``: hub.crypto.load_key.

    Raises HubError(FORBIDDEN) when the grant or its district is not active.
    """
    stored = await views.load(tx, grant_id)
    head = await feed.head(tx, grant_id)
    if head is None or head.grant_state != "active" or head.district_state != "active":
        raise _withdrawn()
    view = await asyncio.to_thread(of_stored, stored)
    app = await apps.get(tx, stored.grant.app_id)
    assert tx.district_id is not None
    await vault.to_open(tx, key, stored.grant.id_key)
    shown = await _shown(tx, stored.grant, asked, pseudonyms_of(stored.grant, tx.district_id, key))
    order = _order(asked, Behaviour.of(app.behaviour), shown)
    policy = _policy(stored.grant.definition, asked, order)
    since = None
    if asked.mode == "delta":
        since = await _since(tx, view, stored.grant, asked, policy, now)
    package = Package(tx, view, order, since, progress)
    return Making(
        package, "bulk" if since is None else "delta", policy, view.position, head.district_position,
        stored.grant.changed_at,
    )  # fmt: skip


async def check(tx: Transaction, export: Export) -> None:
    """Raises HubError(FORBIDDEN) when the grant is not active any more, or shows something else than at the making."""
    head = await feed.head(tx, export.grant_id)
    if head is None or head.grant_state != "active" or head.district_state != "active":
        raise _withdrawn()
    grant = await grants.get(tx, export.grant_id)
    asked = Asked.of(export)
    app = await apps.get(tx, grant.app_id)
    if _policy(grant.definition, asked, _order(asked, Behaviour.of(app.behaviour), {})) != export.policy:
        raise HubError(Code.FORBIDDEN, "The grant was changed since this export was made. Ask for a new one.")


def _withdrawn() -> HubError:
    return HubError(Code.FORBIDDEN, "The district has suspended or withdrawn this app's access.")


def offered(version: Version) -> Collection[str]:
    """The entities that have a file in a version."""
    return [e.name for e in CATALOGUE.entities if e.csv_file and version in e.versions]


def _order(asked: Asked, behaviour: Behaviour, shown: Shown) -> Order:
    return Order(
        asked.version, asked.entities, behaviour.csv_empty_files, behaviour.csv_manifest, Style.of(behaviour), shown
    )  # fmt: skip


async def _shown(tx: Transaction, grant: Grant, asked: Asked, pseudonyms: Pseudonyms | None) -> Shown:
    """The names that an app gave to records itself, and those that all others have by its grant."""
    told = asked.entities | {f.target for name in asked.entities for f in CATALOGUE[name].references}
    shown = {}
    for entity in CATALOGUE.entities:
        keys = []
        if entity.name in told and entity.name in gradebook.WRITTEN:
            keys.append(await extract.own_ids(tx, grant.app_id, entity.name))
        if entity.name in told and grant.source_ids is not None:
            keys.append(await extract.source_ids(tx, grant.grant_id, naming(entity).name))
        known = pl.concat(keys).sort("sourcedId") if keys else pl.DataFrame()
        if known.height:
            shown[entity.name] = instead(known["sourcedId"], known["key"])
    if pseudonyms is None:
        return shown
    return {entity.name: others(pseudonyms.of, shown.get(entity.name)) for entity in CATALOGUE.entities}


def _policy(definition: dict[str, Any], asked: Asked, order: Order) -> bytes:
    """Equal for packages that differ by their records alone."""
    parts = [
        REVISION, definition, asked.version, sorted(asked.entities), order.empty_files, order.manifest,
        order.style.names.counselor, order.style.names.extension, order.style.extra_fields,
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()


async def _since(
    tx: Transaction, view: View, grant: Grant, asked: Asked, policy: bytes, now: datetime
) -> Changes | None:  # fmt: skip
    """The changes since the app's last package; None where only a whole one will do."""
    base = await exports.base(tx, view.grant_id, schedule_id=asked.schedule_id, version=asked.version)
    if base is None or base.policy != policy or base.position is None or base.district_position is None:
        return None
    if base.position < view.position_of(grant.feed_from):  # what happened since is not told any more
        return None
    if asked.full_days is not None and asked.schedule_id is not None:
        last = await exports.last_bulk(tx, view.grant_id, schedule_id=asked.schedule_id, version=asked.version)
        if last is None or now - last > timedelta(days=asked.full_days):
            return None
    if not await extract.past_is_kept(tx, base.district_position):
        return None
    entries = await feed.entries(tx, view.grant_id, after=base.position, to=view.position)
    found = (
        (e.at, FeedEntry(e.entity, unpack(e.entered), unpack(e.updated), unpack(e.departed))) for e in entries
    )  # fmt: skip
    return changes.since(view, found, base.district_position)
