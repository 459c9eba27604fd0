"""The query parameters of a read as one value. Source: OneRoster 1.2 REST binding, query parameters.

Parameters that are not OneRoster's are ignored; a single read looks at ``fields`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multidict import MultiMapping

from hub.api.oneroster.errors import Minor, invalid
from hub.api.oneroster.filter import Filter, FilterError, parse

DEFAULT_LIMIT = 100
LARGEST_LIMIT = 10_000  # larger ones are cut, since no largest page is defined
_MOST_DIGITS = 15
_KNOWN = ("limit", "offset", "sort", "orderBy", "filter", "fields")


@dataclass(frozen=True, slots=True)
class Query:
    """What a request asks for. ``fields`` None means all; ``filter_text`` is the filter as it was sent."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    sort: str | None = None
    descending: bool = False
    filter: Filter | None = None
    filter_text: str = ""
    fields: tuple[str, ...] | None = None


def parse_query(parameters: MultiMapping[str], *, single: bool) -> Query:
    """The parameters of one request. Raises RefusedError (400)."""
    names = ("fields",) if single else _KNOWN
    given = {name: _one(parameters, name) for name in names if name in parameters}
    sort = given.get("sort", "").strip() or None
    return Query(
        limit=min(_number(given, "limit", DEFAULT_LIMIT, least=1), LARGEST_LIMIT),
        offset=_number(given, "offset", 0, least=0),
        sort=sort,
        descending=sort is not None and _descending(given.get("orderBy", "asc")),
        filter=_filter(given["filter"]) if "filter" in given else None,
        filter_text=given.get("filter", ""),
        fields=_fields(given["fields"]) if "fields" in given else None,
    )


def _one(parameters: MultiMapping[str], name: str) -> str:
    values = parameters.getall(name)
    if len(values) > 1:
        minor = {"filter": Minor.INVALID_FILTER, "fields": Minor.INVALID_SELECTION}.get(name, Minor.INVALID_DATA)
        raise invalid(f"{name} may be given once only.", minor)
    return values[0]


def _number(given: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or int(text) < least:
        raise invalid(f"{name} must be a whole number, {least} or more.")
    return int(text)


def _descending(order: str) -> bool:
    if order.lower() not in {"asc", "desc"}:
        raise invalid("orderBy must be asc or desc.")
    return order.lower() == "desc"


def _filter(text: str) -> Filter:
    try:
        return parse(text)
    except FilterError as error:
        raise invalid(f"The filter cannot be read: {error}.", Minor.INVALID_FILTER) from None


def _fields(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise invalid("fields must list names with commas between, none of them empty.", Minor.INVALID_SELECTION)
    return names
