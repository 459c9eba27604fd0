"""Districts cannot see each other: proven on PostgreSQL's own catalogue and on a pool of one connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from hub.errors import Code, HubError
from hub.settings import role_passwords, role_url
from hub.store import districts, drops, sources
from hub.store.database import ITS_DISTRICT, Transaction
from hub.store.database import Database as Pool
from hub.store.migrate import check, migrate
from hub.store.schema import SHARED_TABLES, STAGING_PREFIX, table_columns, value_columns
from tests.services import MASTER_KEY, Database
from transforms.catalogue import CATALOGUE


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    yield connection
    await connection.close()


@pytest.fixture
async def pool_of_one(database: Database) -> AsyncIterator[Pool]:
    pool = await Pool.open(database.service, name="test", largest=1)
    yield pool
    await pool.close()


async def tables(owner: asyncpg.Connection) -> dict[str, asyncpg.Record]:
    rows = await owner.fetch(
        "SELECT relname, relrowsecurity, relforcerowsecurity, relpersistence::text AS kept, relacl::text AS acl "
        "FROM pg_class "
        "WHERE relnamespace = 'hub'::regnamespace AND relkind IN ('r', 'p')"
    )
    return {row["relname"]: row for row in rows}


@pytest.mark.threat("T1")
async def test_every_table_of_a_district_forces_row_level_security(owner: asyncpg.Connection) -> None:
    found = await tables(owner)
    assert len(found) > 30
    for name, row in found.items():
        if name in SHARED_TABLES or name.startswith(STAGING_PREFIX):
            assert not row["relrowsecurity"], name
            continue
        assert row["relrowsecurity"], name
        assert row["relforcerowsecurity"], name
        policies = await owner.fetch(
            "SELECT cmd, qual, with_check FROM pg_policies WHERE schemaname = 'hub' AND tablename = $1", name
        )
        whole = [p for p in policies if p["cmd"] == "ALL"]
        assert len(whole) == 1, name
        assert "hub.district" in whole[0]["qual"], name
        assert "hub.district" in whole[0]["with_check"], name


@pytest.mark.threat("T1")
async def test_nothing_is_granted_to_public_and_staging_to_the_worker_alone(owner: asyncpg.Connection) -> None:
    for name, row in (await tables(owner)).items():
        grantees = {item.split("=")[0] for item in (row["acl"] or "{}").strip("{}").split(",") if item}
        assert "" not in grantees, name
        if name.startswith(STAGING_PREFIX):
            assert grantees == {"hub_owner", "hub_worker"}, name
            assert row["kept"] == "u", name


@pytest.mark.threat("T1")
async def test_policies_for_other_districts_reach_the_queues_only(owner: asyncpg.Connection) -> None:
    wide = await owner.fetch(
        "SELECT tablename, cmd, roles::text[] FROM pg_policies WHERE schemaname = 'hub' AND cmd <> 'ALL'"
    )
    assert {(r["tablename"], r["cmd"], tuple(r["roles"])) for r in wide} == {
        # Of an agreement of two districts: its terms for the other end, and for functions that nobody logs in as.
        ("agreements", "SELECT", ("hub_owner", "hub_service")),
        ("agreements", "UPDATE", ("hub_service", "hub_worker")),
        ("agreements", "SELECT", ("hub_worker",)),
        ("agreement_sides", "SELECT", ("hub_worker",)),
        ("agreement_sides", "SELECT", ("hub_owner",)),
        ("agreement_tokens", "SELECT", ("hub_owner",)),
        ("agreement_tokens", "DELETE", ("hub_owner",)),
        *(("agreement_findings", does, ("hub_owner",)) for does in ("SELECT", "INSERT", "UPDATE", "DELETE")),
        ("attempts", "INSERT", ("hub_worker",)),  # of the districts that a relay names
        ("audit", "INSERT", ("hub_owner",)),
        *(("batches", does, ("hub_worker",)) for does in ("SELECT", "INSERT", "UPDATE")),  # as attempts
        ("districts", "SELECT", ("hub_service", "hub_worker")),
        ("export_schedules", "SELECT", ("hub_worker",)),
        ("data_keys", "SELECT", ("hub_service", "hub_worker")),  # the hub's own
        ("drops", "SELECT", ("hub_service",)),  # the one whose name somebody knows
        ("exports", "SELECT", ("hub_worker",)),
        ("exports", "UPDATE", ("hub_worker",)),
        ("feed", "SELECT", ("hub_worker",)),  # where it says that it watches, for metrics
        ("grade_targets", "SELECT", ("hub_worker",)),
        ("grade_targets", "UPDATE", ("hub_worker",)),
        ("grants", "SELECT", ("hub_service",)),  # an app's own
        ("grants", "SELECT", ("hub_worker",)),  # as the feed, and as attempts
        ("notices", "INSERT", ("hub_service", "hub_worker")),  # to an app's recipients, of one's own district
        ("notices", "SELECT", ("hub_worker",)),
        ("parked", "SELECT", ("hub_worker",)),  # as the feed
        ("recipients", "SELECT", ("hub_service",)),  # of apps with a grant in one's own district
        ("recipients", "SELECT", ("hub_worker",)),
        ("recipients", "UPDATE", ("hub_worker",)),
        ("runs", "SELECT", ("hub_worker",)),
        ("runs", "UPDATE", ("hub_worker",)),
        ("source_hints", "SELECT", ("hub_worker",)),
        ("source_schedules", "SELECT", ("hub_worker",)),
        ("subscriptions", "SELECT", ("hub_worker",)),
        ("subscriptions", "UPDATE", ("hub_worker",)),
    }


@pytest.mark.threat("T1")
async def test_functions_that_see_two_districts_are_known_and_nobodys(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch(
        "SELECT proname, prosecdef, proconfig, proacl::text AS acl, pg_get_userbyid(proowner) AS owner FROM pg_proc "
        "WHERE pronamespace = 'hub'::regnamespace"
    )
    found = {row["proname"]: row for row in rows if row["prosecdef"]}
    assert set(found) == {
        "agreement_settle", "agreement_clear", "agreement_anew", "agreement_tell", "agreement_told",
    }  # fmt: skip
    for name, row in found.items():
        assert row["owner"] == "hub_owner", name
        # Without it the comparison of tokens that were written just now takes a time with their square.
        plans = ["enable_nestloop=off"] if name == "agreement_settle" else []
        assert row["proconfig"] == ["search_path=hub, pg_temp", *plans], name
        grantees = {item.split("=")[0] for item in row["acl"].strip("{}").split(",")}
        assert grantees <= {"hub_owner", "hub_service", "hub_worker"}, name


@pytest.mark.threat("T6")
async def test_every_key_and_foreign_key_of_a_district_begins_with_it(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch(
        "SELECT c.conname, t.relname, c.contype::text AS kind, a.attname AS first, f.relname AS target "
        "FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid "
        "JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] "
        "LEFT JOIN pg_class f ON f.oid = c.confrelid "
        "WHERE c.connamespace = 'hub'::regnamespace AND c.contype IN ('p', 'u', 'f')"
    )
    checked = 0
    for row in rows:
        if row["relname"] in SHARED_TABLES:
            continue
        checked += 1
        assert row["first"] == "district_id", row
        if row["kind"] == "f":
            assert row["target"] not in SHARED_TABLES, row
    assert checked > 30
    indexes = await owner.fetch(
        "SELECT i.relname, t.relname AS table, a.attname AS first FROM pg_index x "
        "JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid "
        "LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0] "
        "WHERE t.relnamespace = 'hub'::regnamespace AND x.indisunique"
    )
    assert all(r["first"] == "district_id" for r in indexes if r["table"] not in SHARED_TABLES)


@pytest.mark.threat("T6")
async def test_a_clash_with_another_districts_key_cannot_happen(database: Database) -> None:
    pool = await Pool.open(database.service, name="test", largest=2)
    one, two, source = uuid4(), uuid4(), uuid4()
    for district in (one, two):
        async with pool.district(district) as tx:
            await districts.create(tx, "d")
            await sources.create(tx, source, name="same id", kind="oneroster_csv", config={})
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with pool.district(one) as tx:
            await tx.execute(
                "INSERT INTO uploads (district_id, upload_id, source_id, filename) VALUES ($1, $2, $3, 'x')",
                one, uuid4(), uuid4(),
            )  # fmt: skip
    await pool.close()


@pytest.mark.threat("T8")
async def test_there_are_no_views_of_district_data(owner: asyncpg.Connection) -> None:
    assert (
        await owner.fetchval(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'hub'::regnamespace AND relkind IN ('v', 'm')"
        )
        == 0
    )


async def test_tables_have_the_columns_that_the_catalogue_says(owner: asyncpg.Connection) -> None:
    for entity in CATALOGUE.entities:
        rows = await owner.fetch(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a "
            "WHERE a.attrelid = ('hub.' || $1)::regclass AND a.attnum > 0 AND NOT a.attisdropped "
            "AND a.attgenerated = ''",
            entity.table,
        )
        found = {row["attname"]: row["type"] for row in rows}
        assert set(found) == set(table_columns(entity)), entity.name
        assert {c: found[c] for c in value_columns(entity)} == value_columns(entity), entity.name


async def test_sources_can_speak_of_every_entity(owner: asyncpg.Connection) -> None:
    rows = await owner.fetch(
        "SELECT enumlabel FROM pg_enum WHERE enumtypid = 'hub.entity_name'::regtype ORDER BY enumsortorder"
    )
    assert {row["enumlabel"] for row in rows} == {entity.name for entity in CATALOGUE.entities}


async def test_each_run_finds_its_staged_rows_by_an_index(owner: asyncpg.Connection) -> None:
    for entity in CATALOGUE.entities:
        keys = await owner.fetch(
            "SELECT pg_get_indexdef(indexrelid) AS text FROM pg_index WHERE indrelid = ('hub.' || $1)::regclass",
            STAGING_PREFIX + entity.table,
        )
        assert any(row["text"].endswith("(run_id, rid)") for row in keys), entity.name


@pytest.mark.threat("T1")
async def test_a_login_that_is_too_strong_is_refused(database: Database) -> None:
    with pytest.raises(HubError) as refused:
        await check(database.owner)
    assert refused.value.code is Code.ROLE_TOO_STRONG
    await check(database.service)
    await check(database.worker)


async def test_migrating_again_applies_nothing(database: Database) -> None:
    assert await migrate(database.owner, passwords=role_passwords(MASTER_KEY)) == []


async def names(tx: Transaction) -> list[str]:
    return [row["name"] for row in await tx.fetch("SELECT name FROM sources")]


async def two_districts(pool: Pool) -> tuple[UUID, UUID]:
    pair = uuid4(), uuid4()
    for number, district in enumerate(pair):
        async with pool.district(district) as tx:
            await districts.create(tx, f"district {number}")
            await sources.create(tx, uuid4(), name=f"of {district}", kind="oneroster_csv", config={})
    return pair


@pytest.mark.threat("T2", "T3")
async def test_outside_a_district_there_are_no_rows_and_no_errors(pool_of_one: Pool) -> None:
    one, _ = await two_districts(pool_of_one)
    async with pool_of_one.shared() as tx:
        assert await names(tx) == []
    async with pool_of_one.district(one) as tx:
        assert await names(tx) == [f"of {one}"]
    async with pool_of_one.shared() as tx:  # the setting reads back as '' now
        assert await names(tx) == []
        assert await tx.fetchval("SELECT current_setting('hub.district', true)") in ("", None)


@pytest.mark.threat("T3", "T5")
async def test_a_district_cannot_be_opened_inside_another(pool_of_one: Pool) -> None:
    one, two = await two_districts(pool_of_one)
    async with pool_of_one.district(one) as tx:
        with pytest.raises(HubError) as refused:
            async with pool_of_one.district(two):
                pass
        assert refused.value.code is Code.DISTRICT_MISMATCH
        assert await names(tx) == [f"of {one}"]


@pytest.mark.threat("T3")
@pytest.mark.parametrize("readonly", [True, False])
async def test_nothing_of_a_session_is_left_by_a_transaction(pool_of_one: Pool, readonly: bool) -> None:
    one, _ = await two_districts(pool_of_one)
    async with pool_of_one.district(one, readonly=readonly) as tx:
        await tx.execute("SET application_name = 'changed'")
        await tx.fetchval("SELECT pg_advisory_lock(1)")
        await tx.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
    async with pool_of_one.shared() as tx:
        assert await tx.fetchval("SHOW application_name") == "test"
        assert (
            await tx.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            == 0
        )
        assert await tx.fetchval("SELECT count(*) FROM pg_cursors WHERE name = 'held'") == 0


@pytest.mark.threat("T4", "F23")
async def test_ten_thousand_interleavings_on_one_connection_never_mix_districts(pool_of_one: Pool) -> None:
    pair = await two_districts(pool_of_one)
    choose = random.Random(4)

    async def borrow(district: UUID, fate: float) -> None:
        async with pool_of_one.district(district, wait_seconds=60) as tx:
            assert await names(tx) == [f"of {district}"]
            if fate < 0.1:
                await tx.execute("SELECT 1/0")
            if fate < 0.2:
                raise RuntimeError
            if fate < 0.25:
                await tx.execute("SELECT pg_sleep(0.01)")

    for _ in range(200):
        tasks = [asyncio.create_task(borrow(choose.choice(pair), choose.random())) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            if choose.random() < 0.1:
                task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert not isinstance(result, AssertionError), result
            assert result is None or isinstance(
                result, (RuntimeError, asyncpg.DivisionByZeroError, asyncio.CancelledError)
            ), result
    async with pool_of_one.shared(wait_seconds=10) as tx:
        assert await names(tx) == []


@pytest.mark.threat("T3", "T4", "T9")
async def test_a_statement_by_itself_sees_its_district_alone_and_leaves_none_behind(pool_of_one: Pool) -> None:
    pair = await two_districts(pool_of_one)
    # Which district is asked for by nothing but the policy.
    query = f"SELECT s.name FROM {ITS_DISTRICT} CROSS JOIN LATERAL (SELECT name FROM sources WHERE its IS NOT NULL) s"
    for _ in range(10):  # the plan is the same for all of them from the sixth time on
        for district in pair:
            async with pool_of_one.reading(district) as tx:
                assert [row[0] for row in await tx.alone(query)] == [f"of {district}"]
                assert not tx.begun
                with pytest.raises(RuntimeError):
                    _ = tx.connection
            async with pool_of_one.shared() as tx:
                assert await names(tx) == []
    async with pool_of_one.reading(pair[0]) as tx:
        assert await names(tx) == [f"of {pair[0]}"]  # this one begins a transaction
        assert [row[0] for row in await tx.alone(query)] == [f"of {pair[0]}"]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await tx.execute("DELETE FROM sources")
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with pool_of_one.reading(pair[1]) as tx:
            await tx.alone(f"SELECT 1 / 0 FROM {ITS_DISTRICT}")
    async with pool_of_one.shared() as tx:
        assert await names(tx) == []

    async def slowly() -> None:
        async with pool_of_one.reading(pair[1]) as tx:
            running.set()
            await tx.alone(f"SELECT pg_sleep(60) FROM {ITS_DISTRICT}")

    running = asyncio.Event()
    left = asyncio.create_task(slowly())
    await running.wait()
    await asyncio.sleep(0.1)  # in the middle of it
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    async with pool_of_one.shared() as tx:
        assert await names(tx) == []
        assert not await tx.fetchval("SELECT current_setting('hub.district', true)")


@pytest.mark.threat("T9")
async def test_prepared_statements_follow_the_district(pool_of_one: Pool) -> None:
    pair = await two_districts(pool_of_one)
    for _ in range(20):
        for district in pair:
            async with pool_of_one.district(district) as tx:
                assert await names(tx) == [f"of {district}"]


@pytest.mark.threat("T7")
async def test_copy_into_a_districts_table_is_refused(database: Database) -> None:
    pool = await Pool.open(database.worker, name="test")
    with pytest.raises(asyncpg.FeatureNotSupportedError):
        async with pool.district(uuid4()) as tx:
            await tx.connection.copy_records_to_table(
                "users", schema_name="hub", records=[(uuid4(), 1)], columns=["district_id", "rid"]
            )
    await pool.close()


@pytest.mark.threat("T10")
async def test_a_page_under_row_level_security_uses_the_key(database: Database) -> None:
    """Of a table that is big enough to choose: with an empty one each version of PostgreSQL takes what it likes."""
    owner = await asyncpg.connect(database.owner)
    for district in (uuid4(), uuid4()):
        await owner.execute(
            "INSERT INTO hub.users (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
            "SELECT $1, rid, gen_random_uuid(), true, now(), '', '' FROM generate_series(1, 2000) rid",
            district,
        )
    await owner.execute("ANALYZE hub.users")
    await owner.close()
    pool = await Pool.open(database.service, name="test")
    async with pool.district(district) as tx:
        plan = await tx.fetch(
            "EXPLAIN SELECT rid, doc FROM users WHERE district_id = $1 AND rid = ANY($2::int[])",
            tx.district_id,
            [1, 2, 3],
        )
    text = "\n".join(row[0] for row in plan)
    assert "users_pkey" in text
    await pool.close()


@pytest.mark.threat("T55")
async def test_support_reads_no_roster_and_no_secret(database: Database) -> None:
    support = await asyncpg.connect(database.support, server_settings={"search_path": "hub"})
    for table in (
        "users",
        "demographics",
        "enrollments",
        "history",
        "upload_parts",
        "source_records",
        "clients",
        "access_tokens",
        "oauth1_nonces",
        "client_assertions",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await support.fetch(f"SELECT * FROM {table}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await support.fetch("SELECT secret FROM subscriptions")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await support.fetch("SELECT excerpt FROM attempts")
    await support.fetch("SELECT error_class, remote_ip FROM attempts")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await support.fetch("UPDATE runs SET state = 'queued'")
    await support.close()


async def test_a_login_that_is_not_there_yet_is_told_to_migrate(database: Database) -> None:
    wrong = role_url(database.owner, "hub_service", "not the password")
    with pytest.raises(HubError) as refused:
        await check(wrong)
    assert refused.value.code is Code.SCHEMA_OUTDATED
    assert "hub migrate" in refused.value.message


@pytest.mark.threat("T1", "T21")
async def test_a_drop_is_seen_by_its_name_alone(database: Database) -> None:
    pool = await Pool.open(database.service, name="test drops", largest=1)
    names = [drops.new_username() for _ in range(2)]
    for name in names:
        district, source = uuid4(), uuid4()
        async with pool.district(district) as tx:
            await districts.create(tx, name)
            await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
            await drops.create(tx, source, username=name, password_hash=None, public_keys=[])
    async with pool.drop(names[0]) as tx:
        assert [row["username"] for row in await tx.fetch("SELECT username FROM drops")] == [names[0]]
        assert await tx.fetchval("SELECT count(*) FROM sources") == 0
    async with pool.shared() as tx:
        assert await tx.fetchval("SELECT count(*) FROM drops") == 0
    for bad in ("x' OR true --", "drop-ä", ""):
        assert await drops.find(pool, bad) is None
    with pytest.raises(ValueError, match="plain"):
        async with pool.drop("x'; --"):
            pass
    await pool.close()
