"""Walks through the pages of a collection that may change meanwhile: when one counts, and when it begins again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from connectors.protocol import ConnectorError, Intent

WALKS = 3
#: Of so many rows one may have the id of another: more of them are pages that came again.
_ROWS_PER_REPEATED = 100
T = TypeVar("T")


@dataclass
class Walked:
    """What one walk saw. ``ids``: hashes of all ids, page by page. ``steady``: nothing moved meanwhile.

    ``distinct``: how many different ones they are, once that was counted.

    ``total``: how many the system says there are, None where it does not. ``unnamed``: objects without an id.
    """

    total: int | None = None
    steady: bool = True
    count: int = 0
    unnamed: int = 0
    distinct: int | None = None
    ids: list[pl.Series] = field(default_factory=list)

    def different(self) -> int:
        """How many different ids there were; objects without one count each."""
        return (pl.concat(self.ids).n_unique() if self.ids else 0) + self.unnamed

    def note(self, keys: Sequence[Any]) -> None:
        """Remembers the ids of a page."""
        whole = set(map(type, keys)) <= {str}
        named = keys if whole else [key if isinstance(key, str) else str(key) for key in keys if key is not None]
        self.count += len(keys)
        self.unnamed += len(keys) - len(named)
        self.ids.append(pl.Series(named, dtype=pl.String).hash())

    def same_ids(self, other: Walked) -> bool:
        """Whether another walk saw the same ids, each as often."""
        if (self.count, self.unnamed) != (other.count, other.unnamed):
            return False
        return not self.ids or pl.concat(self.ids).sort().equals(pl.concat(other.ids).sort())


async def steadily(once: Callable[[], Awaitable[Walked]], begin_again: Callable[[], None], what: str) -> Walked:
    """A walk that counts. ``once`` goes through all pages; ``begin_again``, in a thread, forgets what it brought.

    A walk counts that was steady and saw as many different ids as the system says that there are (without a total:
    each once), or that saw the same as the one before. Raises ConnectorError as ``once`` does and besides
    (``not_whole``, ``total_wrong``, ``repeated_page``).
    """
    before: Walked | None = None
    for _ in range(WALKS):
        await asyncio.to_thread(begin_again)
        found = await once()
        different = found.distinct = await asyncio.to_thread(found.different)
        if found.steady and different == (found.count if found.total is None else found.total):
            return found
        if before is not None and await asyncio.to_thread(found.same_ids, before):
            _settle(found, different, what)
            return found
        before = found
    text = f"The system's {what} changed while they were read, {WALKS} times in a row. Nothing was applied."
    raise ConnectorError("not_whole", text, intent=Intent.RETRY)


def _settle(found: Walked, different: int, what: str) -> None:
    """Judges two walks that agree. Raises ConnectorError where they cannot be all there is."""
    if found.total is not None and found.total not in {found.count, different}:
        text = (
            f"The system says that it has {found.total} {what} and gives {different}, twice in a row. If its count is "
            "known to be wrong, set the source's totals to ignored."
        )
        raise ConnectorError("total_wrong", text, intent=Intent.ASK_HUMAN)
    if found.count - different > max(1, found.count // _ROWS_PER_REPEATED):
        raise repeated(what)


def repeated(what: str) -> ConnectorError:
    """A page that came again in the place of the next one."""
    text = f"The system gives the same {what} again where the next page should be: there is no way to see the others."
    return ConnectorError("repeated_page", text, intent=Intent.RETRY)


def endless(what: str) -> ConnectorError:
    """Pages that lead to each other for ever."""
    text = f"The system's pages of {what} lead in a circle."
    return ConnectorError("endless", text, intent=Intent.RETRY)


def too_many(most: int, what: str) -> ConnectorError:
    """More rows than a source may have."""
    return ConnectorError("too_many_rows", f"The system gives more than {most:,} {what}.", intent=Intent.ASK_HUMAN)


async def side_by_side(asks: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> AsyncGenerator[T]:
    """What ``asks`` give, in their order, with up to ``at_once`` of them under way. None goes on after an error."""
    waiting: deque[asyncio.Future[T]] = deque()
    try:
        for ask in asks:
            waiting.append(asyncio.ensure_future(ask()))
            if len(waiting) >= at_once:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
