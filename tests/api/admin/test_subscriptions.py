"""What the owner of a subscription does with it through the admin API."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import orjson
import pytest

from hub.api.context import CONTEXT
from hub.crypto import load_key
from hub.store import attempts
from hub.store.attempts import Tried
from hub.webhooks import sign
from hub.webhooks import subscriptions as service
from hub.webhooks.keyring import Keyring
from tests.api.admin.commands import command
from tests.api.admin.service import AdminHub
from tests.fakes.receiver import Receiver, receiver, status


@dataclass(frozen=True)
class Subscribed:
    """A receiver that our app has subscribed."""

    hub: AdminHub
    there: Receiver
    id: UUID
    secret: str

    @property
    def path(self) -> str:
        return f"/districts/{self.hub.district}/subscriptions/{self.id}"

    async def get(self, rest: str = "", *, role: str = "app", **query: str) -> Any:
        return await self.hub.made("GET", self.path + rest, role=role, params=query)


@pytest.fixture
async def some(hub: AdminHub) -> AsyncIterator[Subscribed]:
    async with receiver(status(204)) as there:
        body = {"grant_id": str(hub.grant), "url": there.url}
        made = await hub.made("POST", f"/districts/{hub.district}/subscriptions", role="app", json=body)
        yield Subscribed(hub, there, UUID(made["subscription_id"]), made["secret"])


@pytest.mark.threat("T31")
async def test_the_log_is_read_in_pages_and_by_outcome(some: Subscribed) -> None:
    inside, outside = "127.0.0.1", "9.9.9.9"
    tried = [Tried(204, 3, inside, "fine"), Tried(500, 4, outside, "no"), Tried(500, 5, inside, "secret page"),
             Tried(None, 6, outside), Tried(429, 7, outside, "later", 60)]  # fmt: skip
    classes = [None, "status", "status", "timeout_read", "status"]
    for number, (one, error) in enumerate(zip(tried, classes, strict=True)):
        async with some.hub.pool.district(some.hub.district) as tx:
            await attempts.add(tx, some.id, f"msg_{number}", one, error)
    seen, after = [], {}
    while True:
        page = await some.get("/attempts", limit="2", **after)
        seen += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [a["milliseconds"] for a in seen] == [7, 6, 5, 4, 3]
    assert [a["retry_after"] for a in seen] == [60, None, None, None, None]
    # An app chose the address, in a network that was opened to webhooks: what answered there is not for it to read.
    assert [a["excerpt"] for a in seen] == ["later", None, None, "no", None]
    staff = (await some.get("/attempts", role="district"))["items"]
    assert [a["excerpt"] for a in staff] == ["later", None, "secret page", "no", "fine"]
    for query, found in (
        ({"outcome": "delivered"}, [3]), ({"outcome": "failed"}, [7, 6, 5, 4]), ({"error_class": "status"}, [7, 5, 4]),
        ({"test": "true"}, []), ({"outcome": "delivered", "error_class": "dns"}, []),
    ):  # fmt: skip
        assert [a["milliseconds"] for a in (await some.get("/attempts", **query))["items"]] == found
    for query in ({"after": "bm9uZQ"}, {"error_class": "teapot"}, {"limit": "0"}):
        answer = await some.hub.call("GET", f"{some.path}/attempts", params=query)
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    shown = await some.get()
    assert shown["errors"] == {"status": 3, "timeout_read": 1}
    assert (shown["waits"], shown["changes_waiting"], shown["next_attempt_at"]) == ("idle", 0, None)
    paused = await some.hub.made("POST", f"{some.path}/pause", role="app")
    assert (paused["waits"], paused["next_attempt_at"]) == ("paused", None)
    (listed,) = (await some.hub.made("GET", f"/districts/{some.hub.district}/subscriptions"))["items"]
    assert listed["waits"] == "paused"


async def test_a_test_is_sent_at_once_and_moves_nothing(some: Subscribed) -> None:
    hub, path = some.hub, f"{some.path}/test"
    before = await some.get()
    await hub.made("POST", f"{some.path}/pause")
    done = await hub.made("POST", path, role="app")
    assert (done["delivered"], done["status"], done["error_class"], done["remote_ip"]) == (
        True, 204, None, "127.0.0.1")  # fmt: skip
    (got,) = some.there.received
    got.verify(some.secret)
    assert got.id == done["batch_id"]
    assert orjson.loads(got.body)["type"] == "subscriptions.test"
    assert got.data == {"subscription": str(some.id), "district": str(hub.district), "grant": str(hub.grant)}
    some.there.behave = status(401)
    refused = await hub.made("POST", path, role="district")
    assert (refused["delivered"], refused["status"], refused["error_class"]) == (False, 401, "status")
    after = await some.get()
    assert (after["state"], after["errors"], after["position"]) == ("paused", {}, before["position"])
    assert {name for name in after if after[name] != before[name]} == {"state", "waits"}
    log = (await some.get("/attempts", test="true"))["items"]
    assert [(a["batch_id"], a["status"], a["error_class"], a["test"]) for a in log] == [
        (refused["batch_id"], 401, "status", True), (done["batch_id"], 204, None, True)]  # fmt: skip
    assert (await some.get("/attempts", test="false"))["items"] == []
    answers = await asyncio.gather(*(hub.call("POST", path) for _ in range(6)))
    assert sorted(a.status for a in answers) == [200] * 4 + [429] * 2  # six a minute, whatever comes at once
    held = next(a for a in answers if a.status == 429)
    assert held.json["code"] == "too_many_attempts"
    assert 1 <= int(held.headers["Retry-After"]) <= 60
    assert len(some.there.received) == 6
    async with hub.pool.district(hub.district) as tx:
        await tx.execute("UPDATE attempts SET at = at - interval '1 minute'")
    assert (await hub.call("POST", path)).status == 200
    await hub.made("POST", f"/districts/{hub.district}/grants/{hub.grant}/revoke")
    assert (await hub.call("POST", path)).status == 409
    assert len([r for r in await hub.audit_rows() if r["action"] == "subscription.test"]) == 7


async def test_subscriptions_are_looked_after_from_the_command_line(some: Subscribed) -> None:
    hub, one = some.hub, str(some.id)
    made = (await command(hub, "subscriptions", "list"))[1]
    assert one in made
    assert "idle" in made
    assert await command(hub, "subscriptions", "test", one, role="app") == (0, ANY)
    some.there.behave = status(500)
    code, out = await command(hub, "subscriptions", "test", one)
    assert (code, "not delivered: status 500" in out) == (1, True)
    code, out = await command(hub, "subscriptions", "attempts", one, "--outcome", "failed", "--tests")
    assert (code, out.count("(test): status 500"), out.count("delivered")) == (0, 1, 0)
    assert "paused" in (await command(hub, "subscriptions", "pause", one))[1]
    assert "active" in (await command(hub, "subscriptions", "resume", one))[1]
    assert "records waiting: 0" in (await command(hub, "subscriptions", "show", one))[1]
    assert "whsec_" in (await command(hub, "subscriptions", "rotate", one))[1]
    assert (await command(hub, "subscriptions", "delete", one))[1].endswith("ended\n")
    code, out = await command(hub, "subscriptions", "show", one)
    assert (code, "not_found: " in out) == (2, True)


@pytest.mark.threat("T36")
async def test_the_hub_tells_why_a_signature_does_not_hold(some: Subscribed, tmp_path: Path) -> None:
    hub, path = some.hub, f"{some.path}/signature"
    await hub.made("POST", f"{some.path}/test")
    (got,) = some.there.received
    headers = {name: value for name, value in got.headers.items() if name.startswith("webhook-")}
    asked = {"headers": headers, "body": got.body.decode()}
    assert await hub.made("POST", path, role="app", json=asked) == {
        "verified": True, "findings": [],
        "content": f"{got.id}.{headers['webhook-timestamp']}.{got.body[:60].decode()}",
    }  # fmt: skip
    spaced = orjson.dumps(orjson.loads(got.body), option=orjson.OPT_INDENT_2)
    coded = {"headers": headers, "body_base64": base64.b64encode(spaced).decode()}
    found = await hub.made("POST", path, json=coded)
    assert (found["verified"], [f["check"] for f in found["findings"]]) == (False, ["body_rewritten"])
    await hub.made("POST", f"{some.path}/rotate", json={"overlap_seconds": 60})
    assert (await hub.made("POST", path, json=asked))["verified"]
    # A secret ends when its time has come, and is known as such until the next rotation.
    key = await asyncio.to_thread(load_key, hub.server.app[CONTEXT].settings)
    async with hub.pool.district(hub.district) as tx:
        ring, _ = await service.known(tx, some.id, key=key)
        over = Keyring(
            tuple(k if k.until is None else replace(k, until=k.until - timedelta(minutes=2)) for k in ring.keys)
        )
        await service.sign_with(tx, some.id, over, before=ring, key=key)
    found = await hub.made("POST", path, json=asked)
    assert [f["check"] for f in found["findings"]] == ["secret_ended"]
    unknown = await hub.made("POST", path, json=asked | {"headers": headers | {"webhook-id": "msg_0"}})
    assert unknown["findings"][0]["check"] == "unknown_id"
    for wrong in ({"headers": headers}, asked | {"body_base64": ""}, {"headers": headers, "body_base64": "!"}):
        answer = await hub.call("POST", path, json=wrong)
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    async with hub.pool.district(hub.district) as tx:  # a batch that waits is compared byte by byte
        await tx.execute(
            "INSERT INTO batches (district_id, subscription_id, batch_id, window_to, changes, body) "
            "VALUES ($1, $2, 'msg_w', 1, 0, $3)",
            hub.district, some.id, b'{"to":2}',
        )  # fmt: skip
    signed = sign.headers([str(ring.secret)], "msg_w", int(headers["webhook-timestamp"]), b'{"to":2}')
    (altered,) = (await hub.made("POST", path, json={"headers": signed, "body": '{"to":3}'}))["findings"]
    assert altered["check"] == "body_altered"
    assert "byte 6 on" in altered["text"]
    lines = "".join(f"{name.title()}: {value}\n" for name, value in headers.items())
    await asyncio.to_thread((tmp_path / "headers").write_text, lines)
    await asyncio.to_thread((tmp_path / "body").write_bytes, got.body)
    files = ("--headers", str(tmp_path / "headers"), "--body", str(tmp_path / "body"))
    code, out = await command(hub, "subscriptions", "debug", "--subscription", str(some.id), *files, role="app")
    assert (code, "wrong: secret_ended: " in out) == (1, True)
