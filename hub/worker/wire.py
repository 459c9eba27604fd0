"""What goes through Redis: ids as JSON, never pickle. Reading it cannot run code, and nothing in it is believed."""

from __future__ import annotations

from typing import Any, Final, Literal, get_args
from uuid import UUID

import orjson

Kind = Literal["sync", "deliver", "export"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
QUEUE = "rosterhub.wake"
WAKE = "wake"
_MEMBERS = {"t", "f", "a", "k", "et"}
_LONGEST = 1000


class NotAWakeError(ValueError):
    """Bytes from Redis that are no wake of ours."""


def dump(value: Any) -> bytes:
    """A job, or the outcome of one, as JSON; what JSON has no form for is written as the name of its type."""
    return orjson.dumps(value, default=lambda other: type(other).__name__)


def load(raw: bytes) -> dict[str, Any]:
    """A job from JSON. Raises NotAWakeError for anything but a wake with a kind and a district's id."""
    if len(raw) > _LONGEST:
        raise NotAWakeError("too long for a wake")
    try:
        job = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotAWakeError("not JSON") from error
    if not isinstance(job, dict) or job.keys() != _MEMBERS or job["f"] != WAKE or job["k"] != {}:
        raise NotAWakeError("not a wake")
    match job["a"]:
        case [str(kind), str(district)] if kind in KINDS and _is_id(district):
            pass
        case _:
            raise NotAWakeError("a wake has a kind and a district's id")
    if type(job["et"]) is not int or type(job["t"]) not in {int, type(None)}:
        raise NotAWakeError("a wake has a time")
    return job


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
