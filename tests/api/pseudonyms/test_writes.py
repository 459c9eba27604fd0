"""What an app with pseudonyms writes: by ids that it chose and ids that it was shown, and by no others."""

from __future__ import annotations

from typing import Any

import pytest

from hub import ids
from hub.scope.pseudonyms import is_pseudonym
from tests.api.oneroster.gradebooks import ref
from tests.api.pseudonyms.world import BLUE, CANONICAL, PLAIN, RED, World, pseudonyms

LINE_ITEM = {"title": "Quiz", "assignDate": "2026-09-01T08:00:00.000Z", "dueDate": "2026-09-02T08:00:00.000Z"}
RESULT = {"scoreStatus": "fully graded", "score": 7, "scoreDate": "2026-09-03"}


async def known(world: World, app: str) -> dict[str, str]:
    """What a result is about, by the ids that an app was shown: a class, its school, a student, a category."""
    (enrollment, *_) = await world.listed("enrollments", app, filter="role='student' AND status='active'")
    categories = await world.ids("categories", app)
    return {name: enrollment[name]["sourcedId"] for name in ("class", "school", "user")} | {"category": categories[0]}


async def line_item(world: World, app: str, key: str = "li", **values: Any) -> tuple[int, Any, Any]:
    """Puts a line item of the class."""
    about = await known(world, app)
    given = LINE_ITEM | {name: ref(about[name]) for name in ("class", "school", "category")} | values
    return await world.book.send("PUT", f"/lineItems/{key}", app=app, body={"lineItem": {"sourcedId": key} | given})


async def test_own_objects_have_the_ids_that_were_chosen_and_others_the_apps_pseudonyms(world: World) -> None:
    status, _, headers = await line_item(world, BLUE)
    assert status == 201
    assert headers["Location"].endswith("/lineItems/li")
    about = await known(world, BLUE)
    found = (await world.book.get("/lineItems/li", app=BLUE))[1]["lineItem"]
    assert (found["sourcedId"], found["class"]["sourcedId"]) == ("li", about["class"])
    assert found["category"]["sourcedId"] == about["category"]

    (result,) = (
        await world.book.send(
            "POST", "/lineItems/li/results", app=BLUE, body={"results": [RESULT | {
                "sourcedId": "mine", "lineItem": ref("li"), "student": ref(about["user"])}]},
        )
    )[1]["sourcedIdPairs"]  # fmt: skip
    assert result["suppliedSourcedId"] == "mine"
    assert is_pseudonym(result["allocatedSourcedId"])
    got = (await world.book.get(f"/results/{result['allocatedSourcedId']}", app=BLUE))[1]["result"]
    assert got["student"]["sourcedId"] == about["user"]
    assert got["lineItem"]["sourcedId"] == "li"
    (again,) = await world.ids("results", BLUE, filter="lineItem.sourcedId='li'")
    assert again == result["allocatedSourcedId"]

    (canonical,) = pseudonyms(world, BLUE).canonical([result["allocatedSourcedId"]])
    assert canonical in await world.ids("results", PLAIN)
    assert world.told(canonical, RED) in await world.ids("results", RED)
    named = await world.listed("results", RED, filter=f"sourcedId='{world.told(canonical, RED)}'")
    assert is_pseudonym(named[0]["lineItem"]["sourcedId"])


@pytest.mark.parametrize("sign", ["=", "!=", "<", "~"])
async def test_chosen_ids_and_pseudonyms_are_compared_and_sorted_together(world: World, sign: str) -> None:
    for key in ("0-first", "zz-last"):
        assert (await line_item(world, BLUE, key))[0] == 201
    everything = await world.ids("lineItems", BLUE, filter="status='active'")
    assert everything == sorted(everything)
    assert (everything[0], everything[-1]) == ("0-first", "zz-last")
    holds = {
        "=": lambda shown, value: shown == value, "!=": lambda shown, value: shown != value,
        "<": lambda shown, value: shown < value, "~": lambda shown, value: value in shown,
    }[sign]  # fmt: skip
    for value in ("zz-last", everything[1], "0-"):
        expected = [one for one in everything if holds(one, value)]
        assert await world.ids("lineItems", BLUE, filter=f"sourcedId{sign}'{value}'") == expected


@pytest.mark.threat("T14", "T15")
async def test_references_by_ids_of_others_lead_nowhere(world: World) -> None:
    about, theirs = await known(world, PLAIN), await known(world, RED)
    unknown = pseudonyms(world, BLUE).of([str(ids.new_id())])[0]
    refusals = []
    for other in (about["class"], theirs["class"], unknown, "no-id"):
        status, body, _ = await line_item(world, BLUE, **{"class": ref(other)})
        refusals.append((status, body))
    assert refusals[0][0] == 422
    assert refusals == [refusals[0]] * len(refusals)
    assert not CANONICAL.search(str(refusals))


@pytest.mark.threat("T14", "T15")
async def test_what_others_call_an_object_is_a_new_object_and_what_the_app_calls_so_is_not_its_own(
    world: World,
) -> None:
    (canonical, *_) = await world.ids("lineItems", PLAIN)
    mine, theirs = world.told(canonical, BLUE), world.told(canonical, RED)
    assert (await world.book.send("DELETE", f"/lineItems/{canonical}", app=BLUE))[0] == 404
    assert (await world.book.send("DELETE", f"/lineItems/{theirs}", app=BLUE))[0] == 404
    assert (await world.book.send("DELETE", f"/lineItems/{mine}", app=BLUE))[0] == 403
    assert (await line_item(world, BLUE, mine))[0] == 403
    for key in (canonical, theirs, "any"):
        assert (await line_item(world, BLUE, key))[0] == 201
        assert (await world.book.send("DELETE", f"/lineItems/{key}", app=BLUE))[0] == 204
    assert canonical in await world.ids("lineItems", PLAIN, filter="status='active'")
