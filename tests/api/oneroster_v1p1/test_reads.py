from __future__ import annotations

from typing import Any

import pytest

from hub.api.oneroster.bindings import BINDINGS
from hub.api.oneroster.operations import Operation
from hub.scope.personas import ROLES_11
from tests.api.oneroster_v1p1.school import Old, reference
from transforms.catalogue import BASE_NAMES, Entity, Need

(OLD,) = (binding for binding in BINDINGS if binding.version == "1.1")
EVERYONE = ["amy", "ben", "cat", "dan", "eve", "fay", "gus", "zoe", "ben.parent", "eve.aide", "gus.teacher", "zoe.aide"]


def test_1_1_has_61_operations_of_which_six_write() -> None:
    services = [operation.entity.service for operation in OLD.operations]
    assert {name: services.count(name) for name in services} == {"rostering": 41, "resources": 4, "gradebook": 10}
    assert len({operation.path for operation in OLD.operations}) == 55


def complete(entity: Entity, found: dict[str, Any]) -> bool:
    """Whether an object has what 1.1 requires, and nothing that it does not know."""
    members = {f.name for f in entity.members("1.1")} | set(BASE_NAMES)
    required = {f.name for f in entity.members("1.1") if f.rest_need("1.1") is Need.REQUIRED}
    return required <= found.keys() <= members


async def test_objects_have_the_members_of_1_1_and_no_others(old: Old) -> None:
    collections = [o for o in OLD.operations if not (o.single or o.parents)]
    assert len(collections) == 16
    for operation in collections:
        objects = await old.all(operation.path)
        assert objects, operation.path
        for found in objects:
            assert complete(operation.entity, found), (operation.path, found)
            assert await old.one(_single(operation, found["sourcedId"])) == found


def _single(operation: Operation, sourced_id: str) -> str:
    assert any(other.path == operation.path + "/{sourcedId}" for other in OLD.operations)
    return f"{operation.path}/{sourced_id}"


async def test_a_person_with_several_roles_is_several_users(old: Old) -> None:
    users = {old.key(user["sourcedId"]): user for user in await old.all("/users")}
    assert list(users) == EVERYONE
    assert {key: user["role"] for key, user in users.items()} == {
        "amy": "student", "ben": "teacher", "cat": "teacher", "dan": "aide", "eve": "administrator", "fay": "aide",
        "gus": "student", "zoe": "student", "ben.parent": "parent", "eve.aide": "aide", "gus.teacher": "teacher",
        "zoe.aide": "aide",
    }  # fmt: skip
    orgs = {key: [old.key(org["sourcedId"]) for org in user["orgs"]] for key, user in users.items()}
    assert (orgs["ben"], orgs["ben.parent"]) == (["south"], ["north"])
    assert users["ben.parent"]["metadata"] == {"person": old.id("users", "ben")}
    assert "metadata" not in users["ben"]
    agents = {key: [old.key(a["sourcedId"]) for a in user.get("agents", [])] for key, user in users.items()}
    assert {key: found for key, found in agents.items() if found} == {
        "amy": ["ben.parent"], "ben.parent": ["amy", "gus"], "gus": ["ben.parent"],
    }  # fmt: skip
    for user in users.values():
        assert all(org["href"].endswith(f"/ims/oneroster/v1p1/orgs/{org['sourcedId']}") for org in user["orgs"])


@pytest.mark.threat("T17")
async def test_personas_are_read_by_their_ids_and_nobody_else_is(old: Old) -> None:
    async def status(path: str, key: str) -> int:
        return (await old.get(f"/{path}/{old.id('users', key)}"))[0]

    for key in ("ben", "ben.parent", "gus.teacher"):
        assert await status("users", key) == 200
    for key in (
        "ben.teacher",
        "ben.student",
        "amy.student",
        "amy.parent",
        "ben.principal",
        "ben.",
        "ben.parent.parent",
    ):
        assert await status("users", key) == 404, key
    assert [await status("students", key) for key in ("gus", "gus.teacher", "ben")] == [200, 404, 404]
    assert [await status("teachers", key) for key in ("gus", "gus.teacher", "ben", "ben.parent")] == [
        404,
        200,
        200,
        404,
    ]


async def test_enrollments_and_results_are_of_the_fitting_persona(old: Old) -> None:
    users = reference(await old.all("/enrollments"), "user")
    assert {old.key(e): old.key(u) for e, u in users.items()} == {
        "e1": "amy", "e2": "ben", "e3": "cat", "e4": "gus", "e5": "gus.teacher", "e6": "fay", "e7": "dan", "e8": "zoe",
    }  # fmt: skip
    roles = {old.key(e["sourcedId"]): e["role"] for e in await old.all("/enrollments")}
    assert (roles["e6"], roles["e7"]) == ("proctor", "proctor")  # enrollments have no aides in 1.1
    students = reference(await old.all("/results"), "student")
    assert {old.key(r): old.key(u) for r, u in students.items()} == {"r1": "amy", "r2": "gus"}


@pytest.mark.threat("T12")
async def test_nested_reads_give_and_take_personas(old: Old) -> None:
    ids = {(entity, key): old.id(entity, key) for entity, key in old.school.ids}
    math, art, north, south = (
        ids[key] for key in (("classes", "math"), ("classes", "art"), ("orgs", "north"), ("orgs", "south"))
    )
    users = {key: old.id("users", key) for key in EVERYONE}
    for path, expected in {
        "/students": ["amy", "gus", "zoe"],
        "/teachers": ["ben", "cat", "gus.teacher"],
        f"/classes/{math}/students": ["amy", "gus"],
        f"/classes/{art}/teachers": ["ben", "gus.teacher"],
        f"/schools/{north}/students": ["amy", "gus"],
        f"/schools/{north}/teachers": ["cat", "gus.teacher"],
        f"/schools/{south}/teachers": ["ben"],
        f"/schools/{south}/classes/{art}/students": ["zoe"],
        f"/schools/{south}/classes/{art}/teachers": ["ben", "gus.teacher"],
        f"/schools/{south}/classes/{art}/enrollments": ["e2", "e5", "e8"],
        f"/users/{users['gus']}/classes": ["math"],
        f"/users/{users['gus.teacher']}/classes": ["art"],
        f"/users/{users['ben.parent']}/classes": [],
        f"/students/{users['gus']}/classes": ["math"],
        f"/teachers/{users['gus.teacher']}/classes": ["art"],
        f"/classes/{math}/lineItems": ["quiz", "exam"],
        f"/classes/{math}/results": ["r1", "r2"],
        f"/classes/{math}/lineItems/{ids['lineItems', 'quiz']}/results": ["r1", "r2"],
        f"/classes/{math}/students/{users['gus']}/results": ["r2"],
        f"/classes/{math}/resources": ["book"],
        f"/courses/{ids['courses', 'algebra']}/resources": ["film"],
    }.items():
        assert sorted(await old.keys(path)) == sorted(expected), path
    for path in (
        f"/students/{users['gus.teacher']}/classes", f"/teachers/{users['gus']}/classes",
        f"/classes/{math}/students/{users['gus.teacher']}/results", f"/users/{users['ben']}.student/classes",
        f"/users/{users['amy']}/resources", f"/classes/{math}/categories", "/scoreScales",
    ):  # fmt: skip
        status, body, _ = await old.get(path)
        assert (status, body["statusInfoSet"][0]["imsx_codeMinor"]) == (404, "unknown object"), path


async def test_gradebook_and_words_are_those_of_1_1(old: Old) -> None:
    exam, quiz = await old.all("/lineItems")
    assert (quiz["resultValueMin"], quiz["resultValueMax"]) == (0, 100)
    assert (exam["resultValueMin"], exam["resultValueMax"]) == (10, 50)
    assert old.key(quiz["gradingPeriod"]["sourcedId"]) == "fall"
    assert [r["scoreStatus"] for r in await old.all("/results")] == ["fully graded", "submitted"]
    status, _, _ = await old.get(f"/results/{old.id('results', 'r3')}")
    assert status == 404  # it has no number, which 1.1 requires
    assert {old.key(c["sourcedId"]): c["classType"] for c in await old.all("/classes")} == {
        "math": "homeroom", "art": "scheduled",
    }  # fmt: skip
    assert {old.key(d["sourcedId"]): d.get("sex") for d in await old.all("/demographics")} == {
        "amy": "female", "gus": None, "fay": "female",
    }  # fmt: skip
    book, film = await old.all("/resources")
    assert (book["roles"], "roles" in film) == (["aide", "student"], False)
    assert set(book["roles"]) <= set(ROLES_11)
