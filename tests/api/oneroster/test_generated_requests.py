"""Requests that nobody would think of, generated from the services' own documents and sent to a running server.

No answer is a server error, has a status that is not declared, or a body that does not fit its declared shape.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from hub.api.oneroster.bindings import BINDINGS, Binding
from hub.api.oneroster.discovery import document
from hub.api.oneroster.scopes import SCOPES
from tests.api.oneroster.gradebooks import Shelf
from tests.api.oneroster.rosters import Hub, issue, running
from tests.databases import copy_of

#: Requests for each operation. More find nothing else, and 81 operations take their time.
EXAMPLES = 12
DESCRIBED = [binding for binding in BINDINGS if binding.documents]
OPERATIONS = [
    (b, method, path) for b in DESCRIBED for path, item in document(b, "", "")["paths"].items() for method in item
]


@dataclass(frozen=True)
class Live:
    """A server that runs in a thread of its own, since the generator waits for each answer."""

    hub: Hub
    token: str
    ids: dict[str, list[str]]


@pytest.fixture(scope="module")
def live(postgres: str, shelved: tuple[str, Shelf]) -> Iterator[Live]:
    loop = asyncio.new_event_loop()
    ready, done = threading.Event(), asyncio.Event()
    found: list[Live] = []

    async def serve() -> None:
        async with copy_of(postgres, shelved[0]) as database, running(database, shelved[1].prepared) as hub:
            token = await issue(hub.db, hub.prepared.clients["lms"][0], list(SCOPES))
            found.append(Live(hub, token, await _some_ids(hub)))
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(60)
    yield found[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(60)
    loop.close()


async def _some_ids(hub: Hub) -> dict[str, list[str]]:
    """Ids for the variables of paths: of living objects and a deleted one, and what is none."""
    async with hub.db.district(hub.prepared.here, readonly=True) as tx:
        tables = {
            "schoolSourcedId": "orgs WHERE type = 'school'", "classSourcedId": "classes", "courseSourcedId": "courses",
            "termSourcedId": "academic_sessions WHERE type = 'term'", "academicSessionSourcedId": "academic_sessions",
            "studentSourcedId": "users WHERE 'student' = ANY(roles_role)", "userSourcedId": "users",
            "teacherSourcedId": "users WHERE 'teacher' = ANY(roles_role)", "lineItemSourcedId": "line_items",
            "sourcedId": "users", "orgs": "orgs", "classes": "classes", "enrollments": "enrollments",
            "categories": "categories", "lineItems": "line_items", "results": "results", "scoreScales": "score_scales",
        }  # fmt: skip
        return {
            name: [row[0] for row in await tx.fetch(f"SELECT sourced_id::text FROM {table} ORDER BY rid LIMIT 2")]
            + ["01a217de-ba68-7000-a9c1-cb3eb005714c", "a/b@c", "%", "no such object"]
            for name, table in tables.items()
        }


def _with_ids(described: dict[str, Any], ids: dict[str, list[str]]) -> dict[str, Any]:
    """The document with values for the variables of its paths: random ones name nothing."""
    for path, item in described["paths"].items():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    known = ids.get(path.split("/")[1], []) if parameter["name"] == "sourcedId" else []
                    parameter["schema"] = {"enum": known or ids[parameter["name"]]}
    return described


@pytest.mark.threat("T43")
@pytest.mark.parametrize(
    ("binding", "method", "path"), OPERATIONS, ids=lambda v: v if isinstance(v, str) else v.service
)
def test_no_request_breaks_the_hub_or_its_own_description(live: Live, binding: Binding, method: str, path: str) -> None:
    import schemathesis  # noqa: PLC0415 - it takes a second, in each process that collects tests

    base = str(live.hub.session._base_url).rstrip("/") + binding.path.replace("{district}", str(live.hub.prepared.here))
    described = document(binding, "https://hub.example", base)
    schema = schemathesis.openapi.from_dict(_with_ids(described, live.ids))
    headers = {"Authorization": f"Bearer {live.token}"}
    sent = 0

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schema[path][method.upper()].as_strategy())
    def send(case: Any) -> None:
        nonlocal sent
        response = case.call(base_url=base, headers=headers)
        sent += 1
        case.validate_response(response, checks=(
            schemathesis.checks.not_a_server_error,
            *(schemathesis.checks.CHECKS.get_by_names([
                "status_code_conformance", "content_type_conformance", "response_schema_conformance",
                "response_headers_conformance",
            ])),
        ))  # fmt: skip

    send()
    assert sent >= 1
