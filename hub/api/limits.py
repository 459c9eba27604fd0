"""How much one app may ask of this process: a budget of requests, and a place among those that are being answered.

Both are kept in the process and never shared: what they protect, its CPU and its pool of connections, is the process's
own, and a shared count would cost each request a round trip and would need a server that may be away
(docs/decisions/0010-limits-per-process.md).
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from aiohttp import web

from hub.api.oneroster.errors import busy
from hub.settings import Settings

#: Longest wait for a place, in seconds.
LONGEST_WAIT = 10.0
_POLICY = "app"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one app may do in one process.

    ``requests_per_second`` in the long run and ``burst`` at once after a quiet time; ``concurrency`` requests that are
    answered at a time, ``queue`` more that wait for their turn.
    """

    requests_per_second: float
    burst: int
    concurrency: int
    queue: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of an app for which nothing else was set."""
        return cls(
            settings.app_requests_per_second, settings.app_requests_burst, settings.app_concurrency, settings.app_queue
        )

    def but(self, set_: Mapping[str, Any]) -> Limits:
        """These, but for what was set for an app; names that this release does not know have no effect."""
        return replace(self, **{f.name: set_[f.name] for f in fields(self) if set_.get(f.name) is not None})


class Quota(NamedTuple):
    """What is left of an app's budget.

    ``reset``: the seconds until it is whole, or, with nothing left, until it is not empty any more. ``until``: the same
    as seconds since 1970. ``refused``: there was nothing for this request.
    """

    limits: Limits
    remaining: int
    reset: int
    until: int
    refused: bool

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The fields of draft-ietf-httpapi-ratelimit-headers (as structured fields), and the widespread ones."""
        limits = self.limits
        window = max(1, math.ceil(limits.burst / limits.requests_per_second))
        return (
            ("RateLimit-Policy", f'"{_POLICY}";q={limits.burst};w={window}'),
            ("RateLimit", f'"{_POLICY}";r={self.remaining};t={self.reset}'),
            ("X-RateLimit-Limit", str(limits.burst)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(self.until)),
        )


#: What the guard found left for the app of a request; the middleware tells it in every answer.
QUOTA = web.RequestKey("quota", Quota)


@dataclass(slots=True)
class _App:
    """One app's state. ``waiting``: the turns of requests without a place, in the order of their coming."""

    limits: Limits
    tokens: float
    at: float
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Place:
    """See AppLimits.place. A class of its own: a generator would cost as much as all else about it."""

    __slots__ = ("_app", "_app_id", "_limits")

    def __init__(self, limits: AppLimits, app_id: UUID, app: _App) -> None:
        self._limits, self._app_id, self._app = limits, app_id, app

    async def __aenter__(self) -> None:
        if not self._limits.take(self._app):
            await self._limits.wait(self._app_id, self._app)

    async def __aexit__(self, *_: object) -> None:
        self._limits.leave(self._app)


class AppLimits:
    """The limits of all apps in one process.

    ``places``: how many requests are answered at a time. No app gets the last of them while there are two or more, so
    that one with slow requests does not shut out the others, and places that get free go to the apps in turn. ``now``
    is a monotonic time in seconds.
    """

    def __init__(self, default: Limits, places: int, now: Callable[[], float], clock: Callable[[], datetime]) -> None:
        self._default = default
        self._free = places
        self._most_of_one = max(1, places - 1)
        self._now = now
        self._clock = clock
        self._epoch = clock().timestamp() - now()  # what makes a time since 1970 of a monotonic one
        self._apps: dict[UUID, _App] = {}
        self._turns: OrderedDict[UUID, None] = OrderedDict()  # apps with somebody waiting

    def learn(self, app_id: UUID, set_: Mapping[str, Any]) -> None:
        """Takes over what was set for an app."""
        app = self._app(app_id)
        app.limits = self._default.but(set_)
        self._epoch = self._clock().timestamp() - self._now()  # the clock may have been set
        self._give_places()

    def count(self, app_id: UUID) -> Quota:
        """Takes one request from an app's budget. Nothing is taken where there is none: ``refused``."""
        app, now = self._app(app_id), self._now()
        limits = app.limits
        tokens = min(limits.burst, app.tokens + (now - app.at) * limits.requests_per_second)
        refused = tokens < 1
        app.tokens, app.at = tokens if refused else tokens - 1, now
        missing = (limits.burst if app.tokens >= 1 else 1) - app.tokens
        reset = max(1, math.ceil(missing / limits.requests_per_second))
        return Quota(limits, int(app.tokens), reset, int(self._epoch + now) + reset, refused)

    def place(self, app_id: UUID) -> Place:
        """A place among the requests that are being answered, for ``async with``.

        Entering raises RefusedError: 429 when too many of the app's requests wait already, 503 when no place gets free
        in time.
        """
        return Place(self, app_id, self._app(app_id))

    def take(self, app: _App) -> bool:
        """Takes a place, if the app may have one at once."""
        if self._free > 0 and app.running < self._most(app) and not app.waiting:
            self._free -= 1
            app.running += 1
            return True
        return False

    async def wait(self, app_id: UUID, app: _App) -> None:
        """Waits until a place was given."""
        if len(app.waiting) >= app.limits.queue:
            raise busy(429, 1, "This app has too many requests open. Wait for answers before you ask for more.")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        patience = loop.call_later(LONGEST_WAIT, _give_up, turn)
        app.waiting.append(turn)
        self._turns[app_id] = None
        try:
            await turn
        except BaseException as error:
            if turn in app.waiting:
                app.waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.leave(app)  # the place came in the very moment in which nobody wanted it
            if isinstance(error, TimeoutError):
                raise busy(503, 2, "The hub is busy. Try again in a moment.") from None
            raise
        finally:
            patience.cancel()

    def leave(self, app: _App) -> None:
        """Gives a place back."""
        self._free += 1
        app.running -= 1
        if self._turns:
            self._give_places()

    def _give_places(self) -> None:
        """Gives free places away, one app after the other."""
        found = True
        while self._free > 0 and found:
            found = False
            for app_id in list(self._turns):
                app = self._apps[app_id]
                turn = app.waiting[0] if app.waiting else None
                if turn is None:
                    del self._turns[app_id]
                elif turn.done():
                    del app.waiting[0]  # it gave up
                    found = True
                elif self._free > 0 and app.running < self._most(app):
                    self._free -= 1
                    app.running += 1
                    del app.waiting[0]
                    turn.set_result(None)
                    self._turns.move_to_end(app_id)
                    found = True

    def _most(self, app: _App) -> int:
        return min(app.limits.concurrency, self._most_of_one)

    def _app(self, app_id: UUID) -> _App:
        app = self._apps.get(app_id)
        if app is None:
            app = self._apps[app_id] = _App(self._default, self._default.burst, self._now())
        return app


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
