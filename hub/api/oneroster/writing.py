"""Answering one write of the Gradebook: admit, read the body, carry out, say how it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

import orjson
import structlog
from aiohttp import web

from hub.api.context import ApiContext
from hub.api.guard import Guard, Session
from hub.api.oneroster.body import read_body
from hub.api.oneroster.errors import Minor, RefusedError, busy, unknown_object
from hub.api.oneroster.writes import ONE, Write
from hub.api.proofs import BEARER, BEARER_OR_OAUTH1
from hub.errors import Code, HubError
from hub.gradebook.desk import Author
from hub.gradebook.gradebook import Gradebook, Place
from hub.gradebook.refusal import Reason, WriteRefusedError
from hub.store.gate import ClosedError
from transforms.faults import Fault, FaultCode, described
from transforms.objects import Written
from transforms.storable import storable

_ATTEMPTS = 3
_BUSY_SECONDS = 2
_HEADERS = {"Cache-Control": "no-store"}
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Writing:
    """What one process needs to answer writes."""

    context: ApiContext
    guard: Guard
    gradebook: Gradebook

    async def answer(self, request: web.Request, write: Write) -> web.Response:
        """The answer of one write. Raises RefusedError, and HubError(UNAVAILABLE) when the database is away."""
        accepts = BEARER_OR_OAUTH1 if write.version == "1.1" else BEARER
        session = await self.guard.admit(request, write.scopes, accepts=accepts)
        if write.entity.name not in session.grant.definition.get("write", ()):
            raise _not_granted(write)
        objects = [] if write.method == "DELETE" else await read_body(request, write)
        _check_unknown(objects, session)
        async with self.guard.limits.place(session.app_id):
            for _ in range(_ATTEMPTS):
                try:
                    return await self._carry_out(request, write, session, objects)
                except ClosedError:
                    session = await self.guard.admit(request, write.scopes, accepts=accepts, again=True)
                except WriteRefusedError as error:
                    raise _refusal(error, write, session) from None
                except HubError as error:
                    if error.code is Code.DISTRICT_BUSY:
                        raise busy(503, _BUSY_SECONDS, error.message) from None
                    raise
        raise busy(503, _BUSY_SECONDS, "The grant is being changed. Try again in a moment.")

    async def _carry_out(
        self, request: web.Request, write: Write, session: Session, objects: Sequence[Written]
    ) -> web.Response:
        author = Author(session.district_id, session.app_id, self.guard.gate(session), session.identifiers)
        if write.method == "POST":
            return await self._post(request, write, author, objects)
        key = request.match_info["sourcedId"]
        if write.method == "DELETE":
            await self.gradebook.delete(author, write.entity, key)
            return web.Response(status=204, headers=_HEADERS)
        (written,) = objects
        _check_id(written, key)
        if not _is_utf8(request.rel_url.raw_name):  # the router leaves such an escape as it stands
            written.fault("sourcedId", FaultCode.BAD_IDENTIFIER)
        if written.faults and not written.ended:
            raise WriteRefusedError(Reason.INVALID, written.faults)
        if not await self.gradebook.put(author, write.entity, key, written):
            return web.Response(status=_replaced(write, session), headers=_HEADERS)
        district = write.address.replace("{district}", str(session.district_id))
        location = self.context.settings.public_url + district.replace(ONE, "/" + quote(key, safe=""))
        return web.Response(status=201, headers={**_HEADERS, "Location": location})

    async def _post(
        self, request: web.Request, write: Write, author: Author, objects: Sequence[Written]
    ) -> web.Response:
        if faults := [fault for written in objects for fault in written.faults]:
            raise WriteRefusedError(Reason.INVALID, faults)
        parents = tuple((member, p.entity, request.match_info[p.variable]) for member, p in write.parents)
        pairs = await self.gradebook.post(author, Place(write.name, write.entity, parents), objects)
        body = {
            "sourcedIdPairs": [
                {"suppliedSourcedId": supplied, "allocatedSourcedId": allocated}
                for supplied, allocated in pairs.items()
            ]
        }
        return web.Response(
            body=orjson.dumps(body), status=201, headers={**_HEADERS, "Content-Type": "application/json"}
        )


def _check_unknown(objects: Sequence[Written], session: Session) -> None:
    """Members that OneRoster does not know are faults for who wants to hear of them, else only counted."""
    refused = session.behaviour.unknown_members == "refuse"
    count = 0
    for written in objects:
        count += len(written.unknown)
        if refused:
            written.faults += [Fault(f"{written.place}.{name}", FaultCode.UNKNOWN_MEMBER) for name in written.unknown]
    if count and not refused:
        _log.info("unknown members ignored", count=count, app=str(session.app_id))


def _check_id(written: Written, key: str) -> None:
    """The path and the object name the same; an object without an id has that of the path."""
    if not storable(key):
        written.fault("sourcedId", FaultCode.BAD_IDENTIFIER)
    elif written.sourced_id is not None and written.sourced_id != key:
        written.fault("sourcedId", FaultCode.DIFFERS_FROM_PATH)
    written.sourced_id = key


def _is_utf8(escaped: str) -> bool:
    try:
        unquote(escaped, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _replaced(write: Write, session: Session) -> int:
    return 200 if write.version == "1.1" else session.behaviour.replaced_status


def _refusal(error: WriteRefusedError, write: Write, session: Session) -> RefusedError:
    """The answer for a write that was refused. 1.1 knows no 422."""
    match error.reason:
        case Reason.UNKNOWN:
            return unknown_object()
        case Reason.FOREIGN:
            return RefusedError(403, Minor.FORBIDDEN, "Only the app that created this object may change or delete it.")
        case Reason.NOT_GRANTED:
            return _not_granted(write)
        case Reason.IN_USE:
            status = session.behaviour.refused_delete_status
            return RefusedError(status, Minor.DELETE_FAILURE, "Other objects need this one. Delete them first.")
        case Reason.INVALID:
            return RefusedError(400 if write.version == "1.1" else 422, Minor.INVALID_DATA, described(error.faults))


def _not_granted(write: Write) -> RefusedError:
    return RefusedError(403, Minor.FORBIDDEN, f"The district lets this app write no {write.entity.name}. Ask it.")
