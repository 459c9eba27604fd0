"""Who calls OneRoster, and what they hold in the district of the path.

What is found out is kept for a moment only to save look-ups: every answer's own statement checks the credential and
the grant again (hub/store/records.py), so a revocation shows at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from aiohttp import web

from hub import vault
from hub.api.attempts import ATTEMPTS, Attempt, Attempts
from hub.api.caches import ByteCache
from hub.api.context import CONTEXT, ApiContext
from hub.api.limits import QUOTA, AppLimits, Limits
from hub.api.oneroster.errors import RefusedError, busy, forbidden, unauthorised, unknown_object, unsigned, withdrawn
from hub.api.proofs import BEARER, Caller, Proof, Proofs, Scheme
from hub.behaviour import Behaviour
from hub.crypto import Keys, load_key
from hub.identifiers import Identifiers
from hub.store import views
from hub.store.database import Transaction
from hub.store.gate import Gate
from hub.store.grants import Grant

_FRESH_SECONDS = 1.0
_MOST_SESSIONS = 20_000
_SHARE = 5  # a wrong token or signature costs a look-up, a wrong secret a slow hash
_NOBODY = UUID(int=0)  # no district has this id

#: What a caller is remembered by: its token's hash or its consumer's key, and the district.
Key = tuple[bytes | str, str]


@dataclass(frozen=True, slots=True)
class Session:
    """An app that proved itself and the active grant that it holds in a district, as they were a moment ago."""

    caller: Caller
    district_id: UUID
    grant: Grant
    behaviour: Behaviour
    identifiers: Identifiers
    until: float  # loop time

    @property
    def app_id(self) -> UUID:
        """The app that calls."""
        return self.caller.app_id


class Guard:
    """Admits requests to one district: with an access token and, where a route takes it, signed with OAuth 1.

    ``key``: hub.crypto.load_key.
    """

    def __init__(self, context: ApiContext, key: Keys) -> None:
        self._context = context
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._proofs = Proofs(context)
        self._sessions: ByteCache[Key, Session] = ByteCache(_MOST_SESSIONS)
        self._everywhere: ByteCache[bytes | str, list[Session]] = ByteCache(_MOST_SESSIONS)
        self._refreshing: set[Key] = set()
        self.attempts = Attempts(context.settings, self._loop.time, share=_SHARE, slow=False)
        # One connection is left for the look-ups, for tokens and for the admin API.
        places = max(1, context.settings.service_pool_size - 1)
        self.limits = AppLimits(Limits.of(context.settings), places, self._loop.time, context.clock.now)

    async def admit(
        self, request: web.Request, scopes: Sequence[str], *, accepts: frozenset[Scheme] = BEARER, again: bool = False
    ) -> Session:
        """The session of a request, by one of the kinds of credential that its route ``accepts``.

        ``again`` looks everything up anew for a request that was admitted already. Raises RefusedError: 401 without a
        valid credential, 403 without one of the scopes or after the grant was suspended or withdrawn, 404 alike for a
        district that does not exist and for one that never granted anything, 429; HeldUpError.
        """
        proof = await self._proofs.read(request, accepts, again=again)
        key = (proof.key, request.match_info["district"])
        session = self._sessions.get(key)
        if again:
            session = await self._look_up(proof, key, scopes)
        elif session is None or not proof.fits(session.caller):
            # May be a guess: what was valid a moment ago is none.
            attempt = self.attempts.begin(request, proof.client)
            session = await self._look_up(proof, key, scopes, attempt)
        elif session.until < self._loop.time() and key not in self._refreshing and not proof.used:
            # Of many at once, one asks anew; the others go on with what was true a moment ago. A request that is sent
            # again is refused anyway: no flood of them may need the database, and be told that it is busy.
            self._refreshing.add(key)
            try:
                session = await self._look_up(proof, key, scopes)
            finally:
                self._refreshing.discard(key)
        _check_scopes(session.caller, scopes)
        if not again:
            await self._spend(request, proof)
            self._count(request, session)
        return session

    async def admit_everywhere(
        self, request: web.Request, scopes: Sequence[str], *, accepts: frozenset[Scheme] = BEARER, again: bool = False
    ) -> list[Session]:
        """The sessions of a request in all districts that grant its app something, in the order of their ids.

        Raises RefusedError as ``admit`` does: 404 for an app that was never granted anything, 403 for one from which
        everything was taken away.
        """
        proof = await self._proofs.read(request, accepts, again=again)
        sessions = self._everywhere.get(proof.key)
        attempt = None
        if sessions is None or not proof.fits(sessions[0].caller):
            attempt = None if again else self.attempts.begin(request, proof.client)
            sessions = None
        if again or sessions is None or (sessions[0].until < self._loop.time() and not proof.used):
            sessions = await self._look_everywhere(proof, scopes, attempt)
        _check_scopes(sessions[0].caller, scopes)
        if not again:
            await self._spend(request, proof)
            self._count(request, sessions[0])
        return sessions

    async def _look_everywhere(self, proof: Proof, scopes: Sequence[str], attempt: Attempt | None) -> list[Session]:
        self._everywhere.drop(proof.key)
        async with self._context.db.shared() as tx:
            caller = await _caller(proof, tx, attempt)
        _check_scopes(caller, scopes)
        async with self._context.db.app(caller.app_id) as tx:
            places = await views.held_everywhere(tx, caller.app_id)
        if not places:
            raise unknown_object()
        held = [(place.district_id, place.held) for place in places if place.held.open]
        if not held:
            raise withdrawn()
        self.limits.learn(caller.app_id, held[0][1].limits)
        until = self._loop.time() + _FRESH_SECONDS
        behaviour = Behaviour.of(held[0][1].behaviour)
        sessions = []
        for district, one in held:
            if self._key.missing(one.grant.id_key):
                async with self._context.db.district(district, readonly=True) as tx:
                    await vault.to_open(tx, self._key, one.grant.id_key)
            # Two sources may call different people the same, so over all districts the hub's own ids stand.
            identifiers = replace(Identifiers.of(one.grant, district, self._key, one.own), by_source=None)
            sessions.append(Session(caller, district, one.grant, behaviour, identifiers, until))
        self._everywhere.put(proof.key, sessions, len(sessions))
        return sessions

    def gate(self, session: Session) -> Gate:
        """What has to hold still when an answer is read."""
        grant = session.grant
        credential = session.caller.credential(self._context.clock.now())
        return Gate(grant.grant_id, grant.position, grant.changed_at, credential)

    async def _look_up(self, proof: Proof, key: Key, scopes: Sequence[str], attempt: Attempt | None = None) -> Session:
        try:
            session = await self._found(proof, key[1], scopes, attempt)
        except RefusedError:
            self._sessions.drop(key)
            raise
        self._sessions.put(key, session, 1)
        return session

    async def _found(self, proof: Proof, district: str, scopes: Sequence[str], attempt: Attempt | None) -> Session:
        district_id = _district(district)
        async with self._context.db.district(district_id, readonly=True) as tx:
            caller = await _caller(proof, tx, attempt)
            _check_scopes(caller, scopes)
            held = await views.held(tx, caller.app_id)
            if held is not None:
                await vault.to_open(tx, self._key, held.grant.id_key)
        if held is None:
            raise unknown_object()
        if not held.open:
            raise withdrawn()
        self.limits.learn(caller.app_id, held.limits)
        until = self._loop.time() + _FRESH_SECONDS
        identifiers = Identifiers.of(held.grant, district_id, self._key, held.own)
        return Session(caller, district_id, held.grant, Behaviour.of(held.behaviour), identifiers, until)

    async def _spend(self, request: web.Request, proof: Proof) -> None:
        """Uses the request up, where it may come only once. Raises RefusedError(401, 429)."""
        if not await proof.spend():
            self.attempts.begin(request).wrong()
            raise unsigned("This request was sent before. Sign each request anew, with another oauth_nonce.")

    def _count(self, request: web.Request, session: Session) -> None:
        quota = request[QUOTA] = self.limits.count(session.app_id)
        if quota.refused:
            raise busy(429, quota.reset, "This app asks too often. Wait as long as Retry-After says.")


async def _caller(proof: Proof, tx: Transaction, attempt: Attempt | None) -> Caller:
    """Whose proof it is; whether it was a guess is noted. Raises RefusedError(401)."""
    try:
        caller = await proof.caller(tx)
    except RefusedError:
        if attempt is not None:
            attempt.wrong()
        raise
    if attempt is not None:
        attempt.right()
    if caller is None:
        raise unauthorised(given=True)
    return caller


def _district(text: str) -> UUID:
    """The district's id; nobody's for what is none, so that the same look-ups follow."""
    try:
        district_id = UUID(text)
    except ValueError:
        return _NOBODY
    return district_id if str(district_id) == text.lower() else _NOBODY


def _check_scopes(caller: Caller, scopes: Sequence[str]) -> None:
    if not any(scope in caller.scopes for scope in scopes):
        raise forbidden(tuple(scopes))


GUARD = web.AppKey("guard", Guard)


def add_guard(app: web.Application) -> None:
    """Gives the API the one guard that all its services share, with its limits and what it remembers."""

    async def start(app: web.Application) -> AsyncIterator[None]:
        context = app[CONTEXT]
        guard = app[GUARD] = Guard(context, await asyncio.to_thread(load_key, context.settings))
        app[ATTEMPTS] = guard.attempts
        yield

    app.cleanup_ctx.append(start)
