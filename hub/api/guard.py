"""Who calls OneRoster, and what they hold in the district of the path.

What is found out is kept for a moment only to save look-ups: every answer's own statement checks the token and the
grant again (hub/store/records.py), so a revocation shows at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from hub.api.behaviour import Behaviour
from hub.api.caches import ByteCache
from hub.api.context import ApiContext
from hub.api.limits import QUOTA, AppLimits, Limits
from hub.api.oneroster.errors import busy, forbidden, unauthorised, unknown_object, withdrawn
from hub.store import apps, views
from hub.store.apps import LONGEST_TOKEN, TOKEN_PREFIX, AccessToken
from hub.store.grants import Grant
from hub.store.records import Gate

_FRESH_SECONDS = 1.0
_MOST_SESSIONS = 20_000
_NOBODY = UUID(int=0)  # no district has this id


@dataclass(frozen=True, slots=True)
class Session:
    """A valid token and the active grant that its app holds in a district, as they were a moment ago."""

    token: AccessToken
    district_id: UUID
    grant: Grant
    behaviour: Behaviour
    until: float  # loop time


class Guard:
    """Admits requests with a bearer token to one district."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._sessions: ByteCache[tuple[bytes, str], Session] = ByteCache(_MOST_SESSIONS)
        # One connection is left for the look-ups, for tokens and for the admin API.
        places = max(1, context.settings.service_pool_size - 1)
        self.limits = AppLimits(Limits.of(context.settings), places, self._loop.time, context.clock.now)

    async def admit(self, request: web.Request, scopes: Sequence[str], *, again: bool = False) -> Session:
        """The session of a request. ``again`` looks everything up anew.

        Raises RefusedError: 401 without a valid token, 403 without one of the scopes or after the grant was suspended
        or withdrawn, 404 alike for a district that does not exist and for one that never granted anything, 429.
        """
        token_hash = _bearer(request)
        district = request.match_info["district"]
        session = self._sessions.get((token_hash, district))
        if again or session is None or session.until < self._loop.time():
            session = await self._look_up(token_hash, district, scopes)
        elif session.token.expires_at <= self._context.clock.now():
            raise unauthorised(given=True)
        _check_scopes(session.token, scopes)
        if not again:
            self._count(request, session.token)
        return session

    def gate(self, session: Session) -> Gate:
        """What has to hold still when an answer is read."""
        grant, token = session.grant, session.token
        return Gate(grant.grant_id, grant.position, grant.changed_at, token.token_hash, self._context.clock.now())

    async def _look_up(self, token_hash: bytes, district: str, scopes: Sequence[str]) -> Session:
        key = (token_hash, district)
        self._sessions.drop(key)
        district_id = _district(district)
        async with self._context.db.district(district_id, readonly=True) as tx:
            token = await apps.find_token(tx, token_hash, self._context.clock.now())
            if token is None:
                raise unauthorised(given=True)
            _check_scopes(token, scopes)
            held = await views.held(tx, token.app_id)
        if held is None:
            raise unknown_object()
        if not held.open:
            raise withdrawn()
        self.limits.learn(token.app_id, held.limits)
        until = self._loop.time() + _FRESH_SECONDS
        session = Session(token, district_id, held.grant, Behaviour.of(held.behaviour), until)
        self._sessions.put(key, session, 1)
        return session

    def _count(self, request: web.Request, token: AccessToken) -> None:
        quota = request[QUOTA] = self.limits.count(token.app_id)
        if quota.refused:
            raise busy(429, quota.reset, "This app asks too often. Wait as long as Retry-After says.")


def _bearer(request: web.Request) -> bytes:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise unauthorised(given=False)
    if not token.startswith(TOKEN_PREFIX) or len(token) > LONGEST_TOKEN:
        raise unauthorised(given=True)
    return apps.digest(token)


def _district(text: str) -> UUID:
    """The district's id; nobody's for what is none, so that the same look-ups follow."""
    try:
        district_id = UUID(text)
    except ValueError:
        return _NOBODY
    return district_id if str(district_id) == text.lower() else _NOBODY


def _check_scopes(token: AccessToken, scopes: Sequence[str]) -> None:
    if not any(scope in token.scopes for scope in scopes):
        raise forbidden(tuple(scopes))
