"""Answering requests for the changes of one district."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from hub.api.changes import place as places
from hub.api.changes.asked import Asked
from hub.api.changes.place import Place
from hub.api.changes.reading import MOST_BYTES, LostError, Part, Reader, Wish
from hub.api.changes.waiting import Waiting
from hub.api.context import ApiContext
from hub.api.exports import PATH as EXPORTS
from hub.api.guard import Guard, Session
from hub.api.negotiation import check_accept
from hub.api.oneroster.bindings import BINDINGS
from hub.api.oneroster.errors import busy
from hub.api.problems import ResyncError
from hub.api.proofs import BEARER_OR_OAUTH1
from hub.changes.reading import Teller
from hub.changes.records import Records
from hub.objects.bases import district_root
from hub.store import feed
from hub.store.database import Transaction
from hub.store.feed import Head
from hub.store.gate import ClosedError
from hub.store.pulse import Pulse

ATTEMPTS = 5
HEADERS: Final = {"Cache-Control": "no-store", "Content-Type": "application/json", "Vary": "Accept-Encoding"}
#: Why nothing can be told from a place.
REASONS: Final = {
    "expired": "What changed after that position is not kept any more.",
    "ahead": "That position is beyond the end of the feed: the hub was set back to an earlier state.",
    "other_feed": "That position is of another feed: of an earlier grant, or of before the hub was set back.",
}


def listed(told: Sequence[bytes]) -> list[orjson.Fragment]:
    """Changes as they stand in an answer."""
    return [orjson.Fragment(one) for one in told]


@cache
def _readable() -> Mapping[str, frozenset[str]]:
    """The entities with the scopes of which any one lets an app read them by OneRoster, of whatever version."""
    found: dict[str, set[str]] = {}
    for operation in (o for binding in BINDINGS for o in binding.operations if not o.parents):
        found.setdefault(operation.entity.name, set()).update(operation.scopes)
    return {name: frozenset(scopes) for name, scopes in found.items()}


def scopes() -> tuple[str, ...]:
    """The scopes of which any one lets an app ask for changes."""
    return tuple(sorted({scope for one in _readable().values() for scope in one}))


def readable(session: Session) -> frozenset[str]:
    """The entities of which a caller may be told: those that it may read by OneRoster."""
    return frozenset(name for name, wanted in _readable().items() if wanted & session.caller.scopes)


@dataclass(frozen=True)
class Service:
    """What one process needs and remembers to tell changes."""

    context: ApiContext
    guard: Guard
    waiting: Waiting
    reader: Reader = field(default_factory=Reader)

    def wish(self, session: Session, asked: Asked, limit: int, room: int = MOST_BYTES) -> Wish:
        """What a caller may be told of what was asked for."""
        return Wish(asked.wanted, readable(session), limit, room)

    def teller(self, session: Session, mode: str) -> Teller:
        """Tells changes in a session's district as the app knows them; in the mode ``records`` with the records."""
        url, grant_id = self.context.settings.public_url, session.grant.grant_id
        records = None
        if mode == "records":
            root = district_root(url, session.district_id)
            records = Records(grant_id, session.identifiers, session.behaviour, root)
        return Teller(session.district_id, grant_id, session.identifiers, url, records)

    async def head(self, tx: Transaction, session: Session) -> Head:
        """The head of a session's feed. Raises ClosedError where the session does not hold any more."""
        if not await self.guard.gate(session).stands(tx):
            raise ClosedError
        head = await feed.head(tx, session.grant.grant_id)
        if head is None:
            raise ClosedError
        return head

    def resync(self, district_id: UUID, reason: str, after: str) -> dict[str, Any]:
        """How a reader begins anew in a district."""
        root = self.context.settings.public_url
        district = str(district_id)
        return {
            "district": district, "reason": reason, "after": after,
            "oneroster": district_root(root, district_id),
            "export": root + EXPORTS.replace("{district}", district) + "/oneroster.zip",
        }  # fmt: skip


@dataclass(slots=True)
class _Reading:
    """One request. ``place``: where it stands, None until that was looked up. It stands still while it waits."""

    request: web.Request
    asked: Asked
    session: Session
    place: Place | None
    pulse: Pulse | None = None


class District(Service):
    """Tells the changes of single districts."""

    async def answer(self, request: web.Request) -> web.Response:
        """The answer of one request, at once or when there is something to tell.

        Raises RefusedError, HubError(UNAVAILABLE), and ConnectionResetError where the client went away meanwhile.
        """
        until = asyncio.get_running_loop().time()
        session = await self.guard.admit(request, scopes(), accepts=BEARER_OR_OAUTH1)
        check_accept(request)
        asked = Asked.of(request)
        place = asked.place(places.read)
        if place is not None and asked.to is not None:
            place = replace(place, to=max(place.step, asked.to))
        reading = _Reading(request, asked, session, place)
        part = await self._part(reading)
        if part.told or part.more or asked.wait == 0 or (asked.after is None and asked.since is None):
            return self._answer(reading, part)
        until += asked.wait
        credential = session.caller.credential(self.context.clock.now())
        with self.waiting.place(request, session.app_id, credential, frozenset({session.district_id})) as waiter:
            while True:
                waiter.begin()
                part = await self._part(reading)
                if part.told or part.more:
                    return self._answer(reading, part)
                waiter.known = dict(self._known(reading))
                if not await self.waiting.rung(waiter, until):
                    return self._answer(reading, part)

    @staticmethod
    def _known(reading: _Reading) -> Iterator[tuple[UUID, Pulse]]:
        if reading.pulse is not None:
            yield reading.session.district_id, reading.pulse

    async def _part(self, reading: _Reading) -> Part:
        """What is new. A session that does not hold any more is looked up anew, which says why."""
        for _ in range(ATTEMPTS):
            try:
                async with self.guard.limits.place(reading.session.app_id):
                    return await self._read(reading)
            except ClosedError:
                reading.session = await self.guard.admit(
                    reading.request, scopes(), accepts=BEARER_OR_OAUTH1, again=True
                )
        raise busy(503, 1, "The grant changes faster than it can be looked at. Try again in a moment.")

    async def _read(self, reading: _Reading) -> Part:
        session, asked = reading.session, reading.asked
        grant = session.grant
        async with self.context.db.district(session.district_id, readonly=True) as tx:
            head = await self.head(tx, session)
            reading.pulse = Pulse(
                grant.grant_id,
                session.district_id,
                grant.state,
                open=True,
                changed_at=grant.changed_at,
                steps=head.steps,
            )
            try:
                place = reading.place or await self.reader.begin(tx, grant.grant_id, head, asked.since)
                part = await self.reader.part(
                    tx, self.teller(session, asked.mode), place, head, self.wish(session, asked, asked.limit)
                )
            except LostError as lost:
                resync = self.resync(session.district_id, lost.reason, places.written(lost.head))
                raise ResyncError(f"{REASONS[lost.reason]} {_AGAIN}", resync) from None
        reading.place = place
        return part

    def _answer(self, reading: _Reading, part: Part) -> web.Response:
        session = reading.session
        body = {
            "district": str(session.district_id), "grant": str(session.grant.grant_id), "from": part.after,
            "to": part.to, "more": part.more, "next": places.written(part.place), "changes": listed(part.told),
        }  # fmt: skip
        return web.Response(body=orjson.dumps(body), headers=HEADERS)


_AGAIN = "Read everything again by OneRoster, then go on from `resync.after`."
