"""One OneRoster over all districts that grant an app something, for an agency's app.

A collection is the districts' collections one behind the other, in the order of the districts' ids; with ``sort`` they
are merged. Each district is read in a transaction of its own, through the view of its own grant: nothing joins them but
the answer. ``Link`` pins each district at the step of its own feed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from hub.api.compression import accepted
from hub.api.etag import ANY, matches
from hub.api.guard import Session
from hub.api.negotiation import check_accept
from hub.api.oneroster import merge
from hub.api.oneroster.asked import Asked, understand
from hub.api.oneroster.errors import RefusedError, busy, invalid, unknown_object
from hub.api.oneroster.merge import Candidate
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.pages import PIECE, gathered
from hub.api.oneroster.query import Query, parse_query
from hub.api.oneroster.reading import Reading
from hub.api.oneroster.select import select
from hub.api.oneroster.service import ACCEPTS, ATTEMPTS, HEADERS, NOTHING, Service, unchanged
from hub.api.oneroster.v1p1 import answers as v1p1
from hub.api.oneroster.walks import Walk
from hub.objects.bases import EVERYWHERE, Bases, bases_at
from hub.objects.looking import Lens
from hub.store import gate
from hub.store.gate import ClosedError

#: Between the positions of the districts in a ``Link``.
_BETWEEN = "~"
#: More districts than these are not pinned: their positions would not fit into an address.
MOST_PINNED = 100
#: How deep a sorted walk goes: what stands before a page has to be merged to find it.
DEEPEST_SORTED = 100_000


@dataclass
class _Gathering:
    """What a page has so far."""

    objects: list[str] = field(default_factory=list)
    total: int = 0
    positions: list[str] = field(default_factory=list)


class Everywhere(Service):
    """Answers reads over all districts; what it remembers it shares with the service of single districts."""

    @classmethod
    def beside(cls, service: Service) -> Everywhere:
        """One that shares views, selections and limits with ``service``."""
        return cls(
            service.context, service.guard, service.views, service.walks, service.selections, service.under_way,
            service.long_pages, service.numberings,
        )  # fmt: skip

    async def answer(self, request: web.Request, operation: Operation) -> web.Response:
        """The answer of one read. Raises RefusedError, and HubError(UNAVAILABLE) when the database is away."""
        accepts = ACCEPTS[operation.version]
        sessions = await self.guard.admit_everywhere(request, operation.scopes, accepts=accepts)
        check_accept(request)
        query = parse_query(
            request.query, single=operation.single, version=operation.version, behaviour=sessions[0].behaviour
        )
        room = self.long_pages if query.limit > PIECE and not operation.single else NOTHING
        async with self.guard.limits.place(sessions[0].app_id), room:
            for _ in range(ATTEMPTS):
                try:
                    if operation.single or operation.parents:
                        return await self._in_one(request, operation, sessions, query)
                    return await self._in_all(request, operation, sessions, query)
                except ClosedError:
                    sessions = await self.guard.admit_everywhere(request, operation.scopes, accepts=accepts, again=True)
        raise busy(503, 1, "The districts change faster than they can be read. Try again in a moment.")

    def _bases(self, session: Session, operation: Operation) -> Bases:
        return bases_at(self.context.settings.public_url + EVERYWHERE, operation.entity, operation.version)

    async def _in_one(
        self, request: web.Request, operation: Operation, sessions: list[Session], query: Query
    ) -> web.Response:
        """What is about one object is answered by the district that has it: ids are unique over all of them."""
        for session in sessions:
            strict = session.behaviour.model_copy(update={"unknown_parent": "not_found"})
            try:
                return await self._read(request, operation, replace(session, behaviour=strict), query)
            except RefusedError as refusal:
                if refusal.status != unknown_object().status:
                    raise
        if operation.parents and sessions[0].behaviour.unknown_parent == "empty":
            return await self._read(request, operation, sessions[0], query)
        raise unknown_object()

    async def _in_all(
        self, request: web.Request, operation: Operation, sessions: list[Session], query: Query
    ) -> web.Response:
        views = [await self.views.get(self.context.db, s.district_id, s.grant) for s in sessions]
        lenses = [
            Lens(view, s.behaviour, operation.version, s.identifiers) for view, s in zip(views, sessions, strict=True)
        ]
        asked = [understand(lens, operation.entity, query) for lens in lenses]
        found = _Gathering()
        parts = list(zip(sessions, lenses, asked, _positions(query, len(sessions)), strict=True))
        tag = self.tag(request, sessions[0], *(view.digest for view in views))
        known = request.headers.get("If-None-Match")
        if matches(known, tag):
            await self._confirm(operation, parts)
            return unchanged(tag)
        read = self._merged if any(one.sort for one in asked) else self._chained
        await read(request, operation, parts, query, found)
        if known == ANY:
            return unchanged(tag)
        position = _BETWEEN.join(found.positions) if len(sessions) <= MOST_PINNED else ""
        headers = {**HEADERS, **self._paging(request, query, found.total, Walk(position)), "ETag": tag}
        if request.method == "HEAD":
            return web.Response(headers=headers)
        told = next((one for one in asked if one.warnings), asked[0])
        body = await gathered(
            operation.envelope, found.objects, self._bases(sessions[0], operation),
            v1p1.warnings(told) if operation.version == "1.1" else "", coding=accepted(request).coding,
            under_way=self.under_way,
        )  # fmt: skip
        return web.Response(body=body, headers=headers)

    async def _confirm(self, operation: Operation, parts: list[Any]) -> None:
        """Makes sure that every position holds and every grant stands: what was withdrawn is not confirmed."""
        for session, lens, asked, position in parts:
            await self._walk(session, lens, operation, asked, position)
            async with self.context.db.reading(session.district_id) as tx:
                await gate.check(tx, self.guard.gate(session))

    async def _chained(
        self, request: web.Request, operation: Operation, parts: list[Any], query: Query, found: _Gathering
    ) -> None:
        """One district behind the other: each gives what of the page falls to it."""
        for session, lens, asked, position in parts:
            walk = await self._walk(session, lens, operation, asked, position)
            found.positions.append(walk.position)
            async with self.context.db.reading(session.district_id) as tx:
                reading = await self.in_version(Reading(tx, self.guard.gate(session), lens, walk.past), operation)
                selection = await select(reading, operation, (), asked, self.selections)
                first = max(0, query.offset - found.total)
                left = query.limit - len(found.objects)
                rids = selection.slice(first, left) if left and request.method != "HEAD" else []
                found.total += selection.total
                if rids:
                    found.objects += await self._objects(reading, operation.entity, rids, asked.fields)
                else:
                    await gate.check(tx, reading.gate)

    async def _merged(
        self, request: web.Request, operation: Operation, parts: list[Any], query: Query, found: _Gathering
    ) -> None:
        """All districts' records in one order: the first ones of each are merged, then those of the page are read."""
        deepest = query.offset + query.limit
        if deepest > DEEPEST_SORTED:
            raise invalid(
                f"Sorted, the districts together can be read up to {DEEPEST_SORTED:,} records. Read each by itself."
            )
        candidates: list[Candidate] = []
        readings: list[tuple[Session, Lens, Walk, Asked]] = []
        for number, (session, lens, asked, position) in enumerate(parts):
            walk = await self._walk(session, lens, operation, asked, position)
            found.positions.append(walk.position)
            readings.append((session, lens, walk, asked))
            async with self.context.db.reading(session.district_id) as tx:
                reading = await self.in_version(Reading(tx, self.guard.gate(session), lens, walk.past), operation)
                selection = await select(reading, operation, (), asked, self.selections)
                found.total += selection.total
                first = selection.slice(0, deepest)
                candidates += await merge.candidates(reading, operation.entity, asked.sort, first, number)
        chosen = merge.merged(candidates, descending=query.descending)[query.offset : deepest]
        texts: dict[tuple[int, int], str] = {}
        for number, (session, lens, walk, asked) in enumerate(readings):
            rids = [one.rid for one in chosen if one.part == number]
            if rids and request.method != "HEAD":
                async with self.context.db.reading(session.district_id) as tx:
                    reading = await self.in_version(Reading(tx, self.guard.gate(session), lens, walk.past), operation)
                    objects = await self._objects(reading, operation.entity, rids, asked.fields)
                texts |= {(number, rid): text for rid, text in zip(rids, objects, strict=True)}
        found.objects = [texts[one.part, one.rid] for one in chosen] if texts else []

    async def _walk(
        self, session: Session, lens: Lens, operation: Operation, asked: Asked, position: str | None
    ) -> Walk:
        pinned = asked._replace(query=asked.query._replace(position=position))
        return await self.walks.of(session.district_id, lens, operation, (), pinned)


def _positions(query: Query, districts: int) -> list[str | None]:
    """The position of each district. Raises RefusedError (400) where there are more or fewer districts by now."""
    if query.position is None:
        return [None] * districts
    positions: list[str | None] = [*query.position.split(_BETWEEN)]
    if len(positions) != districts:
        raise invalid(
            "position holds for the districts that it was given for, and these are others by now. Begin again."
        )
    return positions
