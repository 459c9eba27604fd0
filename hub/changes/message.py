"""The JSON in which changes are told: single ones, and the message that holds a batch of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import orjson

from hub.changes.window import Change, Mark, Place
from transforms.catalogue import CATALOGUE

#: The type of a message that holds changes.
CHANGES = "roster.changes"
#: The type of a message that says only how far there is something to read.
MOVED = "roster.moved"
#: The type of the message after which a receiver has to read everything again.
RESYNC = "subscriptions.resync_required"
_PLAIN = re.compile(r"[0-9A-Za-z-]+")
#: Room for all of a message but its changes, in bytes.
ENVELOPE_BYTES = 600


class Item(NamedTuple):
    """One change of a stretch as it is told. ``told`` is None for a record that was purged: nothing is told of it.

    ``sort_key``: ids decide the order within a collection, for which record has which number is the hub's to know.
    """

    place: Place
    told: bytes | None
    sort_key: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message says beside its changes. ``at``: when the last of them happened.

    ``flags``: further members of ``data`` that are true: ``replay``, ``parked``, ``probe``.
    """

    subscription_id: UUID
    district_id: UUID
    grant_id: UUID
    after: int
    to: int
    at: datetime
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """A finished body. ``place``: where the window stands after it; None when the window is through."""

    body: bytes
    changes: int
    place: Place | None


def href(base_url: str, district_id: UUID, entity: str, sourced_id: str) -> str:
    """Where OneRoster 1.2 serves a record. ``base_url``: the hub's public address, without a slash."""
    last = sourced_id if _PLAIN.fullmatch(sourced_id) else quote(sourced_id, safe="")
    return f"{base_url}{_service(district_id, entity)}{last}"


@lru_cache(maxsize=1000)
def _service(district_id: UUID, entity: str) -> str:
    return f"/d/{district_id}/ims/oneroster/{CATALOGUE[entity].service}/v1p2/{entity}/"


def item(change: Change, sourced_id: str | None, address: str | None, more: bytes = b"") -> Item:
    """A change as it is told. ``more``: further members, each with a comma before it."""
    if change.mark:
        return Item(change.place, orjson.dumps(_marked(change.mark)))
    if sourced_id is None:
        return Item(change.place, None)
    told: dict[str, Any] = {"type": change.type, "sourcedId": sourced_id, "version": change.version}
    if address is not None:
        told["href"] = address
    text = orjson.dumps(told)
    return Item(change.place, text[:-1] + more + b"}" if more else text, sourced_id)


def pointer(sourced_id: str) -> bytes:
    """The member of a change that says which record speaks of a person now, with a comma before it."""
    return b',"mergedInto":' + orjson.dumps(sourced_id)


def cut(envelope: Envelope, items: Sequence[Item], *, most_bytes: int, through: bool) -> Cut:
    """The next message from ``items``, as many as fit, one at least. ``through``: nothing follows them."""
    chosen, place = fitting(items, most_bytes - ENVELOPE_BYTES)
    told = in_order(chosen)
    through = through and len(chosen) == len(items)
    return Cut(batch(envelope, told, more=not through), len(told), None if through else place)


def fitting(items: Sequence[Item], room: int) -> tuple[Sequence[Item], Place | None]:
    """The first of ``items`` that fit into so many bytes, one that is told at least; the place of the last of them."""
    used, told = 0, False
    for number, one in enumerate(items):
        if one.told is None:
            continue
        used += len(one.told) + 1
        if used > room and told:
            return items[:number], items[number - 1].place
        told = True
    return items, items[-1].place if items else None


def in_order(items: Sequence[Item]) -> list[bytes]:
    """What is told of items that stand in the order of their places: those of one collection by their ids."""
    out: list[bytes] = []
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or _section(items[end]) != _section(items[start]):
            part = sorted(items[start:end], key=lambda one: one.sort_key)
            out += [one.told for one in part if one.told is not None]
            start = end
    return out


def _section(one: Item) -> tuple[str, str]:
    return one.place.group, one.place.entity


def moment(at: datetime) -> str:
    """A time as JSON says it, in UTC and milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _marked(mark: Mark) -> dict[str, Any]:
    return {"type": mark.type, "version": mark.step, "at": moment(mark.at), "counts": mark.counts}


def batch(envelope: Envelope, told: Sequence[bytes] = (), *, more: bool = False) -> bytes:
    """A message with changes: each of them as JSON, or several with a comma between two."""
    return _body(CHANGES, envelope, more=more, changes=[orjson.Fragment(one) for one in told])


def moved(envelope: Envelope) -> bytes:
    """A message that says how far there is something to read, and nothing else."""
    return _body(MOVED, envelope)


def resync(envelope: Envelope, *, reason: str, snapshot: str) -> bytes:
    """The message that the feed does not lead on from ``envelope.after``; ``snapshot``: where everything is read."""
    return _body(RESYNC, envelope, reason=reason, snapshot=snapshot)


def _body(kind: str, envelope: Envelope, **more: Any) -> bytes:
    data = {
        "subscription": str(envelope.subscription_id),
        "district": str(envelope.district_id),
        "grant": str(envelope.grant_id),
        "from": envelope.after,
        "to": envelope.to,
        **dict.fromkeys(envelope.flags, True),
        **more,
    }
    return orjson.dumps({"type": kind, "timestamp": moment(envelope.at), "data": data})
