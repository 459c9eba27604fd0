"""A worker tells what it did and what PostgreSQL knows, without a name in it, and asks PostgreSQL seldom."""

from __future__ import annotations

import re
import socket
from typing import Any

import aiohttp
import pytest

from hub.metrics.known import METRICS
from hub.settings import Settings
from hub.worker.watching import watched
from tests.fakes.receiver import in_turn, receiver, status
from tests.webhooks.conftest import World
from tests.webhooks.rounds import due, one


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def _scraped(port: int, **headers: str) -> tuple[int, dict[str, float], str]:
    """The status, the values by name and labels, and the whole text."""
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics", headers=headers) as answer:
        text = await answer.text()
    found = re.finditer(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
    return answer.status, {m[1]: float(m[2]) for m in found}, text


async def test_a_worker_tells_what_waits_and_what_came_of_deliveries(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _free_port()
    settings = Settings(metrics_port=port)
    async with receiver(in_turn(status(500), status(204))) as there, world.courier() as courier:
        some, other, third = [await world.subscribe(there) for _ in range(3)]
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET state = 'paused' WHERE subscription_id = $1", third.id
        )
        async with watched(settings, courier.db, {"deliveries": courier.db}):
            await world.feeds.move(some.district, some.grant, updated=[0])
            await world.feeds.move(third.district, third.grant, updated=[0])
            await one(courier)  # 500
            for _ in range(2):
                await world.feeds.move(some.district, some.grant, updated=[1])
            await world.feeds.connection.execute("UPDATE feed SET at = now() - interval '1 hour' WHERE step = 1")
            code, first, text = await _scraped(port)
            assert code == 200
            states = [first[f'rosterhub_subscriptions{{state="{s}"}}'] for s in ("active", "paused", "disabled")]
            assert states == [2, 1, 0]
            assert (first["rosterhub_subscriptions_failing"], first["rosterhub_subscriptions_behind"]) == (1, 1)
            assert first["rosterhub_feed_steps_waiting"] == 3
            assert 3600 <= first["rosterhub_feed_lag_seconds"] < 3700  # not the paused one's
            assert first['rosterhub_runs{state="queued"}'] == 0
            delivered, failed = (f'rosterhub_deliveries_total{{outcome="{o}"}}' for o in ("delivered", "status"))
            assert first[failed] >= 1
            for _ in range(2):
                await due(world, some)
                await one(courier)
            _, second, _ = await _scraped(port)
            assert second[delivered] == first.get(delivered, 0) + 2
            assert second["rosterhub_feed_lag_seconds"] == first["rosterhub_feed_lag_seconds"]  # kept for some seconds
            monkeypatch.setattr("hub.worker.watching.KEPT_SECONDS", 0)
            _, third_, _ = await _scraped(port)
            assert (third_["rosterhub_feed_lag_seconds"], third_["rosterhub_feed_steps_waiting"]) == (0, 0)
            assert (await _scraped(port, **{"X-Forwarded-For": "9.9.9.9"}))[0] == 403
            names = [some.id, some.district, some.grant, other.id, third.district, "127.0.0.1", "Elm"]
            assert not [name for name in names if str(name) in text]
            told = {re.sub(r"_(bucket|sum|count|created)$", "", name.partition("{")[0]) for name in third_}
            ours = {name for name in told if name.startswith("rosterhub_")}
            assert ours <= METRICS.keys() | {name.removesuffix("_total") for name in METRICS}


async def test_without_the_database_a_worker_tells_what_it_counts(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("hub.worker.watching.KEPT_SECONDS", 0)
    port = _free_port()
    async with world.courier() as courier, watched(Settings(metrics_port=port), courier.db, {}):
        assert "rosterhub_feed_lag_seconds" in (await _scraped(port))[1]
        await courier.db.close()
        code, found, _ = await _scraped(port)
    assert code == 200
    assert "rosterhub_feed_lag_seconds" not in found
    assert any(name.startswith("rosterhub_info") for name in found)


async def test_a_port_that_is_taken_keeps_no_worker_from_its_work(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with world.courier() as courier, watched(Settings(metrics_port=taken.getsockname()[1]), courier.db, {}):
            assert courier.db.usage()[2] > 0
