"""Each service's own OpenAPI document: this hub's address, token endpoint, operations and scopes.

Both names under which OneRoster 1.2 puts it are served, without a token. Shapes derive from the catalogue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import orjson
from aiohttp import web

from hub.api.context import CONTEXT
from hub.api.oneroster.bindings import BINDINGS, Binding
from hub.api.oneroster.errors import GRADEBOOK_MINORS, ROSTERING_MINORS
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.query import DEFAULT_LIMIT
from hub.api.oneroster.scopes import SCOPES
from hub.api.oneroster.writes import WRITES, Write
from hub.api.permissions import Permission, declare
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need, Service
from transforms.catalogue import vocabularies as voc
from transforms.shapes import SHAPES

#: The schema of what a record is that left the view.
TOMBSTONE = "tombstone"
_EXTENSION = r"^ext:[a-zA-Z0-9.\-_]+$"
_STRINGS = {Kind.DATE: "date", Kind.DATETIME: "date-time", Kind.URI: "uri"}
_QUERY: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "default": DEFAULT_LIMIT},
    "offset": {"type": "integer", "minimum": 0, "default": 0},
    "sort": {"type": "string"},
    "orderBy": {"type": "string", "enum": ["asc", "desc"]},
    "filter": {"type": "string"},
    "fields": {"type": "string"},
}
_ERRORS = {
    "400": "The filter, the selection or another parameter cannot be used.",
    "401": "No valid access token.",
    "403": "The token lacks a scope, or the grant was withdrawn.",
    "404": "There is no such object, or this app may not see it.",
    "406": "What Accept names is not JSON.",
    "422": "The parameters can be read and make no sense.",
    "429": "Too many requests; Retry-After says how long to wait.",
    "500": "A fault of the hub.",
    "503": "The hub cannot answer right now; Retry-After says how long to wait.",
    "default": "Another refusal of HTTP, such as 406 for an Accept that rules JSON out.",
}
#: What is different, or comes beside these, for writes.
_WRITE_ERRORS = {
    "400": "The body is not JSON.",
    "403": "The token lacks the scope, the district lets this app not write this, or the object is not this app's.",
    "413": "More objects or bytes than one request may bring.",
    "415": "The body is not application/json.",
    "422": "The object cannot be stored as it is, or others need the one that is to be deleted.",
}


def add_discovery(app: web.Application) -> None:
    """Adds the documents under all of their names."""
    for binding in BINDINGS:
        for name in binding.documents:
            for path in (binding.path, binding.everywhere):
                declare(app, "GET", f"{path}/discovery/{name}", _serving(binding), Permission.PUBLIC)


def _serving(binding: Binding) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        # The address is the caller's own: whether there is such a district is not told.
        base = request.app[CONTEXT].settings.public_url
        service = request.path.partition("/discovery/")[0]
        return web.Response(
            body=orjson.dumps(document(binding, base, base + service)),
            content_type="application/json",
            headers={"Cache-Control": "public, max-age=300"},
        )

    return serve


def document(binding: Binding, hub_url: str, service_url: str) -> dict[str, Any]:
    """The OpenAPI 3.0 document of a service at ``service_url``."""
    writes = [write for write in WRITES if (write.version, write.entity.service) == (binding.version, binding.service)]
    wanted = {scope for operation in binding.operations for scope in operation.scopes}
    wanted.update(scope for write in writes for scope in write.scopes)
    paths: dict[str, dict[str, Any]] = {
        operation.path: {"get": _operation(operation)} for operation in binding.operations
    }
    for write in writes:
        paths.setdefault(write.path, {})[write.method.lower()] = _write(write)
    scopes = {scope: text for scope, text in SCOPES.items() if scope in wanted}
    flow = {"tokenUrl": f"{hub_url}/oauth/token", "scopes": scopes}
    return {
        "openapi": "3.0.3",
        "info": {
            "title": f"{binding.title}, provided by RosterHub",
            "version": binding.version,
            "description": "The operations and shapes that this hub provides. It shows an app what its grant shows.",
        },
        "servers": [{"url": service_url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"OAuth2CC": {"type": "oauth2", "flows": {"clientCredentials": flow}}},
            "schemas": _schemas() | {"StatusInfo": _status_info(binding.service)},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    names = ("fields",) if operation.single else tuple(_QUERY)
    path = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in operation.variables]
    query = [{"name": name, "in": "query", "required": False, "schema": _QUERY[name]} for name in names]
    # What left the view is told by its base members alone: its others are not the app's to see any more.
    shape: dict[str, Any] = {"anyOf": [_named(operation.entity.singular), _named(TOMBSTONE)]}
    if not operation.single:
        shape = {"type": "array", "items": shape}
    body = {
        "type": "object", "required": [operation.envelope], "properties": {operation.envelope: shape},
        "additionalProperties": False,
    }  # fmt: skip
    headers = {
        "X-Total-Count": {"schema": {"type": "integer"}, "description": "How many objects match."},
        **(
            {}
            if operation.single
            else {"Link": {"schema": {"type": "string"}, "description": "first, prev, next, last"}}
        ),
    }
    return {
        "operationId": operation.name,
        "tags": [operation.entity.name],
        "parameters": path + query,
        "security": [{"OAuth2CC": [scope]} for scope in operation.scopes],  # any one is enough
        "responses": {
            "200": {"description": "As asked.", "headers": headers, "content": _json(body)},
            **{code: {"description": text, "content": _json(_named("statusInfo"))} for code, text in _ERRORS.items()},
        },
    }


def _write(write: Write) -> dict[str, Any]:
    shape = _named(write.entity.singular)
    answers: dict[str, dict[str, Any]] = {
        "PUT": {"201": {"description": "Created, or replaced."}},
        "DELETE": {"204": {"description": "Deleted."}},
        "POST": {"201": {"description": "All were created, or were there from the same request before.",
                         "content": _json(_sourced_id_pairs())}},
    }  # fmt: skip
    described: dict[str, Any] = {
        "operationId": write.name,
        "tags": [write.entity.name],
        "parameters": [
            {"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in write.variables
        ],
        "security": [{"OAuth2CC": [scope]} for scope in write.scopes],
        "responses": {
            **answers[write.method],
            **{code: {"description": text, "content": _json(_named("statusInfo"))}
               for code, text in (_ERRORS | _WRITE_ERRORS).items()},
        },
    }  # fmt: skip
    if write.method != "DELETE":
        one = {"type": "array", "items": shape} if write.method == "POST" else shape
        described["requestBody"] = {"required": True, "content": _json(_closed({write.envelope: one}))}
    return described


def _sourced_id_pairs() -> dict[str, Any]:
    pair = _closed({"suppliedSourcedId": {"type": "string"}, "allocatedSourcedId": {"type": "string"}})
    return _closed({"sourcedIdPairs": {"type": "array", "items": pair}})


@cache
def _schemas() -> dict[str, Any]:
    schemas = {_schema_name(entity.singular): _object(entity) for entity in CATALOGUE.all}
    schemas[_schema_name(TOMBSTONE)] = _closed({name: _field(field) for name, field in _base().items()})
    for target in CATALOGUE.entities:
        schemas[_schema_name(target.singular) + "Ref"] = _closed(
            {
                "href": {"type": "string", "format": "uri"},
                "sourcedId": {"type": "string"},
                "type": {"type": "string", "enum": [target.singular]},
            }
        )
    return schemas


def _base() -> dict[str, Field]:
    return {f.name: f for f in CATALOGUE.entities[0].fields if f.name in BASE_NAMES}


def _object(entity: Entity) -> dict[str, Any]:
    nested = entity.component_of is not None
    fields = [f for f in entity.fields if f.name in BASE_NAMES and not nested] + [
        f for f in entity.body if f.name not in BASE_NAMES
    ]
    properties = {f.name: _many(f, _field(f)) for f in fields}
    if entity.name == "userProfiles":
        login = _closed({"type": {"type": "string"}, "username": {"type": "string"}})
        properties["credentials"] = {"type": "array", "items": login}
    required = [f.name for f in fields if f.rest12 is Need.REQUIRED]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _field(field: Field) -> dict[str, Any]:
    match field.kind:
        case Kind.REF if field.target in {e.name for e in CATALOGUE.entities}:
            return _named(CATALOGUE[field.target].singular + "Ref")
        case Kind.REF:
            return {"type": "string", "format": "uri"}
        case Kind.COMPONENT:
            return _named(CATALOGUE[field.name].singular)
        case Kind.USER_ID | Kind.SCALE_VALUE:
            return _closed({member.name: {"type": "string"} for member in SHAPES[field.kind].fields})
        case Kind.OBJECTIVES | Kind.OBJECTIVE_RESULTS:
            return _objectives(SHAPES[field.kind].fields[1].name)
        case Kind.METADATA:
            return {"type": "object", "additionalProperties": True}
        case Kind.INTEGER | Kind.FLOAT:
            return {"type": "integer" if field.kind is Kind.INTEGER else "number"}
        case _:
            return _text(field)


def _objectives(name: str) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "string"}
    if name.endswith("Results"):
        one = {
            "type": "object", "required": ["learningObjectiveId"], "additionalProperties": False,
            "properties": {
                "learningObjectiveId": {"type": "string"}, "score": {"type": "number"}, "textScore": {"type": "string"},
            },
        }  # fmt: skip
    return _closed({"source": {"type": "string"}, name: {"type": "array", "items": one}})


def _text(field: Field) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    if field.kind in _STRINGS:
        text["format"] = _STRINGS[field.kind]
    if field.kind is Kind.YEAR:
        text["pattern"] = "^[0-9]{4}$"
    vocabulary = voc.BOOLEAN if field.kind is Kind.BOOLEAN else field.vocabulary
    if vocabulary is None or field.kind is Kind.STRING:  # grades are agreed locally
        return text
    tokens = {**text, "enum": list(vocabulary.tokens("1.2"))}
    return {"anyOf": [tokens, {"type": "string", "pattern": _EXTENSION}]} if vocabulary.extensible else tokens


def _many(field: Field, one: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": one} if field.many else one


def _status_info(service: Service) -> dict[str, Any]:
    minors = GRADEBOOK_MINORS if service == "gradebook" else ROSTERING_MINORS
    minor = _closed(
        {
            "imsx_codeMinorFieldName": {"type": "string"},
            "imsx_codeMinorFieldValue": {"type": "string", "enum": [minor.value for minor in minors]},
        }
    )
    return _closed(
        {
            "imsx_codeMajor": {"type": "string", "enum": ["success", "processing", "failure", "unsupported"]},
            "imsx_severity": {"type": "string", "enum": ["status", "warning", "error"]},
            "imsx_description": {"type": "string"},
            "imsx_CodeMinor": _closed({"imsx_codeMinorField": {"type": "array", "items": minor}}),
        }
    )


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "required": list(properties), "properties": properties, "additionalProperties": False,
    }  # fmt: skip


def _schema_name(name: str) -> str:
    return name[0].upper() + name[1:]


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{_schema_name(name)}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
