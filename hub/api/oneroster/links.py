"""The paging headers of a collection. Source: OneRoster 1.2 REST binding, paging; RFC 8288."""

from __future__ import annotations

from urllib.parse import unquote

_OURS = frozenset({"limit", "offset", "position"})
_OAUTH = "oauth_"


def link_header(address: str, query: str, *, limit: int, offset: int, total: int, position: str = "") -> str:
    """The ``Link`` header: absolute addresses that keep all other parameters as they were sent.

    ``query`` is the raw query string, of which what signed it is not kept: each request is signed anew. ``next`` is
    missing on the last page and ``prev`` on the first. All go on at ``position`` but ``first``, which begins anew.
    """
    kept = "&".join([part for part in unsigned(query).split("&") if part and _name(part) not in _OURS])
    start = f"<{address}?{kept}&" if kept else f"<{address}?"
    last = (total - 1) // limit * limit if total else 0
    pinned = f"{start}position={position}&limit={limit}&offset=" if position else f"{start}limit={limit}&offset="
    links = f'{start}limit={limit}&offset=0>; rel="first"'
    if offset > 0:
        links += f', {pinned}{max(0, min(offset - limit, last))}>; rel="prev"'
    if offset + limit < total:
        links += f', {pinned}{offset + limit}>; rel="next"'
    return f'{links}, {pinned}{last}>; rel="last"'


def unsigned(query: str) -> str:
    """A raw query string without the parameters of OAuth 1, which are of one request alone."""
    if _OAUTH not in query and "%" not in query:
        return query  # most often
    return "&".join(part for part in query.split("&") if not _name(part).startswith(_OAUTH))


def _name(part: str) -> str:
    name = part.partition("=")[0]
    return unquote(name) if "%" in name else name
