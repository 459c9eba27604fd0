"""Kits: what districts install in their systems, for the kinds of sources that need it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError

from connectors.protocol import ConnectorError, Intent, Kit
from connectors.registry import connector


def kit_of(kind: str) -> Kit:
    """The kit of a kind of source. Raises ConnectorError (``unknown_kind``, ``broken_connector``, ``no_kit``)."""
    spec = connector(kind)
    if spec.kit is None:
        text = f"{spec.title} needs nothing installed in the district's system."
        raise ConnectorError("no_kit", text, intent=Intent.GIVE_UP)
    return spec.kit


def read_options(kind: str, given: Any) -> BaseModel:
    """The options among the members of an object, which may be a source's whole configuration.

    Raises ConnectorError as ``kit_of`` does and besides (``wrong_options``).
    """
    kit = kit_of(kind)
    known = set(kit.options.model_fields)
    if not isinstance(given, dict):
        raise ConnectorError("wrong_options", "The options must be a JSON object.", intent=Intent.GIVE_UP)
    others = set(given) - known - set(connector(kind).config_model.model_fields)
    if others:
        text = f"There is no option {min(others)}. There are: {', '.join(sorted(known))}."
        raise ConnectorError("wrong_options", text, intent=Intent.GIVE_UP)
    try:
        return kit.options.model_validate({name: value for name, value in given.items() if name in known})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConnectorError("wrong_options", f"{place}: {first['msg']}", intent=Intent.GIVE_UP) from None


def archive(kind: str, options: BaseModel, at: datetime) -> bytes:
    """The kit's bytes. Raises ConnectorError as ``kit_of`` does."""
    return kit_of(kind).make(options, at)
