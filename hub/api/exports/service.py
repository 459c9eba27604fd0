"""Answering requests for exports."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self, TypeVar
from uuid import UUID

from aiohttp import web

from hub import crypto
from hub.api.context import ApiContext
from hub.api.exports import asked
from hub.api.exports.asked import VERSIONS, Wish
from hub.api.exports.sending import Part, Sending, part_of
from hub.api.guard import Guard, Session
from hub.api.oneroster.errors import Minor, RefusedError, busy, unknown_object
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.export import jobs, making
from hub.ids import new_id
from hub.store import exports
from hub.store.database import Transaction
from hub.store.exports import Export
from hub.store.gate import ClosedError, Gate

ZIP = "application/zip"
_HEADERS = {"Cache-Control": "no-store"}
_JSON = {**_HEADERS, "Content-Type": "application/json"}
_LOOK_AGAIN = "2"  # seconds
_BUSY_SECONDS = 10
_ATTEMPTS = 3
_Result = TypeVar("_Result")


@dataclass
class Service:
    """What one process needs to answer. ``sending``: the apps to which packages are sent while they are made."""

    context: ApiContext
    guard: Guard
    key: Keys
    sending: set[UUID] = field(default_factory=set)

    @classmethod
    async def start(cls, context: ApiContext, guard: Guard) -> Self:
        """A service with the hub's key."""
        return cls(context, guard, await asyncio.to_thread(crypto.load_key, context.settings))

    async def _admitted(
        self, request: web.Request, scopes: tuple[str, ...], act: Callable[[Session], Awaitable[_Result]]
    ) -> _Result:  # fmt: skip
        """What ``act`` does for the session of a request; a gate that closed meanwhile is looked at again."""
        session = await self.guard.admit(request, scopes)
        for _ in range(_ATTEMPTS):
            try:
                return await act(session)
            except ClosedError:
                session = await self.guard.admit(request, scopes, again=True)
        raise busy(503, 1, "The grant changes faster than it can be looked at. Try again in a moment.")

    async def send(self, request: web.Request) -> web.StreamResponse:
        """A package that is sent while it is made.

        Raises RefusedError: 429 while another one is sent to this app, 503 while the process sends as many as it may.
        """

        async def act(session: Session) -> web.StreamResponse:
            wish = Wish.of(dict(request.query))
            wanted = wish.asked(session)
            if request.method == "HEAD":
                return web.Response(headers={**_HEADERS, "Content-Type": ZIP})
            if session.app_id in self.sending:
                raise busy(429, _BUSY_SECONDS, "A package is on its way to this app already. Wait for its end.")
            if len(self.sending) >= self.context.settings.export_streams:
                raise busy(503, _BUSY_SECONDS, "The hub sends as many packages as it can. Try again later.")
            self.sending.add(session.app_id)
            try:
                async with self.guard.limits.place(session.app_id):
                    return await self._made(request, session, wanted)
            finally:
                self.sending.discard(session.app_id)

        return await self._admitted(request, asked.scopes(*asked.versions(request.query.get("version"))), act)

    async def _made(self, request: web.Request, session: Session, wanted: making.Asked) -> web.StreamResponse:
        number, gate = new_id(), self.guard.gate(session)
        seconds = self.context.settings.export_stream_seconds
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(seconds), self.context.db.district(session.district_id, readonly=True) as tx:
                made = await self._begun(tx, session, wanted, seconds)
                headers = {
                    **_HEADERS, "Content-Type": ZIP, "X-Export-ID": str(number), "X-Export-Kind": made.kind,
                    "Content-Disposition": f'attachment; filename="oneroster-{made.kind}.zip"',
                }  # fmt: skip
                sending = await Sending.begin(request, headers, lambda: self._stands(session.district_id, gate))
                await stack.enter_async_context(sending)
                async for chunk in made.package.chunks():
                    await sending.write(chunk)
            async with self.context.db.district(session.district_id) as tx:
                await self._note(tx, session, wanted, number, made)
            return await sending.end()

    async def _begun(
        self, tx: Transaction, session: Session, wanted: making.Asked, seconds: float
    ) -> making.Making:  # fmt: skip
        """A package of the grant that the session was admitted for. Raises ClosedError."""
        try:
            now = self.context.clock.now()
            made = await making.begin(tx, session.grant.grant_id, wanted, now, key=self.key)
        except HubError as error:
            if error.code is Code.FORBIDDEN:
                raise ClosedError from None
            raise
        await self._check(tx, session)
        # A COPY takes as long as its client does.
        await tx.execute(f"SET LOCAL statement_timeout = '{int(seconds * 1000)}'")
        return made

    async def _note(
        self, tx: Transaction, session: Session, wanted: making.Asked, number: UUID, made: making.Making
    ) -> None:
        """Writes down what was sent, so that it can be acknowledged and the district sees it."""
        by = f"app:{session.app_id}"
        outcome = made.outcome()
        await exports.note(
            tx, number, outcome, grant_id=session.grant.grant_id, version=wanted.version, mode=wanted.mode,
            entities=wanted.entities, requested_by=by,
        )  # fmt: skip
        await jobs.record(tx, number, session.grant.grant_id, outcome, by=by)

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Queues an export; the same wish finds the one that is under way. Raises RefusedError (409) for another."""

        async def act(session: Session) -> tuple[Session, Export]:
            wish = Wish.of(await request.read())
            async with self.context.db.district(session.district_id) as tx:
                await self._check(tx, session)
                return session, await _queued(tx, session, wish)

        session, held = await self._admitted(request, asked.scopes(*VERSIONS), act)
        await self.context.wake("export", session.district_id)
        path = f"{self.context.settings.public_url}{request.path}/{held.export_id}"
        headers = {**_JSON, "Location": path, "Retry-After": _LOOK_AGAIN}
        return web.Response(body=asked.shown(held, path), status=202, headers=headers)

    async def look(self, request: web.Request) -> web.StreamResponse:
        """One export with its progress."""
        _, export = await self._found(request)
        return self._shown(request, export, request.path)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """The bytes of an export that was made, or a part of them.

        Raises RefusedError: 409 while it is being made, 410 once its bytes are gone.
        """
        session, export = await self._found(request)
        if export.state in exports.OPEN:
            raise RefusedError(
                409, Minor.BUSY, "The export is not made yet. Look at its state.", {"Retry-After": _LOOK_AGAIN}
            )
        if export.state != "ready" or export.bytes is None or export.sha256 is None:
            raise _gone(f"The export is {export.state}: its bytes are not there. Ask for a new one.")
        tag = f'"{export.sha256}"'
        part = part_of(request, export.bytes, tag)
        headers = {
            **_HEADERS, "Content-Type": ZIP, "ETag": tag, "Accept-Ranges": "bytes", **part.headers,
            "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(export.sha256)).decode()}:",
            "Content-Disposition": f'attachment; filename="oneroster-{export.kind}.zip"',
        }  # fmt: skip
        if request.method == "HEAD" or part.status == 416:
            return web.Response(status=part.status, headers=headers)
        async with self.guard.limits.place(session.app_id):
            return await self._stored(request, session, export, part, headers)

    async def _stored(
        self, request: web.Request, session: Session, export: Export, part: Part, headers: dict[str, str]
    ) -> web.StreamResponse:
        gate = self.guard.gate(session)
        sending = await Sending.begin(
            request, headers, lambda: self._stands(session.district_id, gate), status=part.status
        )
        async with sending:
            data = jobs.stored(self.context.db, self.key, session.district_id, export, first=part.start)
            async for chunk in part.cut(data):
                await sending.write(chunk)
            return await sending.end()

    async def acknowledge(self, request: web.Request) -> web.StreamResponse:
        """Notes that the app has taken the package over: its bytes go, and the next delta begins there."""
        session, export = await self._found(request)
        if export.made_at is None:
            raise RefusedError(409, Minor.INVALID_DATA, f"Only a package that was made counts; this is {export.state}.")
        async with self.context.db.district(session.district_id) as tx:
            export = await exports.acknowledge(tx, export.export_id)
        return self._shown(request, export, request.path.removesuffix("/acknowledge"))

    async def _found(self, request: web.Request) -> tuple[Session, Export]:
        """The export in the path, of the grant that the caller holds. Raises RefusedError (403, 404, 410)."""

        async def act(session: Session) -> tuple[Session, Export]:
            number = asked.as_id(request.match_info["export"])
            async with self.context.db.district(session.district_id, readonly=True) as tx:
                await self._check(tx, session)
                return session, await _of_grant(tx, session, number)

        session, export = await self._admitted(request, asked.scopes(*VERSIONS), act)
        asked.check_scopes(session, export)
        return session, export

    async def _check(self, tx: Transaction, session: Session) -> None:
        """Raises ClosedError."""
        if not await self.guard.gate(session).stands(tx):
            raise ClosedError

    async def _stands(self, district_id: UUID, gate: Gate) -> bool:
        async with self.context.db.district(district_id, readonly=True) as tx:
            return await gate.stands(tx)

    def _shown(self, request: web.Request, export: Export, path: str) -> web.Response:
        headers = dict(_JSON)
        if export.state in exports.OPEN:
            headers["Retry-After"] = _LOOK_AGAIN
        return web.Response(body=asked.shown(export, self.context.settings.public_url + path), headers=headers)


async def _queued(tx: Transaction, session: Session, wish: Wish) -> Export:
    """The export that is under way, if it is the one that is wished for, or a new one. Raises RefusedError (409)."""
    wanted, grant_id = wish.asked(session), session.grant.grant_id
    held = await exports.under_way(tx, grant_id)
    if held is not None:
        if (held.version, held.mode) != (wish.version, wish.mode):
            raise RefusedError(409, Minor.INVALID_DATA, "Another export of this app is under way. Wait for its end.")
        return held
    await exports.replace_ready(tx, grant_id)
    return await exports.request(
        tx, new_id(), grant_id=grant_id, version=wish.version, mode=wish.mode, entities=wanted.entities,
        requested_by=f"app:{session.app_id}",
    )  # fmt: skip


async def _of_grant(tx: Transaction, session: Session, number: UUID) -> Export:
    """An export that was asked for under the session's grant. Raises RefusedError (404, 410)."""
    try:
        export = await exports.get(tx, number)
        if export.grant_id != session.grant.grant_id or export.schedule_id is not None:
            raise unknown_object()
        if export.state == "ready":
            await making.check(tx, export)
    except HubError as error:
        if error.code is Code.NOT_FOUND:
            raise unknown_object() from None
        if error.code is Code.FORBIDDEN:
            raise _gone(error.message) from None
        raise
    return export


def _gone(description: str) -> RefusedError:
    return RefusedError(410, Minor.UNKNOWN_OBJECT, description)
