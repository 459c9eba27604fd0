"""Districts that were brought to a state once, of which each test gets a copy: a copy costs a tenth of a sync."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from hub.store.database import Database as Pool
from tests.databases import copy_of, kept
from tests.districts import District
from tests.services import Database

#: What happens to an empty district before a test begins. Tests that begin the same way name the same function.
Beginning = Callable[[District], Awaitable[None]]


class Begun(NamedTuple):
    """The name of a database that is only ever copied, and the ids of the district in it and of its source."""

    name: str
    district_id: UUID
    source_id: UUID


class Beginnings:
    """The databases of all beginnings so far. ``databases`` removes them in the end.

    ``ids``: those of the district of ``template`` to which it happens, and of its source; of a new one by default.
    """

    def __init__(
        self, postgres: str, template: str, databases: ExitStack, ids: tuple[UUID, UUID] | None = None
    ) -> None:
        self._postgres = postgres
        self._template = template
        self._databases = databases
        self._ids = ids
        self._made: dict[Beginning, Begun] = {}

    @asynccontextmanager
    async def copy(self, begin: Beginning) -> AsyncIterator[tuple[Database, Begun]]:
        """A database of a test's own with the district to which that happened."""
        if begin not in self._made:
            self._made[begin] = await self._make(begin)
        async with copy_of(self._postgres, self._made[begin].name) as database:
            yield database, self._made[begin]

    async def _make(self, begin: Beginning) -> Begun:
        database = self._databases.enter_context(kept(self._postgres, self._template, "begun"))
        db = await Pool.open(database.worker, name="test worker", largest=4)
        try:
            if self._ids is None:
                district = await District(db).create()
            else:
                district = District(db, district_id=self._ids[0], source_id=self._ids[1])
            await begin(district)
        finally:
            await db.close()
        return Begun(database.name, district.district_id, district.source_id)
