"""The AsyncAPI 3.0 document of all messages about changes, made from the shapes of what is sent and answered."""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import hub
from hub.api.admin.deliveries import Batch
from hub.api.changes.asked import LIMIT, LONGEST_WAIT, MODES, MOST
from hub.api.changes.service import scopes
from hub.api.changes.shapes import Answer, AnswerEverywhere, ResyncProblem
from hub.api.context import CONTEXT
from hub.api.oneroster.scopes import SCOPES
from hub.changes.types import MARKS, TYPES

_REF = "#/components/schemas/{model}"
_HTTP = "0.3.0"
_OAUTH = {"$ref": "#/components/securitySchemes/oauth2"}
_DESCRIPTION = (
    "What changed in an app's view of a district: sent to it (webhooks) or asked for by it, with the same changes at "
    "the same positions. A position is a step of the app's own feed: 1, 2, 3 and so on."
)
#: Each message with the shape of its body.
MESSAGES: Final[dict[str, tuple[type[BaseModel], str]]] = {
    "rosterChanges": (Batch, "A batch of changes, as a webhook has it."),
    "districtChanges": (Answer, "The next changes of one district."),
    "everyChanges": (AnswerEverywhere, "The next changes of all districts."),
    "resyncRequired": (ResyncProblem, "Status 410: nothing can be told from that position any more."),
}
_SIGNED = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "Names the batch; equal for every attempt."},
        "webhook-timestamp": {"type": "string", "description": "When it was sent, in seconds."},
        "webhook-signature": {"type": "string", "description": "As Standard Webhooks 1.0.0 has it."},
    },
}
_QUERY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "after": {"type": "string", "description": "The `next` of the answer before, or a step. Without it: the head."},
        "to": {"type": "integer", "minimum": 0, "description": "With a step as `after`: a stretch that is told first."},
        "since": {"type": "string", "format": "date-time", "description": "Instead of `after`: changes made later."},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
        "wait": {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0,
                 "description": "Seconds to wait where nothing is new."},
        "mode": {"type": "string", "enum": list(MODES), "default": MODES[0]},
        "types": {"type": "string", "description": "Types and patterns with commas between; without it: all."},
    },
}  # fmt: skip


@cache
def document(url: str) -> dict[str, Any]:
    """The document as JSON-able values. ``url``: the hub's public address."""
    parts = urlsplit(url)
    server = {"host": parts.netloc, "protocol": parts.scheme} | ({"pathname": parts.path} if parts.path else {})
    messages = {name: _message(name) for name in (*MESSAGES, "ask")}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "RosterHub changes", "version": hub.__version__, "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"hub": server},
        "channels": {
            "webhook": _channel(None, "The address that a subscription names.", ("rosterChanges",)),
            "district": _channel("/d/{district}/changes", "Changes of one district.",
                                 ("ask", "districtChanges", "resyncRequired")),
            "everywhere": _channel("/changes", "Changes of all districts that grant the app something.",
                                   ("ask", "everyChanges")),
        },
        "operations": {
            "deliver": _send("webhook", "rosterChanges"),
            "followDistrict": _reply("district", "districtChanges", "resyncRequired"),
            "followAll": _reply("everywhere", "everyChanges"),
        },
        "components": {
            "messages": messages, "schemas": schemas(),
            "securitySchemes": {"oauth2": {"type": "oauth2", "flows": {"clientCredentials": {
                "tokenUrl": f"{url}/oauth/token", "availableScopes": {s: SCOPES[s] for s in scopes()},
            }}}},
        },
        "x-types": {"records": [t for t in TYPES if t not in MARKS], "marks": list(MARKS)},
    }  # fmt: skip


@cache
def schemas() -> dict[str, Any]:
    """The schemas of all bodies, by the names of their shapes."""
    models = [(model, "serialization") for model, _ in MESSAGES.values()]
    _, top = models_json_schema(models, by_alias=True, ref_template=_REF)  # type: ignore[arg-type]
    found: dict[str, Any] = top["$defs"]
    return found


def _message(name: str) -> dict[str, Any]:
    if name == "ask":
        return {"name": name, "title": "A request", "summary": "A GET with parameters and without a body.",
                "payload": {"type": "null"}}  # fmt: skip
    model, summary = MESSAGES[name]
    message: dict[str, Any] = {
        "name": name, "title": name, "summary": summary, "payload": {"$ref": _REF.format(model=model.__name__)},
    }  # fmt: skip
    if model is Batch:
        message |= {"headers": _SIGNED, "name": "roster.changes"}
    if model is ResyncProblem:
        message |= {"contentType": "application/problem+json", "bindings": {"http": _http(statusCode=410)}}
    return message


def _channel(address: str | None, description: str, messages: tuple[str, ...]) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": address, "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }  # fmt: skip
    if address is None:
        return channel
    channel["servers"] = [{"$ref": "#/servers/hub"}]
    if "{district}" in address:
        channel["parameters"] = {"district": {"description": "The district's id."}}
    return channel


def _send(channel: str, message: str) -> dict[str, Any]:
    return {
        "action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "messages": [_of(channel, message)],
        "summary": "In order, at least once, signed.", "bindings": {"http": _http(method="POST")},
    }  # fmt: skip


def _reply(channel: str, *answers: str) -> dict[str, Any]:
    return {
        "action": "receive", "channel": {"$ref": f"#/channels/{channel}"}, "messages": [_of(channel, "ask")],
        "reply": {"channel": {"$ref": f"#/channels/{channel}"}, "messages": [_of(channel, one) for one in answers]},
        "security": [_OAUTH], "summary": "An answer at once, or as soon as something is new.",
        "bindings": {"http": _http(method="GET", query=_QUERY)},
    }  # fmt: skip


def _of(channel: str, message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{message}"}


def _http(**members: Any) -> dict[str, Any]:
    return {**members, "bindingVersion": _HTTP}


async def serve_document(request: web.Request) -> web.Response:
    """The document; it holds nothing of anybody."""
    body = orjson.dumps(document(request.app[CONTEXT].settings.public_url), option=orjson.OPT_INDENT_2)
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "max-age=300"})
