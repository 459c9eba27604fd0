"""Lists in pages: ``limit`` and ``after`` in, ``items`` and ``next`` out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field

from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError

_MOST_DIGITS = 18  # of a bigint
Item = TypeVar("Item", bound=BaseModel)


class Paging(Asked):
    """Which part of a list is asked for."""

    limit: Annotated[int, Field(ge=1, le=500, description="Most items in one answer.")] = 100
    after: Annotated[str | None, Field(max_length=200, description="`next` of the page before.")] = None


class Page(Shown, Generic[Item]):
    """Some items of a list."""

    items: list[Item]
    next: str | None = Field(default=None, description="Pass it as `after` for the next page; null on the last one.")


def cursor(place: object) -> str:
    """A place in a list as an opaque word."""
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def place(after: str | None) -> str | None:
    """The place that a cursor stands for. Raises HubError(INVALID_REQUEST) for one that was not given out."""
    if after is None:
        return None
    try:
        return base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise unknown() from error


def place_id(after: str | None) -> UUID | None:
    """The id that a cursor stands for. Raises HubError(INVALID_REQUEST)."""
    text = place(after)
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise unknown() from error


def place_number(after: str | None) -> int | None:
    """The number that a cursor stands for. Raises HubError(INVALID_REQUEST)."""
    text = place(after)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise unknown()
    return int(text)


def place_time(after: str | None) -> datetime | None:
    """The moment that a cursor stands for. Raises HubError(INVALID_REQUEST)."""
    text = place(after)
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError as error:
        raise unknown() from error
    if moment is not None and moment.tzinfo is None:
        raise unknown()
    return moment


def cut(items: Sequence[Item], limit: int, places: Sequence[object]) -> tuple[list[Item], str | None]:
    """The first ``limit`` of ``limit + 1`` items that were read, and the cursor for the rest."""
    if len(items) <= limit:
        return list(items), None
    return list(items[:limit]), cursor(places[limit - 1])


def unknown() -> HubError:
    """The error for a cursor that the list did not give out."""
    return HubError(Code.INVALID_REQUEST, "`after` is not a value that this list gave out. Start without it.")
