"""The service's own page: which addresses an app has, in which districts, and what its credential may ask there."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from hub.api.context import CONTEXT
from hub.api.guard import GUARD
from hub.api.oneroster.bindings import BINDINGS
from hub.api.oneroster.scopes import SCOPES
from hub.api.permissions import Permission, declare
from hub.api.proofs import BEARER_OR_OAUTH1
from hub.objects.bases import DISTRICT, EVERYWHERE, PATHS
from hub.store import views

_HEADERS = {"Cache-Control": "no-store"}


def add_endpoints(app: web.Application) -> None:
    """Adds the page; any scope of OneRoster opens it, with a token or a signature."""
    declare(app, "GET", EVERYWHERE, _serve, Permission.SCOPE)


async def _serve(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    sessions = await request.app[GUARD].admit_everywhere(request, tuple(SCOPES), accepts=BEARER_OR_OAUTH1)
    caller, url = sessions[0].caller, context.settings.public_url
    async with context.db.app(caller.app_id) as tx:
        places = [place for place in await views.held_everywhere(tx, caller.app_id) if place.held.open]
    body = {
        "token_url": f"{url}/oauth/token",
        "metadata_url": f"{url}/.well-known/oauth-authorization-server",
        "scopes": sorted(caller.scopes),
        "all_districts": {**_addresses(url + EVERYWHERE), "changes": f"{url}/changes"},
        "districts": [
            {
                "id": str(place.district_id),
                "name": place.name,
                "entities": place.held.grant.definition.get("entities", []),
                **_addresses(url + DISTRICT.replace("{district}", str(place.district_id))),
                "changes": f"{url}/d/{place.district_id}/changes",
            }
            for place in places
        ],
    }
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2), content_type="application/json", headers=_HEADERS
    )


def _addresses(root: str) -> dict[str, Any]:
    """Where the services stand, and where each describes itself."""
    return {
        "oneroster": root,
        "services": [
            {
                "version": binding.version,
                "service": binding.title,
                "url": root + PATHS[binding.version][binding.service],
                "openapi": [
                    f"{root}{PATHS[binding.version][binding.service]}/discovery/{name}"
                    for name in binding.documents[:1]
                ],
            }
            for binding in BINDINGS
        ],
    }
