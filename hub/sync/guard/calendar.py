"""Local times of windows as people write them: once, with a year, or every year, without one.

Where clocks are changed, a local time may come twice or never: a window is then the longer of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated, Final

from pydantic import AfterValidator

_YEARLY: Final = re.compile(r"[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{3,6})?)?)?", re.ASCII)
_ONCE: Final = re.compile(rf"[0-9]{{4}}-{_YEARLY.pattern}", re.ASCII)
#: A year without a 29 February: a day that is in it is in every year.
_COMMON: Final = 2001


@dataclass(frozen=True)
class Occurrence:
    """One time of a window by the clock on the wall, without an offset; it ends before ``ends``."""

    starts: datetime
    ends: datetime


def _local(text: str) -> str:
    if _ONCE.fullmatch(text):
        datetime.fromisoformat(text)
    elif _YEARLY.fullmatch(text):
        if text.startswith("02-29"):
            raise ValueError("02-29 is not in every year; write 02-28 or 03-01")
        _in(text, _COMMON)
    else:
        raise ValueError("write a local time as 2027-06-15T00:00, or without the year if it comes each year")
    return text


#: A local time as it was written. Without a time of the day it is the day's beginning.
Local = Annotated[str, AfterValidator(_local)]


def repeats(starts: str, ends: str) -> bool:
    """Whether a window comes every year. Raises ValueError where its ends do not go together."""
    yearly = [_YEARLY.fullmatch(text) is not None for text in (starts, ends)]
    if yearly[0] != yearly[1]:
        raise ValueError("starts and ends both have a year, or both have none")
    first, last = (_in(starts, _COMMON), _in(ends, _COMMON)) if yearly[0] else (_once(starts), _once(ends))
    if last == first or (last < first and not yearly[0]):
        raise ValueError("the window ends before it starts")
    return yearly[0]


def occurrences(starts: str, ends: str, year: int) -> Iterator[Occurrence]:
    """The times of a window, in their order: its only one, or those that begin in the year before, then and after.

    A yearly window whose end is not after its start in the calendar goes over the turn of the year.
    """
    if not repeats(starts, ends):
        yield Occurrence(_once(starts), _once(ends))
        return
    for first in (year - 1, year, year + 1):
        begins, over = _in(starts, first), _in(ends, first)
        yield Occurrence(begins, over if over > begins else _in(ends, first + 1))


def instants(time: Occurrence, zone: tzinfo) -> tuple[datetime, datetime]:
    """When a time of a window starts and ends in a zone."""
    starts = (time.starts.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    ends = (time.ends.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return min(starts, key=datetime.timestamp), max(ends, key=datetime.timestamp)


def _once(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _in(text: str, year: int) -> datetime:
    return datetime.fromisoformat(f"{year:04}-{text}")
