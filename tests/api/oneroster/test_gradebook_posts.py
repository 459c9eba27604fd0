"""Posting: all or none, ids from the hub, and the same ids for a request that comes again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hub.gradebook.gradebook import REPEATED
from tests.api.oneroster.gradebooks import Book, ref
from tests.api.oneroster.rosters import Answer
from tests.api.oneroster.test_gradebook_writes import refused


async def post(book: Book, path: str, *objects: dict[str, Any], app: str = "lms") -> Answer:
    """Posts objects, each the least one with the given members, under ids t0, t1, … for the time being."""
    name = path.rpartition("/")[2]
    sent = [{"sourcedId": f"t{n}"} | book.least(name) | one for n, one in enumerate(objects)]
    body = {name: [{m: v for m, v in one.items() if v is not ...} for one in sent]}
    return await book.send("POST", path, body=body, app=app)


async def pairs(answer: Answer) -> dict[str, str]:
    """The ids that were allocated, by those supplied."""
    status, body, _ = answer
    assert status == 201, body
    assert body.keys() == {"sourcedIdPairs"}
    assert all(pair.keys() == {"suppliedSourcedId", "allocatedSourcedId"} for pair in body["sourcedIdPairs"])
    return {pair["suppliedSourcedId"]: pair["allocatedSourcedId"] for pair in body["sourcedIdPairs"]}


async def test_the_four_posts_create_objects_that_can_be_read_replaced_and_deleted(book: Book) -> None:
    ids = book.ids
    item, student = book.ids.sis["L1"], ref(ids.students[1])
    for path, given in (
        (f"/classes/{ids.here}/lineItems", {"class": ...}),
        (f"/schools/{ids.school}/lineItems", {"school": ...}),
        (f"/lineItems/{item}/results", {"lineItem": ..., "student": student}),
        (f"/classes/{ids.here}/academicSessions/{ids.session}/results", {}),
    ):
        name = path.rpartition("/")[2]
        allocated = await pairs(await post(book, path, given, given))
        assert allocated.keys() == {"t0", "t1"}
        assert len(set(allocated.values())) == 2
        for sourced_id in allocated.values():
            found = await book.one(name, sourced_id)
            assert found["sourcedId"] == sourced_id
            assert found["class"]["sourcedId"] == ids.here
            assert await book.one(name, sourced_id, app="quiz") == found  # others know it by the same id
        one, other = allocated.values()
        assert (await book.put(name, one, {"metadata": {"x": 1}}))[0] == 201
        assert (await book.one(name, one))["metadata"] == {"x": 1}
        assert (await book.send("DELETE", f"/{name}/{other}"))[0] == 204
        await refused(await book.put(name, one, app="quiz"), 403, "forbidden")
        assert await pairs(await book.send("POST", path, body={name: []})) == {}


async def test_objects_must_belong_where_the_path_says(book: Book) -> None:
    ids, there = book.ids, ref(book.ids.there)
    await book.make("lineItems", "li", {"academicSession": ref(ids.session)})
    sessions = (await book.get("/academicSessions", service="rostering"))[1]["academicSessions"]
    other = next(s["sourcedId"] for s in sessions if s["sourcedId"] != ids.session)
    at_class, at_school = f"/classes/{ids.here}/lineItems", f"/schools/{ids.school}/lineItems"
    of_item = f"/lineItems/{ids.sis['L1']}/results"
    for path, given, words in (
        (at_class, {"class": there}, "lineItems[0].class (differs_from_path)"),
        (at_class, {"school": ...}, "lineItems[0].school (missing)"),
        (at_class, {"sourcedId": ...}, "lineItems[0].sourcedId (missing)"),
        (at_class, {"status": "tobedeleted"}, "lineItems[0].status (unknown_word)"),
        (at_school, {"class": there}, "lineItems[0].class (other_school)"),
        (at_school, {"school": ref(ids.other_school)}, "lineItems[0].school (differs_from_path)"),
        (of_item, {"lineItem": ref("li")}, "results[0].lineItem (differs_from_path)"),
        (f"/classes/{ids.there}/academicSessions/{ids.session}/results", {}, "results[0].class (other_class)"),
        (f"/classes/{ids.here}/academicSessions/{other}/results", {}, "results[0].lineItem (other_session)"),
    ):  # fmt: skip
        await refused(await post(book, path, given), 422, "invaliddata", words)
    for path in ("/classes/x/lineItems", f"/schools/{ids.here}/lineItems", f"/schools/{ids.sis['K1']}/lineItems",
                 f"/classes/{ids.here}/academicSessions/x/results"):  # fmt: skip
        await refused(await post(book, path, {}), 404, "unknownobject")
    for path in (f"/classes/{ids.there}/lineItems", f"/schools/{ids.other_school}/lineItems",
                 f"/lineItems/{ids.sis['L2']}/results"):  # fmt: skip
        await refused(await post(book, path, {}, app="math"), 404, "unknownobject")
    district = next(o["sourcedId"] for o in (await book.get("/orgs", service="rostering"))[1]["orgs"]
                    if o["type"] == "district")  # fmt: skip
    await refused(await post(book, f"/schools/{district}/lineItems", {}), 404, "unknownobject")


async def test_one_bad_object_keeps_all_out(book: Book) -> None:
    path = f"/lineItems/{book.ids.sis['L1']}/results"
    before = await book.keys("/results")
    answer = await post(book, path, {}, {"student": ref(book.ids.stranger)}, {"score": "much"}, {"sourcedId": "t0"})
    await refused(answer, 422, "invaliddata", "results[2].score (not_a_number)")
    answer = await post(book, path, {}, {"student": ref(book.ids.stranger)}, {"sourcedId": "t0"})
    await refused(answer, 422, "invaliddata", "results[1].student (not_enrolled)", "results[2].sourcedId (duplicate)")
    assert await book.keys("/results") == before


async def test_the_same_post_again_gives_the_same_ids_for_a_day(book: Book) -> None:
    path = f"/lineItems/{book.ids.sis['L1']}/results"
    first = await pairs(await post(book, path, {}, {}))
    again = await pairs(await post(book, path, {"score": 1}, {}, {}))
    assert {key: again[key] for key in first} == first
    assert len(set(again.values())) == 3
    assert (await book.one("results", first["t0"]))["score"] == 7
    elsewhere = await pairs(
        await post(book, f"/classes/{book.ids.here}/academicSessions/{book.ids.session}/results", {})
    )
    by_another = await pairs(await post(book, path, {}, app="quiz"))
    assert {elsewhere["t0"], by_another["t0"]}.isdisjoint(again.values())
    await _age(book, REPEATED + timedelta(minutes=1))
    assert set((await pairs(await post(book, path, {}))).values()).isdisjoint(again.values())


async def _age(book: Book, by: timedelta) -> None:
    """Makes all that was posted older."""
    async with book.service.district(book.district_id) as tx:
        await tx.execute("UPDATE gradebook_posts SET at = at - $1::interval", by)


async def test_one_post_sent_many_times_at_once_creates_once(book: Book) -> None:
    path = f"/classes/{book.ids.here}/lineItems"
    before = len(await book.keys("/lineItems"))
    answers = await asyncio.gather(*(post(book, path, {}, {}) for _ in range(8)))
    found = [await pairs(answer) for answer in answers]
    assert all(one == found[0] for one in found)
    assert len(await book.keys("/lineItems")) == before + 2
