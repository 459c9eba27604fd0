"""The query parameters of a read as one value. Source: OneRoster 1.1 and 1.2 REST bindings, query parameters.

Parameters that are not OneRoster's are ignored, but for ``position``, which stands in the hub's own ``Link`` headers.
A single read looks at ``fields`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from multidict import MultiMapping

from hub.api.oneroster.errors import Minor, RefusedError, invalid
from hub.api.oneroster.filter import MOST_CLAUSES, STANDARD_CLAUSES, Filter, FilterError, parse
from hub.behaviour import DEFAULT, Behaviour
from transforms.catalogue import Version

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 10_000  # larger ones are cut, since no largest page is defined
_MOST_DIGITS = 15
_KNOWN = frozenset({"limit", "offset", "sort", "orderBy", "filter", "fields", "position"})
_OF_SINGLE = frozenset({"fields"})


@dataclass(frozen=True, slots=True)
class QueryWarning:
    """What was passed over in a query that is answered all the same; 1.1 puts it into ``statusInfoSet``."""

    minor: Minor
    description: str


class Query(NamedTuple):
    """What a request asks for.

    ``fields`` None means all; ``filter_text`` is the filter as it was sent; ``position`` is what the hub put into a
    ``Link`` header, see pins.py.
    """

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    sort: str | None = None
    descending: bool = False
    filter: Filter | None = None
    filter_text: str = ""
    fields: tuple[str, ...] | None = None
    position: str | None = None
    warnings: tuple[QueryWarning, ...] = ()


def parse_query(
    parameters: MultiMapping[str], *, single: bool, version: Version = "1.2", behaviour: Behaviour = DEFAULT
) -> Query:
    """The parameters of one request of a version of OneRoster. Raises RefusedError (400)."""
    names = _OF_SINGLE if single else _KNOWN
    given: dict[str, str] = {}
    for name, value in parameters.items():
        if name in names:
            if name in given:
                raise _twice(name)
            given[name] = value
    sort = given.get("sort", "").strip() or None
    order, warnings = _order(given.get("orderBy", "asc") if sort is not None else "asc", version, behaviour)
    return Query(
        limit=min(_number(given, "limit", DEFAULT_LIMIT, least=1), LARGEST_LIMIT),
        offset=_number(given, "offset", 0, least=0),
        sort=sort,
        descending=order == "desc",
        filter=_filter(given["filter"], behaviour) if "filter" in given else None,
        filter_text=given.get("filter", ""),
        fields=_fields(given["fields"], version) if "fields" in given else None,
        position=given.get("position"),
        warnings=warnings,
    )


def _twice(name: str) -> RefusedError:
    minor = {"filter": Minor.INVALID_FILTER, "fields": Minor.INVALID_SELECTION}.get(name, Minor.INVALID_DATA)
    return invalid(f"{name} may be given once only.", minor)


def _number(given: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) < least:
        raise invalid(f"{name} must be a whole number, {least} or more.")
    return int(text)


def _order(text: str, version: Version, behaviour: Behaviour) -> tuple[str, tuple[QueryWarning, ...]]:
    """``asc`` or ``desc``, and a warning where it had to be guessed."""
    order = text.lower()
    if order in {"asc", "desc"}:
        return order, ()
    description = "orderBy must be asc or desc."
    if version == "1.2" and behaviour.bad_order_by == "refuse":
        raise invalid(description)
    return "asc", (QueryWarning(Minor.INVALID_SORT, description),)


def _filter(text: str, behaviour: Behaviour) -> Filter:
    try:
        return parse(text, most_clauses=MOST_CLAUSES if behaviour.more_clauses else STANDARD_CLAUSES)
    except FilterError as error:
        raise invalid(f"The filter cannot be read: {error}.", Minor.INVALID_FILTER) from None


def _fields(text: str, version: Version) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        minor = Minor.BLANK_SELECTION if version == "1.1" else Minor.INVALID_SELECTION
        raise invalid("fields must list names with commas between, none of them empty.", minor)
    return names
