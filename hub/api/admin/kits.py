"""Kits: what a district installs in its system before the hub can read there."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from pydantic import Field

from connectors.kits import archive, kit_of, read_options
from connectors.protocol import ConnectorError
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked
from hub.errors import Code, HubError


class KitAsked(Asked):
    """Which kit, and what it is made for."""

    kind: str = Field(max_length=100, description="The kind of source, such as `powerschool`.")
    options: dict[str, Any] = Field(
        default={}, description="The kit's options; the whole configuration of a source will do."
    )


async def kit(call: Call, body: KitAsked) -> web.Response:
    """The archive, made now. Raises HubError(INVALID_REQUEST) for a kind without a kit, and for other options."""
    try:
        found = await asyncio.to_thread(kit_of, body.kind)
        options = await asyncio.to_thread(read_options, body.kind, body.options)
        made = await asyncio.to_thread(archive, body.kind, options, call.context.clock.now())
    except ConnectorError as error:
        raise HubError(Code.INVALID_REQUEST, error.message) from error
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"', "Cache-Control": "no-store"}
    return web.Response(body=made, content_type="application/zip", headers=headers)


ROUTES = (
    Route("POST", "/kits", kit, "Make what a system needs before the hub can read it", roles=STAFF,
          body=KitAsked, media="application/zip", writes=False),
)  # fmt: skip
