"""A try of a place: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from connectors import ssh
from connectors.places.choosing import Candidate, Wanted, candidates
from connectors.places.opening import opened
from connectors.places.place import AnyPlace, SftpPlace
from connectors.places.settled import settled
from connectors.places.sftp import told
from connectors.protocol import ConnectorError, Found, SourceContext

_HOUR = 3600
#: Errors after which nothing else can work, each with what was tried.
_STEPS = {
    "login_refused": "login", "no_secret": "login", "key_unreadable": "login", "folder_missing": "folder",
    "not_permitted": "folder", "folder_too_large": "folder", "watch_off": "folder", "host_key_changed": "host key",
    "host_key_missing": "host key", "no_common_method": "host key",
}  # fmt: skip


async def probe(
    place: AnyPlace | None, path: Path | None, settle_seconds: int, context: SourceContext, wanted: Wanted
) -> list[Found]:
    """Looks into the place and takes nothing. Never raises ConnectorError."""
    if place is None:
        return [await asyncio.to_thread(_local, path, settle_seconds, context)]
    found: list[Found] = []
    try:
        if isinstance(place, SftpPlace):
            found.append(await _keys(place, context))
        async with opened(place, context) as store:
            entries = await store.entries()
    except ConnectorError as error:
        step = _STEPS.get(error.code, "connection")
        if any(one.step == step and one.outcome == "bad" for one in found):  # it says more
            return found
        return [*found, Found(step, "bad", error.message)]
    found.append(Found("login", "good", "The place can be opened."))
    return [*found, _packages(place, context, candidates(entries, place, wanted), len(entries))]


async def _keys(place: SftpPlace, context: SourceContext) -> Found:
    """The keys that the server shows, so that a person can compare them with those that its owner names."""
    with told():
        shown = [key async for key in ssh.shown_keys(place.host, place.port, context.reachable)]
    named = "; ".join(
        f"{key.export_public_key().decode().split()[0]} {key.get_fingerprint()}, as a line: "
        f"{' '.join(key.export_public_key().decode().split()[:2])}"
        for key in shown
    )
    if place.host_key is None:
        text = f"Ask whoever runs the server for its fingerprint, compare, and state it as host_key. It shows: {named}"
        return Found("host key", "bad", text)
    pinned = place.host_key
    fits = any(
        key.get_fingerprint() == pinned if pinned.startswith(ssh.FINGERPRINT) else key == ssh.read_host_key(pinned)
        for key in shown
    )
    if fits:
        return Found("host key", "good", "The server has the key that was stated.")
    return Found("host key", "bad", f"The server has other keys than the one that was stated. It shows: {named}")


def _packages(place: AnyPlace, context: SourceContext, found: list[Candidate], entries: int) -> Found:
    if not found:
        text = f"None of {entries:,} files there is a package. Look at folder, package and pattern."
        return Found("packages", "warning", text)
    newest = found[0]
    hours = (context.now().timestamp() - newest.at) / _HOUR
    when = datetime.fromtimestamp(newest.at, context.now().tzinfo)
    text = f"{len(found):,} there; the newest is of {when:%Y-%m-%d %H:%M} UTC and has {newest.size:,} bytes."
    if not newest.marked:
        return Found("packages", "warning", f"{text} It has no marker yet, so it is not taken.")
    if place.stale_hours is not None and hours > place.stale_hours:
        return Found("packages", "bad", f"{text} That is {hours:.0f} hours ago: whoever sends them must look at it.")
    return Found("packages", "good", text)


def _local(path: Path | None, settle_seconds: int, context: SourceContext) -> Found:
    if path is None:
        text = "The source takes uploads, and there is nothing to try. A dry run shows what a package would do."
        return Found("source", "warning", text)
    try:
        settled(path, settle_seconds, context.now)
    except ConnectorError as error:
        return Found("path", "bad", error.message)
    return Found("path", "good", "There is a package at the source's path.")
