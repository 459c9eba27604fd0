from __future__ import annotations

import re
from typing import Any

import pytest

from hub.api.oneroster.scopes import V1P1, V1P2
from tests.api.oneroster.rosters import issue
from tests.api.oneroster_v1p1.school import Old


def told(body: Any) -> list[tuple[str, str, str]]:
    """Code major, severity and minor of what an answer says beside its data."""
    return [
        (one["imsx_codeMajor"], one["imsx_severity"], one["imsx_codeMinor"]) for one in body.get("statusInfoSet", [])
    ]


async def test_filters_find_what_shows(old: Old) -> None:
    users = {old.key(user["sourcedId"]): user for user in await old.all("/users")}
    ben, north = old.id("users", "ben"), old.id("orgs", "north")
    for path, filter_, expected in (
        ("users", "role='aide'", {"dan", "fay", "eve.aide", "zoe.aide"}),
        ("users", "role!='aide'", users.keys() - {"dan", "fay", "eve.aide", "zoe.aide"}),
        ("users", "role~'TEACH'", {"ben", "cat", "gus.teacher"}),
        ("users", "role>'student'", {"ben", "cat", "gus.teacher"}),
        ("users", f"orgs.sourcedId='{north}'",
         {key for key, user in users.items() if north in {o["sourcedId"] for o in user["orgs"]}}),
        ("users", f"orgs.sourcedId='{north}' AND role='aide'", {"dan", "fay"}),
        ("users", "familyName='FAMILY BEN'", {"ben", "ben.parent"}),
        ("users", "familyName='family ben' AND role='parent'", {"ben.parent"}),
        ("users", "familyName='family ben' OR role='administrator'", {"ben", "ben.parent", "eve"}),
        ("users", f"sourcedId='{ben}'", {"ben"}),
        ("users", f"sourcedId='{ben}.parent'", {"ben.parent"}),
        ("users", f"sourcedId~'{ben}'", {"ben", "ben.parent"}),
        ("users", f"sourcedId>='{ben}' AND familyName='family ben'", {"ben", "ben.parent"}),
        ("users", f"sourcedId>'{ben}' AND familyName='family ben'", {"ben.parent"}),
        ("users", f"agents.sourcedId='{ben}.parent'", {"amy", "gus"}),
        ("users", f"agents.sourcedId='{ben}'", set()),
        ("users", f"agents.sourcedId='{old.id('users', 'gus')}'", {"ben.parent"}),
        ("users", f"metadata.person='{old.id('users', 'gus')}'", set()),  # made for the answer alone
        ("users", "username='CAT@example.org'", {"cat"}),
        ("users", "status='active'", users.keys()),
        ("enrollments", f"user.sourcedId='{old.id('users', 'gus.teacher')}'", {"e5"}),
        ("enrollments", f"user.sourcedId='{old.id('users', 'gus')}'", {"e4"}),
        ("enrollments", f"user.sourcedId!='{old.id('users', 'gus')}' AND role='student'", {"e1", "e8"}),
        ("enrollments", "role='proctor'", {"e6", "e7"}),
        ("enrollments", "role='aide'", set()),
        ("enrollments", "role~'ext'", set()),
        ("classes", "classType='scheduled'", {"art"}),
        ("demographics", "sex!='male'", {"amy", "fay"}),
        ("demographics", "sex='other'", set()),
        ("results", "scoreStatus='submitted'", {"r2"}),
        ("results", f"student.sourcedId='{old.id('users', 'gus')}'", {"r2"}),
        ("lineItems", "resultValueMax>='100'", {"quiz"}),
        ("lineItems", f"gradingPeriod.sourcedId='{old.id('academicSessions', 'fall')}'", {"quiz", "exam"}),
        ("resources", "roles='aide'", {"book"}),
    ):  # fmt: skip
        assert set(await old.keys(f"/{path}", filter=filter_)) == set(expected), filter_


async def test_orders_and_pages_count_personas(old: Old) -> None:
    everyone = await old.keys("/users", sort="sourcedId")
    assert everyone[1:3] == ["ben", "ben.parent"]
    assert await old.keys("/users", sort="sourcedId", orderBy="desc") == everyone[::-1]
    by_role = await old.all("/users", sort="role", orderBy="desc")
    assert [user["role"] for user in by_role] == sorted((user["role"] for user in by_role), reverse=True)
    assert (await old.keys("/users", sort="givenName"))[-3:] == ["gus.teacher", "zoe", "zoe.aide"]
    assert await old.keys("/lineItems", sort="resultValueMax") == ["exam", "quiz"]
    assert sorted(await old.keys("/lineItems", sort="gradingPeriod.sourcedId")) == ["exam", "quiz"]
    walked, address = [], old.address("/users", limit="5", sort="role", filter="role!='teacher'")
    while address:
        async with old.hub.session.get(
            address, headers={"Authorization": f"Bearer {old.school.tokens['all']}"}
        ) as response:
            body = await response.json()
            assert response.headers["X-Total-Count"] == "9"
            walked += [user["sourcedId"] for user in body["users"]]
            links = re.findall(r'<[^>]*?(/d/[^>]*)>; rel="next"', response.headers["Link"])
        address = links[0] if links else ""
    assert len(walked) == len(set(walked)) == 9


async def test_what_is_passed_over_is_told_beside_the_data(old: Old) -> None:
    warning = ("success", "warning")
    for query, expected in (
        ({"sort": "shoeSize"}, [(*warning, "invalid_sort_field")]),
        ({"sort": "familyName", "orderBy": "up"}, [(*warning, "invalid_sort_field")]),
        ({"fields": "role,shoeSize"}, [(*warning, "invalid_selection_field")]),
        ({"fields": "roles"}, [(*warning, "invalid_selection_field")]),
        ({"sort": "primaryOrg", "fields": "pronouns"},
         [(*warning, "invalid_sort_field"), (*warning, "invalid_selection_field")]),
        ({}, []),
    ):  # fmt: skip
        status, body, _ = await old.get("/users", **query)
        assert (status, next(iter(body)), len(body["users"]), told(body)) == (200, "users", 12, expected), query
        assert len(body["users"][0]) > 5
    status, body, _ = await old.get(f"/users/{old.id('users', 'amy')}", fields="shoeSize", filter="ignored")
    assert (status, told(body)) == (200, [(*warning, "invalid_selection_field")])
    status, body, _ = await old.get("/users", fields="role,sourcedId", limit="1")
    assert body == {"users": [{"sourcedId": old.id("users", "amy"), "role": "student"}]}


@pytest.mark.threat("T14")
async def test_what_cannot_be_asked_is_refused_in_the_words_of_1_1(old: Old) -> None:
    for query, minor in (
        ({"filter": "shoeSize='42'"}, "invalid_filter_field"),
        ({"filter": "roles.role='student'"}, "invalid_filter_field"),
        ({"filter": "preferredFirstName='annie'"}, "invalid_filter_field"),
        ({"filter": "role='student"}, "invalid_filter_field"),
        ({"fields": ""}, "invalid_blank_selection_field"),
        ({"fields": "role,,orgs"}, "invalid_blank_selection_field"),
        ({"limit": "0"}, "invalid data"),
        ({"offset": "x"}, "invalid data"),
    ):
        status, body, _ = await old.get("/users", **query)
        assert (status, list(body), told(body)) == (400, ["statusInfoSet"], [("failure", "error", minor)]), query
    for query in ({"filter": "preferredFirstName='annie'"}, {"filter": "shoeSize='annie'"}):
        _, body, _ = await old.get("/users", **query)
        assert "annie" not in str(body).lower()


async def test_every_refusal_below_v1p1_has_the_form_of_1_1(old: Old) -> None:
    session, path = old.hub.session, old.address("/users")
    bearer = {"Authorization": f"Bearer {old.school.tokens['all']}"}
    new = path.replace("/v1p1", "/rostering/v1p2")
    for method, address, headers, status, minor in (
        ("GET", path, {}, 401, "unauthorized"),
        ("GET", path, {"Authorization": "Bearer rh_at_wrong"}, 401, "unauthorized"),
        ("GET", old.address("/nowhere"), bearer, 404, "unknown object"),
        ("GET", path.replace(str(old.school.here), "nowhere"), bearer, 404, "unknown object"),
        ("PATCH", path, bearer, 405, "invalid data"),
        ("GET", path, bearer | {"Accept": "text/html"}, 406, "invalid data"),
    ):
        async with session.request(method, address, headers=headers) as response:
            body = await response.json()
        assert (response.status, told(body)) == (status, [("failure", "error", minor)]), (method, address)
    # No version opens the other: a token for 1.1 alone is of no use in 1.2.
    async with session.get(new, headers=bearer) as response:
        assert (response.status, next(iter(await response.json()))) == (403, "imsx_codeMajor")


async def test_all_districts_together_are_read_like_one(old: Old) -> None:
    for path in ("users", "lineItems", "results", f"users/{old.id('users', 'gus.teacher')}/classes"):
        assert await old.keys(f"//{path}") == await old.keys(f"/{path}")
    for sort in ("sourcedId", "role", "username", "dateLastModified"):
        query = {"sort": sort, "orderBy": "desc", "limit": "10000"}
        assert sorted(await old.keys("//users", **query)) == sorted(await old.keys("/users", **query)), sort
    assert await old.keys("//users", sort="sourcedId") == await old.keys("/users", sort="sourcedId")
    roles = [user["role"] for user in await old.all("//users", sort="role")]
    assert roles == sorted(roles)
    assert await old.keys("//lineItems", sort="resultValueMax") == ["exam", "quiz"]
    assert len(await old.keys("//lineItems", sort="gradingPeriod.sourcedId", orderBy="desc")) == 2
    _, body, _ = await old.get("//users", sort="shoeSize")
    assert told(body) == [("success", "warning", "invalid_sort_field")]
    status, body, _ = await old.get(f"//users/{old.id('users', 'ben')}.aide")
    assert (status, told(body)) == (404, [("failure", "error", "unknown object")])


async def test_a_scope_of_1_2_does_not_open_1_1(old: Old) -> None:
    async def asked(path: str, *scopes: str) -> tuple[int, list[tuple[str, str, str]]]:
        token = await issue(old.hub.db, old.school.clients["all"][0], [*scopes])
        status, body, _ = await old.get(path, token=token)
        return status, told(body)

    refused = (403, [("failure", "error", "forbidden")])
    nested = f"/classes/{old.id('classes', 'math')}/students"
    assert await asked("/users", V1P2.ROSTER, V1P2.ROSTER_CORE) == refused
    assert await asked("/users", V1P1.ROSTER_CORE) == (200, [])
    assert await asked(nested, V1P1.ROSTER_CORE) == refused
    assert await asked(nested, V1P1.ROSTER) == (200, [])
    assert await asked("/demographics", V1P1.ROSTER) == refused
    assert await asked("/results", V1P1.RESOURCE) == refused
    assert await asked("/resources", V1P1.RESOURCE) == (200, [])
