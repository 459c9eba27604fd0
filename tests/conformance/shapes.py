"""Two OpenAPI documents side by side, operation by operation, property by property. Differences are told in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Differences that are meant, by the end of their place, each with the reason.
MEANT = {
    ".password": "passwords are never kept and never served",
    ".learningObjectiveSet[].source": "the official pattern asks for a slash in front and fits no value of the text",
    "?fields": "the official form would repeat the parameter; the text has names with commas between",
}
_METHODS = ("get", "put", "post", "delete")
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Side:
    """A document and the schemas that its references name."""

    document: Schema

    def resolved(self, schema: Schema) -> Schema:
        """The schema that a reference stands for; of a record and its tombstone the record's."""
        while "$ref" in schema or "$ref" in schema.get("anyOf", [{}])[0]:
            name = schema.get("$ref") or schema["anyOf"][0]["$ref"]
            schema = self.document["components"]["schemas"][name.rpartition("/")[2]]
        return schema

    def operations(self) -> dict[tuple[str, str], Schema]:
        """The operations by method and path."""
        return {
            (method, path): item[method]
            for path, item in self.document["paths"].items()
            for method in _METHODS
            if method in item
        }


def differences(official: Schema, ours: Schema) -> Iterator[str]:
    """What ``ours`` has otherwise than ``official``, but what is meant to be so."""
    for place, text in _documents(Side(official), Side(ours)):
        if not any(place.endswith(end) for end in MEANT):
            yield f"{place}: {text}"


def _documents(official: Side, ours: Side) -> Iterator[tuple[str, str]]:
    theirs, mine = official.operations(), ours.operations()
    for key in theirs.keys() - mine.keys():
        yield " ".join(key), "the hub does not have this operation"
    for key in mine.keys() - theirs.keys():
        yield " ".join(key), "the standard does not have this operation"
    for key in theirs.keys() & mine.keys():
        for place, text in _operations(theirs[key], mine[key], official, ours):
            yield f"{' '.join(key)} {place}", text


def _operations(theirs: Schema, mine: Schema, official: Side, ours: Side) -> Iterator[tuple[str, str]]:
    if theirs["operationId"] != mine["operationId"]:
        yield "operationId", f"{mine['operationId']} instead of {theirs['operationId']}"
    # The official documents list scopes together of which any one is enough.
    if _scopes(theirs) != _scopes(mine):
        yield "security", f"{sorted(_scopes(mine))} instead of {sorted(_scopes(theirs))}"
    yield from _parameters(theirs, mine)
    succeeded = [{code for code in side["responses"] if code.startswith("2")} for side in (theirs, mine)]
    if succeeded[0] != succeeded[1]:
        yield "responses", f"success is {sorted(succeeded[1])} instead of {sorted(succeeded[0])}"
    for code in succeeded[0] & succeeded[1]:
        bodies = [_body(side["responses"][code]) for side in (theirs, mine)]
        yield from _optional(f"{code}", bodies[0], bodies[1], official, ours)
    requests = [_body(side["requestBody"]) if "requestBody" in side else None for side in (theirs, mine)]
    yield from _optional("request", requests[0], requests[1], official, ours)


def _scopes(operation: Schema) -> set[str]:
    return {scope for need in operation["security"] for scopes in need.values() for scope in scopes}


def _parameters(theirs: Schema, mine: Schema) -> Iterator[tuple[str, str]]:
    of = [{(p["in"], p["name"]): p for p in side.get("parameters", ())} for side in (theirs, mine)]
    for place, name in of[0].keys() ^ of[1].keys():
        yield f"?{name}", f"a parameter in {place} on one side only"
    for key in of[0].keys() & of[1].keys():
        schemas = [{k: v for k, v in p[key]["schema"].items() if k in {"type", "enum", "minimum"}} for p in of]
        if schemas[0] != schemas[1]:
            yield f"?{key[1]}", f"{schemas[1]} instead of {schemas[0]}"


def _body(response: Schema) -> Schema | None:
    content = response.get("content", {})
    return content["application/json"]["schema"] if content else None


def _optional(
    place: str, theirs: Schema | None, mine: Schema | None, official: Side, ours: Side
) -> Iterator[tuple[str, str]]:
    if theirs is None or mine is None:
        if theirs is not mine:
            yield place, "a body on one side only"
        return
    yield from _schemas(place, theirs, mine, official, ours)


def _schemas(place: str, theirs: Schema, mine: Schema, official: Side, ours: Side) -> Iterator[tuple[str, str]]:
    theirs, mine = official.resolved(theirs), ours.resolved(mine)
    if tokens(theirs) != tokens(mine):
        yield place, f"values {sorted(tokens(mine) or ())} instead of {sorted(tokens(theirs) or ())}"
    if _extensible(theirs) != _extensible(mine):
        yield place, "ext: words on one side only"
    if _kind(theirs) != _kind(mine):
        yield place, f"{_kind(mine)} instead of {_kind(theirs)}"
    elif theirs.get("type") == "array":
        yield from _schemas(f"{place}[]", theirs["items"], mine["items"], official, ours)
    elif theirs.get("type") == "object":
        yield from _objects(place, theirs, mine, official, ours)


def _objects(place: str, theirs: Schema, mine: Schema, official: Side, ours: Side) -> Iterator[tuple[str, str]]:
    has = [side.get("properties", {}) for side in (theirs, mine)]
    for name in has[0].keys() - has[1].keys():
        yield f"{place}.{name}", "the hub does not have this member"
    for name in has[1].keys() - has[0].keys():
        yield f"{place}.{name}", "the standard does not have this member"
    # Envelopes of collections require nothing in the official documents; here they are always there.
    needs = [set(side.get("required", ())) for side in (theirs, mine)]
    if needs[0] and needs[0] != needs[1]:
        yield place, f"requires {sorted(needs[1])} instead of {sorted(needs[0])}"
    if bool(theirs.get("additionalProperties", True)) and not mine.get("additionalProperties", True):
        return  # what the hub serves may be narrower
    if not theirs.get("additionalProperties", True) and mine.get("additionalProperties", True):
        yield place, "other members are not ruled out"
    for name in has[0].keys() & has[1].keys():
        yield from _schemas(f"{place}.{name}", has[0][name], has[1][name], official, ours)


def tokens(schema: Schema) -> frozenset[str] | None:
    """The values of a closed or extensible list."""
    choices = [schema, *schema.get("anyOf", ())]
    found = [token for choice in choices for token in choice.get("enum", ())]
    return frozenset(map(str, found)) if found else None


def _extensible(schema: Schema) -> bool:
    return any("ext:" in choice.get("pattern", "") for choice in schema.get("anyOf", ()))


def _kind(schema: Schema) -> tuple[Any, ...]:
    """Type and format; how large a number's representation is says nothing about the JSON."""
    if "anyOf" in schema:
        return tuple({_kind(choice) for choice in schema["anyOf"]})
    form = schema.get("format")
    return schema.get("type"), None if form in {"float", "double", "int32", "int64"} else form
