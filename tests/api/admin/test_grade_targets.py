"""Grade targets: who may say where grades go, what is refused, what is never shown, and acting on the report."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from hub.passback.codes import MEND, Down, Trouble
from tests.api.admin.commands import process
from tests.api.admin.service import AdminHub
from tests.docs.generate import DOCS
from tests.services import MASTER_KEY

SECRET = "hunter2 of these tests"
URL = "https://127.0.0.1:8443/ims/oneroster/gradebook/v1p2"
LOGIN = {"kind": "oauth2", "token_url": "https://127.0.0.1:8443/token", "client_id": "hub", "scope": "a b"}


def path(hub: AdminHub, rest: str = "") -> str:
    return f"/districts/{hub.district}/grade-targets{rest}"


def body(hub: AdminHub, **more: Any) -> dict[str, Any]:
    return {"source_id": str(hub.source), "url": URL, "login": LOGIN, "client_secret": SECRET} | more


async def made(hub: AdminHub, **more: Any) -> Any:
    return await hub.made("POST", path(hub), role="district", json=body(hub, **more))


async def test_a_target_is_made_watched_and_ended(hub: AdminHub) -> None:
    one = await made(hub)
    assert (one["state"], one["version"], one["objects"], one["lag_seconds"]) == ("active", "1.2", {}, 0)
    assert one["entities"] == ["categories", "lineItems", "results"]
    assert hub.rung[-1] == ("deliver", hub.district)
    number = one["target_id"]
    assert (await hub.made("GET", path(hub)))["items"] == [one]
    assert (await hub.call("POST", path(hub), role="district", json=body(hub))).status == 409
    assert (await hub.made("POST", path(hub, f"/{number}/pause")))["state"] == "paused"
    assert (await hub.made("POST", path(hub, f"/{number}/resume")))["state"] == "active"
    assert (await hub.made("POST", path(hub, f"/{number}/resend")))["state"] == "active"
    assert (await hub.call("DELETE", path(hub, f"/{number}"))).status == 204
    assert (await hub.call("GET", path(hub, f"/{number}"))).status == 404
    assert [row["action"] for row in await hub.audit_rows()] == [
        "grade_target.create", "grade_target.pause", "grade_target.resume", "grade_target.resend",
        "grade_target.delete",
    ]  # fmt: skip


@pytest.mark.threat("T29")
async def test_a_secret_is_taken_kept_for_its_login_and_never_shown(hub: AdminHub) -> None:
    one = await made(hub)
    number = one["target_id"]
    shown = await hub.call("GET", path(hub, f"/{number}"), role="district")
    assert SECRET not in f"{one} {shown.body!r} {await hub.audit_rows()}"
    change = {name: value for name, value in body(hub).items() if name not in {"source_id", "client_secret"}}
    edited = await hub.made("PUT", path(hub, f"/{number}"), role="district", json=change | {"apps": [str(hub.app)]})
    assert edited["apps"] == [str(hub.app)]
    for moved in ({"url": URL.replace("8443", "8444")}, {"login": LOGIN | {"client_id": "other"}},
                  {"login": LOGIN | {"token_url": "https://127.0.0.1:1/token"}}):  # fmt: skip
        refused = await hub.call("PUT", path(hub, f"/{number}"), role="district", json=change | moved)
        assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    moved = change | {"url": URL.replace("8443", "8444"), "client_secret": "new"}
    assert (await hub.made("PUT", path(hub, f"/{number}"), role="district", json=moved))["url"] == moved["url"]
    connection = await asyncpg.connect(hub.owner_url)
    stored = await connection.fetchval("SELECT secret FROM hub.grade_targets")
    await connection.close()
    assert SECRET.encode() not in stored
    assert b"new" not in stored


@pytest.mark.threat("T31", "T55")
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "https://10.0.0.1/x"}, "HUB_PASSBACK_ALLOW"),
        ({"url": "http://93.184.215.14/x"}, "HUB_PASSBACK_ALLOW"),
        ({"login": LOGIN | {"token_url": "https://169.254.169.254/token"}}, "HUB_PASSBACK_ALLOW"),
        ({"url": "https://127.0.0.1/x?a=b"}, "query"),
        ({"client_secret": None}, "client_secret"),
        ({"entities": ["results"]}, "body"),
        ({"version": "1.1", "entities": ["scoreScales"]}, "body"),
        ({"login": {"kind": "oauth1", "client_id": "hub"}}, "body"),
        ({"entities": ["users"]}, "entities"),
        ({"apps": ["nobody"]}, "apps"),
        ({"start": "yesterday"}, "start"),
    ],
)
async def test_what_could_never_work_is_refused_with_the_place(
    hub: AdminHub, wrong: dict[str, Any], words: str
) -> None:
    answer = await hub.call("POST", path(hub), role="district", json=body(hub, **wrong))
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert words in answer.json["detail"]
    assert SECRET not in answer.body.decode()
    assert (await hub.call("POST", path(hub), json=body(hub))).status == 403  # not even a right one, by an operator


async def rows(hub: AdminHub, target: str, *objects: dict[str, Any]) -> list[str]:
    """Objects of a target in the outbox, as a worker would leave them; their ids."""
    connection = await asyncpg.connect(hub.owner_url, server_settings={"search_path": "hub"})
    ids = []
    for rid, one in enumerate(objects):
        values = {"entity": "results", "state": "refused", "code": "conflict", "attempt": 1, "operation": "put"} | one
        sourced_id = uuid4()
        ids.append(str(sourced_id))
        await connection.execute(
            "INSERT INTO gradebook_objects (district_id, entity, rid, app_id, sourced_id, created_at) "
            "VALUES ($1, $2, $3, $4, $5, now())",
            hub.district, values["entity"], rid, hub.app, sourced_id,
        )  # fmt: skip
        names = list(values)
        await connection.execute(
            "INSERT INTO grade_deliveries (district_id, target_id, rid, sourced_id, app_id, position, written_at, "
            f"stage, {', '.join(names)}) VALUES ($1, $2, $3, $4, $5, 1, now(), 3, "
            f"{', '.join(f'${number}' for number in range(6, 6 + len(names)))})",
            hub.district, UUID(target), rid, sourced_id, hub.app, *values.values(),
        )  # fmt: skip
    await connection.close()
    return ids


async def test_the_report_pages_through_what_was_not_taken_and_says_how_to_mend_it(hub: AdminHub) -> None:
    number = (await made(hub))["target_id"]
    ids = await rows(
        hub, number, {"entity": "categories", "code": "invalid_data", "status": 422, "minor": "invaliddata",
                      "description": "title is required", "field": None},
        {"state": "blocked", "code": "blocked", "blocked_entity": "categories", "blocked_rid": 0, "field": "category",
         "entity": "lineItems"},
        {"state": "waiting", "code": "server_error", "attempt": 2}, {"state": "waiting", "code": None, "attempt": 0},
        {"state": "delivered", "code": None}, {"state": "failed", "code": "no_answer"}, {"state": "skipped"},
    )  # fmt: skip
    lines, after = [], ""
    while True:
        page = await hub.made("GET", path(hub, f"/{number}/undelivered?limit=2{after}"))
        lines += page["items"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [line["sourced_id"] for line in lines] == [ids[0], ids[1], ids[2], ids[5]]
    first, second = lines[:2]
    assert (first["minor"], first["status"], first["description"]) == ("invaliddata", 422, "title is required")
    assert first["mend"] == MEND[Trouble.INVALID_DATA]
    assert second["blocked_by"] == {"entity": "categories", "sourced_id": ids[0]}
    skipped = await hub.made("GET", path(hub, f"/{number}/undelivered?state=skipped"))
    assert [line["sourced_id"] for line in skipped["items"]] == [ids[6]]
    for wrong in ("after=x", "after=dXNlcnMvMQ", "state=gone"):
        assert (await hub.call("GET", path(hub, f"/{number}/undelivered?{wrong}"))).status == 400
    shown = await hub.made("GET", path(hub, f"/{number}"))
    assert shown["objects"] == {"refused": 1, "blocked": 1, "waiting": 2, "delivered": 1, "failed": 1, "skipped": 1}
    assert shown["lag_seconds"] > 0

    answer = await hub.made("POST", path(hub, f"/{number}/retry"), json={"sourced_ids": ids[3:]})
    assert answer == {"objects": 1}
    assert (await hub.made("POST", path(hub, f"/{number}/skip"), json={"code": "invalid_data"})) == {"objects": 1}
    assert (await hub.made("GET", path(hub, f"/{number}")))["objects"] == {
        "waiting": 4, "delivered": 1, "skipped": 2  # what was blocked by the skipped one goes on
    }  # fmt: skip
    assert (await hub.made("POST", path(hub, f"/{number}/retry"), json={})) == {"objects": 1}  # what failed and waits
    details = [row["details"] for row in await hub.audit_rows() if row["action"] == "grade_target.skip"]
    assert '"objects": 1' in details[0]


async def test_an_edit_that_takes_less_forgets_what_waits_of_the_others(hub: AdminHub) -> None:
    number = (await made(hub))["target_id"]
    kinds = [{"entity": "categories"}, {"state": "delivered"}, {}]
    await rows(hub, number, *kinds)
    change = {"url": URL, "login": LOGIN, "entities": ["categories"]}
    edited = await hub.made("PUT", path(hub, f"/{number}"), role="district", json=change)
    assert edited["objects"] == {"refused": 1, "delivered": 1}


async def test_the_command_lists_reports_and_acts(hub: AdminHub) -> None:
    environment = {
        "HUB_ADMIN_URL": str(hub.server.make_url("/admin/v1")), "HUB_ADMIN_TOKEN": hub.tokens["district"],
        "HUB_PASSBACK_SECRET": SECRET,
    }  # fmt: skip
    district = ("--district", str(hub.district))
    code, text = await process("passback", "list", *district, **environment)
    assert (code, text.startswith("no grade target")) == (0, True)
    code, number = await process(
        "passback", "create", *district, "--source", str(hub.source), "--to", URL, "--token-url", LOGIN["token_url"],
        "--client", "hub", "--start", "beginning", **environment,
    )  # fmt: skip
    assert code == 0, number
    number = number.strip()
    (one,) = await rows(hub, number, {"code": "unknown_object", "status": 404, "field": None})
    code, text = await process("passback", "list", *district, **environment)
    assert (code, "1 refused" in text) == (0, True)
    code, text = await process("passback", "report", *district, number, **environment)
    assert code == 1
    assert f"results {one}: refused, unknown_object" in text
    assert f"mend: {MEND[Trouble.UNKNOWN_OBJECT]}" in text
    doctor = {"HUB_DATABASE_URL": hub.owner_url, "HUB_MASTER_KEY": MASTER_KEY.decode(), "NO_COLOR": "1"}
    assert (await process("passback", "retry", *district, number, "--id", one, **environment))[1] == "1 objects\n"
    assert "no grade target is in trouble" in (await process("doctor", **doctor))[1]
    await hub.made("POST", path(hub, f"/{number}/pause"))
    assert f"grade target {number} of district {hub.district}: paused" in (await process("doctor", **doctor))[1]
    assert (await process("passback", "skip", *district, number, "--code", "conflict", **environment))[
        1
    ] == "0 objects\n"
    assert (await process("passback", "report", *district, str(uuid4()), **environment))[0] == 2


def test_every_code_stands_in_the_docs() -> None:
    page = (DOCS / "passback.md").read_text(encoding="utf-8")
    assert MEND.keys() == set(Trouble)
    for code in (*Trouble, *Down):
        assert f"`{code}`" in page, code
