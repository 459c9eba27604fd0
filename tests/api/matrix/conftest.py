"""Fixtures: the districts are synced once a session into a database that each test gets a copy of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from hub.embedded.process import free_port
from tests.api.matrix.wire import Wire
from tests.api.matrix.world import Ids, World, own_and_others, prepare
from tests.api.oneroster.rosters import Hub, running
from tests.databases import copy_of, kept

#: Requests that are under way at a time: fewer than the places of one app and its queue.
WIDTH = 16


@dataclass
class Matrix:
    """A running hub over the districts, and a way to ask it much."""

    hub: Hub
    world: World
    wire: Wire
    ids: Mapping[str, Ids]  # by version
    routes: frozenset[tuple[str, str]]  # methods and paths, as the router has them


@pytest.fixture(scope="session")
def populated(postgres: str, template: str) -> Iterator[tuple[str, World]]:
    """The name of a database that is only ever copied, and what is in it."""
    with kept(postgres, template, "matrix") as database:
        yield database.name, asyncio.run(prepare(database.worker, database.service))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No line for each of many thousand requests."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Nobody looks for calls that block: what is asked here so often is asked under that guard by other tests."""


@pytest.fixture
async def matrix(postgres: str, populated: tuple[str, World], tmp_path: Path) -> AsyncIterator[Matrix]:
    """A server over a copy of the districts."""
    world, port, apis = populated[1], free_port(), list[web.Application]()
    options = {"base_url": f"http://127.0.0.1:{port}", "wrong_credentials_burst": 100_000, "data_dir": tmp_path,
               "webhook_allow": "127.0.0.0/8", "passback_allow": "127.0.0.0/8",
               "export_folder": tmp_path / "out"}  # fmt: skip
    async with (
        copy_of(postgres, populated[0]) as database,
        running(database, world, port=port, extend=apis.append, **options) as hub,
    ):
        wire = Wire(port, WIDTH)
        yield Matrix(hub, world, wire, await own_and_others(wire, world), _routes(apis[0]))


def _routes(api: web.Application) -> frozenset[tuple[str, str]]:
    """All that the router can find, inside of sub-applications too."""
    return frozenset(
        (route.method, route.resource.canonical)
        for resource in api.router.resources()
        for route in resource
        if route.resource is not None
    )
