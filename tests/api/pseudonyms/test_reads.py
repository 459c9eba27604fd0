"""What an app with pseudonyms reads is what another one reads with the hub's ids, but for the ids and their order."""

from __future__ import annotations

import operator
from collections.abc import Callable

import orjson
import pytest

from hub import ids
from hub.scope.pseudonyms import is_pseudonym
from tests.api.oneroster.rosters import Prepared
from tests.api.oneroster.test_reads import links
from tests.api.oneroster_v1p1.school import package
from tests.api.pseudonyms.world import BLUE, CANONICAL, ID, PLAIN, RED, World, in_order, opened, pseudonyms
from tests.services import Database
from transforms.catalogue import CATALOGUE, Version

VERSIONS: tuple[Version, ...] = ("1.1", "1.2")
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "~": lambda shown, value: value.lower() in shown.lower(),
}  # fmt: skip
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def world(read_world: World) -> World:
    """Nothing here is written, but by the test of a walk, which has a server of its own."""
    return read_world


async def test_every_read_is_the_same_but_for_the_ids(world: World) -> None:
    asked = await world.questions()
    statuses = set()
    for operation, path in asked:
        status, body, headers = await world.read(operation, PLAIN, path)
        found = await world.read(operation, BLUE, world.told(path, BLUE))
        expected = orjson.loads(world.told(orjson.dumps(body).decode(), BLUE))
        assert (found[0], in_order(found[1])) == (status, in_order(expected)), path
        assert found[2].get("X-Total-Count") == headers.get("X-Total-Count")
        statuses.add(status)
    assert 200 in statuses
    assert len({operation.name for operation, _ in asked}) > 60


async def test_two_apps_have_no_id_in_common_and_none_of_the_hub(world: World) -> None:
    found: dict[str, set[str]] = {BLUE: set(), RED: set()}
    for operation, path in await world.questions():
        for app, known in found.items():
            _, body, headers = await world.read(operation, app, world.told(path, app))
            text = orjson.dumps(body).decode() + " ".join(
                f"{n}: {v}" for n, v in headers.items() if n != "X-Request-ID"
            )
            known.update(ID.findall(text))
    district = str(world.book.district_id)
    assert found[BLUE] & found[RED] == {district}
    for known in found.values():
        assert len(known) > 30
        assert all(map(is_pseudonym, known - {district}))


async def test_collections_are_in_the_order_of_the_app_s_own_ids(world: World) -> None:
    """By the hub's order, two apps would know which of their records are the same."""
    orders = {}
    for app in (BLUE, RED):
        for version in VERSIONS:
            for entity in CATALOGUE.entities:
                if version in entity.versions:
                    shown = await world.ids(entity.name, app, version)
                    assert shown == sorted(shown)
        orders[app] = pseudonyms(world, app).canonical(await world.ids("users", app))
    assert sorted(orders[BLUE]) == sorted(orders[RED])
    assert orders[BLUE] != orders[RED]


@pytest.mark.parametrize("query", ["status", "dateLastModified", "givenName", "enabledUser", "username"])
async def test_equal_records_are_in_the_order_of_the_app_s_own_ids(world: World, query: str) -> None:
    for direction in ("asc", "desc"):
        shown = await world.listed("users", BLUE, sort=query, orderBy=direction)
        plain = [one.get(query, "") for one in await world.listed("users", PLAIN, sort=query, orderBy=direction)]
        assert [one.get(query, "") for one in shown] == plain
        keys = [(plain.index(one.get(query, "")), one["sourcedId"]) for one in shown]
        assert keys == sorted(keys)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("sign", list(OPERATORS))
async def test_ids_are_compared_as_the_app_sees_them(world: World, sign: str, version: Version) -> None:
    holds = OPERATORS[sign]
    for entity in ("users", "classes", "results"):
        shown = await world.ids(entity, BLUE, version, filter="status!='x'")
        for value in (shown[1], shown[-1], shown[0][2:9], "8", "", "zz"):
            found = await world.ids(entity, BLUE, version, filter=f"sourcedId{sign}'{value}'")
            everything = await world.ids(entity, BLUE, version)
            expected = [one for one in shown if holds(one, value)]
            # Tombstones of the gradebook show to who asks for them alone.
            assert found == [one for one in expected if one in everything], (entity, sign, value)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("sign", list(OPERATORS))
async def test_references_are_compared_as_the_app_sees_them(world: World, sign: str, version: Version) -> None:
    pairs = (("enrollments", "user"), ("enrollments", "school"), ("classes", "course"), ("users", "agents"))
    for entity, field in pairs:
        listed = await world.listed(entity, BLUE, version)
        targets = sorted({one["sourcedId"] for each in listed for one in _references(each, field)})
        for value in (targets[0], targets[-1], targets[0][3:8]):
            found = await world.ids(entity, BLUE, version, filter=f"{field}.sourcedId{sign}'{value}'")
            expected = [
                each["sourcedId"]
                for each in listed
                if any(OPERATORS[sign](one["sourcedId"], value) for one in _references(each, field))
            ]
            assert found == expected, (entity, field, sign, value)


def _references(one: dict[str, object], field: str) -> list[dict[str, str]]:
    value = one.get(field, [])
    return value if isinstance(value, list) else [value]  # type: ignore[list-item]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_sorting_by_ids_is_by_those_that_the_app_sees(world: World, version: Version) -> None:
    for direction in ("asc", "desc"):
        shown = await world.ids("users", BLUE, version, sort="sourcedId", orderBy=direction)
        assert shown == sorted(shown, reverse=direction == "desc")
        assert set(shown) == set(await world.ids("users", BLUE, version))


@pytest.mark.parametrize(
    ("version", "entity", "path"),
    [("1.2", "users", "primaryOrg"), ("1.2", "enrollments", "user"), ("1.1", "enrollments", "class"),
     ("1.1", "lineItems", "gradingPeriod"), ("1.1", "results", "student"), ("1.2", "courses", "org")],
)  # fmt: skip
async def test_sorting_by_references_is_by_what_the_app_sees(
    world: World, version: Version, entity: str, path: str
) -> None:
    field = path.partition(".")[0]
    for descending in (False, True):
        direction = "desc" if descending else "asc"
        shown = await world.listed(entity, BLUE, version, sort=f"{path}.sourcedId", orderBy=direction)
        keyed = [(one[field]["sourcedId"].partition(".")[0], one["sourcedId"]) for one in shown if field in one]
        expected = sorted(keyed, key=lambda pair: pair[1])
        assert keyed == sorted(expected, key=lambda pair: pair[0], reverse=descending)
        assert len({target for target, _ in keyed}) > (0 if entity in {"courses", "lineItems"} else 1)


async def test_a_name_that_is_an_id_is_found_by_it(world: World) -> None:
    """Of who has neither a name nor an address, 1.1 shows the id as the username, which it requires."""
    async with world.hub.db.district(world.book.district_id) as tx:
        await tx.execute("UPDATE users SET username = NULL, email = NULL")
        await tx.execute(
            'UPDATE users SET doc = regexp_replace(doc, \',"username":"[^"]*"\', \'\'), '
            'doc_private = regexp_replace(doc_private, \',"email":"[^"]*"\', \'\')'
        )
    everybody = await world.listed("users", BLUE, "1.1", filter="status='active'")
    for user in everybody:
        person = user["sourcedId"].partition(".")[0]
        assert user["username"] == person
        found = await world.ids("users", BLUE, "1.1", filter=f"username='{person}'")
        assert found == [one["sourcedId"] for one in everybody if one["username"] == person]


@pytest.mark.threat("T14", "T15", "T16", "T17")
async def test_ids_of_others_are_as_unknown_as_any(world: World) -> None:
    """The hub's own, another app's, such as nobody has, and what is no id at all: all answers are alike."""
    nobody = await world.ids("users", BLUE, filter="givenName='nobody'")
    assert nobody == []
    for operation, path in await world.questions():
        if not operation.variables:
            continue
        mine = world.told(path, BLUE)
        (given, *_) = [part for part in path.split("/") if CANONICAL.match(part)]
        own = world.told(given, BLUE)
        unknown = pseudonyms(world, BLUE).of([str(ids.new_id())])[0]
        answers = []
        for other in (given, world.told(given, RED), unknown, "no-id", given.upper(), own.upper()):
            status, body, headers = await world.read(operation, BLUE, mine.replace(own, other, 1))
            kept = {n: v for n, v in headers.items() if n not in {"Date", "X-Request-ID", "ETag", "Link"}}
            kept = {n: v for n, v in kept.items() if not n.startswith("X-RateLimit")}
            answers.append((status, body, kept))
        assert answers == [answers[0]] * len(answers), path


@pytest.mark.threat("T14")
async def test_filters_by_ids_of_others_find_nothing(world: World) -> None:
    (user, *_) = await world.ids("users", PLAIN)
    for value in (user, world.told(user, RED), str(ids.new_id()), "no-id"):
        assert await world.ids("users", BLUE, filter=f"sourcedId='{value}'") == []
        assert await world.ids("enrollments", BLUE, filter=f"user.sourcedId='{value}'") == []
        everything = await world.ids("enrollments", BLUE, filter="status='active'")
        assert await world.ids("enrollments", BLUE, filter=f"user.sourcedId!='{value}'") == everything


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("query", ["", "sort=sourcedId&orderBy=desc", "sort=enabledUser"])
async def test_a_walk_is_exact_while_the_district_changes(
    places: Database, granted: tuple[str, Prepared], version: Version, query: str
) -> None:
    async with opened(places, granted[1]) as world:
        await _walk(world, version, query)


async def _walk(world: World, version: Version, query: str) -> None:
    before = await world.ids("users", BLUE, version, **dict(part.split("=") for part in query.split("&") if part))
    service = world.book.address("/users", version, "rostering")
    following: str | None = f"{service}?limit=2&{query}"
    walked: list[str] = []
    while following:
        status, body, headers = await world.hub.get(following, app=BLUE)
        assert status == 200, body
        walked += [one["sourcedId"] for one in body["users"]]
        if len(walked) == 4:
            run = await world.district.sync(package(amy=None, kim=(("student", "south", "primary"),)))
            assert run.state == "applied", (run.guard, run.error_message)
        address = links(headers["Link"]).get("next")
        following = address.removeprefix(world.hub.settings.public_url) if address else None
    assert walked == before


async def test_an_entity_tag_holds_for_the_app_alone(world: World) -> None:
    tags = {}
    for app in (PLAIN, BLUE, RED):
        _, _, headers = await world.book.get("/users", app=app, service="rostering")
        tags[app] = headers["ETag"]
        again = {"If-None-Match": tags[app]}
        assert (await world.book.send("GET", "/users", app=app, service="rostering", headers=again))[0] == 304
    assert len(set(tags.values())) == 3
    other = {"If-None-Match": tags[RED]}
    assert (await world.book.send("GET", "/users", app=BLUE, service="rostering", headers=other))[0] == 200


async def test_a_field_selection_and_masks_leave_ids_as_they_are(world: World) -> None:
    for entity, fields in (
        ("users", "sourcedId"), ("users", "givenName,primaryOrg"), ("users", "roles,agents,sourcedId"),
        ("orgs", "identifier"), ("orgs", "name,identifier,sourcedId"), ("courses", "courseCode,title"),
    ):  # fmt: skip
        for version in VERSIONS:
            plain = await world.listed(entity, PLAIN, version, fields=fields)
            blue = await world.listed(entity, BLUE, version, fields=fields)
            expected = orjson.loads(world.told(orjson.dumps(plain).decode(), BLUE))
            assert sorted(map(str, blue)) == sorted(map(str, expected))
        status, body, _ = await world.book.get(
            f"/{entity}/{(await world.ids(entity, BLUE))[0]}", app=BLUE, service="rostering", fields=fields
        )  # fmt: skip
        assert status == 200
        assert set(body[CATALOGUE[entity].singular]) <= set(fields.split(","))
        assert not CANONICAL.search(str(body))


async def test_hrefs_lead_where_they_say(world: World) -> None:
    for user in await world.listed("users", BLUE, filter="status='active'"):
        for reference in (*user.get("agents", ()), *(role["org"] for role in user["roles"])):
            path = reference["href"].removeprefix(world.hub.settings.public_url)
            status, body, _ = await world.hub.get(path, app=BLUE)
            assert status == 200
            (one,) = body.values()
            assert one["sourcedId"] == reference["sourcedId"]
