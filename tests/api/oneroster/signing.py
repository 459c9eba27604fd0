"""Two servers over one database with a route that takes signatures, and a client that may sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from oauthlib.oauth1 import Client as Signer

from hub.api.context import CONTEXT
from hub.api.guard import GUARD
from hub.api.oauth.consumer import Consumers, new_secret
from hub.api.oneroster.scopes import V1P2
from hub.api.proofs import BEARER, BEARER_OR_OAUTH1
from hub.embedded.process import free_port
from hub.store import apps, gate
from hub.store.audit import HUB
from hub.store.gate import ClosedError
from tests.api.oneroster.rosters import Answer, Hub, Prepared, answer, encoded, running
from tests.services import Database

METHODS = ("HMAC-SHA1", "HMAC-SHA256")


async def _whose(request: web.Request) -> web.Response:
    """Answers as every service does: admitted by the guard, read through the gate."""
    guard = request.app[GUARD]
    accepts = BEARER if "bearer" in request.query else BEARER_OR_OAUTH1
    session = await guard.admit(request, [V1P2.ROSTER], accepts=accepts)
    try:
        async with request.app[CONTEXT].db.district(session.district_id, readonly=True) as tx:
            await gate.check(tx, guard.gate(session))
    except ClosedError:
        session = await guard.admit(request, [V1P2.ROSTER], accepts=accepts, again=True)
    return web.json_response({"app": str(session.app_id), "body": (await request.read()).decode()})


def _extend(api: web.Application) -> None:
    api.router.add_route("*", "/d/{district}/signed{tail:.*}", _whose)


@dataclass
class Signing:
    """A server with the public address that requests are signed for, and one client's consumer secret."""

    hub: Hub
    key: str
    secret: str

    @property
    def base(self) -> str:
        """The address of the route, as clients see it."""
        return f"{self.hub.settings.public_url}/d/{self.hub.prepared.here}/signed"

    def signed(self, url: str, *, key: str | None = None, secret: str | None = None, **options: Any) -> dict[str, str]:
        """The header of a GET, made by oauthlib."""
        signer = Signer(key or self.key, client_secret=secret or self.secret, **options)
        return dict(signer.sign(url)[1])

    def now(self) -> int:
        """Seconds since 1970, as the server has them."""
        return int(self.hub.first.clock.now().timestamp())

    async def get(self, url: str, headers: dict[str, str]) -> Answer:
        """One request, as it stands."""
        async with self.hub.session.get(encoded(url), headers=headers) as response:
            return await answer(response)

    async def send(self, tail: str = "", **options: Any) -> Answer:
        """One signed request."""
        return await self.get(self.base + tail, self.signed(self.base + tail, **options))


@asynccontextmanager
async def signing(
    database: Database, prepared: Prepared, *, on: bool = True, **settings: Any
) -> AsyncIterator[Signing]:
    """A server over a prepared database, where the app ``lms`` signs if it is ``on``."""
    port = free_port()
    options = {"base_url": f"http://127.0.0.1:{port}"} | settings
    async with running(database, prepared, port=port, extend=_extend, **options) as hub:
        key, secret = prepared.clients["lms"][0], new_secret()
        out = Signing(hub, key, secret)
        if on:
            await give_secret(out, secret, was_on=False)
        yield out


async def give_secret(
    signing: Signing, secret: str | None, *, was_on: bool, old_until: datetime | None = None
) -> None:  # fmt: skip
    """Switches the client's OAuth 1 as the admin API does."""
    consumers = await Consumers.load(signing.hub.settings)
    async with signing.hub.db.district(HUB) as tx:
        sealed = await consumers.sealed(tx, secret, signing.key) if secret else None
        await apps.switch_oauth1(tx, signing.key, sealed, was_on=was_on, old_until=old_until)


async def at_once(*sendings: Any) -> list[int]:
    """The statuses of requests that are sent in parallel."""
    return [status for status, _, _ in await asyncio.gather(*sendings)]
