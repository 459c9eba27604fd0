"""One connection of the pool: what it does in fewer questions to PostgreSQL than asyncpg by itself would ask."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, Final

import asyncpg

_KEPT_BYTES = 8 << 20
_MOST_USES = 1_000
#: PostgreSQL gives types of its own numbers below this one, which stay theirs on every server and in every version.
_OWN_TYPES_END = 10_000
#: What says of itself that it did not take the place of a statement without a name.
_NAMED: Final = SimpleNamespace(name="known")
#: What PostgreSQL's own types are made of, by the types that were asked for together.
_known_types: Final[dict[frozenset[int], Any]] = {}


class Connection(asyncpg.Connection):
    """A connection that can end a transaction and be reset in one round trip, and knows PostgreSQL's own types."""

    #: What the pool lent, which it wants back. Calls by way of it cost as much as some of them do by themselves.
    lent: Any = None
    _is_reset = False
    _keeps_memory = False
    _uses = 0

    def itself(self) -> Connection:
        """This, and not what the pool puts around it."""
        return self

    async def keep_freed_memory(self) -> None:
        """See ``Transaction.keep_freed_memory``."""
        if not self._keeps_memory:
            await self.execute(f"SELECT octet_length(repeat(repeat(' ', 4096), {_KEPT_BYTES // 4096}))")
            self._keeps_memory = True

    async def commit(self, *, readonly: bool) -> None:
        """Ends the transaction and does what the pool's own reset would do next, RESET ALL included.

        Raises asyncpg.InFailedSQLTransactionError where a statement failed and was passed over: a COMMIT would roll
        back and say so in an answer that is lost among the others, so a statement that says it as an error comes first.
        What was only read has nothing to lose.
        """
        await self.execute(("" if readonly else "SELECT;\n") + "COMMIT;\n" + super().get_reset_query())

    def unchanged(self) -> None:
        """Says that nothing is left on it that would have to be reset; it is given back next."""
        self._is_reset = True

    def get_reset_query(self) -> str:
        """What the pool sends on release: nothing once, right after ``unchanged``."""
        if self._is_reset:
            self._is_reset = False
            return ""
        return super().get_reset_query()

    def is_due(self) -> bool:
        """Whether the pool has to see it again, which each so many uses are counted for."""
        self._uses += 1
        return self._uses % _MOST_USES == 0

    async def _introspect_types(self, typeoids: Collection[int], *limits: Any) -> tuple[Any, Any]:
        """What types are made of, in asyncpg's words. Those of PostgreSQL's own are asked for once by a process.

        asyncpg asks on each new connection, for an array of numbers too, and the question takes the server 16 ms of
        processor time. Should asyncpg name this otherwise one day, it asks again.
        """
        asks: Any = super()
        asked = frozenset(typeoids)
        if max(asked) >= _OWN_TYPES_END:
            found: tuple[Any, Any] = await asks._introspect_types(typeoids, *limits)  # noqa: SLF001
            return found
        if asked not in _known_types:
            _known_types[asked], _ = await asks._introspect_types(typeoids, *limits)  # noqa: SLF001
        return _known_types[asked], _NAMED
