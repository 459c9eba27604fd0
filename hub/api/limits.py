"""How much one app may ask of this process: a budget of requests, and a place among those that are being answered.

Both are kept in the process and never shared: what they protect, its CPU and its pool of connections, is the process's
own, and a shared count would cost each request a round trip and would need a server that may be away
(docs/decisions/0010-limits-per-process.md).
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
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


@dataclass(frozen=True, slots=True)
class Quota:
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
        self._apps: dict[UUID, _App] = {}
        self._turns: OrderedDict[UUID, None] = OrderedDict()  # apps with somebody waiting

    def learn(self, app_id: UUID, set_: Mapping[str, Any]) -> None:
        """Takes over what was set for an app."""
        app = self._app(app_id)
        app.limits = self._default.but(set_)
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
        return Quota(limits, int(app.tokens), reset, int(self._clock().timestamp()) + reset, refused)

    @asynccontextmanager
    async def place(self, app_id: UUID) -> AsyncIterator[None]:
        """A place among the requests that are being answered.

        Raises RefusedError: 429 when too many of the app's requests wait already, 503 when none gets free in time.
        """
        app = self._app(app_id)
        if self._free > 0 and app.running < self._most(app) and not app.waiting:
            self._free -= 1
            app.running += 1
        else:
            await self._wait(app_id, app)
        try:
            yield
        finally:
            self._free += 1
            app.running -= 1
            if self._turns:
                self._give_places()

    async def _wait(self, app_id: UUID, app: _App) -> None:
        if len(app.waiting) >= app.limits.queue:
            raise busy(429, 1, "This app has too many requests open. Wait for answers before you ask for more.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        app.waiting.append(turn)
        self._turns[app_id] = None
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # the place came in the very moment in which nobody wanted it
                self._free += 1
                app.running -= 1
                self._give_places()
            elif turn in app.waiting:
                app.waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise busy(503, 2, "The hub is busy. Try again in a moment.") from None
            raise

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
