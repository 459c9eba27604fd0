"""A walk through the students of one school, with the proof that nothing was lost on the way.

Windows begin and end at numbers of records (``StartingRecord``, ``EndingRecord``, both inclusive), and Aeries says
nowhere how many there are. So each window begins with the last record of the one before: what moves meanwhile shows at
this seam, and the window that holds nothing else is the end, whatever Aeries gives at a time at the most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from connectors.aeries.client import Client, MissingError
from connectors.aeries.fields import STUDENTS, Objects, value
from connectors.protocol import ConnectorError, Intent
from connectors.walking import WALKS, Walked, steadily, too_many


class _MovedError(Exception):
    """A window does not begin with the last record of the one before."""


class _NoWindowsError(Exception):
    """Windows make no difference: this Aeries gives the whole list, whatever was asked for."""


async def students(client: Client, school: int, begin: Callable[[], None], take: Callable[[Objects], None]) -> Walked:
    """All records of a school's students. ``begin`` forgets what ``take`` got; both are called in a thread.

    Raises ConnectorError as ``Client.objects`` and ``steadily`` do and besides (``too_many_rows``).
    """

    async def once() -> Walked:
        for _ in range(WALKS):
            try:
                return await _Walking(client, school, take).once()
            except _MovedError:
                await asyncio.to_thread(begin)
            except _NoWindowsError:
                await asyncio.to_thread(begin)
                return await _whole(client, school, take)
        text = (
            f"The students of school {school} changed while they were read, {WALKS} times in a row, or Aeries does not "
            "keep to the records that are asked for. Nothing was applied."
        )
        raise ConnectorError("not_whole", text, intent=Intent.RETRY)

    return await steadily(once, begin, f"students of school {school}")


async def _whole(client: Client, school: int, take: Callable[[Objects], None]) -> Walked:
    """The whole list in one answer, as Aeries gives it where no window is asked for."""
    found = Walked()
    objects = await client.of_school(STUDENTS, school)
    _note(client, found, objects)
    await asyncio.to_thread(take, objects)
    return found


def _note(client: Client, found: Walked, objects: Objects) -> None:
    if found.count + len(objects) > client.context.limits.rows:
        raise too_many(client.context.limits.rows, "students")
    found.note([value(one, "student") for one in objects])


@dataclass
class _Walking:
    """One walk under way. ``last``: the record at the seam. ``first``: the first window."""

    client: Client
    school: int
    take: Callable[[Objects], None]
    found: Walked = field(default_factory=Walked)
    last: Any = None
    first: Objects = ()

    async def once(self) -> Walked:
        start, rows = 1, self.client.config.page_rows
        while True:
            window = await self._window(start, start + rows - 1)
            new = self._behind_seam(window)
            if not new:
                self.found.steady = self.found.count > 0  # a school without students is looked at twice
                return self.found
            _note(self.client, self.found, new)
            self.last, self.first = new[-1], self.first or new
            await asyncio.to_thread(self.take, new)
            if len(window) > rows:  # that was the whole list
                return self.found
            start = self.found.count

    async def _window(self, first: int, last: int) -> Objects:
        query = {"StartingRecord": str(first), "EndingRecord": str(last)}
        try:
            return await self.client.objects(STUDENTS, STUDENTS.at(self.school), query, self.school)
        except MissingError as error:
            if self.last is not None:
                raise _MovedError from None
            self.client.take_missing(STUDENTS, self.school, error)
            return []

    def _behind_seam(self, window: Objects) -> Objects:
        """What a window brings beyond the one before."""
        if self.last is None:
            return window
        if window and window[0] == self.last:
            return window[1:]
        if len(window) > 1 and window == self.first and self.found.count == len(window):
            raise _NoWindowsError
        raise _MovedError
