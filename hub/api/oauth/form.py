"""The body of a request to an OAuth 2 endpoint."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from multidict import MultiMapping

from hub.api.oauth.outcome import invalid_request

FORM = "application/x-www-form-urlencoded"
_LARGEST_BODY = 16_384
_MOST_FIELDS = 20


async def read_form(request: web.Request) -> dict[str, str]:
    """The parameters of the body; what is in the query is ignored, since addresses end up in logs.

    Raises OAuthError, and HTTPRequestEntityTooLarge.
    """
    if request.content_type != FORM:
        raise invalid_request(f"Send the parameters in the body as {FORM}.")
    if (request.content_length or 0) > _LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(_LARGEST_BODY, request.content_length or 0)
    try:
        posted: MultiMapping[Any] = await request.post()
    except (ValueError, LookupError):  # bytes that are no text of the charset, or a charset that nobody knows
        raise invalid_request("The body is not encoded as it says.") from None
    form = {name: str(value) for name, value in posted.items()}
    if len(posted) > _MOST_FIELDS or len(form) != len(posted):
        raise invalid_request("No parameter may be given twice.")
    return form
