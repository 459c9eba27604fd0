"""Answers of a running hub against the schemas of official documents."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import structlog

from hub.api.oneroster.bindings import Binding
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.scopes import READING
from hub.embedded import EmbeddedPostgres
from hub.settings import role_passwords
from hub.store.migrate import migrate
from tests.api.oneroster.rosters import Hub, issue, prepare, running
from tests.conformance.shapes import MEANT
from tests.services import MASTER_KEY, database_at

#: Objects of each kind that nested paths and single reads are tried with.
_TRIED = 3
_PAGE = "200"


async def answers_that_do_not_fit(documents: Mapping[Binding, Mapping[str, Any]]) -> tuple[int, list[str]]:
    """How many answers were compared, and what is wrong with which."""
    checked, wrong = 0, []
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with _hub() as hub:
        token = await issue(hub.db, hub.prepared.clients["lms"][0], list(READING))
        for binding, official in documents.items():
            for operation in binding.operations:
                schema = _schema(official, operation)
                for path in await _paths(hub, operation):
                    status, body = await _get(hub, token, binding.path + path)
                    checked += 1
                    if status != 200:
                        wrong.append(f"GET {operation.path}: {status}")
                        continue
                    wrong += [f"GET {operation.path}: {problem}" for problem in _problems(body, schema)]
    return checked, sorted(set(wrong))


@asynccontextmanager
async def _hub() -> AsyncIterator[Hub]:
    """A hub over two synced districts, on servers of its own."""
    with servers() as url:
        await migrate(url, passwords=role_passwords(MASTER_KEY))
        database = database_at(url)
        async with running(database, await prepare(database.worker)) as hub:
            yield hub


@contextmanager
def servers() -> Iterator[str]:
    """A PostgreSQL of its own; its address."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-conformance-") as folder:
        Path(folder).chmod(0o711)  # an unprivileged account runs the server
        with EmbeddedPostgres(Path(folder) / "postgres") as server:
            yield server.url()


async def _get(hub: Hub, token: str, path: str) -> tuple[int, Any]:
    address = path.replace("{district}", str(hub.prepared.here))
    async with hub.session.get(address, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status, await response.json()


async def _paths(hub: Hub, operation: Operation) -> list[str]:
    """Addresses of the operation: with a page of active objects, and with some of them by their ids."""
    if not operation.variables:
        return [f"{operation.path}?limit={_PAGE}&filter=status%3D%27active%27"]
    kept = []
    for ids in await _ids(hub, operation):
        path = operation.path
        for variable, value in zip(operation.variables, ids, strict=True):
            path = path.replace("{" + variable + "}", value)
        kept.append(path if operation.single else f"{path}?limit={_PAGE}")
    return kept


async def _ids(hub: Hub, operation: Operation) -> list[tuple[str, ...]]:
    async with hub.db.district(hub.prepared.here, readonly=True) as tx:
        if operation.single:
            return await _of(tx, operation.entity.table, operation.subset.field if operation.subset else None,
                             operation.subset.token if operation.subset else None)  # fmt: skip
        first = operation.parents[0]
        subset = first.subset
        found = await _of(tx, _table(first.entity), subset.field if subset else None, subset.token if subset else None)
        if len(operation.parents) == 1:
            return found
        second = operation.parents[1]
        if second.within is None:
            rows = await tx.fetch(
                "SELECT c.sourced_id::text, u.sourced_id::text FROM enrollments e "
                "JOIN classes c ON c.district_id = e.district_id AND c.rid = e.class_rid "
                "JOIN users u ON u.district_id = e.district_id AND u.rid = e.user_rid "
                "WHERE e.active AND e.role = 'student' ORDER BY e.rid LIMIT $1", _TRIED,
            )  # fmt: skip
        else:
            rows = await tx.fetch(
                f"SELECT a.sourced_id::text, b.sourced_id::text FROM {_table(second.entity)} b "
                f"JOIN {_table(first.entity)} a ON a.district_id = b.district_id AND a.rid = b.{second.within}_rid "
                "WHERE a.active AND b.active ORDER BY b.rid LIMIT $1", _TRIED,
            )  # fmt: skip
        return [tuple(row) for row in rows]


async def _of(tx: Any, table: str, field: str | None, token: str | None) -> list[tuple[str, ...]]:
    condition = "true"
    if field == "roles":
        condition = "$2::text = ANY(roles_role)"
    elif field is not None:
        condition = f'"{field}" = $2::text'
    values = [_TRIED] if token is None else [_TRIED, token]
    rows = await tx.fetch(
        f"SELECT sourced_id::text FROM {table} WHERE active AND {condition} ORDER BY rid LIMIT $1", *values
    )
    return [tuple(row) for row in rows]


def _table(entity: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in entity)


def _schema(official: Mapping[str, Any], operation: Operation) -> dict[str, Any]:
    """The official schema of an answer, with the components that it refers to."""
    content = official["paths"][operation.path]["get"]["responses"]["200"]["content"]
    return {"components": official["components"], **content["application/json"]["schema"]}


def _problems(body: Any, schema: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    found = []
    for error in validator.iter_errors(body):
        place = "".join(f".{part}" if isinstance(part, str) else "[]" for part in error.absolute_path)
        if not any(place.endswith(end) for end in MEANT):
            found.append(f"{place} {error.validator}")  # the message would hold the value
    return found
