"""GET and PUT /apps/{app}/limits."""

from __future__ import annotations

from tests.api.admin.service import AdminHub


async def test_limits_are_set_as_a_whole_and_shown_with_what_holds(hub: AdminHub) -> None:
    path = f"/apps/{hub.app}/limits"
    defaults = {"requests_per_second": 200, "burst": 1000, "concurrency": 8, "queue": 100}
    nothing = dict.fromkeys(defaults)
    assert await hub.made("GET", path) == {"set": nothing, "effective": defaults}

    await hub.made("PUT", path, json={"burst": 5, "queue": 0})
    made = await hub.made("PUT", path, json={"concurrency": 2, "queue": 0, "requests_per_second": 0.5})

    set_ = {"requests_per_second": 0.5, "concurrency": 2, "queue": 0}
    assert made == {"set": {**nothing, **set_}, "effective": {**defaults, **set_}}
    assert await hub.made("GET", path) == made


async def test_limits_that_make_no_sense_are_refused_by_name_and_change_nothing(hub: AdminHub) -> None:
    path = f"/apps/{hub.app}/limits"
    before = await hub.made("GET", path)
    for body, field in (
        ({"requests_per_second": 0}, "requests_per_second"), ({"burst": 1.5}, "burst"),
        ({"concurrency": 0}, "concurrency"), ({"queue": -1}, "queue"), ({"speed": 1}, "speed"),
    ):  # fmt: skip
        answer = await hub.call("PUT", path, json=body)
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert [error["field"] for error in answer.json["errors"]] == [field]
    assert await hub.made("GET", path) == before
