"""Answering one read of OneRoster: admit, parse, select, render."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from hub.api.context import ApiContext
from hub.api.guard import Guard, Session
from hub.api.negotiation import check_accept
from hub.api.oneroster import page
from hub.api.oneroster.errors import busy, unknown_object
from hub.api.oneroster.links import link_header
from hub.api.oneroster.operations import SERVICE, Operation
from hub.api.oneroster.order import Selections
from hub.api.oneroster.query import Query, parse_query
from hub.api.oneroster.reading import Reading, as_sourced_id
from hub.api.oneroster.select import find_parents, fits_subset, select
from hub.api.views import Views
from hub.store import records
from hub.store.records import ClosedError

_ATTEMPTS = 5
_SELECTION_BYTES = 64 * 2**20
_HEADERS = {"Cache-Control": "no-store", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Service:
    """What one process needs and remembers to answer reads."""

    context: ApiContext
    guard: Guard
    views: Views = field(default_factory=Views)
    selections: Selections = field(default_factory=lambda: Selections(_SELECTION_BYTES))

    async def answer(self, request: web.Request, operation: Operation) -> web.Response:
        """The answer of one read.

        Raises RefusedError, and HubError(UNAVAILABLE) when the database is away. A gate that closed, because of a sync
        or a revocation in the meantime, is looked at again: the answer is wholly of one position.
        """
        session = await self.guard.admit(request, operation.scopes)
        check_accept(request)
        query = parse_query(request.query, single=operation.single)
        async with self.guard.limits.place(session.app_id):
            for _ in range(_ATTEMPTS):
                try:
                    return await self._read(request, operation, session, query)
                except ClosedError:
                    session = await self.guard.admit(request, operation.scopes, again=True)
        raise busy(503, 1, "The district changes faster than it can be read. Try again in a moment.")

    async def _read(self, request: web.Request, operation: Operation, session: Session, query: Query) -> web.Response:
        view = await self.views.get(self.context.db, session.district_id, session.grant)
        async with self.context.db.district(session.district_id, readonly=True) as tx:
            reading = Reading(tx, self.guard.gate(session), view)
            if operation.single:
                return await self._single(request, operation, reading, session, query)
            return await self._collection(request, operation, reading, session, query)

    async def _single(
        self, request: web.Request, operation: Operation, reading: Reading, session: Session, query: Query
    ) -> web.Response:
        entity = operation.entity
        view = reading.of(entity.name)
        found = await records.find(
            reading.tx, reading.gate, entity, as_sourced_id(request.match_info["sourcedId"]),
            fits=fits_subset(reading, entity, operation.subset), private=page.shows_private(reading, entity),
            fields=reading.view.projections[entity.name].references,
        )  # fmt: skip
        if found is None or not (found.row.rid in view.gone or (found.fits and found.row.rid in view.present)):
            raise unknown_object()
        document = page.render(reading, entity, found.row, page.selected(reading, entity, query.fields))
        body = page.single(operation.envelope, document, self._base(session))
        return web.Response(body=body, headers={**_HEADERS, "X-Total-Count": "1"})

    async def _collection(
        self, request: web.Request, operation: Operation, reading: Reading, session: Session, query: Query
    ) -> web.Response:
        ids = tuple(request.match_info[parent.variable] for parent in operation.parents)
        parents = await find_parents(reading, operation, ids) if ids else ()
        selection = await select(reading, operation, parents, query, self.selections)
        rids = selection.slice(query.offset, query.limit)
        if rids:
            fields = page.selected(reading, operation.entity, query.fields)
            objects = await page.objects(reading, operation.entity, rids, fields)
        else:
            await records.check(reading.tx, reading.gate)
            objects = []
        body = page.collection(operation.envelope, objects, self._base(session))
        return web.Response(body=body, headers={**_HEADERS, **self._paging(request, query, selection.total)})

    def _base(self, session: Session) -> bytes:
        return (self.context.settings.public_url + SERVICE.replace("{district}", str(session.district_id))).encode()

    def _paging(self, request: web.Request, query: Query, total: int) -> dict[str, str]:
        url = request.rel_url
        address = self.context.settings.public_url + url.raw_path
        link = link_header(address, url.raw_query_string, limit=query.limit, offset=query.offset, total=total)
        return {"X-Total-Count": str(total), "Link": link}
