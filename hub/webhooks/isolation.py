"""Finding the one change that a receiver refuses while it takes others. Pure.

A refusal alone proves nothing: a receiver that is broken, or whose database is away, refuses everything. So whoever
refuses one batch twice is sent another change of the same window right after that, as a batch of its own; a change that
comes twice does no harm. Only with the proof that this was taken a batch is halved, and the last change that is left is
parked.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

#: Refusals of one batch, in a row, before it is halved or parked.
ENOUGH = 3
#: From this refusal on it is asked whether the receiver takes anything.
ASKED_FROM = 2
#: 4xx that say nothing about what was sent: who asks, where, when, and how often.
_OF_THE_RECEIVER = frozenset({401, 402, 403, 404, 405, 407, 408, 410, 421, 425, 426, 429})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a refusal leads to. ``refused``: refusals in a row of the batch that is frozen then.

    ``halve``: the batch is cut anew; ``isolating``: of so many changes one is refused; ``park``: its change is parked.
    """

    refused: int
    halve: bool = False
    isolating: int | None = None
    park: bool = False


def refuses(status: int | None) -> bool:
    """Whether an answer may be about what was sent: most of 4xx, and 500, which programs give for what breaks them."""
    if status is None:
        return False
    client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    return (client_error and status not in _OF_THE_RECEIVER) or status == HTTPStatus.INTERNAL_SERVER_ERROR


def asks(refused: int, isolating: int | None) -> bool:
    """Whether after this refusal it is asked if the receiver takes anything. ``refused``: refusals before it."""
    return refused + 1 >= ASKED_FROM or isolating is not None


def verdict(*, refused: int, isolating: int | None, changes: int, sole: bool, proof: bool) -> Verdict:
    """What one more refusal leads to.

    ``refused``: refusals before it. ``changes``: how many the batch holds; ``sole``: whether it holds one record's
    alone. ``proof``: whether the receiver took another change since.
    """
    again = Verdict(refused + 1, isolating=isolating)
    if not proof:
        return again
    enough = refused + 1 >= ENOUGH
    if changes > 1 and (enough or isolating is not None):
        return Verdict(0, halve=True, isolating=changes)
    if sole and enough:
        return Verdict(0, park=True)
    return again


def after_taken(isolating: int | None, changes: int) -> int | None:
    """Of how many changes one is refused, now that ``changes`` of them were taken; None when that is over."""
    left = (isolating or 0) - changes
    return left if left > 0 else None


def most(isolating: int | None) -> int | None:
    """The most changes that the next batch may hold; None while nothing is being isolated."""
    return None if isolating is None else max(1, isolating // 2)
