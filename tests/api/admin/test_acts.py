"""Every write route, once and successfully: it answers as declared, leaves one audit row, and shows no secret there."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from hub.api.admin.route import PREFIX, Route
from hub.api.admin.routes import ROUTES
from hub.ids import new_id
from tests.api.admin.service import AdminHub, package
from tests.api.keys import public_keys

Prepared = tuple[dict[str, object], dict[str, Any]]
# What only a district may change has its own recipes, and its audit rows are asserted, in tests of its own.
ELSEWHERE = (
    "export_schedule.",
    "grade_target.",
    "override.",
    "match.",
    "agreement.",
    "user.split",
    "run.values",
    "transform.",
    "record.",
    "user.erase",
    "erasure.",
    "run.undo",
)
WRITES = {
    route.operation: route for route in ROUTES if route.changes and not (route.action or "").startswith(ELSEWHERE)
}


def _body(**members: object) -> Callable[[AdminHub], Awaitable[Prepared]]:
    async def prepare(_: AdminHub) -> Prepared:
        return {}, {"json": members}

    return prepare


def _query(**members: str) -> Callable[[AdminHub], Awaitable[Prepared]]:
    async def prepare(_: AdminHub) -> Prepared:
        return {}, {"params": members}

    return prepare


async def _nothing(_: AdminHub) -> Prepared:
    return {}, {}


async def _package(_: AdminHub) -> Prepared:
    return {}, {"data": package(), "headers": {"Content-Type": "application/zip"}}


async def _upload(hub: AdminHub) -> Prepared:
    return {}, {"json": {"upload_id": (await hub.upload())["upload_id"]}}


def _begin(length: int) -> dict[str, str]:
    return {"Tus-Resumable": "1.0.0", "Upload-Length": str(length)}


async def _begun(hub: AdminHub) -> str:
    """The id of an upload that waits for its one byte."""
    path = f"/districts/{hub.district}/sources/{hub.source}/resumable"
    return (await hub.call("POST", path, headers=_begin(1))).headers["Location"].rpartition("/")[2]


async def _begins(_: AdminHub) -> Prepared:
    return {}, {"headers": _begin(1)}


async def _last_byte(hub: AdminHub) -> Prepared:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    return {"resumable": await _begun(hub)}, {"data": b"x", "headers": headers}


async def _unfinished(hub: AdminHub) -> Prepared:
    return {"resumable": await _begun(hub)}, {"headers": {"Tus-Resumable": "1.0.0"}}


async def _held(hub: AdminHub) -> Prepared:
    return {"run": await hub.run("held")}, {}


async def _releasable(hub: AdminHub) -> Prepared:
    run = await hub.run()
    report = {"difference": {"schools": [{"school": str(new_id())}]}}
    async with hub.pool.district(hub.district) as tx:
        await tx.execute("UPDATE runs SET state = 'held', report = $2 WHERE run_id = $1", run, report)
    return {"run": run}, {"json": {}}


async def _queued(hub: AdminHub) -> Prepared:
    return {"run": await hub.run()}, {}


def _pulled(**members: object) -> Callable[[AdminHub], Awaitable[Prepared]]:
    """A source that names a place to pull from."""

    async def prepare(hub: AdminHub) -> Prepared:
        path = f"/districts/{hub.district}/sources/{hub.source}"
        await hub.made("PATCH", path, json={"config": {"path": "/nowhere/package.zip"}})
        return {}, {"json": members}

    return prepare


async def _scheduled(hub: AdminHub) -> Prepared:
    _, options = await _pulled(cron="0 2 * * *")(hub)
    await hub.made("PUT", f"/districts/{hub.district}/sources/{hub.source}/schedule", **options)
    return {}, {}


def _new_recipient(number: int) -> Callable[[AdminHub], Awaitable[Prepared]]:
    return _body(channel="webhook", address=f"https://127.0.0.1/hook/{number}?key=canary-7")


def _recipient(
    number: int, over: str = "districts/{hub.district}", **members: object
) -> Callable[[AdminHub], Awaitable[Prepared]]:
    async def prepare(hub: AdminHub) -> Prepared:
        _, options = await _new_recipient(number)(hub)
        made = await hub.made("POST", f"/{over.format(hub=hub)}/recipients", **options)
        return dict.fromkeys(("recipient", "app_recipient"), made["recipient_id"]), {"json": members} if members else {}

    return prepare


async def _client(hub: AdminHub) -> Prepared:
    return {"client": (await hub.made("POST", f"/apps/{hub.app}/clients", json={}))["client_id"]}, {}


async def _with_keys(hub: AdminHub) -> Prepared:
    body = {"jwks": public_keys()}
    made = await hub.made("POST", f"/apps/{hub.app}/clients", json=body)
    assert (made["jwks"], made["client_secret"]) == (body["jwks"], None)
    return {"client": made["client_id"]}, {"json": {"jwks": public_keys()}}


async def _signing(hub: AdminHub) -> Prepared:
    ids, _ = await _client(hub)
    await hub.made("POST", f"/apps/{hub.app}/clients/{ids['client']}/oauth1")
    return ids, {}


async def _sandbox(hub: AdminHub) -> Prepared:
    await hub.made("POST", f"/apps/{hub.app}/sandbox", json={"students": 100})
    return {}, {}


async def _new_grant(hub: AdminHub) -> Prepared:
    return {}, {"json": {"app_id": str(hub.foreign_app), "definition": {}}}


async def _suspended(hub: AdminHub) -> Prepared:
    await hub.made("POST", f"/districts/{hub.district}/grants/{hub.grant}/suspend")
    return {}, {}


async def _new_subscription(hub: AdminHub) -> Prepared:
    return {}, {"json": {"grant_id": str(hub.grant), "url": f"{hub.there.url}?key=canary-7"}}


async def _subscription(hub: AdminHub) -> Prepared:
    _, options = await _new_subscription(hub)
    made = await hub.made("POST", f"/districts/{hub.district}/subscriptions", **options)
    return {"subscription": made["subscription_id"]}, {}


def _edited(**members: object) -> Callable[[AdminHub], Awaitable[Prepared]]:
    async def prepare(hub: AdminHub) -> Prepared:
        ids, _ = await _subscription(hub)
        return ids, {"json": members}

    return prepare


async def _parked(hub: AdminHub) -> Prepared:
    ids, _ = await _subscription(hub)
    ids["parked"] = str(new_id())
    async with hub.pool.district(hub.district) as tx:
        await tx.execute(
            "INSERT INTO parked (district_id, subscription_id, parked_id, entity, rid, operation, version, attempts) "
            "VALUES ($1, $2, $3, 'users', 0, 'updated', 1, 3)",
            hub.district, UUID(ids["subscription"]), UUID(ids["parked"]),
        )  # fmt: skip
    return ids, {}


async def _changed_subscription(hub: AdminHub) -> Prepared:
    variables, _ = await _subscription(hub)
    return variables, {"json": {"signatures": ["v1a"]}}


async def _token(hub: AdminHub) -> Prepared:
    made = await hub.made("POST", "/tokens", json={"name": "t", "role": "operator"})
    return {"token": made["token_id"]}, {}


async def _trace(hub: AdminHub) -> Prepared:
    made = await hub.made("POST", f"/districts/{hub.district}/sources/{hub.source}/traces", json={})
    return {"trace": made["trace_id"]}, {}


WINDOW = {"kind": "blackout", "name": "Tests", "starts": "04-12", "ends": "04-17"}
RECIPES: dict[str, Callable[[AdminHub], Awaitable[Prepared]]] = {
    "districts_create": _body(name="New"),
    "districts_rename": _body(name="Renamed"),
    "sources_create": _body(name="SIS 2", kind="oneroster_csv"),
    "sources_edit": _body(name="Renamed", state="active"),
    "traces_create": _body(what="test"),
    "traces_delete": _trace,
    "schedules_put": _pulled(cron="0 2 * * *"),
    "schedules_pause": _scheduled,
    "schedules_resume": _scheduled,
    "schedules_delete": _scheduled,
    "recipients_create": _new_recipient(1),
    "recipients_edit": _recipient(2, state="paused"),
    "recipients_delete": _recipient(3),
    "app_recipients_create": _new_recipient(4),
    "app_recipients_edit": _recipient(5, over="apps/{hub.app}", state="paused"),
    "app_recipients_delete": _recipient(6, over="apps/{hub.app}"),
    "uploads_create": _package,
    "runs_cancel": _queued,
    "runs_reject": _held,
    "runs_approve": _held,
    "runs_create": _upload,
    "runs_release": _releasable,
    "guards_replace": _body(hold_days=5),
    "people_set_matching": _body(mode="off"),
    "rules_replace": _body(rules={"CLS-002": {"off": True}}),
    "guards_replace_of_source": _body(missing_file="allow"),
    "windows_add": _body(**WINDOW),
    "windows_remove": _query(name="Tests"),
    "windows_add_to_source": _body(**WINDOW),
    "windows_remove_from_source": _query(name="Tests"),
    "schedules_pull": _pulled(),  # after the runs that are claimed
    "apps_create": _body(name="Library"),
    "apps_edit": _body(name="Renamed", behaviour={"booleans": "json"}),
    "limits_put": _body(concurrency=3),
    "apps_create_client": _body(),
    "apps_rotate_client": _client,
    "apps_revoke_client": _client,
    "credentials_put_keys": _with_keys,
    "credentials_allow_oauth1": _client,
    "credentials_rotate_oauth1": _signing,
    "credentials_forbid_oauth1": _signing,
    "sandboxes_create": _body(students=100),
    "sandboxes_change": _sandbox,
    "grants_create": _new_grant,
    "grants_edit": _body(definition={"rules": [{"roles": ["student"]}]}),
    "identifiers_identify": _body(identifiers=["canary-7", str(new_id())]),
    "grants_suspend": _nothing,
    "grants_resume": _suspended,
    "subscriptions_create": _new_subscription,
    "subscriptions_change": _changed_subscription,
    "subscriptions_prove": _subscription,
    "subscriptions_pause": _subscription,
    "subscriptions_resume": _subscription,
    "subscriptions_rotate": _subscription,
    "subscription_tests_test": _subscription,
    "positions_replay": _edited(**{"from": 0}),
    "positions_seek": _edited(),
    "parked_retry_all": _parked,
    "parked_retry": _parked,
    "parked_discard": _parked,
    "subscriptions_delete": _subscription,
    "tokens_create": _body(name="Ours", role="operator"),
    "tokens_revoke": _token,
    "grants_revoke": _nothing,  # last: it is for good
    # Last: they queue runs, which would be claimed in place of those that others make.
    "resumable_create": _begins,
    "resumable_add": _last_byte,
    "resumable_end": _unfinished,
    "drops_create": _body(),
    "drops_rotate": _body(),
    "drops_remove": _nothing,
    "hints_create": _pulled(),
    "hints_rotate": _body(),
    "hints_remove": _nothing,
    "retention_put": _body(history_days=500),
    "sources_depart": _body(dry_run=True),
    "merging_set_survivorship": _body(rules={"users": {"email": {"rule": "freshness"}}}),
    "merging_edit_survivorship": _body(rules={"users": {"email": None}}),
}


def test_every_write_route_has_a_recipe() -> None:
    assert set(RECIPES) == set(WRITES)


@pytest.mark.threat("T21", "T48")
async def test_a_write_leaves_exactly_one_audit_row(hub: AdminHub) -> None:
    me = await hub.made("GET", "/me")
    for operation in RECIPES:
        row = await _act(hub, operation)
        assert (row["action"], row["actor"]) == (WRITES[operation].action, f"token:{me['token_id']}")
        assert re.fullmatch(r"[a-z]+/[\w-]+", row["object"])


async def _act(hub: AdminHub, operation: str) -> dict[str, Any]:
    """Carries out one write; its audit row."""
    route: Route = WRITES[operation]
    ids, options = await RECIPES[operation](hub)
    known: dict[str, object] = {"district": hub.district, "source": hub.source, "app": hub.app, "grant": hub.grant}
    before = await hub.audit_rows()
    answer = await hub.call(route.method, route.path.format(**(known | ids)), **options)
    after = await hub.audit_rows()

    expected = route.status if route.answer or route.options else 204
    assert answer.status == expected, (operation, answer.body)
    if route.answer is not None:
        route.answer.model_validate(answer.json)
    assert len(after) == len(before) + 1, operation
    if "{district}" in route.path:
        assert after[-1]["district_id"] == hub.district
    for secret in ("token", "client_secret", "secret", "consumer_secret", "password"):
        value = (answer.json or {}).get(secret)
        assert value is None or value not in str(after)
    assert "canary" not in str(after)
    return after[-1]


async def test_a_refused_write_leaves_none_and_changes_nothing(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}"
    refused = [
        ("POST", "/districts", {"name": ""}),
        ("POST", "/apps", {"name": "Math"}),
        ("PATCH", base, {"name": "x\u0000y"}),
        ("POST", f"{base}/sources", {"name": "s", "kind": "no_such_kind"}),
        ("POST", f"{base}/sources", {"name": "s", "kind": "oneroster_csv", "config": {"no": 1}}),
        ("POST", f"{base}/runs", {"upload_id": str(new_id())}),
        ("POST", f"{base}/grants", {"app_id": str(hub.app), "definition": {}}),
        ("POST", f"{base}/grants", {"app_id": str(new_id()), "definition": {}}),
        ("POST", f"{base}/subscriptions", {"grant_id": str(hub.grant), "url": "https://10.0.0.1/"}),
        ("POST", f"{base}/subscriptions", {"grant_id": str(hub.grant), "url": "ftp://127.0.0.1/"}),
        ("POST", "/tokens", {"name": "t", "role": "app"}),
        ("POST", "/tokens", {"name": "t", "role": "district", "district_id": str(new_id())}),
        ("POST", "/tokens", {"name": "t", "role": "operator", "expires_in_days": 366}),
    ]
    for method, path, body in refused:
        answer = await hub.call(method, path, json=body)
        assert 400 <= answer.status < 500, (path, body, answer.body)
    assert await hub.audit_rows() == []
    assert len((await hub.made("GET", "/districts"))["items"]) == 2


async def test_the_audit_log_is_read_newest_first_in_pages(hub: AdminHub) -> None:
    for number in range(5):
        await hub.made("PATCH", f"/districts/{hub.district}", json={"name": f"Name {number}"})
    await hub.made("POST", "/apps", json={"name": "Another"})
    path, seen, after = f"/districts/{hub.district}/audit", [], None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = await hub.made("GET", path, role="district", params=query)
        seen += page["items"]
        after = page["next"]
        if after is None:
            break

    assert [row["action"] for row in seen] == ["district.rename"] * 5
    assert [row["seq"] for row in seen] == sorted((row["seq"] for row in seen), reverse=True)
    assert [row["action"] for row in (await hub.made("GET", "/audit"))["items"]] == ["app.create"]


@pytest.mark.threat("T21")
async def test_secrets_are_shown_once(hub: AdminHub) -> None:
    """What was shown when it was made stands in no later answer."""
    client = await hub.made("POST", f"/apps/{hub.app}/clients", json={})
    token = await hub.made("POST", "/tokens", json={"name": "t", "role": "app", "app_id": str(hub.app)})
    _, options = await _new_subscription(hub)
    subscription = await hub.made("POST", f"/districts/{hub.district}/subscriptions", **options)
    rotated = await hub.made("POST", f"/apps/{hub.app}/clients/{client['client_id']}/rotate")
    signing = await hub.made("POST", f"/apps/{hub.app}/clients/{client['client_id']}/oauth1")
    secrets = [client["client_secret"], token["token"], subscription["secret"], rotated["client_secret"]]
    secrets.append(signing["consumer_secret"])

    assert len(set(secrets)) == 5
    assert secrets[2].startswith("whsec_")
    answers = [
        await hub.call("GET", path)
        for path in (f"/apps/{hub.app}/clients", "/tokens", f"/districts/{hub.district}/subscriptions")
    ]
    assert not any(secret.encode() in answer.body for secret in secrets for answer in answers)
    me = await hub.session.get(f"{PREFIX}/me", headers={"Authorization": f"Bearer {token['token']}"})
    assert (await me.json())["app_id"] == str(hub.app)
