"""A district at Clever through the hub: everything, events, a pause, and its move to a OneRoster server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.clever import SPEC
from tests.contract.test_clever import EVERYTHING, context
from tests.districts import District
from tests.fakes import oneroster_server
from tests.fakes.clever_district import district as at_clever
from tests.fakes.clever_district import key
from tests.fakes.clever_server import TOKEN, Server, running
from tests.sync.pulled import called, changed, made, pull
from tests.sync.test_delta import documents

#: References that lead to other objects, whose ids change with them.
_REFERENCES = ("sourcedId", "parentSourcedId", "orgSourcedId", "courseSourcedId", "schoolSourcedId", "termSourcedIds",
               "classSourcedId", "userSourcedId", "agentSourcedIds", "primaryOrgSourcedId")  # fmt: skip
LINKS = {"orgs": ["identifier", "name"], "academicSessions": ["title"], "courses": ["courseCode"],
         "classes": ["classCode"], "users": ["identifier", "username"], "enrollments": ["class"]}  # fmt: skip


@pytest.fixture
def clever() -> Iterator[Server]:
    with running(Server(at_clever())) as server:
        yield server


def settings(clever: Server) -> dict[str, Any]:
    return {"url": clever.url, "entities": list(EVERYTHING), "page_rows": 10}


async def test_a_district_at_clever_is_pulled_changed_and_frozen(district: District, clever: Server) -> None:
    source = await made(district, "clever", settings(clever), {"secret": TOKEN})
    first = await pull(district, source)
    assert (first.state, first.error_message) == ("applied", None)
    assert {name: counts["created"] for name, counts in first.counts.items()} == {
        "orgs": 3, "academicSessions": 3, "courses": 3, "classes": 4, "users": 37, "enrollments": 30,
        "demographics": 24,
    }  # fmt: skip
    assert not sum(counts["quarantined"] for counts in first.counts.values())
    assert await agents(district, source, key("1", 0)) == {key("6", 0)}

    # Nothing changed: two requests, and nothing is written.
    state, asked = await district.state(), len(clever.asked)
    assert (await pull(district, source)).state == "unchanged"
    assert len(clever.asked) - asked == 2
    assert await district.state() == state

    clever.put("users", key("1", 4), name={"first": "Zebulon", "last": "Last4"})
    clever.put("sections", key("8", 1), students=[key("1", 6), key("1", 20)])
    run = await pull(district, source)
    assert changed(run) == {"users": (0, 1, 0), "enrollments": (1, 0, 5)}
    assert '"givenName":"Zebulon"' in (await documents(district, "users"))[key("1", 4)][1]

    # Who pauses at Clever is frozen here: what Clever shows meanwhile, even of deletions, is not looked at.
    clever.district["state"] = "paused"
    for one in list(clever.objects["users"])[:10]:
        clever.drop("users", one)
    state, asked = await district.state(), len(clever.asked)
    run = await pull(district, source)
    assert (run.state, run.error_code) == ("failed", "source_failed")
    assert "district_paused" in str(run.error_message)
    assert (await district.state(), len(clever.asked) - asked) == (state, 1)


async def test_a_district_that_leaves_clever_for_oneroster_keeps_every_id(
    district: District, clever: Server, tmp_path: Path
) -> None:
    old = await made(district, "clever", settings(clever), {"secret": TOKEN})
    assert (await pull(district, old)).state == "applied"
    before = await called(district, old)
    assert len(before) == 3 + 3 + 3 + 4 + 37 + 30 + 24

    # The student system calls everything by ids of its own; numbers and codes are those that Clever had of it.
    package = (await SPEC.open(context(clever, tmp_path)).pull(None)).package
    files = {file: [_as_in_the_sis(row) for batch in package.batches(file) for row in batch.frame.to_dicts()]
             for file in package.mode}  # fmt: skip
    await asyncio.to_thread(package.close)
    with oneroster_server.running(oneroster_server.filled("1.2", files)) as sis:
        login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": oneroster_server.CLIENT}
        config = {"url": sis.url, "login": login, "entities": list(EVERYTHING), "page_rows": 100}
        new = await made(district, "oneroster_rest", config, {"client_secret": oneroster_server.SECRET}, LINKS)
        run = await pull(district, new)
        assert (run.state, run.error_message) == ("unchanged", None)
        assert not sum(counts["created"] for counts in run.counts.values()), run.counts
        left = await pull(district, old, kind="departure", task={"to": str(new)})
        assert (left.state, left.error_message) == ("applied", None)
        assert _plain(await called(district, new)) == before
        assert (await pull(district, new)).state == "unchanged"
        assert not await called(district, old)


async def agents(district: District, source: UUID, user: str) -> set[str]:
    """The keys of a user's agents."""
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            "SELECT a.key FROM users u JOIN source_records s USING (district_id, rid) JOIN source_records a "
            "ON a.district_id = u.district_id AND a.rid = ANY(u.agents_rids) AND a.entity = 'users' "
            "WHERE s.entity = 'users' AND s.key = $1 AND s.source_id = $2", user, source,
        )  # fmt: skip
    return {row["key"] for row in rows}


def _as_in_the_sis(row: dict[str, Any]) -> dict[str, Any]:
    """A row with other ids."""

    def other(value: str) -> str:
        return ",".join(f"sis-{one}" for one in value.split(","))

    return {name: other(value) if name in _REFERENCES and value else value for name, value in row.items()}


def _plain(ids: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    return {(entity, name.removeprefix("sis-")): id_ for (entity, name), id_ in ids.items()}
