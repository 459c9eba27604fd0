"""Answering one read of OneRoster: admit, parse, select, render."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property

from aiohttp import web

from hub import __version__
from hub.api.bodies import UnderWay
from hub.api.compression import accepted
from hub.api.context import ApiContext
from hub.api.etag import ANY, entity_tag, matches
from hub.api.guard import Guard, Session
from hub.api.negotiation import check_accept
from hub.api.oneroster import page
from hub.api.oneroster.asked import Asked, understand
from hub.api.oneroster.errors import RefusedError, busy, unknown_object
from hub.api.oneroster.links import link_header, unsigned
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.order import Selections
from hub.api.oneroster.pages import PIECE, Maker, collected
from hub.api.oneroster.query import Query, parse_query
from hub.api.oneroster.reading import Reading
from hub.api.oneroster.select import find_parents, fits_subset, select
from hub.api.oneroster.v1p1 import answers as v1p1
from hub.api.oneroster.v1p1.people import Numberings
from hub.api.oneroster.v1p1.reading import OldReading
from hub.api.oneroster.walks import Walk, Walks
from hub.api.proofs import BEARER, BEARER_OR_OAUTH1, Scheme
from hub.api.views import Views
from hub.objects import rendering
from hub.objects.bases import Bases, bases_of
from hub.objects.looking import Lens
from hub.store import gate, records
from hub.store.gate import ClosedError
from transforms.catalogue import Entity, Version

ATTEMPTS = 5
_SELECTION_BYTES = 64 * 2**20
_NUMBERING_BYTES = 32 * 2**20
#: Pages of more than a piece that are made at a time.
_LONG_PAGES = 3
NOTHING = nullcontext()
#: 1.1 is the version whose clients may sign their requests instead of showing a token.
ACCEPTS: Mapping[Version, frozenset[Scheme]] = {"1.2": BEARER, "1.1": BEARER_OR_OAUTH1}
HEADERS = {"Cache-Control": "no-store", "Content-Type": "application/json", "Vary": "Accept-Encoding"}


@dataclass(frozen=True)
class Service:
    """What one process needs and remembers to answer reads."""

    context: ApiContext
    guard: Guard
    views: Views
    walks: Walks
    selections: Selections = field(default_factory=lambda: Selections(_SELECTION_BYTES))
    under_way: UnderWay = field(default_factory=UnderWay)
    long_pages: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LONG_PAGES))
    numberings: Numberings = field(default_factory=lambda: Numberings(_NUMBERING_BYTES))

    async def answer(self, request: web.Request, operation: Operation) -> web.Response:
        """The answer of one read.

        Raises RefusedError, and HubError(UNAVAILABLE) when the database is away. A gate that closed, because of a sync
        or a revocation in the meantime, is looked at again: the answer is wholly of one position.
        """
        accepts = ACCEPTS[operation.version]
        session = await self.guard.admit(request, operation.scopes, accepts=accepts)
        check_accept(request)
        query = parse_query(
            request.query, single=operation.single, version=operation.version, behaviour=session.behaviour
        )
        # Waiting for room is done before a connection to the database is taken.
        room = self.long_pages if query.limit > PIECE and not operation.single else NOTHING
        async with self.guard.limits.place(session.app_id), room:
            for _ in range(ATTEMPTS):
                try:
                    return await self._read(request, operation, session, query)
                except ClosedError:
                    session = await self.guard.admit(request, operation.scopes, accepts=accepts, again=True)
        raise busy(503, 1, "The district changes faster than it can be read. Try again in a moment.")

    async def _read(self, request: web.Request, operation: Operation, session: Session, query: Query) -> web.Response:
        view = await self.views.get(self.context.db, session.district_id, session.grant)
        lens = Lens(view, session.behaviour, operation.version, session.identifiers)
        ids = tuple(request.match_info[parent.variable] for parent in operation.parents)
        try:
            asked = understand(lens, operation.entity, query)
            walk = None if operation.single else await self.walks.of(session.district_id, lens, operation, ids, asked)
        except RefusedError:  # by a view that may be outdated: a refusal goes through the gate as well
            async with self.context.db.reading(session.district_id) as tx:
                await gate.check(tx, self.guard.gate(session))
            raise
        tag = self.tag(request, session, view.digest)
        known = request.headers.get("If-None-Match")
        async with self.context.db.reading(session.district_id) as tx:
            reading = Reading(tx, self.guard.gate(session), lens, walk.past if walk is not None else None)
            if matches(known, tag):
                await gate.check(tx, reading.gate)  # what was withdrawn is not confirmed either
                return unchanged(tag)
            reading = await self.in_version(reading, operation)
            if walk is None:
                answer = await self._single(request, operation, reading, session, asked)
            else:
                answer = await self._collection(request, operation, reading, session, ids, asked, walk)
        if known == ANY:
            return unchanged(tag)
        answer.headers["ETag"] = tag
        return answer

    async def in_version(self, reading: Reading, operation: Operation) -> Reading:
        """A reading as the operation's version has it."""
        if operation.version == "1.2":
            return reading
        return await OldReading.of_operation(reading, operation, self.selections, self.numberings)

    def tag(self, request: web.Request, session: Session, *digests: str) -> str:
        """The entity tag of an answer from views with these digests."""
        url = request.rel_url
        return entity_tag(
            self._release, *digests, session.behaviour.digest, url.raw_path, unsigned(url.raw_query_string)
        )

    @cached_property
    def _release(self) -> str:
        """What all bodies depend on: another release may write documents differently."""
        return f"{__version__} {self.context.settings.public_url}"

    async def _single(
        self, request: web.Request, operation: Operation, reading: Reading, session: Session, asked: Asked
    ) -> web.Response:
        given, more = request.match_info["sourcedId"], ""
        if isinstance(reading, OldReading):
            document, more = await v1p1.one(reading, operation, given, asked.fields), v1p1.warnings(asked)
        else:
            document = await _one(reading, operation, given, asked.fields)
        body = page.single(operation.envelope, document, self._bases(session, operation), more)
        return web.Response(body=body, headers={**HEADERS, "X-Total-Count": "1"})

    async def _collection(
        self, request: web.Request, operation: Operation, reading: Reading, session: Session, ids: tuple[str, ...],
        asked: Asked, walk: Walk,
    ) -> web.Response:  # fmt: skip
        parents = await find_parents(reading, operation, ids) if ids else ()
        selection = await select(reading, operation, parents, asked, self.selections)
        rids = selection.slice(asked.query.offset, asked.query.limit)
        headers = {**HEADERS, **self._paging(request, asked.query, selection.total, walk)}
        if request.method == "HEAD" or not rids:
            await gate.check(reading.tx, reading.gate)
        if request.method == "HEAD":  # its length need not be told, so nothing is made only to be counted
            return web.Response(headers=headers)
        old = isinstance(reading, OldReading)
        bases = self._bases(session, operation)
        body = await collected(
            self._maker(reading, operation.entity, asked.fields, bases), operation.envelope, rids, bases,
            v1p1.warnings(asked) if old else "",
            coding=accepted(request).coding, under_way=self.under_way,
        )  # fmt: skip
        return web.Response(body=body, headers=headers)

    def _maker(self, reading: Reading, entity: Entity, fields: frozenset[str] | None, bases: Bases) -> Maker:
        """What makes the objects of some records."""

        async def make(rids: Sequence[int]) -> page.Objects:
            if fields is None and len(rids) > 1 and not isinstance(reading, OldReading):
                joined = await rendering.joined_objects(reading, entity, rids, bases)
                if joined is not None:
                    return joined
            return await self._objects(reading, entity, rids, fields)

        return make

    async def _objects(
        self, reading: Reading, entity: Entity, rids: Sequence[int], fields: frozenset[str] | None
    ) -> list[str]:
        """The objects of some records, a text for each."""
        if isinstance(reading, OldReading):
            return await v1p1.objects(reading, self.numberings, entity, rids, fields)
        return rendering.in_style(reading, entity, await rendering.objects(reading, entity, rids, fields))

    def _bases(self, session: Session, operation: Operation) -> Bases:
        return bases_of(self.context.settings.public_url, session.district_id, operation.entity, operation.version)

    def _paging(self, request: web.Request, query: Query, total: int, walk: Walk) -> dict[str, str]:
        url = request.rel_url
        address = self.context.settings.public_url + url.raw_path
        link = link_header(
            address, url.raw_query_string, limit=query.limit, offset=query.offset, total=total, position=walk.position
        )
        return {"X-Total-Count": str(total), "Link": link}


async def _one(reading: Reading, operation: Operation, given: str, fields: frozenset[str] | None) -> str:
    """The JSON object that a path names. Raises RefusedError (404) and gate.ClosedError."""
    entity = operation.entity
    view = reading.of(entity.name)
    found = await records.find(
        reading.tx, reading.gate, entity, await reading.identified(entity, given),
        fits=fits_subset(reading, entity, operation.subset), private=rendering.shows_private(reading, entity),
        fields=reading.view.projections[entity.name].references,
    )  # fmt: skip
    told = view.gone if reading.tells_gone(entity) else ()
    if found is None or not (found.row.rid in told or (found.fits and found.row.rid in view.present)):
        raise unknown_object()
    members = rendering.rendered(reading, entity, fields)
    text = rendering.render(reading, entity, found.row, members)
    (text,) = await rendering.pointing(reading, entity, [found.row.rid], [text], members)
    return (await rendering.named(reading, entity, rendering.in_style(reading, entity, [text]), fields))[0]


def unchanged(tag: str) -> web.Response:
    """304: what the client has still holds."""
    headers = {name: HEADERS[name] for name in ("Cache-Control", "Vary")}
    return web.Response(status=304, headers={**headers, "ETag": tag})
