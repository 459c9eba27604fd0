"""Members of the objects in a system's JSON, whatever is missing or of another kind there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

Objects = Sequence[Mapping[str, Any]]


def text(value: Any) -> str | None:
    """A cell; None for what is blank or no text."""
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if type(value) is int else None


def member(one: Any, *names: str) -> Any:
    """A member of members; None where one of them is missing."""
    for name in names:
        one = one.get(name) if isinstance(one, Mapping) else None
    return one


def objects_of(values: Any) -> list[Mapping[str, Any]]:
    """The objects in a list; none of what is no list."""
    given: Iterable[Any] = values if isinstance(values, list) else ()
    return [one for one in given if isinstance(one, Mapping)]


def day(value: Any) -> date | None:
    """The day in a date of ISO 8601, with or without a time."""
    try:
        return date.fromisoformat((text(value) or "")[:10])
    except ValueError:
        return None


def after(last: date) -> date:
    """The day after the last one: OneRoster's ends are exclusive."""
    return last + timedelta(days=1)


def school_year(at: date, first_month: int = 7) -> int:
    """The calendar year in which the school year of a day ends. It begins with ``first_month``."""
    return at.year + (at.month >= first_month)
