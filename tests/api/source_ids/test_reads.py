"""What an app with a source's ids reads is what another one reads with the hub's, but for the ids of that source."""

from __future__ import annotations

import orjson
import pytest

from hub.scope.personas import split
from hub.store.database import Transaction
from tests.api.pseudonyms.test_reads import OPERATORS, VERSIONS
from tests.api.pseudonyms.world import CANONICAL, PLAIN
from tests.api.source_ids.world import HR, ODD, SIS, Sourced
from transforms.catalogue import Version

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def world(read_world: Sourced) -> Sourced:
    """Nothing here is written."""
    return read_world


@pytest.mark.threat("T12", "T15")
async def test_every_read_is_the_same_but_for_the_ids_of_the_one_source(world: Sourced) -> None:
    """So nobody without them sees a source's ids, and who has those of one sees none of the other's."""
    asked, statuses = await world.questions(), set()
    known: dict[str, str] = dict.fromkeys((PLAIN, SIS, HR), "")
    for operation, path in asked:
        status, body, headers = await world.read(operation, PLAIN, path)
        known[PLAIN] += orjson.dumps(body).decode()
        for app in (SIS, HR):
            found = await world.read(operation, app, world.told(path, app))
            assert (found[0], found[1]) == (status, world.as_told(body, app)), (app, path)
            assert found[2].get("X-Total-Count") == headers.get("X-Total-Count")
            known[app] += orjson.dumps(found[1]).decode()
        statuses.add(status)
    assert 200 in statuses
    assert len({operation.name for operation, _ in asked}) > 60
    theirs, others = [f'"sourcedId":{orjson.dumps(key).decode()}' for key in (ODD["zoe"], "hr 1/@")]
    assert [[key in known[app] for key in (theirs, others)] for app in (PLAIN, SIS, HR)] == [
        [False, False], [True, False], [False, True],
    ]  # fmt: skip
    spoken = set(world.keys[SIS])
    assert spoken
    assert not spoken & set(CANONICAL.findall(known[SIS]))


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_hub_s_id_of_what_a_source_speaks_of_is_unknown(world: Sourced, version: Version) -> None:
    plain = await world.ids("users", version=version)
    for app in (SIS, HR):
        hidden = [one for one in plain if one in world.keys[app]]
        shown = [one for one in plain if CANONICAL.fullmatch(one) and one not in world.keys[app]]
        assert hidden
        assert shown
        for one in (hidden[0], hidden[-1]):
            assert (await world.book.get(f"/users/{one}", app=app, version=version, service="rostering"))[0] == 404
            assert await world.ids("users", app, version, filter=f"sourcedId='{one}'") == []
            assert await world.ids("enrollments", app, version, filter=f"user.sourcedId='{one}'") == []
        for one in (shown[0], shown[-1]):
            assert (await world.book.get(f"/users/{one}", app=app, version=version, service="rostering"))[0] == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sign", list(OPERATORS))
async def test_ids_are_compared_as_the_app_sees_them(world: Sourced, sign: str, version: Version) -> None:
    holds = OPERATORS[sign]
    for entity in ("users", "classes", "results"):
        everything = await world.ids(entity, SIS, version)
        for value in (ODD["zoe"], ODD["r2"], everything[0], everything[-1], "e", "zz"):
            found = await world.ids(entity, SIS, version, filter=f"sourcedId{sign}'{value}'")
            assert found == [one for one in everything if holds(one, value)], (entity, sign, value)
    pairs = (("enrollments", "user"), ("enrollments", "school"), ("classes", "course"), ("results", "student"))
    for entity, name in pairs:
        listed = [one for one in await world.listed(entity, SIS, version) if name in one]
        targets = sorted({one[name]["sourcedId"] for one in listed})
        for value in (targets[0], targets[-1], "a"):
            found = await world.ids(entity, SIS, version, filter=f"{name}.sourcedId{sign}'{value}'")
            expected = [one["sourcedId"] for one in listed if holds(one[name]["sourcedId"], value)]
            assert found == expected, (entity, name, sign, value)


@pytest.mark.parametrize("version", VERSIONS)
async def test_sorting_is_by_the_ids_that_the_app_sees(world: Sourced, version: Version) -> None:
    for direction in ("asc", "desc"):
        down = direction == "desc"
        for entity in ("users", "enrollments", "results"):
            shown = await world.ids(entity, SIS, version, sort="sourcedId", orderBy=direction)
            assert shown == sorted(shown, reverse=down)
            assert sorted(shown) == sorted(await world.ids(entity, SIS, version))
        listed = await world.listed("enrollments", SIS, version, sort="user.sourcedId", orderBy=direction)
        # Of a person's roles in 1.1 none comes before another there.
        targets = [split(one["user"]["sourcedId"])[0] for one in listed if "user" in one]
        assert len(targets) > 5
        assert targets == sorted(targets, reverse=down)


async def test_only_some_fields_and_over_all_districts(world: Sourced) -> None:
    """Two sources may call different people the same: where districts come together the hub's own ids stand."""
    for fields in ("identifier", "sourcedId", "sourcedId,parent", "name"):
        plain = await world.listed("orgs", fields=fields)
        assert await world.listed("orgs", SIS, fields=fields) == world.as_told(plain, SIS)
    for version in VERSIONS:
        _, plain, _ = await world.everywhere("/users?limit=100", PLAIN, version)
        status, body, _ = await world.everywhere("/users?limit=100", SIS, version)
        assert (status, body) == (200, plain)
        one = body["users"][0]["sourcedId"]
        assert (await world.everywhere(f"/users/{one}/classes", SIS, version))[0] == 200


async def test_a_page_costs_one_statement_more_and_only_who_has_such_ids(
    world: Sourced, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fetch = Transaction.fetch

    async def counted(self: Transaction, query: str, *values: object) -> object:
        asked.append(query)
        return await fetch(self, query, *values)

    monkeypatch.setattr(Transaction, "fetch", counted)
    counts = {}
    for app in (PLAIN, SIS):
        await world.listed("enrollments", app)
        asked.clear()
        await world.listed("enrollments", app)
        counts[app] = sum("shown_ids" in query for query in asked)
    assert counts == {PLAIN: 0, SIS: 1}
