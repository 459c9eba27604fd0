"""Writing the gradebook over HTTP: who may, what is accepted, and the one answer to each fault."""

from __future__ import annotations

import gzip
import io
import sys
from typing import Any
from uuid import uuid4

import pytest

from hub.api.negotiation import LARGEST_BODY
from hub.api.oneroster.body import MOST_OBJECTS
from hub.api.oneroster.scopes import SCOPES
from hub.api.oneroster.writes import WRITES, Write
from hub.behaviour import Behaviour
from hub.store import apps
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.rosters import issue, minor
from transforms.catalogue import CATALOGUE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENTITIES = [e.name for e in CATALOGUE.of_service("gradebook")]
UNAUTHORISED = {"1.1": "unauthorized", "1.2": "unauthorisedrequest"}
PREFIX = "https://purl.imsglobal.org/spec/or/"


async def set_behaviour(book: Book, app: str = "lms", **settings: Any) -> None:
    """Changes an app's settings; the server has not asked for them before."""
    Behaviour(**settings)
    async with book.hub.db.shared() as tx:
        await apps.change(tx, book.hub.prepared.apps[app], behaviour=settings)


def described(body: Any) -> str:
    return str(body["imsx_description"])


async def refused(answer: Any, status: int, code: str, *words: str) -> None:
    """Checks that a write got this refusal, and that its text has these words."""
    got, body, headers = answer
    assert (got, minor(body)) == (status, code), body
    assert headers["Cache-Control"] == "no-store"
    for word in words:
        assert word in described(body)


def test_all_writes_of_the_standard_are_there() -> None:
    assert [(w.method, w.version) for w in WRITES].count(("PUT", "1.2")) == 6
    assert [(w.method, w.version) for w in WRITES].count(("DELETE", "1.2")) == 6
    assert [(w.method, w.version) for w in WRITES].count(("POST", "1.2")) == 4
    assert sorted((w.method, w.path) for w in WRITES if w.version == "1.1") == sorted(
        (method, f"/{entity}/{{sourcedId}}")
        for method in ("PUT", "DELETE") for entity in ("categories", "lineItems", "results")
    )  # fmt: skip


def scope_of(write: Write) -> str:
    """As the standard's tables have it."""
    if write.version == "1.1":
        return f"{PREFIX}v1p1/scope/gradebook.{'createput' if write.method == 'PUT' else 'delete'}"
    family = "assessment" if "assessment" in write.path else "gradebook"
    kind = {"PUT": "createput", "POST": "createpost", "DELETE": "delete"}[write.method]
    return f"{PREFIX}v1p2/scope/{family}.{kind}"


def path_of(write: Write, book: Book) -> str:
    ids = {"classSourcedId": book.ids.here, "schoolSourcedId": book.ids.school, "sourcedId": "x",
           "lineItemSourcedId": book.ids.sis["L1"], "academicSessionSourcedId": book.ids.session}  # fmt: skip
    return write.path.format(**ids)


@pytest.mark.threat("T12", "T20")
async def test_every_write_needs_its_own_scope_a_grant_and_the_right_to_write(book: Book) -> None:
    client = book.hub.prepared.clients["lms"][0]
    for write in WRITES:
        path, scope = path_of(write, book), scope_of(write)
        only = await issue(book.hub.db, client, [scope])
        others = await issue(book.hub.db, client, [s for s in SCOPES if s != scope])
        body: dict[str, Any] | None = None if write.method == "DELETE" else {write.envelope: []}
        status, answer, headers = await book.send(write.method, path, token=others, version=write.version, body=body)
        assert (status, minor(answer)) == (403, "forbidden"), write
        assert 'error="insufficient_scope"' in headers["WWW-Authenticate"]
        status, _, _ = await book.send(write.method, path, token=only, version=write.version, body=body)
        assert status in ({422, 400} if write.method == "PUT" else {404} if write.method == "DELETE" else {201}), write
        for app in ("viewer", "plain"):  # one sees the gradebook, the other does not: neither may write
            await refused(
                await book.send(write.method, path, app=app, version=write.version, body=body), 403, "forbidden"
            )
        status, answer, _ = await book.send(write.method, path, token="rh_at_none", version=write.version, body=body)
        assert (status, minor(answer)) == (401, UNAUTHORISED[write.version]), write


async def test_objects_are_created_replaced_read_deleted_and_then_gone(book: Book) -> None:
    await book.make("assessmentLineItems", "a")
    for entity in ENTITIES:
        await _through_its_life(book, entity)


async def _through_its_life(book: Book, entity: str) -> None:
    status, body, headers = await book.put(entity, "one/two@x")
    assert (status, body, headers["Content-Length"]) == (201, "", "0")
    assert "Content-Type" not in headers
    assert headers["Location"] == book.hub.settings.public_url + book.address(f"/{entity}/one%2Ftwo%40x")
    found = await book.one(entity, "one/two@x")
    assert (found["sourcedId"], found["status"]) == ("one/two@x", "active")
    changed = {"title": "Other"} if "title" in CATALOGUE[entity] else {"comment": "Well done"}
    status, body, headers = await book.put(entity, "one/two@x", changed)
    assert (status, body) == (201, "")
    assert "Location" not in headers
    assert changed.items() <= (await book.one(entity, "one/two@x")).items()
    status, body, _ = await book.send("DELETE", f"/{entity}/one%2Ftwo%40x")
    assert (status, body) == (204, "")
    await refused(await book.get(f"/{entity}/one%2Ftwo%40x"), 404, "unknownobject")
    await refused(await book.send("DELETE", f"/{entity}/one%2Ftwo%40x"), 404, "unknownobject")
    assert "one/two@x" not in await book.keys(f"/{entity}")
    status, _, _ = await book.put(entity, "one/two@x")
    assert status == 201
    assert (await book.one(entity, "one/two@x"))["status"] == "active"


async def test_the_standards_vectors(book: Book) -> None:
    await refused(await book.put("lineItems", "a", {"sourcedId": "b"}), 422, "invaliddata", "differs_from_path")
    assert (await book.put("results", "r1"))[0] == 201  # neither status nor dateLastModified
    found = await book.one("results", "r1")
    assert found["dateLastModified"].endswith("Z")
    await refused(await book.put("results", "r1", {"scoreStatus": "graded"}), 422, "invaliddata", "result.scoreStatus")
    assert (await book.put("results", "r1", {"scoreStatus": "ext:pending"}))[0] == 201
    await refused(await book.send("POST", "/lineItems/unknown/results", body={"results": []}), 404, "unknownobject")
    status, _, headers = await book.send("POST", "/categories", body={"category": {}})
    assert (status, headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    status, _, headers = await book.get(f"/lineItems/{book.ids.sis['L1']}/results")
    assert (status, headers["Allow"]) == (405, "OPTIONS, POST")
    await refused(await book.send("DELETE", "/categories/unknown"), 404, "unknownobject")
    assert (await book.put("results", "extra", {"score": 300}))[0] == 201  # extra credit
    assert (await book.one("results", "extra"))["score"] == 300
    assert (await book.put("results", "exempt", {"scoreStatus": "exempt", "score": 5}))[0] == 201


@pytest.mark.threat("T47")
async def test_a_body_that_is_none_gets_its_status(book: Book) -> None:
    json = "application/json"
    for data, kind, status in (
        (b"{", json, 400), (b"", json, 400), (b'{"result": "\xff"}', json, 400), (b'{"result": NaN}', json, 400),
        (b"{}", "text/plain", 415), (b"{}", "application/xml", 415), (b"{}", json + "; charset=latin-1", 415),
        (b"{}", json + "; charset=UTF-8", 422), (b"[]", json, 422), (b"7", json, 422),
        (b'{"lineItem": {}}', json, 422), (b'{"result": []}', json, 422), (b'{"result": null}', json, 422),
        (b" " * (LARGEST_BODY + 1), json, 413),
    ):  # fmt: skip
        answer = await book.send("PUT", "/results/x", data=data, headers={"Content-Type": kind})
        await refused(answer, status, "invaliddata")
    whole = b'{"category": {"title": "T"}}'
    for coding, data, status in (
        ("gzip", b"no gzip", 400), ("zstd", b"no zstd", 400), ("compress", whole, 415), ("gzip, gzip", whole, 415),
        ("gzip", gzip.compress(whole)[:-12], 400), ("gzip", gzip.compress(b" " * (LARGEST_BODY + 1)), 413),
    ):  # fmt: skip
        answer = await book.send("PUT", "/categories/x", data=data, headers={"Content-Encoding": coding})
        await refused(answer, status, "invaliddata")
    assert (await book.get("/categories/x"))[0] == 404
    for coding, data in (("gzip", gzip.compress(whole)), ("zstd", zstd.compress(whole)), ("identity", whole)):
        assert (await book.send("PUT", "/categories/x", data=data, headers={"Content-Encoding": coding}))[0] == 201
    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    async with book.hub.session.post("/oauth/token", data=io.BytesIO(b"no gzip"), headers=form) as answered:
        assert (answered.status, (await answered.json())["error"]) == (400, "invalid_request")


async def test_a_body_without_a_type_is_taken_for_json(book: Book) -> None:
    path = book.address("/categories/k")
    headers = {"Authorization": f"Bearer {book.hub.prepared.tokens['lms']}"}
    async with book.hub.session.put(
        path, data=b'{"category": {"title": "T"}}', headers=headers, skip_auto_headers=["Content-Type"]
    ) as response:
        assert response.status == 201
    assert (await book.one("categories", "k"))["title"] == "T"


async def test_sloppy_input_is_stored_as_the_standard_writes_it(book: Book) -> None:
    await book.make("lineItems", "li", {"dueDate": "2026-09-30", "assignDate": "2026-09-01T00:00:00+02:00"})
    found = await book.one("lineItems", "li")
    assert (found["assignDate"], found["dueDate"]) == ("2026-08-31T22:00:00.000Z", "2026-09-30T23:59:59.000Z")
    assert found["academicSession"] == found["gradingPeriod"]  # the class's term in which it is due
    student = {"sourcedId": book.ids.students[0], "type": "student", "href": "/users/x"}
    await book.make("results", "r", {
        "lineItem": {"sourcedId": "li"}, "student": student, "score": "7.50", "comment": "", "late": True,
        "missing": "false", "scoreDate": "2026-09-03T23:00:00-05:00", "metadata": {"a": [1]}, "shoeSize": 42,
    })  # fmt: skip
    found = await book.one("results", "r")
    del found["dateLastModified"]
    (student_id, *_), rostering = (
        book.ids.students,
        book.hub.settings.public_url + book.address("", service="rostering"),
    )
    gradebook = book.hub.settings.public_url + book.address("")
    assert found == {
        "sourcedId": "r", "status": "active", "scoreStatus": "fully graded", "score": 7.5, "scoreDate": "2026-09-04",
        "late": "true", "missing": "false", "metadata": {"a": [1]},
        "lineItem": {"href": f"{gradebook}/lineItems/li", "sourcedId": "li", "type": "lineItem"},
        "student": {"href": f"{rostering}/users/{student_id}", "sourcedId": student_id, "type": "user"},
        "class": {"href": f"{rostering}/classes/{book.ids.here}", "sourcedId": book.ids.here, "type": "class"},
    }  # fmt: skip


async def test_a_replaced_object_loses_what_is_left_out(book: Book) -> None:
    await book.make("results", "r", {"comment": "x", "metadata": {"a": 1}})
    await book.make("results", "r", {"score": ...})
    assert {"comment", "metadata", "score"}.isdisjoint(await book.one("results", "r"))


@pytest.mark.threat("T13", "T17")
async def test_what_an_app_may_not_see_it_cannot_refer_to(book: Book) -> None:
    """One answer for what does not exist, is hidden, is deleted, or has another app's name."""
    await book.make("categories", "others", app="quiz")
    await book.make("categories", "gone", app="math")
    await book.send("DELETE", "/categories/gone", app="math")
    for name, sourced_id in (
        ("class", book.ids.there), ("class", str(uuid4())), ("class", "nonsense"), ("category", "others"),
        ("category", "gone"), ("school", book.ids.other_school), ("scoreScale", str(uuid4())),
        ("academicSession", book.ids.here),
    ):  # fmt: skip
        answer = await book.put("lineItems", "x", {name: ref(sourced_id)}, app="math")
        await refused(answer, 422, "invaliddata")
        assert described(answer[1]) == (
            f"lineItem.{name} (unknown_reference): there is no such object, or this app may not see it"
        )
    for student in (book.ids.there_student, str(uuid4())):
        await refused(
            await book.put("results", "x", {"student": ref(student)}, app="math"), 422, "invaliddata",
            "result.student (unknown_reference)",
        )  # fmt: skip
    assert (await book.put("lineItems", "x", {"class": ref(book.ids.there)}))[0] == 201  # this app sees it


async def test_a_student_must_be_enrolled_in_the_class_of_the_line_item(book: Book) -> None:
    for student in (book.ids.stranger, book.ids.teacher, book.ids.there_student):
        await refused(
            await book.put("results", "x", {"student": ref(student)}),
            422,
            "invaliddata",
            "result.student (not_enrolled)",
        )
    await refused(
        await book.put("results", "x", {"class": ref(book.ids.there)}), 422, "invaliddata", "result.class (other_class)"
    )


async def test_scores_bounds_and_scales(book: Book) -> None:
    await refused(await book.put("lineItems", "x", {"resultValueMin": 11}), 422, "invaliddata", "min_above_max")
    scale = {"scoreScale": ref(book.ids.sis["S1"])}  # A is 90, B is 80
    for text, status in (("A", 201), ("b", 201), ("95", 201), ("C", 422), ("70", 422)):
        assert (await book.put("results", f"r{text}", scale | {"textScore": text}))[0] == status, text
    await book.make("lineItems", "scaled", scale)
    answer = await book.put("results", "x", {"lineItem": ref("scaled"), "textScore": "F"})
    await refused(answer, 422, "invaliddata", "result.textScore (not_on_scale)")
    assert (await book.put("results", "x", {"textScore": "F"}))[0] == 201  # no scale is assigned


@pytest.mark.threat("T12")
async def test_only_its_own_objects_may_an_app_replace_or_delete(book: Book) -> None:
    await book.make("categories", "mine", app="quiz")
    canonical = next(
        c["sourcedId"] for c in (await book.get("/categories"))[1]["categories"] if c["title"] == "Quizzes"
    )
    for entity, sourced_id in (("categories", book.ids.sis["K1"]), ("categories", canonical),
                               ("lineItems", book.ids.sis["L1"]), ("results", book.ids.sis["R1"])):  # fmt: skip
        await refused(await book.put(entity, sourced_id), 403, "forbidden")
        await refused(await book.send("DELETE", f"/{entity}/{sourced_id}"), 403, "forbidden")
    # Hidden ones are nobody's: an id that an app cannot know is free to be its own.
    hidden = book.ids.sis["L2"]
    await refused(await book.send("DELETE", f"/lineItems/{hidden}", app="math"), 404, "unknownobject")
    assert (await book.put("lineItems", hidden, app="math"))[0] == 201
    assert (await book.one("lineItems", hidden, app="math"))["title"] == "Quiz"
    assert (await book.one("lineItems", hidden))["title"] == "Essay"


async def test_what_is_deleted_together_and_what_is_held(book: Book) -> None:
    await book.make("categories", "k")
    await book.make("scoreScales", "s")
    await book.make("lineItems", "li", {"category": ref("k"), "scoreScale": ref("s")})
    await book.make("results", "r", {"lineItem": ref("li")})
    for path in ("/categories/k", "/scoreScales/s"):
        await refused(await book.send("DELETE", path), 422, "deletefailure")
    await refused(await book.put("categories", "k", {"status": "tobedeleted"}), 422, "deletefailure")
    answer = await book.put("lineItems", "li", {"class": ref(book.ids.there), "category": ref("k")})
    await refused(answer, 422, "invaliddata", "lineItem.class (class_in_use)")
    assert (await book.send("DELETE", "/lineItems/li"))[0] == 204
    await refused(await book.get("/results/r"), 404, "unknownobject")
    for path in ("/categories/k", "/scoreScales/s"):
        assert (await book.send("DELETE", path))[0] == 204
    await book.make("lineItems", "li")  # it comes back without the results that went with it
    await refused(await book.get("/results/r"), 404, "unknownobject")
    await book.make("lineItems", "li", {"class": ref(book.ids.there), "school": ref(book.ids.other_school)})


async def test_assessments_are_trees(book: Book) -> None:
    parent = "parentAssessmentLineItem"
    await book.make("assessmentLineItems", "test", {"class": ref(book.ids.here)})
    await book.make("assessmentLineItems", "section", {parent: ref("test")})
    await book.make("assessmentLineItems", "item", {parent: ref("section")})
    await book.make("assessmentResults", "ar", {"assessmentLineItem": ref("item")})
    for above in ("test", "section", "item"):
        answer = await book.put("assessmentLineItems", "test", {parent: ref(above)})
        await refused(answer, 422, "invaliddata", f"assessmentLineItem.{parent} (cycle)")
    await refused(await book.send("DELETE", "/assessmentLineItems/section"), 422, "deletefailure")
    await refused(await book.put("assessmentLineItems", "test"), 422, "invaliddata", "class_in_use")
    for key in ("item", "section", "test"):
        assert (await book.send("DELETE", f"/assessmentLineItems/{key}"))[0] == 204
    await refused(await book.get("/assessmentResults/ar"), 404, "unknownobject")


async def test_an_object_that_says_it_is_deleted_is_deleted(book: Book) -> None:
    await book.make("results", "r")
    bare = {"result": {"sourcedId": "r", "status": "tobedeleted"}}  # as the hub itself writes tombstones
    for _ in range(2):
        assert (await book.send("PUT", "/results/r", body=bare))[0] == 201
        await refused(await book.get("/results/r"), 404, "unknownobject")
    assert (await book.send("PUT", "/results/never", body={"result": {"status": "tobedeleted"}}))[0] == 201
    await refused(await book.send("PUT", "/results/q", body=bare), 422, "invaliddata", "differs_from_path")
    assert (await book.send("PUT", f"/results/{book.ids.sis['R1']}", body={"result": {"status": "inactive"}}))[0] == 403


async def test_what_the_standard_leaves_open_is_set_for_each_app(book: Book) -> None:
    await set_behaviour(book, replaced_status=200, unknown_members="refuse", refused_delete_status=409,
                        deleted_gradebook="listed")  # fmt: skip
    await book.make("categories", "k")
    assert (await book.put("categories", "k", {"title": "Other"}))[0] == 200
    await refused(await book.put("categories", "k", {"shoe": 1}), 422, "invaliddata", "category.shoe (unknown_member)")
    await book.make("lineItems", "li", {"category": ref("k")})
    await refused(await book.send("DELETE", "/categories/k"), 409, "deletefailure")
    await book.send("DELETE", "/lineItems/li")
    assert (await book.one("lineItems", "li"))["status"] == "tobedeleted"
    assert "li" in await book.keys("/lineItems")
    await set_behaviour(book, app="quiz", unknown_members="ignore")
    assert (await book.put("categories", "k", {"shoe": 1}, app="quiz"))[0] == 201


async def test_deleted_objects_are_told_to_who_asks_by_status_or_date(book: Book) -> None:
    await book.make("results", "r")
    since = (await book.one("results", "r"))["dateLastModified"]
    await book.send("DELETE", "/results/r")
    for path in ("/results", f"/classes/{book.ids.here}/results"):
        assert "r" not in await book.keys(path)
    for query in (f"dateLastModified>='{since}'", "status='tobedeleted'", "status!='active'"):
        assert await book.keys("/results", filter=query) == ["r"]
        (found,) = (await book.get("/results", filter=query))[1]["results"]
        assert found.keys() == {"sourcedId", "status", "dateLastModified"}
        assert found["dateLastModified"] > since
    assert "r" not in await book.keys("/results", filter="sourcedId='r'")
    assert await book.keys("/results", filter="status='active'") == await book.keys("/results")


async def test_version_1_1_has_its_own_members_and_statuses(book: Book) -> None:
    period = {"gradingPeriod": ref(book.ids.session)}
    value = {"school": ..., "resultValueMin": 0, "resultValueMax": 10, **period}
    status, body, headers = await book.put("lineItems", "li", value, version="1.1")
    assert (status, body) == (201, "")
    assert headers["Location"].endswith("/ims/oneroster/v1p1/lineItems/li")
    assert (await book.put("lineItems", "li", value | {"title": "Other"}, version="1.1"))[0] == 200
    found = await book.one("lineItems", "li")
    assert (found["school"]["sourcedId"], found["title"]) == (book.ids.school, "Other")
    assert found["academicSession"] == found["gradingPeriod"]
    for name in ("gradingPeriod", "resultValueMin"):
        status, _, _ = await book.put("lineItems", "x", value | {name: ...}, version="1.1")
        assert status == 400
    assert (await book.put("results", "r", {"score": ...}, version="1.1"))[0] == 400
    assert (await book.put("results", "r", version="1.1"))[0] == 201
    assert (await book.send("DELETE", "/results/r", version="1.1"))[0] == 204
    assert (await book.send("DELETE", "/results/r", version="1.1"))[0] == 404


async def test_too_many_objects_at_once(book: Book) -> None:
    body = {"results": [{}] * (MOST_OBJECTS + 1)}
    answer = await book.send("POST", f"/lineItems/{book.ids.sis['L1']}/results", body=body)
    await refused(answer, 413, "invaliddata", str(MOST_OBJECTS))
