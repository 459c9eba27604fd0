"""What a request for changes asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from aiohttp import web
from multidict import MultiMapping

from hub.api.oneroster.errors import invalid
from hub.changes.types import Wanted
from hub.errors import HubError

LIMIT = 500
MOST = 10_000
LONGEST_WAIT = 60
MODES = ("refs", "records")
NAMES = ("after", "to", "since", "limit", "wait", "mode", "types")
_OAUTH = "oauth_"
_MOST_STEPS = 10**15 - 1
_MOST_DIGITS = 15
_ALL = Wanted()
_Place = TypeVar("_Place")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. ``after`` is the text as it came; neither it nor ``since``: from the head.

    ``to``: the end of a stretch after the step ``after`` that is to be told to its end before anything else.
    """

    after: str | None = None
    to: int | None = None
    since: datetime | None = None
    limit: int = LIMIT
    wait: float = 0
    mode: str = "refs"
    wanted: Wanted = _ALL

    @classmethod
    def of(cls, request: web.Request) -> Asked:
        """Raises RefusedError (400) that names the parameter."""
        given = _single(request.query)
        after, since = given.get("after"), given.get("since")
        if after is not None and since is not None:
            raise invalid("Give after or since: each names where to begin.")
        to = _number(given, "to", -1, 0, _MOST_STEPS)
        if to >= 0 and not (after or "").isdigit():
            raise invalid("to goes with a plain step as after: both of a webhook whose stretch is to be told again.")
        mode = given.get("mode", MODES[0])
        if mode not in MODES:
            raise invalid(f"mode is one of: {', '.join(MODES)}.")
        return cls(
            after, None if to < 0 else to, None if since is None else _moment(since),
            _number(given, "limit", LIMIT, 1, MOST),
            0 if request.method == "HEAD" else _number(given, "wait", 0, 0, LONGEST_WAIT), mode,
            _wanted(given.get("types", "")),
        )  # fmt: skip

    def place(self, read: Callable[[str], _Place]) -> _Place | None:
        """Where ``after`` is. Raises RefusedError (400)."""
        if self.after is None:
            return None
        try:
            return read(self.after)
        except ValueError:
            raise invalid(
                "after is the `next` of an answer before, at the same address; in one district a step of the feed will "
                "do. Begin without it."
            ) from None


def _single(query: MultiMapping[str]) -> dict[str, str]:
    """The parameters. Those that sign a request are not ours."""
    names = [name for name in query if not name.startswith(_OAUTH)]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise invalid(f"Parameters here are {', '.join(NAMES)}, and no others.")
    if len(names) != len(set(names)):
        raise invalid("Give each parameter once.")
    return {name: query[name] for name in names}


def _number(given: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return usual
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and least <= int(text) <= most:
        return int(text)
    raise invalid(f"{name} is a whole number from {least} to {most}.")


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)  # a plus that was not escaped
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid("since is a time as ISO 8601 has it, such as 2026-09-01T00:00:00Z.") from None


def _wanted(text: str) -> Wanted:
    try:
        return Wanted.of(part for part in (one.strip() for one in text.split(",")) if part)
    except HubError as error:
        raise invalid(error.message) from None
