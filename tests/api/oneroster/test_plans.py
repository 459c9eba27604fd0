"""Every hot statement finds its rows by an index, policies or not (T10).

The statements are those that requests lead to, as the API's own login, under its policies. Tables are small here, so
the planner is kept from reading them whole where it has a choice; what it then uses shows what it can use. It is told
how many rows they have, as a server's autovacuum does: of tables that nobody counted it takes any index.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest

from hub.store.database import Database as Pool
from hub.store.database import Transaction
from tests.api.oneroster.edits import edited
from tests.api.oneroster.rosters import Hub, land, running
from tests.api.oneroster.test_reads import links
from tests.api.oneroster.test_walks import follow
from tests.districts import sandbox
from tests.services import Database

Statement = tuple[str, tuple[object, ...]]
#: What a request reads, by table: the index, and a column that is looked up in it.
GATE = {"grants": ("grants_pkey", "grant_id"), "access_tokens": ("access_tokens_pkey", "token_hash")}
BY_ID = "sourced_id"


@pytest.fixture
async def counted(roster_database: Database) -> None:
    """The planner knows the tables that ``hub`` filled."""
    owner = await asyncpg.connect(roster_database.owner)
    await owner.execute("ANALYZE")
    await owner.close()


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch, *only: str) -> Iterator[list[Statement]]:
    """Writes down every statement with its values; ``only`` those that are asked in some ways."""
    found: list[Statement] = []

    def record(name: str) -> None:
        real = getattr(Transaction, name)

        async def wrapped(self: Transaction, query: str, *values: object) -> Any:
            found.append((query, (self.district_id, *values) if name == "alone" else values))
            return await real(self, query, *values)

        patch.setattr(Transaction, name, wrapped)

    with monkeypatch.context() as patch:
        for name in only or ("fetch", "fetchrow", "fetchval", "alone"):
            record(name)
        yield found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


async def used(pool: Pool, hub: Hub, statements: list[Statement]) -> dict[str, set[tuple[str, str]]]:
    """By table: the indexes that the plans of some statements use, each with what is looked up in it."""
    found: dict[str, set[tuple[str, str]]] = {}
    async with pool.district(hub.prepared.here, readonly=True) as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        for query, values in statements:
            plan = await tx.connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *values)
            indexes = {}
            for node in nodes(orjson.loads(plan)[0]["Plan"]):
                if node["Node Type"] == "Bitmap Index Scan":
                    of = "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = $1::text::regclass"
                    table = await tx.connection.fetchval(of, node["Index Name"])
                    indexes[table] = (node["Index Name"], node["Index Cond"])
                elif "Index Name" in node:
                    indexes[node["Relation Name"]] = (node["Index Name"], node.get("Index Cond", ""))
                elif node["Node Type"] == "Seq Scan":
                    indexes.setdefault(node["Relation Name"], ("none", ""))
            for table, index in indexes.items():
                found.setdefault(table, set()).add(index)
    return found


def looked_up(found: dict[str, set[tuple[str, str]]], table: str, index: str, column: str) -> bool:
    """Whether a table was asked through an index by a column of it."""
    return any(name == index and re.search(rf"\b{column}\b", condition) for name, condition in found[table])


@pytest.mark.threat("T10")
@pytest.mark.usefixtures("hub", "counted")
async def test_every_hot_statement_finds_its_rows_by_an_index(
    hub: Hub, roster_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = next(u for u in await hub.all("/users", filter="status='active'") if u.get("email") and u.get("identifier"))
    enrollment = (await hub.get("/enrollments", filter="status='active'", limit="1"))[1]["enrollments"][0]
    class_ = (await hub.get(f"/classes/{enrollment['class']['sourcedId']}"))[1]["class"]
    someone, group, course = user["sourcedId"], class_["sourcedId"], class_["course"]["sourcedId"]
    asked: list[tuple[str, dict[str, str], dict[str, tuple[str, str]]]] = [
        ("/users", {"limit": "5"}, {"users": ("users_pkey", "rid")}),
        (f"/users/{someone}", {}, {"users": ("users_district_id_sourced_id_key", BY_ID)}),
        ("/users", {"filter": f"email='{user['email']}'"}, {"users": ("users_email", "email_lower")}),
        ("/users", {"filter": f"username='{user['username']}'"}, {"users": ("users_username", "username_lower")}),
        ("/users", {"filter": f"identifier='{user['identifier']}'"}, {"users": ("users_identifier", "identifier")}),
        ("/users", {"filter": f"sourcedId='{someone}'"}, {"users": ("users_district_id_sourced_id_key", BY_ID)}),
        ("/enrollments", {"filter": f"class.sourcedId='{group}'"},
         {"classes": ("classes_district_id_sourced_id_key", BY_ID), "enrollments": ("enrollments_class", "class_rid")}),
        ("/enrollments", {"filter": f"user.sourcedId='{someone}' AND role='student'"},
         {"users": ("users_district_id_sourced_id_key", BY_ID), "enrollments": ("enrollments_user", "user_rid")}),
        (f"/classes/{group}/students", {},
         {"classes": ("classes_district_id_sourced_id_key", BY_ID), "enrollments": ("enrollments_class", "class_rid")}),
        (f"/users/{someone}/classes", {}, {"enrollments": ("enrollments_user", "user_rid")}),
        (f"/schools/{hub.prepared.school}/classes", {},
         {"orgs": ("orgs_district_id_sourced_id_key", BY_ID), "classes": ("classes_school", "school_rid")}),
        (f"/courses/{course}/classes", {}, {"classes": ("classes_course", "course_rid")}),
    ]  # fmt: skip
    pool = await Pool.open(roster_database.service, name="plans", largest=1)
    for path, query, wanted in asked:
        with recorded(monkeypatch) as statements:
            assert (await hub.get(path, **query))[0] == 200
        found = await used(pool, hub, statements)
        for table, (index, column) in {**wanted, **GATE}.items():
            assert looked_up(found, table, index, column), (path, query, found[table])
        assert not [table for table, indexes in found.items() if ("none", "") in indexes], found
    await pool.close()


@pytest.mark.threat("T10")
@pytest.mark.usefixtures("hub", "counted")
async def test_a_walk_finds_what_changed_behind_it_by_an_index(
    hub: Hub, roster_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, headers = await hub.get("/users", filter="familyName~'a'", sort="givenName", limit="3")
    frames = sandbox(100, 7).frames
    await land(hub, edited(frames, frames, Random(2), 20))
    pool = await Pool.open(roster_database.service, name="plans", largest=1)
    async with running(roster_database, hub.prepared) as other:
        with recorded(monkeypatch) as statements:
            assert (await follow(other, "lms", links(headers["Link"])["next"]))[0] == 200
        found = await used(pool, hub, statements)
    await pool.close()

    assert {name for name, _ in found["history"]} <= {"history_position", "history_pkey"}
    assert looked_up(found, "feed", "feed_pkey", "grant_id")


#: Settings under which a plan could read before it says its district, if anything let it.
OTHERWISE = (
    "RESET ALL",
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_nestloop = off; SET enable_material = off; SET enable_memoize = off",
    "SET enable_seqscan = off; SET enable_sort = off",
    "SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off",
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
    "SET from_collapse_limit = 1; SET join_collapse_limit = 1; SET geqo_threshold = 2",
)


@pytest.mark.threat("T1", "T9")
@pytest.mark.usefixtures("counted")
async def test_a_statement_by_itself_says_its_district_before_it_reads_however_it_is_planned(
    hub: Hub, roster_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recorded(monkeypatch, "alone") as statements:
        for path, query in (
            ("/users", {"limit": "5"}),
            ("/users", {"limit": "5", "fields": "givenName"}),
            ("/users", {"limit": "5", "sort": "givenName"}),
            ("/enrollments", {"limit": "1000"}),
            ("/users", {"limit": "5", "offset": "99999"}),
        ):
            assert (await hub.get(path, **query))[0] == 200
    kinds = ("SELECT r.*", "string_agg(r.record", "SELECT string_agg(t.sourced_id", "SELECT EXISTS")
    assert [kind for kind in kinds if not any(kind in query for query, _ in statements)] == []
    here, there = hub.prepared.here, hub.prepared.there
    pool = await asyncpg.create_pool(
        roster_database.service, min_size=1, max_size=1, server_settings={"search_path": "hub"}
    )
    for query, values in statements:
        # The policies alone keep the other district's records out, of which the same numbers are asked for.
        bare = query.replace("t.district_id = its.district::uuid", "its.district IS NOT NULL")
        right = str(await pool.fetch(query, *values))
        closed = str(await pool.fetch(query, there, *values[1:]))
        assert values[0] == here
        assert closed != right
        for settings in OTHERWISE:
            async with pool.acquire() as connection:
                await connection.execute(settings)
                for asked in (query, bare):
                    for _ in range(
                        7 if settings == "RESET ALL" else 2
                    ):  # the plan is the same for all from the sixth time on
                        assert str(await connection.fetch(asked, there, *values[1:])) == closed, (settings, asked)
                        assert str(await connection.fetch(asked, *values)) == right, (settings, asked)
                assert await connection.fetchval("SELECT current_setting('hub.district', true)") in {"", None}
                assert await connection.fetchval("SELECT count(*) FROM users") == 0
    await pool.close()
