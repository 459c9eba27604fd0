"""Why a write is refused, as a value of this room; the API gives each its status and code."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from transforms.faults import Fault


class Reason(Enum):
    """The kinds of refusal. A write that is refused changes nothing."""

    UNKNOWN = auto()  # the object that the path names is not there, or is not the app's to see
    FOREIGN = auto()  # it is there to be seen, and somebody else's
    NOT_GRANTED = auto()  # the district lets the app write no objects of this entity
    INVALID = auto()  # the object cannot be stored; ``faults`` say why
    IN_USE = auto()  # other objects need the one that is to be deleted


class WriteRefusedError(Exception):
    """A write that is refused."""

    def __init__(self, reason: Reason, faults: Iterable[Fault] = ()) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.faults = tuple(faults)
