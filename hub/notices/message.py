"""One message about what waits for a recipient. Pure: notices in, texts out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from hub.store.notices import ALL_KINDS, KINDS, Notice

TYPE = "notices.told"
#: Of more sources and subscriptions only the number is told.
MOST_SHOWN = 50
_WORDS = {
    "failed": "failed", "held": "held for a decision", "late": "late, nothing came in time", "recovered": "well again",
    "subscriptions.disabled": "webhooks are disabled", "subscriptions.paused": "webhooks are paused",
    "subscriptions.failing": "webhooks fail", "subscriptions.parked": "some changes were set aside",
    "subscriptions.recovered": "webhooks arrive again", "subscriptions.rotated": "the signing secret was changed",
    "subscriptions.resync_required": "everything has to be read again",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Message:
    """A message in both forms: ``subject`` and ``text`` of a mail, ``body`` (JSON) of a webhook."""

    subject: str
    text: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """Whose recipient is told: a district's or an app's, and what that is called."""

    name: str
    district_id: UUID | None = None
    app_id: UUID | None = None


def compose(notices: Sequence[Notice], *, batch_id: str, told: Told, base_url: str) -> Message:
    """The message of some notices, oldest first. Of a source or subscription and a kind only the last one is told.

    The same notices make the same bytes. ``base_url``: the hub's public address.
    """
    last = {(n.source_id or n.subscription_id, n.kind): n for n in notices}
    found = sorted(last.values(), key=lambda n: (ALL_KINDS.index(n.kind), n.at, str(n.source_id or n.subscription_id)))
    shown, more = found[:MOST_SHOWN], max(0, len(found) - MOST_SHOWN)
    counts = Counter(n.kind for n in found)
    body = {
        "id": batch_id, "type": TYPE, "district": str(told.district_id) if told.district_id else None,
        "app": str(told.app_id) if told.app_id else None, "counts": dict(counts), "more": more,
        "notices": [_as_json(n, _root(n, base_url)) for n in shown],
    }  # fmt: skip
    subject = f"RosterHub, {_line(told.name)}: {_counted(counts)}"
    return Message(subject, _text(shown, more, told, base_url), orjson.dumps(body))


def _counted(counts: Counter[str]) -> str:
    """How many of what, syncs before subscriptions."""
    parts = []
    for what, mine in (("syncs", True), ("subscriptions", False)):
        words = [
            f"{counts[kind]} {kind.rpartition('.')[2]}"
            for kind in ALL_KINDS
            if counts[kind] and (kind in KINDS) == mine
        ]
        if words:
            parts.append(f"{what} {', '.join(words)}")
    return "; ".join(parts)


def _root(notice: Notice, base_url: str) -> str:
    return f"{base_url}/admin/v1/districts/{notice.district_id}"


def _as_json(notice: Notice, root: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"kind": notice.kind, "district": str(notice.district_id)}
    if notice.source_id is not None:
        shown["source"] = str(notice.source_id)
    else:
        shown["subscription"] = str(notice.subscription_id)
    shown |= {"code": notice.code, "times": notice.times, "since": notice.since, "at": notice.at}
    if notice.source_id is not None:
        shown["run"] = str(notice.run_id) if notice.run_id else None
    return shown | {"link": _link(notice, root)}


def _link(notice: Notice, root: str) -> str:
    if notice.source_id is None:
        return f"{root}/subscriptions/{notice.subscription_id}"
    return f"{root}/runs/{notice.run_id}" if notice.run_id else f"{root}/sources/{notice.source_id}"


def _text(shown: Sequence[Notice], more: int, told: Told, base_url: str) -> str:
    lines = [_line(told.name), ""]
    for notice in shown:
        # A district knows the app by its name, and an app the district.
        other = notice.source or (notice.app if told.district_id else notice.district) or ""
        lines.append(f"{_line(other)}: {_WORDS[notice.kind]}")
        times = f", {notice.times} times" if notice.times > 1 else ""
        code = f" ({notice.code})" if notice.code not in {"", notice.kind} else ""
        since = "was in trouble since" if notice.kind.endswith("recovered") else "since"
        lines.append(f"  {since} {notice.since:%Y-%m-%d %H:%M} UTC{times}{code}")
        lines += [f"  {_link(notice, _root(notice, base_url))}", ""]
    if more:
        lines += [f"and {more} more", ""]
    owner = "district" if told.district_id else "app"
    lines.append(f"You get this because your {owner} made you a recipient of notices. It can end that in the hub.")
    return "\n".join(lines) + "\n"


def _line(name: str) -> str:
    """A name that people gave, on one line: it must not become a header or a line of its own."""
    return _CONTROL.sub(" ", name).strip()[:100]
