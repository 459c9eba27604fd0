"""Walks over the pages of a collection, and the ``position`` in their ``Link`` headers.

While a walk is under way, records enter and leave the view and change their place in it. Its pages are therefore all
selected as of the step of the grant's feed at which it began, so that none is lost and none comes twice, and
``X-Total-Count`` stays. A position names that step.

It holds only for what it was given for: the grant and its definition, the app's settings, the path, the filter and the
order. It is signed with them. Otherwise an app could ask of the past what it never asked then, such as by which filters
a record is found that was since taken out of its view.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from hub.api.context import ApiContext
from hub.api.oneroster.asked import Asked
from hub.api.oneroster.errors import RefusedError, invalid
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.reading import Past
from hub.api.views import Views
from hub.objects.looking import Lens
from hub.scope.view import Step, View

#: How long a walk can go on after the first change behind it.
LONGEST_WALK = timedelta(hours=24)
_SIGNATURE_BYTES = 16
_LONGEST = 60
_MOST_DIGITS = 15


#: What a position is given for, in values that Python writes alike everywhere.
Subject = tuple[object, ...]


class Walk(NamedTuple):
    """Where one page stands: the position for the links to others, and the past that it is selected from, if any."""

    position: str
    past: Past | None = None


class Walks:
    """Begins walks and lets them go on."""

    def __init__(self, key: bytes, context: ApiContext, views: Views) -> None:
        self._key = key
        self._context = context
        self._views = views

    async def of(self, district_id: UUID, lens: Lens, operation: Operation, ids: tuple[str, ...], asked: Asked) -> Walk:
        """The walk of a request for a page; ``ids``: those in its path. Opens a transaction of its own, if any.

        Raises RefusedError (400) for a position that does not hold, or not any more.
        """
        subject, view = _subject(lens, operation, ids, asked), lens.view
        given = asked.query.position
        if given is None:
            return Walk(write(self._key, view.step, subject))
        step = read(self._key, given, subject)
        since = check_age(view, step, self._context.clock.now())
        if not since:
            return Walk(given)
        entities = await self._views.past(self._context.db, district_id, view, step)
        changed = frozenset().union(*(later.rewritten for later in since))
        return Walk(given, Past(step, entities, since[0].position, changed))


def write(key: bytes, step: int, subject: Subject) -> str:
    """The position of a step for a subject: its number and a signature, as it stands in a query."""
    return f"{step}.{_signature(key, step, subject)}"


def read(key: bytes, text: str, subject: Subject) -> int:
    """The step of a position. Raises RefusedError (400) for one that was not written for this subject."""
    number, _, signature = text.partition(".")
    if len(text) > _LONGEST or not text.isascii() or not number.isdigit() or len(number) > _MOST_DIGITS:
        raise _refused()
    if not hmac.compare_digest(signature, _signature(key, int(number), subject)):
        raise _refused()
    return int(number)


def check_age(view: View, step: int, now: datetime) -> tuple[Step, ...]:
    """The steps after one; refuses it where the first of them was longer ago than a walk may go on.

    Raises RefusedError (400).
    """
    since = view.since(step)
    if since is None or (since and now - since[0].at > LONGEST_WALK):
        raise _refused()
    return since


def _subject(lens: Lens, operation: Operation, ids: tuple[str, ...], asked: Asked) -> Subject:
    """What a position is given for."""
    query, view = asked.query, lens.view
    return (
        view.looks, lens.behaviour.digest, operation.version, operation.path, ids,
        query.filter_text, asked.sort, query.descending,
    )  # fmt: skip


@lru_cache(1_000)  # of most collections all pages have the same
def _signature(key: bytes, step: int, subject: Subject) -> str:
    return hmac.digest(key, f"{step} {subject!r}".encode(), "sha256")[:_SIGNATURE_BYTES].hex()


def _refused() -> RefusedError:
    """The one answer for a position that does not hold, or not any more."""
    return invalid(
        "position holds for a day, for the question that it was given for, and until the district changes what the app "
        "may see. Begin again without it."
    )
