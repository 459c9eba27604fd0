"""A connector's settings by its JSON schema: as a person reads them, and as ``--set key=value`` means them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

Schema = Mapping[str, Any]
#: Settings of settings are listed so far down; what lies deeper is JSON.
_DEEPEST = 2


def lines(schema: Schema) -> Iterator[str]:
    """What a district may enter, a line for each setting with its own settings below it."""
    yield from _below(schema, schema, "", 1)


def _below(node: Schema, root: Schema, path: str, depth: int, *, one_of: bool = False) -> Iterator[str]:
    required = node.get("required", ())
    for name, inner in node.get("properties", {}).items():
        if one_of and "const" in inner:
            continue  # the line of its form says it
        key = f"{path}{name}"
        forms = _forms(inner, root)
        meant = inner.get("description", "") or (forms[0].get("description", "") if len(forms) == 1 else "")
        takes = f"{_kind(forms)}{_preset(inner, needed=name in required)}"
        yield f"{'  ' * depth}{key}: {takes}. {_one_line(meant)}".rstrip()
        shown = [form for form in forms if form.get("properties")] if depth < _DEEPEST else []
        several = len(shown) > 1
        for form in shown:
            chosen = [f"{key}.{n}={p['const']}" for n, p in form["properties"].items() if "const" in p]
            if several:
                yield f"{'  ' * (depth + 1)}with {' '.join(chosen)}: {_one_line(form.get('description', ''))}".rstrip()
            yield from _below(form, root, f"{key}.", depth + 1 + several, one_of=several)


def _kind(forms: Sequence[Schema]) -> str:
    """What may stand there, in words."""
    words = dict.fromkeys(_word(form) for form in forms if form.get("type") != "null")
    return " or ".join(words) or "anything"


def _word(form: Schema) -> str:
    if "enum" in form:
        return ", ".join(str(one) for one in form["enum"])
    if "const" in form:
        return str(form["const"])
    if form.get("type") == "array":
        return f"a list of {_word(form.get('items', {}))}"
    words = {"string": "text", "integer": "a number", "number": "a number", "boolean": "true or false",
             "object": "an object"}  # fmt: skip
    if form.get("type") == "integer" and {"minimum", "maximum"} <= form.keys():
        return f"a number from {form['minimum']} to {form['maximum']}"
    return words.get(str(form.get("type")), "JSON")


def _preset(node: Schema, *, needed: bool) -> str:
    if needed:
        return ", must be set"
    preset = node.get("default")
    if preset in (None, {}, [], ""):
        return ""
    text = ",".join(map(str, preset)) if isinstance(preset, list) else preset
    return f", {json.dumps(text) if isinstance(text, bool) else text} if left out"


def _forms(node: Schema, root: Schema) -> list[Schema]:
    """All plain schemas that a value may follow."""
    if "$ref" in node:
        found = root
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        return _forms(found, root)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in node:
            return [form for one in node[choice] for form in _forms(one, root)]
    return [node]


def _at(schema: Schema, key: str) -> list[Schema]:
    """The schemas of what ``key`` names. Raises click.UsageError for what the connector does not have."""
    found, done = [schema], ""
    for part in key.split("."):
        inner = [one for form in found for one in _members(form, part)]
        if not inner:
            known = sorted({done + name for form in found for name in form.get("properties", {})})
            more = f" It has: {', '.join(known)}." if known else ""
            raise click.UsageError(f"This kind of source has no setting {done}{part}.{more} See: hub source kinds")
        found, done = [form for one in inner for form in _forms(one, schema)], f"{done}{part}."
    return found


def _members(form: Schema, name: str) -> list[Schema]:
    if name in form.get("properties", {}):
        return [form["properties"][name]]
    free = [*form.get("patternProperties", {}).values(), form.get("additionalProperties")]
    return [one for one in free if isinstance(one, dict)]


def changed(
    config: Mapping[str, Any], schema: Schema, assigned: Sequence[str], dropped: Sequence[str] = ()
) -> dict[str, Any]:
    """A configuration without the keys in ``dropped`` and with each ``key=value`` of ``assigned``.

    Raises click.UsageError for a key that there is not and for a value of another kind, before the hub is asked.
    """
    made: dict[str, Any] = json.loads(json.dumps(config))
    for key in dropped:
        _at(schema, key)
        *above, last = key.split(".")
        place = _walk(made, above)
        place.pop(last, None)
    for one in assigned:
        key, equals, text = one.partition("=")
        if not equals:
            raise click.UsageError(f"Write --set {key}=VALUE.")
        value = _value(key, text, _at(schema, key))
        *above, last = key.split(".")
        _walk(made, above)[last] = value
    return made


def _walk(config: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The object at a path, made where there is none."""
    for part in path:
        inner = config.get(part)
        if not isinstance(inner, dict):
            inner = config[part] = {}
        config = inner
    return config


def _value(key: str, text: str, forms: Sequence[Schema]) -> Any:
    """A value as its setting means it: text where text may stand, a list also as items between commas."""
    kinds = {str(form.get("type")) for form in forms}
    if "null" in kinds and text == "null":
        return None
    if "string" in kinds:
        return text
    if "array" in kinds and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError:
        raise click.UsageError(f"{key} takes {_kind(forms)}: write --set {key}=… so, JSON for what nests.") from None


def named(field: str, schema: Schema) -> str:
    """A field that the hub refuses as the key that ``--set`` knows it by: without the names of forms in between."""
    found, key = [schema], []
    for part in field.removeprefix("config.").split("."):
        inner = [one for form in found for one in _members(form, part.partition("[")[0])]
        if inner or not any(part in form.get("discriminator", {}).get("mapping", {}) for form in found):
            key.append(part)
            found = [form for one in inner for form in [one, *_forms(one, schema)]]
    return ".".join(key)


def told(key: str, text: str, schema: Schema) -> str:
    """What is wrong with a setting, and what it is for."""
    meant = next((form["description"] for form in _found(key, schema) if form.get("description")), "")
    return f"{key}: {text}" + (f" ({_one_line(meant)})" if meant else "")


def _found(key: str, schema: Schema) -> list[Schema]:
    """What the schema says of ``key``; nothing where it is no setting."""
    found: list[Schema] = [schema]
    for part in key.split("."):
        found = [inner for one in found for form in _forms(one, schema) for inner in _members(form, part)]
    return found


def _one_line(text: str) -> str:
    """A description without the breaks and the quotes of where it stands."""
    return " ".join(text.replace("``", "").replace("`", "").split())
