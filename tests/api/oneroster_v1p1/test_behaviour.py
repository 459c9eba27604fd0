from __future__ import annotations

import pytest

from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.api.oneroster.scopes import READING
from tests.api.oneroster.rosters import issue
from tests.api.oneroster_v1p1.school import NOBODY, Old


async def test_roles_may_be_left_out_with_all_that_is_about_them(old: Old) -> None:
    await old.behave(counselor_as="teacher", extension_role_as="omit")
    users = {old.key(u["sourcedId"]): u["role"] for u in await old.all("/users")}
    assert "fay" not in users
    assert users["dan"] == "teacher"
    assert "dan" in await old.keys("/teachers")
    assert set(await old.keys("/users", filter=f"orgs.sourcedId='{old.id('orgs', 'north')}'")).isdisjoint({"fay"})
    assert sorted(await old.keys("/enrollments")) == ["e1", "e2", "e3", "e4", "e5", "e7", "e8"]
    assert await old.keys("/demographics") == ["amy", "gus"]
    for path in (f"/users/{old.id('users', 'fay')}", f"/enrollments/{old.id('enrollments', 'e6')}",
                 f"/demographics/{old.id('users', 'fay')}", f"/users/{old.id('users', 'fay')}/classes"):  # fmt: skip
        assert (await old.get(path))[0] == 404, path
    assert (await old.all("/resources"))[0]["roles"] == ["aide", "student"]  # none would be for everybody
    await old.behave(extension_role_as="teacher")
    assert (await old.one(f"/enrollments/{old.id('enrollments', 'e6')}"))["role"] == "teacher"
    assert {"e3", "e6"} <= set(await old.keys("/enrollments", filter="role='teacher'"))


async def test_extension_roles_may_stay_what_they_are(old: Old) -> None:
    await old.sync(amy=(("student", "north", "primary"), ("ext:peer.tutor", "south", "secondary")))
    amy, coached = old.id("users", "amy"), f"/enrollments/{old.id('enrollments', 'e6')}"
    peer = f"{amy}.ext-peer.tutor"  # a sourcedId has no colon
    assert (await old.get(f"/users/{peer}"))[0] == 404
    assert (await old.get("/users", filter="role~'ext:'"))[1]["users"] == []
    tag = (await old.get("/users"))[2]["ETag"]
    await old.behave(extension_role_as="keep")
    assert (await old.get("/users"))[2]["ETag"] != tag
    users = {user["sourcedId"]: user for user in await old.all("/users")}
    assert {key: users[key]["role"] for key in (amy, peer, old.id("users", "fay"))} == {
        amy: "student", peer: "ext:peer.tutor", old.id("users", "fay"): "ext:tutor",
    }  # fmt: skip
    assert [org["sourcedId"] for org in users[peer]["orgs"]] == [old.id("orgs", "south")]
    assert await old.one(f"/users/{peer}") == users[peer]
    assert users[peer]["metadata"] == {"person": amy}
    assert await old.keys("/users", filter="role='ext:tutor'") == ["fay"]
    assert {user["sourcedId"] for user in await old.all("/users", filter="role~'EXT:'")} == {
        peer, old.id("users", "fay"),
    }  # fmt: skip
    south = await old.all("/users", filter=f"orgs.sourcedId='{old.id('orgs', 'south')}'")
    assert peer in {user["sourcedId"] for user in south}
    assert amy not in {user["sourcedId"] for user in south}
    for direction in ("asc", "desc"):
        roles = [user["role"] for user in await old.all("/users", sort="role", orderBy=direction)]
        assert roles == sorted(roles, reverse=direction == "desc")
        assert "ext:peer.tutor" in roles
    assert (await old.one(coached))["role"] == "ext:coach"
    assert await old.keys("/enrollments", filter="role='ext:coach'") == ["e6"]
    assert await old.keys("/enrollments", filter="role='proctor'") == ["e7"]
    assert (await old.all("/resources", filter="roles='ext:tutor'"))[0]["roles"] == ["ext:tutor", "student"]
    everywhere = await old.all("//users", sort="role", filter="role~'ext:'")
    assert [user["role"] for user in everywhere] == ["ext:peer.tutor", "ext:tutor"]
    # Roles that a grant keeps from an app are no words of its own.
    await old.behave("staff", extension_role_as="keep")
    assert await old.keys("/users", app="staff", filter="role~'ext:'") == ["fay"]


async def test_references_may_say_what_they_lead_to(old: Old) -> None:
    async def types() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name in ("classes", "courses", "lineItems", "results", "users", "enrollments"):
            for one in await old.all(f"/{name}"):
                for member, value in one.items():
                    values = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
                    kind = f".{one['role']}" if name == "enrollments" and member == "user" else ""
                    for reference in values if member != "metadata" else ():
                        found.setdefault(f"{name}.{member}{kind}", set()).add(reference["type"])
        return found

    general = await types()
    assert general["classes.terms"] == general["lineItems.gradingPeriod"] == {"academicSession"}
    assert general["results.student"] == general["enrollments.user.teacher"] == {"user"}
    tag = (await old.get("/classes"))[2]["ETag"]
    await old.behave(reference_types="specific")
    assert (await old.get("/classes"))[2]["ETag"] != tag
    assert await types() == general | {
        "classes.terms": {"term"}, "lineItems.gradingPeriod": {"gradingPeriod"}, "results.student": {"student"},
        "enrollments.user.student": {"student"}, "enrollments.user.teacher": {"teacher"},
    }  # fmt: skip
    cut = await old.all("/enrollments", fields="user", filter="role='teacher'")
    assert {one["user"]["type"] for one in cut} == {"teacher"}
    assert all("/users/" in one["user"]["href"] for one in cut)  # the address is where it was


async def test_truth_is_written_as_the_app_wants_it_in_both_versions(old: Old) -> None:
    tokens = old.school.tokens["new"] = await issue(old.hub.db, old.school.clients["all"][0], [*READING])
    new = ROSTERING_PATH.replace("{district}", str(old.school.here))

    async def seen() -> list[object]:
        found: list[object] = [(await old.all("/users"))[0]["enabledUser"]]
        found.append((await old.all("/enrollments", filter="primary='true'"))[0]["primary"])
        found.append((await old.all("/demographics"))[0]["asian"])
        for path in ("/users", f"/users/{old.id('users', 'amy')}"):
            async with old.hub.session.get(new + path, headers={"Authorization": f"Bearer {tokens}"}) as response:
                (body,) = (await response.json()).values()
            found.append((body if isinstance(body, dict) else body[0])["enabledUser"])
        return found

    assert await seen() == ["true"] * 5
    await old.behave(booleans="json")
    tokens = await issue(old.hub.db, old.school.clients["all"][0], [*READING])
    assert await seen() == [True] * 5


async def test_fields_of_1_2_may_come_under_metadata_and_unknown_parents_may_be_empty(old: Old) -> None:
    assert "metadata" not in await old.one(f"/users/{old.id('users', 'amy')}")
    await old.behave(extra_fields_in_metadata=True, unknown_parent="empty")
    amy = await old.one(f"/users/{old.id('users', 'amy')}")
    assert amy["metadata"]["preferredFirstName"] == "Annie"
    assert amy["metadata"]["primaryOrg"]["sourcedId"] == old.id("orgs", "north")
    assert (await old.all("/categories"))[0]["metadata"] == {"weight": 30}
    for path in (f"/schools/{NOBODY}/students", f"/users/{old.id('users', 'ben')}.aide/classes"):
        assert await old.all(path) == []


@pytest.mark.threat("T14")
async def test_hidden_roles_and_fields_decide_nothing(old: Old) -> None:
    users = {old.key(user["sourcedId"]): user for user in await old.all("/users", app="staff")}
    assert users.keys() == {
        "amy",
        "ben",
        "cat",
        "dan",
        "eve",
        "fay",
        "gus",
        "zoe",
        "gus.teacher",
        "zoe.aide",
        "eve.aide",
    }
    ben = old.id("users", "ben")
    assert users["ben"]["username"] == ben  # neither the name nor the address is this app's business
    assert (await old.get(f"/users/{ben}.parent", app="staff"))[0] == 404
    hidden, unknown = [await old.get("/users", app="staff", filter=f"{name}='x'") for name in ("username", "shoeSize")]
    assert hidden[0] == unknown[0] == 400
    assert str(hidden[1]).replace("username", "shoeSize") == str(unknown[1])
    assert await old.keys("/results", app="staff") == []  # none has a number that shows


@pytest.mark.threat("T12", "T14")
async def test_numbers_of_personas_are_nobodys_outside_the_view(old: Old) -> None:
    """The first number behind the rids of this view, that of Gus as a teacher, is the rid of Zoe, who is outside."""
    here = ["amy", "ben", "cat", "dan", "eve", "fay", "gus", "gus.teacher"]
    assert await old.keys("/users", app="north") == here
    zoe = old.id("users", "zoe")
    for query in (f"sourcedId='{zoe}'", "givenName='zoe'", f"agents.sourcedId='{zoe}'"):
        assert await old.keys("/users", app="north", filter=query) == [], query
    for path in (f"/users/{zoe}", f"/users/{zoe}/classes", f"/users/{zoe}.aide"):
        assert (await old.get(path, app="north"))[0] == 404, path
    for sort in ("givenName", "sourcedId", "role", "dateLastModified"):
        assert sorted(await old.keys("/users", app="north", sort=sort)) == sorted(here), sort
    assert await old.keys("/users", app="north", filter="givenName~'u'") == ["gus", "gus.teacher"]
    assert await old.keys("/teachers", app="north") == ["cat", "gus.teacher"]
