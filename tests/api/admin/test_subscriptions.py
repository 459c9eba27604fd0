"""What the owner of a subscription does with it through the admin API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from hub.store import attempts
from hub.store.attempts import Tried
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
