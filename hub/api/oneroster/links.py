"""The paging headers of a collection. Source: OneRoster 1.2 REST binding, paging; RFC 8288."""

from __future__ import annotations

from urllib.parse import unquote

_OURS = frozenset({"limit", "offset", "position"})


def link_header(address: str, query: str, *, limit: int, offset: int, total: int, position: str = "") -> str:
    """The ``Link`` header: absolute addresses that keep all other parameters as they were sent.

    ``query`` is the raw query string. ``next`` is missing on the last page and ``prev`` on the first. All go on at
    ``position`` but ``first``, which begins anew.
    """
    kept = "&".join(part for part in query.split("&") if part and not _is_ours(part))
    start = f"<{address}?{kept}&" if kept else f"<{address}?"
    last = (total - 1) // limit * limit if total else 0
    pinned = f"position={position}&" if position else ""

    def to(place: int, relation: str) -> str:
        return f'{start}{pinned}limit={limit}&offset={place}>; rel="{relation}"'

    links = [f'{start}limit={limit}&offset=0>; rel="first"']
    if offset > 0:
        links.append(to(max(0, min(offset - limit, last)), "prev"))
    if offset + limit < total:
        links.append(to(offset + limit, "next"))
    links.append(to(last, "last"))
    return ", ".join(links)


def _is_ours(part: str) -> bool:
    name = part.partition("=")[0]
    return (unquote(name) if "%" in name else name) in _OURS
