"""What apps write is in the district's system: translated, in order, once, and what it does not take is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import polars as pl
import pytest

from hub.passback.codes import Down
from hub.store import grade_deliveries, grade_targets
from hub.store.grade_deliveries import Chosen
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.passing import Passing, passing
from tests.fakes.sis import on, told
from tests.services import Database


@pytest.fixture
async def world(book: Book, book_database: Database) -> AsyncIterator[Passing]:
    async with passing(book, book_database) as made:
        yield made


async def graded(book: Book, *, app: str = "lms") -> None:
    """A category, a line item in it, and a result, all of an app."""
    await book.make("categories", "c", app=app)
    await book.make("lineItems", "li", {"category": ref("c")}, app=app)
    await book.make("results", "r", {"lineItem": ref("li")}, app=app)


async def test_without_a_target_nothing_is_sent_and_the_hub_keeps_it(world: Passing) -> None:
    await graded(world.book)
    await world.drain()
    assert world.there.came == []
    assert (await world.book.one("results", "r"))["score"] == 7


async def test_objects_arrive_with_the_ids_that_the_system_knows(world: Passing) -> None:
    book, ids = world.book, world.book.ids
    await graded(book)
    await book.make("results", "own", {"lineItem": ref(ids.sis["L1"]), "comment": "Well done"})
    await world.point()
    await world.drain()
    category, item = await world.id("categories", "c"), await world.id("lineItems", "li")
    assert world.there.of("categories").keys() == {category}
    sent = world.there.objects["lineItems", item]
    base = world.there.url.removesuffix("/gradebook/v1p2")
    class_ = world.keys[ids.here]
    assert sent["class"] == {
        "sourcedId": class_, "type": "class", "href": f"{base}/rostering/v1p2/classes/{class_}"
    }  # fmt: skip
    assert sent["school"]["sourcedId"] == world.keys[ids.school]
    assert sent["academicSession"]["sourcedId"] == world.keys[ids.session]
    assert sent["category"] == {
        "sourcedId": category, "type": "category", "href": f"{world.there.url}/categories/{category}"
    }  # fmt: skip
    assert sent["status"] == "active"
    result = world.there.objects["results", await world.id("results", "r")]
    assert (result["lineItem"]["sourcedId"], result["student"]["sourcedId"]) == (item, world.keys[ids.students[0]])
    assert (result["score"], result["scoreStatus"], result["scoreDate"]) == (7, "fully graded", "2026-09-03")
    own = world.there.objects["results", await world.id("results", "own")]
    assert (own["lineItem"]["sourcedId"], own["comment"]) == ("L1", "Well done")
    assert await world.states() == {"delivered": 4}
    row = await world.row()
    assert row.last_success is not None
    assert row.troubled == 0


async def test_what_is_referred_to_is_put_first_and_deleted_last(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    await book.make("lineItems", "li", {"category": ref("c"), "title": "Again"})
    await book.make("categories", "c", {"title": "Again"})
    await world.drain()
    ids = {e: await world.id(e, k) for e, k in (("categories", "c"), ("lineItems", "li"), ("results", "r"))}
    assert world.there.order() == list(ids.items())
    assert world.there.objects["categories", ids["categories"]]["title"] == "Again"
    world.there.came.clear()
    await book.send("DELETE", "/lineItems/li")
    await book.send("DELETE", "/categories/c")
    await world.drain()
    assert world.there.order("DELETE") == list(reversed(ids.items()))
    assert world.there.objects == {}
    assert await world.states() == {"delivered": 3}


async def test_a_newer_write_replaces_one_that_waits_and_follows_one_that_went(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    for score in range(5):
        await book.make("results", "r", {"lineItem": ref("li"), "score": score})
    await world.drain()
    result = await world.id("results", "r")
    assert world.there.order().count(("results", result)) == 1
    await book.make("results", "r", {"lineItem": ref("li"), "score": 9})
    await world.drain()
    assert world.there.order().count(("results", result)) == 2
    assert world.there.objects["results", result]["score"] == 9


async def test_an_object_that_came_and_went_before_it_was_sent_is_gone_there(world: Passing) -> None:
    await graded(world.book)
    await world.book.send("DELETE", "/results/r")
    await world.point()
    await world.drain()
    assert world.there.of("results") == {}
    assert await world.states() == {"delivered": 3}  # the system's 404 says that it is not there
    await world.book.make("results", "r", {"lineItem": ref("li")})
    await world.drain()
    assert world.there.of("results").keys() == {await world.id("results", "r")}


async def test_a_target_that_starts_now_takes_what_new_objects_refer_to_along(world: Passing) -> None:
    book = world.book
    await graded(book)
    await world.point(start="now")
    await world.drain()
    assert world.there.came == []
    await book.make("results", "late", {"lineItem": ref("li"), "student": ref(book.ids.students[1])})
    await world.drain()
    order = [await world.id(*pair) for pair in (("categories", "c"), ("lineItems", "li"), ("results", "late"))]
    assert [id_ for _, id_ in world.there.order()] == order


async def test_only_the_named_apps_and_entities_go(world: Passing) -> None:
    book = world.book
    await graded(book)
    await graded(book, app="quiz")
    await book.make("scoreScales", "s")
    await book.make("lineItems", "scaled", {"category": ref("c"), "scoreScale": ref("s")})
    await world.point(apps=[book.hub.prepared.apps["lms"]], entities=["categories", "lineItems"])
    await world.drain()
    ids = {await world.id("categories", "c"), await world.id("lineItems", "li"), await world.id("lineItems", "scaled")}
    assert {id_ for _, id_ in world.there.objects} == ids
    # What may be missing and does not go is left out.
    assert "scoreScale" not in world.there.objects["lineItems", await world.id("lineItems", "scaled")]


async def test_what_the_source_of_the_target_does_not_know_is_told_and_blocks_nothing_else(world: Passing) -> None:
    book, ids = world.book, world.book.ids
    # The district's second student came from another source than the system that takes grades.
    await world.owner.execute(
        "UPDATE source_records SET source_id = $1 WHERE entity = 'users' AND key = $2",
        uuid4(), world.keys[ids.students[1]],
    )  # fmt: skip
    await graded(book)
    await book.make("results", "other", {"lineItem": ref("li"), "student": ref(ids.students[1])})
    await world.point()
    await world.drain()
    (line,) = await world.report()
    assert str(line.sourced_id) == await world.id("results", "other")
    assert (line.state, line.code, line.field, line.status) == ("refused", "not_known_there", "student", None)
    assert await world.states() == {"delivered": 3, "refused": 1}
    assert (await world.row()).troubled == 1


async def test_a_refusal_holds_back_what_depends_on_it_until_it_is_mended(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    await book.make("results", "free", {"lineItem": ref(book.ids.sis["L1"])})
    category = await world.id("categories", "c")
    world.there.fault = on(category, told(422, {
        "imsx_codeMajor": "failure", "imsx_severity": "error",
        "imsx_description": "title 'Quizzes' is not allowed for Ada Canary",
        "imsx_codeMinor": {"imsx_codeMinorField": [
            {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": "invaliddata"}]},
    }))  # fmt: skip
    await world.drain()
    lines = {line.entity: line for line in await world.report()}
    refused, blocked = lines["categories"], lines["lineItems"]
    assert (refused.state, refused.code, refused.status, refused.minor) == (
        "refused", "invalid_data", 422, "invaliddata"
    )  # fmt: skip
    assert refused.description == "title … is not allowed for …"
    assert (blocked.state, blocked.code, blocked.field) == ("blocked", "blocked", "category")
    assert str(blocked.blocked_sourced_id) == category
    assert lines["results"].blocked_entity == "lineItems"
    assert world.there.of("results").keys() == {await world.id("results", "free")}
    world.there.fault = lambda *_: None
    await book.make("categories", "c", {"title": "Better"})  # the app mends it
    await world.drain()
    assert await world.report() == []
    assert await world.states() == {"delivered": 4}


async def test_an_object_that_was_there_once_does_not_hold_others_back(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    await world.drain()
    world.there.fault = on(await world.id("lineItems", "li"), told(409))
    await book.make("lineItems", "li", {"category": ref("c"), "title": "Other"})
    await book.make("results", "next", {"lineItem": ref("li"), "student": ref(book.ids.students[1])})
    await world.drain()
    (line,) = await world.report()
    assert (line.entity, line.code, line.status) == ("lineItems", "conflict", 409)
    assert ("results", await world.id("results", "next")) in world.there.objects


async def test_a_person_can_have_it_sent_again_or_skip_it(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    category = await world.id("categories", "c")
    world.there.fault = on(category, told(403))
    await world.drain()
    assert {(line.entity, line.code) for line in await world.report()} == {
        ("categories", "forbidden"), ("lineItems", "blocked"), ("results", "blocked")
    }  # fmt: skip
    world.there.roster["categories"].add(category)  # made by hand, over there
    async with book.service.district(book.district_id) as tx:
        await grade_targets.lock(tx, world.target)
        assert await grade_deliveries.skip(tx, world.target, Chosen(code="forbidden")) == 1
    await world.drain()
    assert await world.states() == {"skipped": 1, "delivered": 2}
    await book.make("categories", "c", {"title": "New"})  # a skipped one is sent again once it is written anew
    await world.drain()
    async with book.service.district(book.district_id) as tx:
        await grade_targets.lock(tx, world.target)
        assert await grade_deliveries.retry(tx, world.target, Chosen("lineItems")) == 0
        assert await grade_deliveries.retry(tx, world.target, Chosen("categories")) == 1
    world.there.fault = lambda *_: None
    await world.drain()
    assert await world.states() == {"delivered": 3}


async def test_what_does_not_go_any_more_is_forgotten_and_what_needs_it_is_told(world: Passing) -> None:
    book = world.book
    await world.point()
    await book.make("categories", "c", app="quiz")
    category = await world.id("categories", "c", "quiz")
    await book.make("lineItems", "li", {"category": ref(category)})
    world.there.fault = on(category, told(422))
    await world.drain()
    assert {(line.entity, line.state) for line in await world.report()} == {
        ("categories", "refused"), ("lineItems", "blocked")
    }  # fmt: skip
    async with book.service.district(book.district_id) as tx:
        await grade_targets.lock(tx, world.target)
        row = await grade_targets.change(tx, world.target, apps=[book.hub.prepared.apps["lms"]])
        await grade_deliveries.narrow(tx, row)
    world.there.came.clear()
    await world.drain()
    assert world.there.came == []
    (line,) = await world.report()
    assert (line.entity, line.state, line.code, line.field) == ("lineItems", "refused", "not_known_there", "category")


async def test_everything_can_be_sent_again(world: Passing) -> None:
    await world.point(start="now")
    await graded(world.book)
    await world.drain()
    before = dict(world.there.objects)
    world.there.objects.clear()  # restored from an old backup
    async with world.book.service.district(world.book.district_id) as tx:
        await grade_targets.lock(tx, world.target)
        await grade_deliveries.resend(tx, world.target)
    await world.drain()
    assert world.there.objects == before


async def test_a_delete_that_is_refused_while_others_wait_is_tried_again(world: Passing) -> None:
    book = world.book
    await world.point()
    await book.make("categories", "c")
    await book.make("categories", "d")
    await book.make("lineItems", "li", {"category": ref("c")})
    await world.drain()
    item = await world.id("lineItems", "li")
    world.there.fault = on(item, told(500))
    await book.make("lineItems", "li", {"category": ref("d")})
    await book.send("DELETE", "/categories/c")
    await world.drain()
    assert {(line.entity, line.state, line.code) for line in await world.report()} == {
        ("lineItems", "waiting", "server_error"), ("categories", "waiting", "delete_refused")
    }  # fmt: skip
    world.there.fault = lambda *_: None
    await world.later()
    await world.drain()
    assert await world.report() == []
    assert world.there.of("categories").keys() == {await world.id("categories", "d")}


async def test_a_wrong_address_refuses_no_object_at_first(world: Passing) -> None:
    await world.point(url=world.there.url + "/typo")
    for number in range(5):
        await world.book.make("categories", f"c{number}")
    await world.drain()
    row = await world.row()
    assert (row.last_error, row.last_status) == (Down.REFUSES_ALL, 404)
    assert await world.states() == {"waiting": 5}
    for _ in range(3):  # it stays with that: now it is meant
        await world.later()
        await world.drain()
    assert await world.states() == {"refused": 5}


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", ""])
async def test_a_system_of_1_1_gets_objects_of_1_1(book: Book, book_database: Database, method: str) -> None:
    async with passing(book, book_database, "1.1") as world:
        world.there.oauth1, world.there.replaces = method, 200
        await world.point(entities=["categories", "lineItems", "results"])
        await graded(book)
        await book.make("results", "text", {"lineItem": ref("li"), "score": ..., "textScore": "B"})
        await world.drain()
        item = world.there.objects["lineItems", await world.id("lineItems", "li")]
        assert "school" not in item
        assert item["gradingPeriod"]["sourcedId"] == world.keys[book.ids.session]
        assert (item["resultValueMin"], item["resultValueMax"]) == (0, 10)
        assert item["class"]["href"] == f"{world.there.url}/classes/{world.keys[book.ids.here]}"
        (line,) = await world.report()
        assert (line.entity, line.code) == ("results", "no_score")
        await book.make("results", "r", {"lineItem": ref("li"), "score": 3})
        await world.drain()
        assert world.there.objects["results", await world.id("results", "r")]["score"] == 3
        world.there.roster["users"].clear()
        await book.make("results", "r", {"lineItem": ref("li"), "score": 4})
        await world.drain()
        line = next(line for line in await world.report() if line.code != "no_score")
        assert (line.code, line.status, line.minor) == ("invalid_data", 400, "invaliddata")
        assert line.description == "student … not found"


async def test_what_comes_back_from_the_system_stays_the_apps_own(world: Passing) -> None:
    book = world.book
    await world.point()
    await graded(book)
    await world.drain()
    ids = {e: await world.id(e, k) for e, k in (("categories", "c"), ("lineItems", "li"), ("results", "r"))}
    before = {entity: await book.one(entity, key) for entity, key in (("lineItems", "li"), ("results", "r"))}

    def more(file: str, *rows: dict[str, str]) -> pl.DataFrame:
        first = book.frames[file].row(0, named=True)
        return pl.concat(
            [book.frames[file], pl.DataFrame([first | row for row in rows], schema=book.frames[file].schema)]
        )

    # The next export of the system has what it was given, changed by it, and a result of its own in it.
    package = dict(book.frames) | {
        "categories": more("categories", {"sourcedId": ids["categories"], "title": "Theirs"}),
        "lineItems": more("lineItems", {"sourcedId": ids["lineItems"], "title": "Theirs",
                                        "categorySourcedId": ids["categories"]}),
        "results": more("results", {"sourcedId": ids["results"], "lineItemSourcedId": ids["lineItems"], "score": "1"},
                        {"sourcedId": "R9", "lineItemSourcedId": ids["lineItems"], "score": "55"}),
    }  # fmt: skip
    run = await book.hub.first.sync(package)
    assert run.state == "applied"
    assert (run.counts["lineItems"]["created"], run.counts["results"]["created"]) == (0, 1)
    assert {entity: await book.one(entity, key) for entity, key in (("lineItems", "li"), ("results", "r"))} == before
    (theirs,) = [r for r in (await book.get("/results", limit="1000"))[1]["results"] if r.get("score") == 55]
    assert theirs["lineItem"]["sourcedId"] == "li"
    world.there.came.clear()
    await world.drain()
    assert world.there.came == []
    # It is gone from the next export: that ends nothing of the app's.
    assert (await book.hub.first.sync(book.frames)).state in {"applied", "held"}
    assert (await book.one("lineItems", "li"))["title"] == "Quiz"


async def test_sections_of_a_test_arrive_after_it_and_go_before_it(world: Passing) -> None:
    book = world.book
    await world.point(entities=["assessmentLineItems", "assessmentResults"])
    await book.make("assessmentLineItems", "part", {"title": "Part"})
    await book.make("assessmentLineItems", "test", {"title": "Test"})
    await book.make("assessmentLineItems", "part", {"title": "Part", "parentAssessmentLineItem": ref("test")})
    await book.make("assessmentResults", "ar", {"assessmentLineItem": ref("part")})
    await world.drain()
    part, test, result = (
        await world.id("assessmentLineItems", "part"), await world.id("assessmentLineItems", "test"),
        await world.id("assessmentResults", "ar"),
    )  # fmt: skip
    assert [id_ for _, id_ in world.there.order()] == [test, part, result]
    assert world.there.objects["assessmentLineItems", part]["parentAssessmentLineItem"]["sourcedId"] == test
    for key in ("part", "test"):
        assert (await book.send("DELETE", f"/assessmentLineItems/{key}"))[0] == 204
    for _ in range(2):  # both deletes go at once: the test is asked for again when its part is gone
        await world.drain()
        await world.later()
    assert world.there.objects == {}
    assert await world.states() == {"delivered": 3}
