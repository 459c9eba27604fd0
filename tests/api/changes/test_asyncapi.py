"""The AsyncAPI document is one, and every real message is what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hub.api.changes.asyncapi import document
from hub.changes.types import ENTITIES, MARKS, OPERATIONS, TYPES
from tests.api.changes.conftest import Follower, pushing
from tests.services import Database
from transforms.catalogue import CATALOGUE

#: The members that AsyncAPI 3.0.0 knows, by object; those with a ! are required. Extensions begin with x-.
KNOWN = {
    "document": "asyncapi! info! id servers defaultContentType channels operations components",
    "info": "title! version! description termsOfService contact license tags externalDocs",
    "license": "name! url",
    "server": "host! protocol! protocolVersion pathname description title summary variables security tags externalDocs "
    "bindings",
    "channel": "address messages title summary description servers parameters tags externalDocs bindings",
    "parameter": "enum default description examples location",
    "operation": "action! channel! title summary description security tags externalDocs bindings traits messages reply",
    "reply": "address channel messages",
    "message": "headers payload correlationId contentType name title summary description tags externalDocs bindings "
    "examples traits",
    "components": "schemas servers channels operations messages securitySchemes serverVariables parameters "
    "correlationIds replies replyAddresses externalDocs tags operationTraits messageTraits serverBindings "
    "channelBindings operationBindings messageBindings",
    "http operation": "method query bindingVersion",
    "http message": "headers statusCode bindingVersion",
    "scheme": "type! description flows! scopes",
    "flow": "tokenUrl! availableScopes! refreshUrl",
}


def members(kind: str, value: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the members of an object."""
    words = KNOWN[kind].split()
    known = {word.rstrip("!") for word in words}
    yield from (f"{kind}: {name}" for name in value if name not in known and not name.startswith("x-"))
    yield from (f"{kind} without {word[:-1]}" for word in words if word.endswith("!") and word.rstrip("!") not in value)


def found(doc: dict[str, Any], ref: dict[str, str]) -> Any:
    """What a reference leads to. Raises KeyError."""
    assert set(ref) <= {"$ref", "description"}, ref
    value: Any = doc
    for part in ref["$ref"].removeprefix("#/").split("/"):
        value = value[part]
    return found(doc, value) if isinstance(value, dict) and set(value) == {"$ref"} else value


def references(value: Any) -> Iterator[dict[str, str]]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value
        else:
            for inner in value.values():
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def wrong(doc: dict[str, Any]) -> list[str]:
    """What AsyncAPI 3.0.0 does not allow in a document of this kind."""
    out = [*members("document", doc), *members("info", doc["info"]), *members("license", doc["info"]["license"])]
    out += [w for one in doc["servers"].values() for w in members("server", one)]
    for channel in doc["channels"].values():
        out += members("channel", channel)
        named = set(channel.get("parameters", {}))
        address = channel["address"] or ""
        out += [f"parameter {name}" for name in named if f"{{{name}}}" not in address]
        assert address.count("{") == len(named)
        out += [w for one in channel.get("parameters", {}).values() for w in members("parameter", one)]
        assert all(found(doc, one)["name"] for one in channel["messages"].values())
        assert all(found(doc, one)["host"] for one in channel.get("servers", ()))
    for operation in doc["operations"].values():
        out += members("operation", operation)
        assert operation["action"] in {"send", "receive"}
        for part in (operation, operation.get("reply")):
            if part is not None:
                own = part["channel"]["$ref"] + "/messages/"
                out += [f"not of its channel: {m}" for m in part["messages"] if not m["$ref"].startswith(own)]
        out += members("reply", operation.get("reply", {}))
        out += members("http operation", operation["bindings"]["http"])
    out += members("components", doc["components"])
    for message in doc["components"]["messages"].values():
        out += members("message", message)
        out += members("http message", message.get("bindings", {}).get("http", {}))
    for scheme in doc["components"]["securitySchemes"].values():
        out += members("scheme", scheme)
        out += [w for flow in scheme["flows"].values() for w in members("flow", flow)]
    return out


def test_the_document_is_asyncapi_3() -> None:
    doc = document("https://hub.example/below")
    assert doc["asyncapi"] == "3.0.0"
    assert doc["servers"]["hub"] == {"host": "hub.example", "protocol": "https", "pathname": "/below"}
    assert wrong(doc) == []
    refs = list(references(doc))
    assert len(refs) > 20
    assert all(found(doc, ref) is not None for ref in refs)
    for schema in doc["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert set(doc["x-types"]["records"] + doc["x-types"]["marks"]) == set(TYPES)
    assert wrong(doc | {"extra": 1, "servers": {"hub": {"host": "x"}}}) == [
        "document: extra", "server without protocol",
    ]  # fmt: skip


class Described:
    """The document as a hub serves it, with what checks bodies against it."""

    def __init__(self, doc: dict[str, Any]) -> None:
        self.doc = doc

    def check(self, message: str, body: Any) -> None:
        """Raises ValidationError where a body is not of a message."""
        payload = self.doc["components"]["messages"][message]["payload"]
        validator = Draft202012Validator(payload | {"components": self.doc["components"]},
                                         format_checker=Draft202012Validator.FORMAT_CHECKER)  # fmt: skip
        validator.validate(body)


@pytest.fixture
async def described(follower: Follower) -> Described:
    async with follower.hub.session.get("/asyncapi.json") as response:
        assert response.status == 200
        return Described(await response.json())


async def test_every_real_message_is_as_described(
    follower: Follower, described: Described, roster_database: Database
) -> None:
    doc = described.doc
    assert doc["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["tokenUrl"].startswith("http")
    owner = follower.feeds.connection
    for entity in ENTITIES:
        rids = [row["rid"] for row in await owner.fetch(
            f"SELECT rid FROM {CATALOGUE[entity].table} WHERE district_id = $1 ORDER BY rid LIMIT 3", follower.here
        )]  # fmt: skip
        if not rids:
            await follower.feeds.records(follower.here, entity, 3)
            rids = [0, 1, 2]
        entered, updated, left = (rids * 3)[:3]
        await follower.move(entity, entered={entered}, updated={updated} - {entered}, left={left} - {entered, updated})
    await owner.execute("UPDATE feed SET cause = 'grant' WHERE grant_id = $1 AND step = "
                        "(SELECT steps FROM grants WHERE grant_id = $1)", follower.grant)  # fmt: skip
    head = (await follower.told())["to"]
    start = head - len(ENTITIES)

    answer = await follower.told(after=start, limit=10_000)
    described.check("districtChanges", answer)
    seen = {change["type"] for change in answer["changes"]}
    assert {f"{e}.created" for e in ENTITIES} | set(MARKS) <= seen
    assert {t.partition(".")[2] for t in seen} == {*OPERATIONS, "completed"}
    described.check("districtChanges", await follower.told())
    fat = await follower.told(after=start, limit=10_000, mode="records")
    described.check("districtChanges", fat)
    assert {"record", "previous"} <= {name for change in fat["changes"] for name in change}
    everywhere = await follower.told("/changes", since="1999-01-01", limit=10_000)
    described.check("everyChanges", everywhere)
    assert everywhere["districts"]
    described.check("resyncRequired", (await follower.ask(after=head + 5))[1])
    with pytest.raises(Exception, match="is not valid under any"):
        described.check("districtChanges", answer | {"changes": [answer["changes"][0] | {"givenName": "Ana"}]})

    async with pushing(follower, roster_database) as push:
        (body,) = await push(start)
    described.check("rosterChanges", body)
    assert body["data"]["changes"] == answer["changes"]  # push says what pull says, from the same position
    assert (body["data"]["from"], body["data"]["to"]) == (answer["from"], answer["to"])
