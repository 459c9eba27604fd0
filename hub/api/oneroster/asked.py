"""A query whose names were looked up in the view: what to filter and sort by, which members to give, what to warn of.

All of it happens before anything is read, so that a name that is hidden and one that does not exist take the same path
to the same answer (T14). Source: OneRoster 1.1 and 1.2 REST bindings, invalid query values.
"""

from __future__ import annotations

from typing import NamedTuple

from hub.api.oneroster.errors import Minor, invalid
from hub.api.oneroster.order import can_sort
from hub.api.oneroster.query import Query, QueryWarning
from hub.api.oneroster.search import check_fields
from hub.objects.looking import Lens
from transforms.catalogue import Entity

Path = tuple[str, ...]


class Asked(NamedTuple):
    """What a request asks of one entity in one view.

    ``sort`` None is the usual order; ``fields`` None all members; ``warnings`` are for a version that can say them.
    """

    query: Query
    sort: Path | None = None
    fields: frozenset[str] | None = None
    warnings: tuple[QueryWarning, ...] = ()


def understand(lens: Lens, entity: Entity, query: Query) -> Asked:
    """Looks up the names of a query. Raises RefusedError (400)."""
    if query.filter is not None:
        check_fields(lens, entity, query.filter)
    warnings = list(query.warnings)
    sort = fields = None
    if query.sort is not None:
        sort = _sort(lens, entity, query.sort, warnings)
    if query.fields is not None:
        fields = _fields(lens, entity, query.fields, warnings)
    return Asked(query, sort, fields, tuple(warnings))


def _sort(lens: Lens, entity: Entity, text: str, warnings: list[QueryWarning]) -> Path | None:
    path = tuple(text.split("."))
    if can_sort(lens, entity, path):
        return path
    description = f"sort names a field that cannot be sorted by: {text}"
    if lens.behaviour.unknown_sort == "refuse":
        # Of the services of 1.2 only Resources has a code minor for it.
        named = lens.version == "1.1" or entity.service == "resources"
        raise invalid(description, Minor.INVALID_SORT if named else Minor.INVALID_DATA)
    warnings.append(QueryWarning(Minor.INVALID_SORT, description))
    return None


def _fields(lens: Lens, entity: Entity, names: tuple[str, ...], warnings: list[QueryWarning]) -> frozenset[str] | None:
    """The members that an answer is cut to; all of them where a name is unknown, as the standard asks."""
    if lens.behaviour.dotted_selection == "member":
        names = tuple(name.partition(".")[0] for name in names)
    known = lens.visible(entity)
    unknown = [name for name in names if name not in known]
    if not unknown:
        return frozenset(names)
    description = f"fields names what is not a field: {', '.join(unknown)}"
    if lens.behaviour.unknown_selection == "refuse":
        raise invalid(description, Minor.INVALID_SELECTION)
    warnings.append(QueryWarning(Minor.INVALID_SELECTION, description))
    return None
