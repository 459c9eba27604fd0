"""The OpenAPI document: sound in itself, and equal to what the router serves (T56)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any, get_type_hints

import pytest
from aiohttp import web

from hub.api.admin import add_admin
from hub.api.admin.about import page
from hub.api.admin.call import Call
from hub.api.admin.deliveries import Batch
from hub.api.admin.openapi import document
from hub.api.admin.problem import TITLES
from hub.api.admin.route import PREFIX, Route
from hub.api.admin.routes import ROUTES
from hub.changes.message import Envelope, cut, item
from hub.changes.types import SYNC_COMPLETED
from hub.changes.window import Change, Mark
from hub.clock import SystemClock
from hub.ids import new_id

METHODS = {"get", "put", "post", "delete", "patch"}
#: Members that OpenAPI 3.1 knows, by the object they stand in.
OPERATION = {
    "operationId", "summary", "description", "tags", "parameters", "requestBody", "responses", "security", "x-roles",
}  # fmt: skip
#: Keywords of JSON Schema 2020-12 that models give rise to.
KEYWORDS = {
    "$ref", "additionalProperties", "allOf", "anyOf", "const", "contentMediaType", "default", "description",
    "discriminator", "enum", "oneOf",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maximum", "maxProperties",
    "minItems",
    "minProperties", "patternProperties",
    "minLength", "minimum", "pattern", "properties", "propertyNames", "required", "title", "type", "uniqueItems",
}  # fmt: skip
TYPES = {"string", "integer", "number", "boolean", "array", "object", "null"}


@cache
def described() -> dict[str, Any]:
    """The document: made where a test asks for it, and not by each process that only collects this file."""
    return document(ROUTES)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    """All schema objects: what stands under ``schema`` and ``schemas``, and their parts."""
    for node in _nodes(value):
        if isinstance(node.get("schema"), dict):
            yield from _parts(node["schema"])
    for schema in value["components"]["schemas"].values():
        yield from _parts(schema)


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):  # `additionalProperties: false`
        return
    yield schema
    single = [schema[key] for key in ("items", "additionalProperties", "propertyNames") if key in schema]
    several = [part for key in ("anyOf", "allOf", "oneOf") for part in schema.get(key, [])]
    for part in [*single, *several, *schema.get("properties", {}).values()]:
        yield from _parts(part)


@pytest.mark.threat("T56")
def test_router_and_document_hold_the_same_routes() -> None:
    app = web.Application()
    add_admin(app)
    served = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method not in {"HEAD", "OPTIONS", "*"}
    }
    described = {(path, method) for path, method, _ in _operations()}

    assert served == described
    assert len(described) == len(ROUTES)


def test_the_document_is_openapi_3_1() -> None:
    assert re.fullmatch(r"3\.1\.\d", described()["openapi"])
    assert {"title", "version"} <= set(described()["info"])
    assert set(described()) == {"openapi", "info", "servers", "security", "tags", "paths", "webhooks", "components"}
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in described()["tags"]}
    for path, method, operation in _operations():
        assert path.startswith(f"{PREFIX}/")
        assert method in METHODS
        assert set(operation) <= OPERATION
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert operation["description"]


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used = set()
    for node in _nodes(described()):
        if "$ref" in node:
            target: Any = described()
            assert node["$ref"].startswith("#/")
            for part in node["$ref"][2:].split("/"):
                target = target[part]
            used.add(node["$ref"].rpartition("/")[2])

    assert set(described()["components"]["schemas"]) - used <= {
        route.query.__name__ for route in ROUTES if route.query is not None
    }


def test_every_schema_is_json_schema() -> None:
    for schema in _schemas(described()):
        assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
        types = schema.get("type", [])
        assert set([types] if isinstance(types, str) else types) <= TYPES
        assert set(schema.get("required", ())) <= set(schema.get("properties", ()))


def test_parameters_and_answers_are_described() -> None:
    for path, method, operation in _operations():
        parameters = operation.get("parameters", [])
        in_path = [p["name"] for p in parameters if p["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)
        assert all(p["required"] for p in parameters if p["in"] == "path")
        statuses = set(operation["responses"])
        assert [s for s in statuses if s.startswith("2")], (method, path)
        if operation.get("security") != []:
            assert {"401", "403", "503"} <= statuses
        for status, answer in operation["responses"].items():
            assert "$ref" in answer or answer["description"], (path, status)
        if method in {"get", "delete"}:
            assert "requestBody" not in operation


def test_every_error_that_a_route_names_has_words() -> None:
    assert {code for route in ROUTES for code in route.codes} <= set(TITLES)


def test_the_webhook_is_described_as_it_is_signed() -> None:
    webhook = described()["webhooks"]["changes"]["post"]
    names = {parameter["name"] for parameter in webhook["parameters"]}

    assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}


def test_the_webhooks_body_is_described_as_it_is_written() -> None:
    ids = {name: new_id() for name in ("subscription_id", "district_id", "grant_id")}
    at = SystemClock().now()
    envelope = Envelope(**ids, after=3, to=5, at=at)
    mark = Mark(5, at, SYNC_COMPLETED, {"orgs": {"created": 1, "updated": 0, "deleted": 0}})
    changes = [
        Change("created", "orgs", 1, 4), Change("updated", "users", 2, 5), Change("deleted", "classes", 3, 4),
        Change("completed", "", 5, 5, mark),
    ]  # fmt: skip
    items = [item(c, str(new_id()), "https://hub.example" if c.operation != "deleted" else None) for c in changes]
    for through in (True, False):
        body = cut(envelope, items, most_bytes=20_000, through=through).body
        batch = Batch.model_validate_json(body)
        told = ["orgs.created", "users.updated", "classes.deleted", "syncs.completed"]
        assert [change.type for change in batch.data.changes] == told
        assert (batch.data.from_, batch.data.to, batch.data.more) == (3, 5, not through)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
def test_handlers_take_and_give_what_their_route_declares(route: Route) -> None:
    hints = get_type_hints(route.handler)
    answer = hints.pop("return")
    body = route.body | None if route.body is not None and route.streams else route.body  # None: it comes in a form
    expected = [Call, *(model for model in (route.query, body) if model is not None)]

    assert list(hints.values()) == expected
    assert list(inspect.signature(route.handler).parameters) == list(hints)
    if route.answer is not None:
        assert answer is route.answer
    else:
        assert answer in (type(None), web.Response, web.StreamResponse)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_shows_everything_and_its_links_lead_somewhere() -> None:
    parsed = _Page()
    parsed.feed(page(ROUTES))

    assert len(parsed.ids) == len(set(parsed.ids))
    assert not parsed.tags & {"script", "iframe", "img", "link", "form"}
    assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
    assert {link for link in parsed.links if not link.startswith("#")} == {f"{PREFIX}/openapi.json"}
    assert {operation["operationId"] for _, _, operation in _operations()} <= set(parsed.ids)
