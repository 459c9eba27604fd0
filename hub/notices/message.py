"""One message about what waits for a recipient. Pure: notices in, texts out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from hub.store.notices import KINDS, Notice

TYPE = "syncs.noticed"
#: Of more sources only the number is told.
MOST_SHOWN = 50
_WORDS = {
    "failed": "failed", "held": "held for a decision", "late": "late, nothing came in time", "recovered": "well again",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Message:
    """A message in both forms: ``subject`` and ``text`` of a mail, ``body`` (JSON) of a webhook."""

    subject: str
    text: str
    body: bytes


def compose(
    notices: Sequence[Notice], *, batch_id: str, district_id: UUID, district: str, base_url: str
) -> Message:  # fmt: skip
    """The message of some notices, oldest first. Of a source and a kind only the last one is told.

    The same notices make the same bytes. ``base_url``: the hub's public address.
    """
    last = {(n.source_id, n.kind): n for n in notices}
    told = sorted(last.values(), key=lambda n: (KINDS.index(n.kind), n.at, n.source_id))
    shown, more = told[:MOST_SHOWN], max(0, len(told) - MOST_SHOWN)
    root = f"{base_url}/admin/v1/districts/{district_id}"
    counts = Counter(n.kind for n in told)
    subject = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])
    body = {
        "id": batch_id, "type": TYPE, "district": str(district_id), "counts": dict(counts), "more": more,
        "notices": [_as_json(n, root) for n in shown],
    }  # fmt: skip
    return Message(
        f"RosterHub, {_line(district)}: syncs {subject}", _text(shown, more, _line(district), root), orjson.dumps(body)
    )


def _as_json(notice: Notice, root: str) -> dict[str, Any]:
    return {
        "kind": notice.kind, "source": str(notice.source_id), "code": notice.code, "times": notice.times,
        "since": notice.since, "at": notice.at, "run": str(notice.run_id) if notice.run_id else None,
        "link": _link(notice, root),
    }  # fmt: skip


def _link(notice: Notice, root: str) -> str:
    return f"{root}/runs/{notice.run_id}" if notice.run_id else f"{root}/sources/{notice.source_id}"


def _text(shown: Sequence[Notice], more: int, district: str, root: str) -> str:
    lines = [f"Syncs of {district}", ""]
    for notice in shown:
        lines.append(f"{_line(notice.source)}: {_WORDS[notice.kind]}")
        times = f", {notice.times} times" if notice.times > 1 else ""
        code = f" ({notice.code})" if notice.code not in {"", notice.kind} else ""
        since = "was in trouble since" if notice.kind == "recovered" else "since"
        lines.append(f"  {since} {notice.since:%Y-%m-%d %H:%M} UTC{times}{code}")
        lines += [f"  {_link(notice, root)}", ""]
    if more:
        lines += [f"and {more} more: {root}/freshness", ""]
    lines.append("You get this because your district made you a recipient of notices. It can end that in the hub.")
    return "\n".join(lines) + "\n"


def _line(name: str) -> str:
    """A name that people gave, on one line: it must not become a header or a line of its own."""
    return _CONTROL.sub(" ", name).strip()[:100]
