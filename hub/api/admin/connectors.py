"""Connectors: the kinds of sources that this hub knows, with what a district enters for each."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from connectors.protocol import ConnectorError
from connectors.registry import connector, kinds
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Shown
from hub.api.admin.sources import files_named


class Connector(Shown):
    """One kind of source."""

    kind: str
    title: str = Field(description="What people call the system.")
    settings: dict[str, Any] = Field(description="JSON Schema of a source's `config`.")
    secrets: dict[str, str] = Field(description="The secrets that a source has, each with what it is.")
    places: list[str] = Field(description="Settings with which the secrets have to be entered anew.")
    files: list[str] = Field(description="Settings that name files of the hub's machine: an operator sets them.")
    problem: str | None = Field(default=None, description="Why sources of this kind cannot be opened; null: they can.")


class Connectors(Shown):
    """All kinds by name."""

    items: list[Connector]


async def listing(_call: Call) -> Connectors:
    """The kinds of this hub's own and those that other distributions bring."""
    return Connectors(items=await asyncio.to_thread(_known))


def _known() -> list[Connector]:
    return [_one(kind) for kind in kinds()]


def _one(kind: str) -> Connector:
    try:
        spec = connector(kind)
        settings = spec.config_model.model_json_schema()
    except ConnectorError as error:
        return Connector(kind=kind, title=kind, settings={}, secrets={}, places=[], files=[], problem=error.message)
    return Connector(
        kind=kind, title=spec.title, settings=settings, secrets=dict(spec.secrets), places=sorted(spec.places),
        files=files_named(spec),
    )  # fmt: skip


ROUTES = (Route("GET", "/connectors", listing, "The kinds of sources that there are", roles=STAFF, answer=Connectors),)
