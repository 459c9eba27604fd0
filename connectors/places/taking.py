"""Taking the newest whole package from a place: two looks, a copy, and after it was applied what the district wants."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from connectors.places.choosing import Candidate, Wanted, candidates, whole
from connectors.places.looking import look, stayed
from connectors.places.opening import opened
from connectors.places.place import AnyPlace, FolderPlace
from connectors.places.store import Entry, Store, unsettled
from connectors.protocol import Batch, ConnectorError, Intent, Mode, Pull, SourceContext
from transforms import issues
from transforms.catalogue import Version

_HOUR = 3600.0
_GROWS = "The newest package at the source's place changed a moment ago and may still grow."


@dataclass(frozen=True, slots=True)
class Taken:
    """A package's local copy. ``cursor``: what it is known by; ``applied``: to be called once it was applied."""

    path: Path
    cursor: dict[str, Any]
    applied: Callable[[], Awaitable[None]] | None


async def pull(
    place: AnyPlace, context: SourceContext, settle_seconds: int, cursor: Mapping[str, Any] | None, wanted: Wanted,
    read: Callable[[Path], Pull],
) -> Pull:  # fmt: skip
    """The pull of the newest whole package, which ``read`` opens in a thread; one of nothing where it is known already.

    Raises NotYetError between the two looks at a place of another machine, so that nothing is held meanwhile.
    Raises ConnectorError: ``package_missing``, ``package_unsettled``, ``package_stale``, ``package_too_large``, what
    the place raises, and what ``read`` raises.
    """
    known = cursor if cursor is not None and "files" in cursor else None  # else it was an upload's
    taken = await _taken(place, context, settle_seconds, known, wanted)
    if not isinstance(taken, Taken):
        return taken
    pulled = await asyncio.to_thread(read, taken.path)
    return replace(pulled, cursor={**(pulled.cursor or {}), **taken.cursor}, applied=taken.applied)


async def _taken(
    place: AnyPlace, context: SourceContext, settle_seconds: int, cursor: Mapping[str, Any] | None, wanted: Wanted
) -> Taken | Pull:
    async with opened(place, context) as store:
        first = candidates(await store.entries(), place, wanted)
        if not first and cursor is None:
            if context.seen and context.seen.get("packages"):
                text = "The package at the source's place went away after the first look."
                raise unsettled(text, wait_seconds=settle_seconds, seen=look([], place, context))
            text = "There is no package at the source's place yet. Look at its folder and pattern."
            raise ConnectorError("package_missing", text, intent=Intent.RETRY)
        after = None if cursor is None else float(cursor.get("at", 0.0))
        if not first or first[0].fits(cursor) or (after is not None and first[0].at < after):
            _refuse_stale(first[0].at if first else after, place, context)
            return _nothing(place, context, first[0] if first and first[0].fits(cursor) else None, cursor)
        first, second = await _looked(store, first, place, context, settle_seconds, wanted)
        chosen = whole(first, second, place, after)
        if chosen is None or chosen.fits(cursor):
            if place.marker is not None:
                raise unsettled("The newest package at the source's place has no marker yet.")
            later = None if isinstance(place, FolderPlace) else look(second, place, context)
            raise unsettled(_GROWS, wait_seconds=settle_seconds if later else None, seen=later)
        _refuse_stale(chosen.at, place, context)
        path = await _copied(store, chosen, place, context)
        return Taken(path, chosen.cursor(), _after(place, context, chosen))


async def _looked(
    store: Store, found: list[Candidate], place: AnyPlace, context: SourceContext, settle_seconds: int, wanted: Wanted
) -> tuple[list[Candidate], list[Candidate]]:
    """The packages of two looks, of which ``found`` is the only one where the other lies back, or need not be.

    Raises NotYetError, what the place raises.
    """
    if isinstance(place, FolderPlace):  # this machine's clock is the one that the files' times come from
        return found, [one for one in found if place.marker is not None or _quiet(one, context, settle_seconds)]
    if place.marker is None and settle_seconds:
        return stayed(found, place, context, settle_seconds), found
    return found, candidates(await store.entries(), place, wanted)


def _quiet(candidate: Candidate, context: SourceContext, settle_seconds: int) -> bool:
    return context.now().timestamp() - candidate.at >= settle_seconds


async def waiting(
    place: AnyPlace | None, context: SourceContext, settle_seconds: int, cursor: Mapping[str, Any] | None,
    wanted: Wanted,
) -> list[Any] | None:  # fmt: skip
    """The files that a pull of a watched folder would take now, as a cursor names them; None for nothing new.

    Raises ConnectorError.
    """
    if not isinstance(place, FolderPlace):
        return None
    known = cursor if cursor is not None and "files" in cursor else None
    async with opened(place, context) as store:
        found = candidates(await store.entries(), place, wanted)
    ready = [one for one in found if place.marker is not None or _quiet(one, context, settle_seconds)]
    chosen = whole(found, ready, place, None if known is None else float(known["at"]))
    if chosen is None or chosen.fits(known):
        return None
    files: list[Any] = chosen.cursor()["files"]
    return files


async def _copied(store: Store, chosen: Candidate, place: AnyPlace, context: SourceContext) -> Path:
    if chosen.size > context.limits.unpacked:
        text = f"The package at the source's place is larger than {context.limits.unpacked >> 30} GiB."
        raise ConnectorError("package_too_large", text, intent=Intent.ASK_HUMAN)
    if len(chosen.entries) > context.limits.entries:
        text = f"The package at the source's place has more than {context.limits.entries} files."
        raise ConnectorError("package_too_large", text, intent=Intent.ASK_HUMAN)
    folder = await asyncio.to_thread(_fresh, context.work_folder)
    for entry in chosen.entries:
        await store.fetch(entry, folder / entry.name)
    return folder if place.package == "folder" else folder / chosen.entries[0].name


def _fresh(work_folder: Path | None) -> Path:
    """A folder for the copy, inside the one that is removed after the run."""
    return Path(tempfile.mkdtemp(prefix="rosterhub-place-", dir=work_folder))


def _refuse_stale(at: float | None, place: AnyPlace, context: SourceContext) -> None:
    if place.stale_hours is None or at is None:
        return
    hours = (context.now().timestamp() - at) / _HOUR
    if hours > place.stale_hours:
        text = f"The newest package at the source's place is {hours:.0f} hours old. Whoever sends them must look at it."
        raise ConnectorError("package_stale", text, intent=Intent.ASK_HUMAN)


def _nothing(
    place: AnyPlace, context: SourceContext, known: Candidate | None, cursor: Mapping[str, Any] | None
) -> Pull:
    """What a place has that has nothing new. What was not moved away after the last time is now."""
    applied = None if known is None else _after(place, context, known)
    return Pull(Nothing(), None if cursor is None else dict(cursor), unchanged=True, applied=applied)


def _after(place: AnyPlace, context: SourceContext, chosen: Candidate) -> Callable[[], Awaitable[None]] | None:
    if place.after == "keep":
        return None

    async def applied() -> None:
        async with opened(place, context) as store:
            there = {entry.name: entry for entry in await store.entries()}
            for entry in chosen.entries:
                now = there.get(entry.name)
                gone = now is None or (now == entry and await _put_away(store, entry, place))
                marker = there.get(_marker(place, entry))
                if gone and marker is not None:  # never what came since, nor what says that it is whole
                    await _put_away(store, marker, place)

    return applied


def _marker(place: AnyPlace, entry: Entry) -> str:
    """The marker of one archive alone; one that stands for all is left."""
    alone = place.marker is not None and "{name}" in place.marker and place.package == "archive"
    return place.marker.replace("{name}", entry.name) if alone and place.marker else ""


async def _put_away(store: Store, entry: Entry, place: AnyPlace) -> bool:
    if place.after == "delete":
        return await store.remove(entry)
    when = datetime.fromtimestamp(entry.at, UTC).strftime("%Y%m%dT%H%M%SZ")
    return await store.move(entry, place.move_to, f"{when}-{entry.name}")


class Nothing:
    """A package without files."""

    version: Version = "1.2"
    mode: Mapping[str, Mode] = {}
    digest = "0" * 64
    source_system = None

    @property
    def issues(self) -> pl.DataFrame:
        """None."""
        return issues.empty()

    def rows(self, file: str) -> int | None:
        """Raises KeyError."""
        raise KeyError(file)

    def batches(self, file: str, size: int = 250_000) -> Iterator[Batch]:
        """Raises KeyError."""
        raise KeyError(file)

    def keys(self, file: str) -> pl.Series:
        """Raises KeyError."""
        raise KeyError(file)

    def close(self) -> None:
        """Nothing to remove."""
