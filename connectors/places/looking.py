"""Two looks at a place, ``settle_seconds`` apart: the first goes with the run, so that nobody waits in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from connectors.places.choosing import Candidate
from connectors.places.place import Place
from connectors.protocol import NotYetError, SourceContext

#: Packages of the first look that are kept, newest first: where all of them grow, none is taken.
MOST_KEPT = 20


def look(found: Sequence[Candidate], place: Place, context: SourceContext) -> dict[str, Any]:
    """What the next look compares with."""
    return {"at": context.now().timestamp(), "packages": [_mark(one, place) for one in found[:MOST_KEPT]]}


def stayed(
    found: Sequence[Candidate], place: Place, context: SourceContext, settle_seconds: int
) -> list[Candidate]:  # fmt: skip
    """Those of ``found`` that the first look saw as they are now.

    Raises NotYetError where this is the first look, or comes too early after it.
    """
    seen, now = context.seen or {}, context.now().timestamp()
    gone = now - float(seen.get("at", now))
    if "at" not in seen or gone < 0:  # another worker's clock may be ahead
        seen, gone = look(found, place, context), 0.0
    if gone < settle_seconds:
        text = f"Whether the newest package at the source's place still grows is looked at in {settle_seconds} seconds."
        raise NotYetError("package_unsettled", text, wait_seconds=settle_seconds - gone, seen=seen)
    marks = set(seen["packages"])
    return [one for one in found if _mark(one, place) in marks]


def _mark(candidate: Candidate, place: Place) -> str:
    """Stands for a package as it is at this very place."""
    told = json.dumps([place.model_dump(mode="json"), candidate.cursor()], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
