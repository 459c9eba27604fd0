"""Reading records in blocks: whole rows whatever they hold, in the order of ids, now and as they were."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import polars as pl
import pytest

from hub.export import making, package, reading
from hub.export.sight import Shown
from hub.store import extract
from hub.store.extract import BETWEEN, Document, Wanted, Which
from tests.export.conftest import World
from tests.export.packages import make, rows, texts
from transforms.catalogue import CATALOGUE

USERS = CATALOGUE["users"]
RESULTS = CATALOGUE["results"]


async def frame(world: World, wanted: Wanted, which: Which = extract.ALL) -> pl.DataFrame:
    async with world.district.db.district(world.district.district_id, readonly=True) as tx:
        return pl.concat([wanted.parse(b).frame async for b in extract.blocks(tx, wanted, which)])


async def test_values_come_as_csv_writes_them(world: World) -> None:
    names = ("enabledUser", "roles", "userIds", "agents", "grades", "primaryOrg")
    wanted = Wanted(
        USERS, tuple(USERS[n] for n in names), ("house",), (("d", Document("doc_private", "userProfiles")),)
    )
    found = await frame(world, wanted)
    assert found["sourcedId"].is_sorted()
    by_name = {row["userIds.type"]: row for row in found.to_dicts()}
    ana = by_name[f"LDAP{BETWEEN}LTI"]
    assert (ana["enabledUser"], ana["userIds.identifier"], ana["grades"]) == ("true", f"ana{BETWEEN}4711", "09")
    assert ana["d"].startswith(",")
    assert sorted(found["metadata.house"].drop_nulls()) == ['Blue "B"']
    assert found["d"].null_count() == found.height - 1
    items = await frame(world, Wanted(CATALOGUE["lineItems"], (CATALOGUE["lineItems"]["dueDate"],)))
    assert sorted(items["dueDate"]) == ["2024-09-09", "2024-10-01"]


async def test_blocks_end_where_rows_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values may hold line breaks and quotes; blocks are cut at neither."""
    nasty = 'one\n"two",\r\nthree""\n'
    await world.execute("UPDATE results SET comment = $1", nasty)
    monkeypatch.setattr(extract, "BLOCK_BYTES", 1)
    wanted = Wanted(RESULTS, (RESULTS["comment"], RESULTS["score"]))
    async with world.district.db.district(world.district.district_id, readonly=True) as tx:
        blocks = [wanted.parse(block) async for block in extract.blocks(tx, wanted)]
    assert [value for block in blocks for value in block.frame["comment"]] == [nasty, nasty]
    assert all(block.broken and block.quoted for block in blocks)
    data, _ = await make(world.district, world.grant, "1.2")
    assert {row["comment"] for row in rows(data)["results"]} == {'one "two", three"" '}
    assert "\n" not in texts(data)["results"].replace("\r\n", "")


async def test_records_are_read_as_they_were(world: World) -> None:
    async with world.district.db.district(world.district.district_id) as tx:
        position = await tx.fetchval("SELECT position FROM districts")
        await tx.execute("UPDATE users SET given_name = 'Now'")
        await tx.execute(
            "INSERT INTO history (district_id, entity, rid, position, active, date_last_modified, doc, doc_private, "
            "was) SELECT district_id, 'users', rid, $1, true, now(), 'then', '', "
            "to_jsonb(u) || '{\"given_name\": \"Then\"}' FROM users u WHERE rid = 0", position + 1,
        )  # fmt: skip
        rids = [row["rid"] for row in await tx.fetch("SELECT rid FROM users")]
        assert await extract.past_is_kept(tx, position)
    wanted = Wanted(USERS, (USERS["givenName"],), (), (("d", Document("doc", "then")),))
    then = await frame(world, wanted, Which(rids, position))
    assert {row["rid"]: row["givenName"] for row in then.to_dicts()} == {0: "Then", 1: "Now", 2: "Now"}
    after = await frame(world, wanted, Which(rids, position + 1))
    assert set(after["givenName"]) == {"Now"}
    await world.execute("UPDATE history SET was = NULL")
    async with world.district.db.district(world.district.district_id) as tx:
        assert not await extract.past_is_kept(tx, position)
        with pytest.raises(reading.PastGoneError):
            await reading.Reader(tx, {}).records(wanted, Which(rids, position))


async def test_a_reader_that_stops_early_leaves_the_connection_usable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "BLOCK_BYTES", 1)
    wanted = Wanted(USERS, (USERS["givenName"],))
    async with (
        world.district.db.district(world.district.district_id, readonly=True) as tx,
        contextlib.aclosing(extract.blocks(tx, wanted)) as blocks,
    ):
        async for _ in blocks:
            break
    async with world.district.db.district(world.district.district_id, readonly=True) as tx:
        assert await tx.fetchval("SELECT count(*) FROM users") == 3
        with pytest.raises(Exception, match="no_such_column"):
            async for _ in extract._copied(tx, "SELECT no_such_column FROM users"):
                pass


async def test_whole_and_piecewise_reading_write_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = await make(world.district, world.grant, "1.2")
    monkeypatch.setattr(reading, "PIECE", 1)
    assert texts((await make(world.district, world.grant, "1.2"))[0]) == texts(expected)
    for module in (package, reading):
        monkeypatch.setattr(module, "FEW", 0)
    assert texts((await make(world.district, world.grant, "1.2"))[0]) == texts(expected)
    assert texts((await make(world.district, world.grant, "1.1"))[0]).keys() == {
        *(name for name, entity in CATALOGUE.files("1.1").items() if entity), "manifest",
    }  # fmt: skip


async def test_ids_that_an_app_knows_by_other_names_order_the_rows_and_lead_everywhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such names must not tell the order in which the hub's own were made."""

    async def names_of_users(*_: object) -> Shown:
        return {"users": backwards}

    def backwards(ids: pl.Series) -> pl.Series:
        return pl.Series([f"x-{text[::-1]}" for text in ids], dtype=pl.String)

    plain = rows((await make(world.district, world.grant, "1.2"))[0])
    monkeypatch.setattr(making, "_shown", names_of_users)
    shown = rows((await make(world.district, world.grant, "1.2"))[0])
    names = {row["sourcedId"]: f"x-{row['sourcedId'][::-1]}" for row in plain["users"]}
    ids = [row["sourcedId"] for row in shown["users"]]
    assert ids == sorted(names.values())
    assert {row["userSourcedId"] for row in shown["enrollments"]} <= set(ids)
    assert {row["sourcedId"] for row in shown["demographics"]} <= {row["sourcedId"] for row in plain["users"]} | set(
        ids
    )
    assert {row["studentSourcedId"] for row in shown["results"]} <= set(ids)
    assert {row["userSourcedId"] for row in shown["roles"]} == set(ids)
    agents = {a for row in shown["users"] for a in row["agentSourcedIds"].split(",") if a}
    assert agents <= set(ids)
    assert all(a["sourcedId"] < b["sourcedId"] for a, b in pairwise(shown["orgs"]))


async def test_settings_of_an_app_for_files(world: World) -> None:
    async with world.district.db.shared() as tx:
        await tx.execute(
            "UPDATE apps SET behaviour = $1",
            {"csv_empty_files": True, "csv_manifest": False, "extra_fields_in_metadata": True},
        )
    await world.execute("DELETE FROM results")
    data, made = await make(world.district, world.grant, "1.1")
    found = texts(data)
    assert "manifest" not in found
    assert "metadata.preferredFirstName" in found["users"].split("\r\n")[0]
    assert made.package.made.rows.keys() == found.keys()


async def test_every_person_of_several_roles_says_who_it_is(world: World) -> None:
    await world.execute(
        "UPDATE users SET roles_role = '{student,teacher}', roles_role_type = '{primary,secondary}', "
        "roles_begin_date = '{NULL,NULL}', roles_end_date = '{NULL,NULL}', roles_org_rids = '{1,1}' "
        "WHERE username = 'ana'"
    )
    people = rows((await make(world.district, world.grant, "1.1"))[0])["users"]
    (ana,) = {row["sourcedId"] for row in people if row["username"] == "ana" and not row["metadata.person"]}
    others = {row["sourcedId"]: row["metadata.person"] for row in people if row["metadata.person"]}
    assert others[f"{ana}.teacher"] == ana
    assert all(other.startswith(f"{person}.") for other, person in others.items())


async def test_extension_roles_stay_in_files_of_an_app_that_keeps_them(world: World) -> None:
    await world.execute(
        "UPDATE users SET roles_role = '{student,ext:tutor}', roles_role_type = '{primary,secondary}', "
        "roles_begin_date = '{NULL,NULL}', roles_end_date = '{NULL,NULL}', roles_org_rids = '{1,1}' "
        "WHERE username = 'ana'"
    )
    await world.execute("UPDATE enrollments SET role = 'ext:tutor' WHERE user_rid = (SELECT rid FROM users "
                        "WHERE username = 'ana')")  # fmt: skip
    for behaviour, role, suffix in (({}, "proctor", "aide"), ({"extension_role_as": "keep"}, "ext:tutor", "ext-tutor")):
        async with world.district.db.shared() as tx:
            await tx.execute("UPDATE apps SET behaviour = $1", behaviour)
        found = rows((await make(world.district, world.grant, "1.1"))[0])
        ((persona, shown),) = {(u["sourcedId"], u["role"]) for u in found["users"] if u["username"] == "ana"
                               and u["metadata.person"]}  # fmt: skip
        assert (persona.partition(".")[2], shown) == (suffix, "aide" if not behaviour else role)
        assert {e["role"] for e in found["enrollments"] if e["userSourcedId"] == persona} == {role}
