"""The OpenAPI 3.1 document of the admin API, made from the table of routes and the models of their shapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import hub
from hub.api.admin.deliveries import Batch
from hub.api.admin.forms import BODY, FILE, FORM
from hub.api.admin.problem import MEDIA_TYPE, TITLES, Problem
from hub.api.admin.route import PREFIX, Route
from hub.errors import HTTP_STATUS, Code

_REF = "#/components/schemas/{model}"
_SCHEME = "adminToken"
Mode = Literal["validation", "serialization"]
_DESCRIPTION = (
    "Districts, their sources and runs, apps and what they may see. It has no routes to rosters. Times are UTC, lists "
    "come in pages (`limit`, `after`). Every write leaves a row in the audit log, in the same transaction."
)
_ID_PARAMETER = {"type": "string", "format": "uuid"}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document as JSON-able values."""
    table = list(routes)
    refs, schemas = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, refs, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RosterHub admin API",
            "version": hub.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{_SCHEME: []}],
        "tags": [{"name": name} for name in sorted({route.group for route in table})],
        "paths": paths,
        "webhooks": {"changes": {"post": _webhook(refs)}},
        "components": {
            "schemas": schemas,
            "responses": {code.value: _problem(code, refs) for code in sorted({c for r in table for c in r.codes})},
            "securitySchemes": {
                _SCHEME: {"type": "http", "scheme": "bearer", "description": "A token that begins with `rh_ad_`."}
            },
        },
    }


def _schemas(routes: list[Route]) -> tuple[Any, dict[str, Any]]:
    """References to all models by use, and what they refer to."""
    wanted: dict[tuple[type[BaseModel], Mode], None] = {(model, "serialization"): None for model in (Problem, Batch)}
    for route in routes:
        for model, mode in ((route.query, "validation"), (route.body, "validation"), (route.answer, "serialization")):
            if model is not None:
                wanted[model, "validation" if mode == "validation" else "serialization"] = None
    refs, top = models_json_schema(list(wanted), ref_template=_REF)
    return refs, top.get("$defs", {})


def _operation(route: Route, refs: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "description": (route.handler.__doc__ or "").strip(),
        "tags": [route.group],
        "responses": _responses(route, refs),
        "x-roles": sorted(route.roles),
    }
    parameters = [_path_parameter(name) for name in route.parameters] + _query_parameters(route, refs, schemas)
    if parameters:
        operation["parameters"] = parameters
    if route.public:
        operation["security"] = []
    if route.body is not None:
        content = {"application/json": {"schema": refs[route.body, "validation"]}}
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": content}
    if route.streams:
        body = None if route.body is None else refs[route.body, "validation"]
        content = operation.get("requestBody", {}).get("content", {})
        content = content | {media: _stream(media, body) for media in route.streams}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string"} if name == "client" else _ID_PARAMETER
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route, refs: Any, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    model = schemas[refs[route.query, "validation"]["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "in": "query", "required": name in model.get("required", ()), "schema": schema}
        for name, schema in model["properties"].items()
    ]


def _stream(media: str, body: Any) -> dict[str, Any]:
    if media != FORM:
        return {}
    parts = {FILE: {"type": "string", "contentMediaType": "application/zip"}}
    if body is not None:
        parts = {BODY: body, **parts}
    return {"schema": {"type": "object", "properties": parts, "required": list(parts)}}


def _responses(route: Route, refs: Any) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if route.answer is not None:
        content = {"application/json": {"schema": refs[route.answer, "serialization"]}}
        responses[str(route.status)] = {"description": route.summary, "content": content}
    elif route.media == "application/json" and not route.public:
        responses["204"] = {"description": "Done."}
    else:
        responses["200"] = {"description": route.summary, "content": {route.media: {}}}
    by_status: dict[int, list[Code]] = {}
    for code in route.codes:
        by_status.setdefault(HTTP_STATUS[code], []).append(code)
    for status, codes in sorted(by_status.items()):
        if len(codes) == 1:
            responses[str(status)] = {"$ref": f"#/components/responses/{codes[0].value}"}
        else:
            text = " ".join(f"{TITLES[code]} (`{code.value}`)." for code in codes)
            responses[str(status)] = {**_problem(codes[0], refs), "description": text}
    return responses


def _problem(code: Code, refs: Any) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": refs[Problem, "serialization"]}}
    return {"description": f"{TITLES[code]} (`{code.value}`).", "content": content}


def _webhook(refs: Any) -> dict[str, Any]:
    """What a subscription's receiver gets."""
    headers = {
        "webhook-id": "Names the batch; equal for every attempt.",
        "webhook-timestamp": "When it was sent, in seconds.",
        "webhook-signature": "HMAC-SHA256 over id, timestamp and body (Standard Webhooks).",
    }
    parameters = [
        {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    ]
    return {
        "operationId": "changes",
        "summary": "Changes of a grant's view, in order, at least once, signed",
        "security": [],
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": refs[Batch, "serialization"]}}},
        "responses": {
            "2XX": {"description": "Acknowledged: the subscription moves on."},
            "410": {"description": "Gone: the subscription is disabled."},
            "default": {"description": "Anything else is tried again, later and later."},
        },
    }
