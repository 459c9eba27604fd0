"""Whether a text is a value of a score scale.

A scale is a list of steps, each a reference point and its equivalent. A reference point is a single value or a range
``lower-upper`` with both ends in it; a single number is the lower bound of all that is not below it. Source: OneRoster
1.2 Gradebook information model, ScoreScale.
"""

from __future__ import annotations

from collections.abc import Iterable


def on_scale(text: str, steps: Iterable[tuple[str, str]]) -> bool:
    """Whether ``text`` is one of the values of ``steps`` (itemValueLHS, itemValueRHS), or a number that a step covers.

    Letters count whatever their case.
    """
    value, number = text.strip().casefold(), _number(text)
    for step in steps:
        for side in step:
            if side.strip().casefold() == value:
                return True
            if number is not None and _covers(side, number):
                return True
    return False


def _covers(side: str, number: float) -> bool:
    """Whether a side of a step is a range around a number, or a number that is not above it."""
    bound = _number(side)
    if bound is not None:
        return number >= bound
    lower, _, upper = side.strip().partition("-")
    least, most = _number(lower), _number(upper)
    return least is not None and most is not None and least <= number <= most


def _number(text: str) -> float | None:
    cleaned = text.strip().removesuffix("%")
    try:
        return float(cleaned) if cleaned and cleaned[0] in "0123456789.-" else None
    except ValueError:
        return None
