"""What the admin API answered to a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.errors import Code, HubError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_FIRST_ERROR = 400


async def answer(response: ClientResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises HubError with the hub's own code and words when it refuses."""
    async with response:
        is_json = response.content_type.endswith("json")
        body: dict[str, Any] = await response.json(content_type=None) if is_json else {}
    if response.status < _FIRST_ERROR:
        return body
    known = body.get("code") in {code.value for code in Code}
    code = Code(body["code"]) if known else Code.UNAVAILABLE
    raise HubError(code, body.get("detail") or f"The server answered {response.status}. Is this the admin API?")
