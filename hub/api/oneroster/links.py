"""The paging headers of a collection. Source: OneRoster 1.2 REST binding, paging; RFC 8288."""

from __future__ import annotations

_PAGING = ("limit", "offset")


def link_header(address: str, query: str, *, limit: int, offset: int, total: int) -> str:
    """The ``Link`` header: absolute addresses that keep all other parameters as they were sent.

    ``query`` is the raw query string. ``next`` is missing on the last page and ``prev`` on the first.
    """
    kept = "&".join(part for part in query.split("&") if part and part.partition("=")[0] not in _PAGING)
    start = f"<{address}?{kept}&" if kept else f"<{address}?"
    last = (total - 1) // limit * limit if total else 0

    def to(place: int, relation: str) -> str:
        return f'{start}limit={limit}&offset={place}>; rel="{relation}"'

    links = [to(0, "first")]
    if offset > 0:
        links.append(to(max(0, min(offset - limit, last)), "prev"))
    if offset + limit < total:
        links.append(to(offset + limit, "next"))
    links.append(to(last, "last"))
    return ", ".join(links)
