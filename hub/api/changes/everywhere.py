"""The changes of all districts that grant an app something, at one address.

Each district is read in a transaction of its own, through its own grant; its place stands among the others' in one
text. A district with many changes fills an answer; the next answer begins with the district behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from hub.api.changes import place as places
from hub.api.changes.asked import Asked
from hub.api.changes.place import Place, Places
from hub.api.changes.reading import MOST_BYTES, LostError
from hub.api.changes.service import ATTEMPTS, HEADERS, Service, listed, scopes
from hub.api.guard import Session
from hub.api.negotiation import check_accept
from hub.api.oneroster.errors import busy, invalid
from hub.api.proofs import BEARER_OR_OAUTH1
from hub.store import pulse
from hub.store.gate import ClosedError
from hub.store.pulse import Pulse

#: What a district's entry in an answer says of it.
FOLLOWED, JOINED, SUSPENDED, WITHDRAWN, RESYNC = "followed", "joined", "suspended", "withdrawn", "resync_required"
STATES: Final = (FOLLOWED, JOINED, SUSPENDED, WITHDRAWN, RESYNC)


@dataclass
class _Gathering:
    """An answer that is being made. ``news``: whether it has anything to tell before its time is up."""

    left: int
    room: int = MOST_BYTES
    places: dict[bytes, Place] = field(default_factory=dict)
    told: list[bytes] = field(default_factory=list)
    districts: list[dict[str, Any]] = field(default_factory=list)
    more: bool = False
    news: bool = False
    turn: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing more fits in."""
        return self.left <= 0 or self.room <= 0

    def say(self, district_id: UUID, state: str, **more: Any) -> None:
        """Notes what became of a district."""
        self.districts.append({"district": str(district_id), "state": state, **more})


@dataclass(slots=True)
class _Reading:
    """One request. ``pulses``: by district, as they were when it was read last."""

    request: web.Request
    asked: Asked
    sessions: list[Session]
    places: Places | None
    pulses: Mapping[UUID, Pulse] = field(default_factory=dict)

    @property
    def app_id(self) -> UUID:
        """The app that asks."""
        return self.sessions[0].app_id


class Everywhere(Service):
    """Tells the changes of all districts."""

    async def answer(self, request: web.Request) -> web.Response:
        """The answer of one request, as ``District.answer``."""
        until = asyncio.get_running_loop().time()
        sessions = await self.guard.admit_everywhere(request, scopes(), accepts=BEARER_OR_OAUTH1)
        check_accept(request)
        asked = Asked.of(request)
        if asked.to is not None:
            raise invalid("to is of one district: ask at /d/{district}/changes.")
        reading = _Reading(request, asked, sessions, asked.place(places.read_all))
        found = await self._gathered(reading)
        if found.news or asked.wait == 0 or (asked.after is None and asked.since is None):
            return self._answer(found)
        until += asked.wait
        credential = sessions[0].caller.credential(self.context.clock.now())
        with self.waiting.place(request, reading.app_id, credential, None) as waiter:
            while True:
                waiter.begin()
                found = await self._gathered(reading)
                if found.news:
                    return self._answer(found)
                waiter.known = reading.pulses
                if not await self.waiting.rung(waiter, until):
                    return self._answer(found)

    async def _gathered(self, reading: _Reading) -> _Gathering:
        for _ in range(ATTEMPTS):
            try:
                async with self.guard.limits.place(reading.app_id):
                    return await self._read(reading)
            except ClosedError:
                reading.sessions = await self.guard.admit_everywhere(
                    reading.request, scopes(), accepts=BEARER_OR_OAUTH1, again=True
                )
        raise busy(503, 1, "The districts change faster than they can be looked at. Try again in a moment.")

    async def _read(self, reading: _Reading) -> _Gathering:
        """Raises ClosedError where the credential or one of the grants is not what it was."""
        credential = reading.sessions[0].caller.credential(self.context.clock.now())
        async with self.context.db.app(reading.app_id) as tx:
            reading.pulses = await pulse.of_app(tx, reading.app_id)
            if not await pulse.standing(tx, [credential], self.context.clock.now()):
                raise ClosedError
        held = {s.district_id: (s.grant.grant_id, s.grant.changed_at) for s in reading.sessions}
        if held != {d: (p.grant_id, p.changed_at) for d, p in reading.pulses.items() if p.open}:
            raise ClosedError
        found = _Gathering(reading.asked.limit)
        if reading.places is None:
            await self._begin(reading, found)
        else:
            await self._follow(reading, reading.places, found)
        return found

    async def _begin(self, reading: _Reading, found: _Gathering) -> None:
        """Takes a place in each district. What was made since a time is told from there."""
        since = reading.asked.since
        for session in reading.sessions:
            async with self.context.db.district(session.district_id, readonly=True) as tx:
                head = await self.head(tx, session)
                try:
                    place = await self.reader.begin(tx, session.grant.grant_id, head, since)
                except LostError as lost:
                    self._lost(session, lost, found)
                    continue
            found.places[places.key(session.grant.grant_id)] = place
        if since is not None:
            reading.places = Places(dict(found.places))
            await self._follow(reading, reading.places, found)

    async def _follow(self, reading: _Reading, given: Places, found: _Gathering) -> None:
        """Goes on in each district, the one whose turn it is first."""
        known = {places.key(p.grant_id): p for p in reading.pulses.values()}
        self._without_a_grant(given, known, found)
        sessions = reading.sessions
        first = given.turn % len(sessions)
        for session in (*sessions[first:], *sessions[:first]):
            key = places.key(session.grant.grant_id)
            before = given.of.get(key)
            place = before or Place(0)
            steps = reading.pulses[session.district_id].steps
            if before is not None and place.step == steps and place.to is None:
                found.places[key] = place
                continue
            if found.full:
                found.more = True
                if before is not None:  # a new one joins when there is room
                    found.places[key] = place
                continue
            await self._district(reading.asked, session, place, found, joined=before is None)
            found.turn = sessions.index(session) + 1

    def _without_a_grant(self, given: Places, known: Mapping[bytes, Pulse], found: _Gathering) -> None:
        """What became of places whose district does not tell anything now: they wait, or leave."""
        for key, place in given.of.items():
            pulse_ = known.get(key)
            if pulse_ is not None and pulse_.open:
                continue
            if pulse_ is None or pulse_.state == "revoked":
                if pulse_ is not None:
                    found.say(pulse_.district_id, WITHDRAWN, grant=str(pulse_.grant_id))
                found.news = True
                continue
            found.places[key] = place
            found.say(pulse_.district_id, SUSPENDED, grant=str(pulse_.grant_id))

    async def _district(
        self, asked: Asked, session: Session, place: Place, found: _Gathering, *, joined: bool
    ) -> None:  # fmt: skip
        key = places.key(session.grant.grant_id)
        async with self.context.db.district(session.district_id, readonly=True) as tx:
            head = await self.head(tx, session)
            wish = self.wish(session, asked, found.left, found.room)
            try:
                part = await self.reader.part(tx, self.teller(session, asked.mode), place, head, wish)
            except LostError as lost:
                self._lost(session, lost, found)
                return
        district = b"," + orjson.dumps({"district": str(session.district_id)})[1:]
        found.places[key] = part.place
        found.told += [one[:-1] + district for one in part.told]
        found.left -= len(part.told)
        found.room -= sum(map(len, part.told))
        found.more |= part.more
        found.news |= bool(part.told) or joined
        found.say(
            session.district_id, JOINED if joined else FOLLOWED, grant=str(session.grant.grant_id),
            **{"from": part.after, "to": part.to, "more": part.more},
        )  # fmt: skip

    def _lost(self, session: Session, lost: LostError, found: _Gathering) -> None:
        """A district that has to be read anew: its place is the head by now."""
        found.places[places.key(session.grant.grant_id)] = lost.head
        found.news = True
        resync = self.resync(session.district_id, lost.reason, places.written(lost.head))
        found.say(session.district_id, RESYNC, grant=str(session.grant.grant_id), resync=resync)

    def _answer(self, found: _Gathering) -> web.Response:
        following = places.written_all(Places(found.places, found.turn))
        if len(following) > places.LONGEST:
            raise invalid(
                f"The places in {len(found.places)} districts do not fit into an address. Follow each district by "
                "itself, at /d/{district}/changes."
            )
        body = {
            "more": found.more, "next": following, "districts": found.districts, "changes": listed(found.told),
        }  # fmt: skip
        return web.Response(body=orjson.dumps(body), headers=HEADERS)
