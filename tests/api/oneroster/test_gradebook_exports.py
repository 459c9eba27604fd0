"""Exports of a gradebook that apps write: the ids by which each app knows it, and what changed since, by each write."""

from __future__ import annotations

import pytest

from hub.api.exports import PATH
from hub.identifiers import is_canonical
from tests.api.oneroster.gradebooks import Book, ref
from tests.export.packages import Rows, applied, by_id, manifest, rows

LONG = "x" * 250


async def export(book: Book, mode: str = "bulk", app: str = "lms", version: str = "1.2") -> bytes:
    """A package that is sent at once, acknowledged by who takes it."""
    place, headers = (
        PATH.replace("{district}", str(book.district_id)),
        {"Authorization": f"Bearer {book.hub.prepared.tokens[app]}"},
    )
    query = {"mode": mode, "version": version}
    async with book.hub.session.get(f"{place}/oneroster.zip", params=query, headers=headers) as answer:
        data = await answer.read()
        assert answer.status == 200, data
        number = answer.headers["X-Export-ID"]
    async with book.hub.session.post(f"{place}/exports/{number}/acknowledge", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    return data


def row(found: Rows, file: str, **values: str) -> dict[str, str]:
    (only,) = (one for one in found[file] if all(one[name] == value for name, value in values.items()))
    return only


async def fill(book: Book) -> None:
    objectives = [{"source": "case", "learningObjectiveIds": ["5d2b4f0c-3a51-4a3c-9d8e-6f1f2a3b4c5d"]}]
    await book.make("categories", 'my, "odd" one')
    await book.make("scoreScales", "scale")
    wanted = {"category": ref('my, "odd" one'), "scoreScale": ref("scale"), "learningObjectiveSet": objectives}
    await book.make("lineItems", LONG, wanted)
    await book.make("results", "10", {"lineItem": ref(LONG)})
    await book.make("results", "9", {"lineItem": ref(LONG), "student": ref(book.ids.students[1])})


@pytest.mark.parametrize("version", ["1.2", "1.1"])
async def test_each_app_finds_the_ids_by_which_it_knows_objects(book: Book, version: str) -> None:
    await fill(book)
    own, other = [rows(await export(book, app=app, version=version)) for app in ("lms", "quiz")]
    mine = row(own, "lineItems", sourcedId=LONG)
    assert mine["categorySourcedId"] == 'my, "odd" one'
    assert row(own, "categories", sourcedId='my, "odd" one')["title"] == "Quizzes"
    assert [r["sourcedId"] for r in own["results"] if r["lineItemSourcedId"] == LONG] == ["10", "9"]
    assert {r["sourcedId"] for r in own["lineItems"]} - {LONG} == {book.ids.sis["L1"], book.ids.sis["L2"]}
    assert all(is_canonical(r["sourcedId"]) for file in ("lineItems", "results", "categories") for r in other[file])
    for found in (own, other):
        for file in ("lineItems", "results", "categories"):
            ids = [r["sourcedId"] for r in found[file]]
            assert ids == sorted(ids)
    if version == "1.2":
        link = row(own, "lineItemScoreScales", lineItemSourcedId=LONG)
        assert link["scoreScaleSourcedId"] == "scale"
        assert row(own, "scoreScales", sourcedId="scale")["title"] == "Points"
        (objective,) = own["lineItemLearningObjectiveIds"]
        assert objective["lineItemSourcedId"] == LONG
        assert max(len(link["sourcedId"]), len(objective["sourcedId"])) <= 255


async def test_deltas_follow_what_apps_write(book: Book) -> None:
    """Whoever takes every delta has what a whole package holds, by the ids of each app."""
    held = {app: rows(await export(book, app=app)) for app in ("lms", "quiz", "math")}
    steps = (
        fill(book),
        book.make("results", "9", {"lineItem": ref(LONG), "student": ref(book.ids.students[1]), "score": 1}),
        book.send("DELETE", f"/lineItems/{LONG}"),
        book.make("lineItems", "new"),
    )
    for step in steps:
        await step
        for app, before in held.items():
            delta = await export(book, "delta", app)
            assert manifest(delta)["file.results"] in {"delta", "absent"}
            whole = rows(await export(book, app=app))
            found, expected = by_id(applied(before, rows(delta))), by_id(whole)
            assert found.keys() == expected.keys()
            for file, listed in expected.items():
                assert found[file] == listed
            held[app] = whole
