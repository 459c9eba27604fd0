"""PATCH /apps/{app}: names and settings of an app."""

from __future__ import annotations

from hub.behaviour import DEFAULT
from tests.api.admin.service import AdminHub


async def test_settings_are_kept_beside_those_that_were_set_before(hub: AdminHub) -> None:
    path = f"/apps/{hub.app}"
    assert (await hub.made("GET", path))["behaviour"] == DEFAULT.model_dump()

    await hub.made("PATCH", path, json={"behaviour": {"booleans": "json", "more_clauses": True}})
    made = await hub.made("PATCH", path, json={"name": "Maths", "behaviour": {"more_clauses": False}})

    assert made["name"] == "Maths"
    assert made["behaviour"] == {**DEFAULT.model_dump(), "booleans": "json"}
    assert await hub.made("GET", path) == made
    listed = {app["app_id"]: app for app in (await hub.made("GET", "/apps"))["items"]}
    assert listed[str(hub.app)]["behaviour"]["booleans"] == "json"
    rows = [row for row in await hub.audit_rows() if row["action"] == "app.edit"]
    assert [row["object"] for row in rows] == [f"app/{hub.app}"] * 2
    assert '"booleans": "json"' in rows[0]["details"]


async def test_an_unknown_setting_or_value_is_refused_by_name_and_changes_nothing(hub: AdminHub) -> None:
    path = f"/apps/{hub.app}"
    before = await hub.made("GET", path)
    for body, field in (
        ({"name": "Other", "behaviour": {"booleans": "maybe"}}, "behaviour.booleans"),
        ({"name": "Other", "behaviour": {"colour": "red"}}, "behaviour.colour"),
        ({"name": "Other", "behaviour": {"refused_delete_status": 200}}, "behaviour.refused_delete_status"),
    ):
        answer = await hub.call("PATCH", path, json=body)
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert [error["field"] for error in answer.json["errors"]] == [field]
    assert await hub.made("GET", path) == before


async def test_a_name_is_one_apps_alone(hub: AdminHub) -> None:
    answer = await hub.call("PATCH", f"/apps/{hub.app}", json={"name": "Stranger"})

    assert (answer.status, answer.json["code"]) == (409, "conflict")
