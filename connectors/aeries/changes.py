"""What Aeries says has changed, since a minute of its server's own clock.

It names students, and the hub asks for these one by one. Of classes, courses and staff it is enough to know that
something changed: a row of theirs is made of several lists, so everything is pulled then. Aeries does not say what was
deleted, and nothing of terms and teachers' records: the schools with their terms are compared, and the rest comes with
the next whole pull.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.aeries.client import Client, MissingError
from connectors.aeries.config import AeriesConfig
from connectors.aeries.fields import CONTACT_CHANGES, OTHER_CHANGES, STUDENT_CHANGES, SYSTEM, Listing, cell, text
from connectors.protocol import ConnectorError

#: What a transaction may be behind its own time.
_OVERLAP = timedelta(minutes=2)
_NONE = frozenset({"not_found", "not_permitted", "switched_off", "query_refused"})


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself. ``clock``: its own, with its zone; None where it does not say."""

    year: str | None = None
    clock: datetime | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """A cursor. ``clock``: the server's when the last pull began. ``schools``: a mark of what they were then."""

    clock: datetime
    year: str | None
    schools: str

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> Since | None:
        """The cursor of an earlier pull."""
        if cursor is None:
            return None
        return cls(datetime.fromisoformat(cursor["clock"]), cursor["year"], cursor["schools"])

    def cursor(self) -> dict[str, Any]:
        """The cursor as JSON."""
        return {"clock": self.clock.isoformat(), "year": self.year, "schools": self.schools}

    def minute(self, now: datetime) -> datetime:
        """The minute, by the server's clock as it goes now, from which on changes are asked for.

        A clock that was set back in autumn wrote earlier times since than one that was not.
        """
        then = min(self.clock.replace(tzinfo=None), self.clock.astimezone(now.tzinfo).replace(tzinfo=None))
        return (then - _OVERLAP).replace(second=0, microsecond=0)


async def server(client: Client) -> Server:
    """What the server says of itself; nothing where it has no such answer. Raises ConnectorError."""
    try:
        one = await client.one(SYSTEM, SYSTEM.path)
    except MissingError:
        return Server()
    except ConnectorError as error:
        if error.code in _NONE:
            return Server()
        raise
    return Server(text(one, "year"), _moment(text(one, "clock")), text(one, "version"))


def _moment(given: str | None) -> datetime | None:
    """A moment of .NET, with seven decimals and its zone."""
    if given is None:
        return None
    whole, dot, rest = given.partition(".")
    decimals = len(rest) - len(rest.lstrip("0123456789"))
    try:
        found = datetime.fromisoformat(whole + dot + rest[: min(decimals, 6)] + rest[decimals:])
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def listings(config: AeriesConfig) -> Iterator[tuple[Listing, bool]]:
    """The lists of changes to ask for, and whether they name students."""
    if config.asks("users", "demographics", "enrollments"):
        yield from ((one, True) for one in STUDENT_CHANGES)
    if config.asks("users") and config.contacts:
        yield CONTACT_CHANGES, True
    yield from ((one, False) for one, of in OTHER_CHANGES.items() if config.asks(*of))


async def changed(client: Client, minute: datetime) -> tuple[set[str], bool] | None:
    """The ids of students that changed, and whether anything else did; None where Aeries does not say.

    Raises ConnectorError.
    """
    students: set[str] = set()
    for listing, names in listings(client.config):
        found = await listed(client, listing, minute)
        if found is None:
            return None
        if found and not names:
            return students, True
        for one in found:
            key = text(one, "student") if isinstance(one, Mapping) else cell(one)
            if key is None:
                return students, True
            students.add(key)
    return students, False


async def listed(client: Client, listing: Listing, minute: datetime) -> list[Any] | None:
    """A list of changes; None where Aeries has none. Raises ConnectorError for what may pass."""
    try:
        return await client.keys(listing, f"{listing.path}/{minute:%Y/%m/%d/%H/%M}")
    except MissingError:
        return None
    except ConnectorError as error:
        if error.code in _NONE:
            return None
        raise


async def told(client: Client, at: datetime | None) -> bool:
    """Whether Aeries says what changes: all lists answer, for the last minute. Raises ConnectorError."""
    if at is None:
        return False
    minute = Since(at, None, "").minute(at)
    for listing, _ in listings(client.config):
        if await listed(client, listing, minute) is None:
            return False
    return True
