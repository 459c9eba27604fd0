"""Reading as an app that sees everything: envelopes, paging, subsets, nesting, selection, addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from hub.api.oneroster.bindings import ROSTERING_PATH
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.rostering import ROSTERING
from tests.api.oneroster.rosters import Hub, answer, encoded, minor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def hub(read_hub: Hub) -> Hub:
    """Nothing here is written."""
    return read_hub


COLLECTIONS = [o for o in ROSTERING if not o.single and not o.parents]
LINK = re.compile(r'<([^>]+)>; rel="(\w+)"')


def links(header: str) -> dict[str, str]:
    return {relation: address for address, relation in LINK.findall(header)}


async def test_collections_answer_in_their_envelope_and_their_objects_can_be_read(hub: Hub) -> None:
    for operation in COLLECTIONS:
        path, envelope = operation.path, operation.envelope
        status, body, headers = await hub.get(path, limit="3")
        assert (status, list(body)) == (200, [envelope])
        assert 0 < len(body[envelope]) <= 3, path
        assert int(headers["X-Total-Count"]) >= len(body[envelope])
        for one in body[envelope]:
            status, single, headers = await hub.get(f"{path}/{one['sourcedId']}")
            assert (status, single) == (200, {operation.entity.singular: one})
            assert headers["X-Total-Count"] == "1"


async def test_answers_are_json_that_is_not_kept_and_not_sniffed(hub: Hub) -> None:
    _, _, headers = await hub.get("/orgs")

    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "RosterHub"
    assert headers["X-Request-ID"]


async def test_pages_follow_each_other_without_a_hole(hub: Hub) -> None:
    everyone = await hub.ids("/users")
    address: str | None = "/users?limit=7&fields=sourcedId"
    seen: list[str] = []
    pages = 0
    base = hub.settings.public_url + ROSTERING_PATH.replace("{district}", str(hub.prepared.here))
    while address is not None:
        path, _, query = address.partition("?")
        status, body, headers = await hub.get(path, **dict(part.split("=") for part in query.split("&")))
        assert status == 200
        seen += [user["sourcedId"] for user in body["users"]]
        found = links(headers["Link"])
        assert all(address.startswith(base) and "fields=sourcedId" in address for address in found.values())
        assert ("prev" in found) == (pages > 0)
        address = found["next"].removeprefix(base) if "next" in found else None
        pages += 1

    assert seen == everyone
    assert pages == -(-len(everyone) // 7)


async def test_the_last_link_leads_to_the_last_page(hub: Hub) -> None:
    total = len(await hub.ids("/orgs"))
    _, _, headers = await hub.get("/orgs", limit="2", offset="1")
    found = links(headers["Link"])

    assert found["last"].endswith(f"limit=2&offset={(total - 1) // 2 * 2}")
    assert found["prev"].endswith("limit=2&offset=0")
    assert found["first"].endswith("limit=2&offset=0")


async def test_an_offset_past_the_end_is_an_empty_page(hub: Hub) -> None:
    total = len(await hub.ids("/orgs"))
    status, body, headers = await hub.get("/orgs", offset="999999")

    assert (status, body, headers["X-Total-Count"]) == (200, {"orgs": []}, str(total))
    assert "next" not in links(headers["Link"])


@pytest.mark.threat("T44")
async def test_a_huge_limit_is_cut_and_said_so_in_the_links(hub: Hub) -> None:
    status, _, headers = await hub.get("/orgs", limit="1000000000")

    assert status == 200
    assert "limit=10000&" in headers["Link"]


async def test_paging_that_makes_no_sense_is_refused(hub: Hub) -> None:
    headers = {"Authorization": f"Bearer {hub.prepared.tokens['lms']}"}
    for query in ("limit=0", "limit=-1", "limit=x", "limit=", "offset=-1", "offset=1.5", "limit=%C2%B2",
                  "limit=1&limit=2", "sort=title&orderBy=up", "limit=" + "9" * 20):  # fmt: skip
        address = ROSTERING_PATH.replace("{district}", str(hub.prepared.here)) + "/classes?" + query
        async with hub.session.get(encoded(address), headers=headers) as response:
            status, body, _ = await answer(response)
        assert (status, minor(body)) == (400, "invaliddata"), query


async def test_subsets_hold_what_their_name_says_and_all_tombstones(hub: Hub) -> None:
    users = {u["sourcedId"]: u for u in await hub.all("/users")}
    sessions = {s["sourcedId"]: s for s in await hub.all("/academicSessions")}
    orgs = {o["sourcedId"]: o for o in await hub.all("/orgs")}

    def having(objects: dict[str, Any], test: Callable[[Any], bool]) -> set[str]:
        return {key for key, one in objects.items() if one["status"] == "tobedeleted" or test(one)}

    for path, role in (("/students", "student"), ("/teachers", "teacher")):
        expected = having(users, lambda u, role=role: any(r["role"] == role for r in u["roles"]))
        assert set(await hub.ids(path)) == expected
    for path, kind in (("/terms", "term"), ("/gradingPeriods", "gradingPeriod")):
        expected = having(sessions, lambda s, kind=kind: s["type"] == kind)
        assert set(await hub.ids(path)) == expected
        other = next(key for key in sessions if key not in expected)
        assert (await hub.get(f"{path}/{other}"))[0] == 404
    assert set(await hub.ids("/schools")) == having(orgs, lambda o: o["type"] == "school")


async def test_nested_collections_hold_what_the_objects_say(hub: Hub) -> None:
    classes = [c for c in await hub.all("/classes") if c["status"] == "active"]
    enrollments = [e for e in await hub.all("/enrollments") if e["status"] == "active"]
    users = [u for u in await hub.all("/users") if u["status"] == "active"]
    sessions = {s["sourcedId"]: s for s in await hub.all("/academicSessions")}
    courses = await hub.all("/courses")
    one = classes[0]
    key, school, course = one["sourcedId"], one["school"]["sourcedId"], one["course"]["sourcedId"]
    term = next(t["sourcedId"] for t in one["terms"] if sessions[t["sourcedId"]]["type"] == "term")
    student = next(e["user"]["sourcedId"] for e in enrollments if e["role"] == "student")
    teacher = next(e["user"]["sourcedId"] for e in enrollments if e["role"] == "teacher")

    def in_class(role: str) -> set[str]:
        return {e["user"]["sourcedId"] for e in enrollments if e["class"]["sourcedId"] == key and e["role"] == role}

    def classes_of(user: str) -> set[str]:
        return {e["class"]["sourcedId"] for e in enrollments if e["user"]["sourcedId"] == user}

    def at_school(role: str) -> set[str]:
        return {u["sourcedId"] for u in users
                if any(r["role"] == role and r["org"]["sourcedId"] == school for r in u["roles"])}  # fmt: skip

    def ids(objects: list[dict[str, Any]], **refs: str) -> set[str]:
        return {o["sourcedId"] for o in objects if all(o[n]["sourcedId"] == v for n, v in refs.items())}

    taught = [c for c in classes if c["school"]["sourcedId"] == school]
    expected = {
        f"/classes/{key}/students": in_class("student"),
        f"/classes/{key}/teachers": in_class("teacher"),
        f"/schools/{school}/classes/{key}/students": in_class("student"),
        f"/schools/{school}/classes/{key}/teachers": in_class("teacher"),
        f"/schools/{school}/classes/{key}/enrollments": {e["sourcedId"] for e in enrollments
                                                         if e["class"]["sourcedId"] == key},
        f"/schools/{school}/classes": ids(classes, school=school),
        f"/schools/{school}/courses": ids(courses, org=school),
        f"/schools/{school}/enrollments": ids(enrollments, school=school),
        f"/schools/{school}/students": at_school("student"),
        f"/schools/{school}/teachers": at_school("teacher"),
        f"/schools/{school}/terms": {t["sourcedId"] for c in taught for t in c["terms"]
                                     if sessions[t["sourcedId"]]["type"] == "term"},
        f"/courses/{course}/classes": ids(classes, course=course),
        f"/students/{student}/classes": classes_of(student),
        f"/teachers/{teacher}/classes": classes_of(teacher),
        f"/users/{teacher}/classes": classes_of(teacher),
        f"/terms/{term}/classes": {c["sourcedId"] for c in classes
                                   if term in {t["sourcedId"] for t in c["terms"]}},
        f"/terms/{term}/gradingPeriods": {k for k, s in sessions.items() if s["type"] == "gradingPeriod"
                                          and s.get("parent", {}).get("sourcedId") == term},
    }  # fmt: skip
    assert len(expected) == sum(bool(o.parents) for o in ROSTERING)
    for path, wanted in expected.items():
        assert set(await hub.ids(path)) == wanted, path
    assert sum(map(bool, expected.values())) > 14


async def test_a_class_is_found_at_its_own_school_only(hub: Hub) -> None:
    (one,) = (await hub.all("/classes", limit="10000"))[:1]
    other = next(s for s in (hub.prepared.school, hub.prepared.other_school) if s != one["school"]["sourcedId"])
    status, body, _ = await hub.get(f"/schools/{other}/classes/{one['sourcedId']}/students")

    assert (status, minor(body)) == (404, "unknownobject")


async def test_a_parent_of_the_wrong_kind_is_unknown(hub: Hub) -> None:
    teacher = next(u["sourcedId"] for u in await hub.all("/teachers")
                   if u["status"] == "active" and {r["role"] for r in u["roles"]} == {"teacher"})  # fmt: skip

    assert (await hub.get(f"/students/{teacher}/classes"))[0] == 404
    assert (await hub.get(f"/students/{teacher}"))[0] == 404
    assert (await hub.get(f"/teachers/{teacher}/classes"))[0] == 200


async def test_tombstones_have_base_fields_and_nothing_below_them(hub: Hub) -> None:
    gone = hub.prepared.gone_student
    status, body, _ = await hub.get(f"/users/{gone}")

    assert status == 200
    assert set(body["user"]) == {"sourcedId", "status", "dateLastModified"}
    assert body["user"]["status"] == "tobedeleted"
    assert gone in await hub.ids("/students")
    assert (await hub.get(f"/students/{gone}/classes"))[:2] == (200, {"classes": []})
    assert (await hub.get(f"/demographics/{gone}"))[1]["demographics"]["status"] == "tobedeleted"
    assert (await hub.get(f"/users/{gone}", fields="givenName"))[1] == {"user": {}}


async def test_fields_select_members_and_unknown_ones_select_all(hub: Hub) -> None:
    whole = (await hub.all("/users"))[0]
    key = whole["sourcedId"]

    assert (await hub.all("/users", fields="sourcedId,familyName"))[0] == {
        "sourcedId": key, "familyName": whole["familyName"],
    }  # fmt: skip
    assert (await hub.get(f"/users/{key}", fields="roles"))[1] == {"user": {"roles": whole["roles"]}}
    assert (await hub.all("/users", fields="shoeSize"))[0] == whole
    assert (await hub.all("/users", fields="sourcedId,shoeSize"))[0] == whole
    for blank in ("", "sourcedId,", " , "):
        status, body, _ = await hub.get("/users", fields=blank)
        assert (status, minor(body)) == (400, "invalid_selection_field")


async def test_a_single_read_ignores_what_is_for_collections(hub: Hub) -> None:
    path = f"/users/{hub.prepared.gone_student}"

    assert (await hub.get(path, filter="(((", limit="x", sort="y"))[:2] == (await hub.get(path))[:2]


async def test_references_have_addresses_that_answer(hub: Hub) -> None:
    user = next(u for u in await hub.all("/users") if u["status"] == "active" and u.get("agents"))
    for reference in [*user["agents"], user["roles"][0]["org"]]:
        assert set(reference) == {"href", "sourcedId", "type"}
        base = hub.settings.public_url + ROSTERING_PATH.replace("{district}", str(hub.prepared.here))
        status, body, _ = await hub.get(reference["href"].removeprefix(base))
        assert status == 200
        assert body[reference["type"]]["sourcedId"] == reference["sourcedId"]


async def test_ids_in_paths_are_decoded_once(hub: Hub) -> None:
    key = hub.prepared.school
    spelled = "".join(f"%{ord(c):02X}" if c in "-0123456789" else c for c in key)

    assert (await hub.get(f"/orgs/{spelled}"))[0] == 200
    for odd in ("a%2Fb", "a%40b.org", "%2E%2E%2F", "%252F", "caf%C3%A9", "%FF", "x" * 3000):
        status, body, _ = await hub.get(f"/orgs/{odd}")
        assert (status, minor(body)) == (404, "unknownobject"), odd
    assert (await hub.get(f"/orgs/{key.upper()}"))[0] == 404


async def test_other_methods_and_addresses_are_refused_in_oneroster_words(hub: Hub) -> None:
    address = encoded(ROSTERING_PATH.replace("{district}", str(hub.prepared.here)) + "/users")
    headers = {"Authorization": f"Bearer {hub.prepared.tokens['lms']}"}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        async with hub.session.request(method, address, headers=headers) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
            assert minor(await response.json())
    async with hub.session.head(address, headers=headers) as response:
        assert response.status == 200
        assert int(response.headers["X-Total-Count"]) > 0
        assert await response.read() == b""
    async with hub.session.get(address, headers=headers, data=b"x" * 100) as response:
        assert response.status == 200
    assert (await hub.get("/pupils"))[0] == 404
    assert (await hub.get("/users/"))[0] == 200  # a slash behind an address says nothing
    assert (await hub.get("/users//"))[0] == 404


async def test_every_operation_says_who_may_ask() -> None:
    assert len(ROSTERING) == 41
    assert len({o.name for o in ROSTERING}) == 41
    core = [o for o in ROSTERING if len(o.scopes) == 2]
    nested: list[Operation] = [o for o in ROSTERING if o.parents]

    assert (len(core), len(nested)) == (22, 17)
