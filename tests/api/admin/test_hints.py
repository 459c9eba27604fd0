"""Hints of a source's system that something changed: who may give them, and the pull that follows."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from hub.api import build_api
from hub.api import hints as receiver
from hub.api.context import CONTEXT, ApiContext
from hub.store import hints as store
from hub.store import runs
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync import schedules
from tests.api.admin.commands import command, working
from tests.api.admin.service import AdminHub
from tests.contract.test_powerschool import install
from tests.fakes.powerschool_district import filled
from tests.fakes.powerschool_server import CLIENT, SECRET, Server, running
from tests.sync.test_schedules import Turned

NAME = "Wilhelmina-Theodora"


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled()) as server:
        install(server)
        server.now = datetime.now(UTC)
        yield server


async def powerschool(hub: AdminHub, sis: Server) -> str:
    """A source of our district; its path."""
    body = {
        "name": "SIS", "kind": "powerschool", "config": {"url": sis.url, "client_id": CLIENT},
        "secrets": {"client_secret": SECRET},
    }  # fmt: skip
    made = await hub.made("POST", f"/districts/{hub.district}/sources", role="district", json=body)
    return f"/districts/{hub.district}/sources/{made['source_id']}"


async def ended(hub: AdminHub, run_id: str) -> Any:
    """A run at its end, which a worker beside it brings about."""
    async with asyncio.timeout(60):
        while True:
            run = await hub.made("GET", f"/districts/{hub.district}/runs/{run_id}")
            if run["state"] not in {"queued", "running"}:
                return run
            await asyncio.sleep(0.05)


async def look(hub: AdminHub, after: timedelta) -> list[Run]:
    """What a worker queues that looks so much later; its runs that are queued."""
    worker = await Pool.open(hub.worker_url, name="tests as a worker", largest=2)
    try:
        await schedules.look(worker, Turned(datetime.now(UTC) + after), spread_seconds=0)
        async with worker.district(hub.district) as tx:
            return [run for run in await runs.listing(tx) if run.state == "queued"]
    finally:
        await worker.close()


@pytest.mark.threat("T48")
async def test_an_event_of_powerschool_is_followed_by_a_pull_of_what_changed(hub: AdminHub, sis: Server) -> None:
    path, place = await powerschool(hub, sis), str(hub.server.make_url("")).rstrip("/")
    async with working(hub):
        first = await hub.made("POST", path + "/run", role="district", json={})
        assert (await ended(hub, first["run_id"]))["state"] == "applied"
    made = await hub.made("POST", path + "/hints", role="district", json={"subscribe": True})
    assert made["problem"] is None
    assert made["subscribed_at"] is not None
    assert sis.events is not None
    assert sis.events["callback_url"] == made["address"]
    assert {one["resource"] for one in sis.events["event_subscription"]} == {
        f"/ws/v1/{name}/*" for name in ("student", "section_enrollment", "staff", "section", "course")
    }
    student = sis.of("students", "enroll_status = 0")[0]
    sis.put("students", {"dcid": student["dcid"], "first_name": NAME})
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            sent = await asyncio.to_thread(
                sis.send, f"/ws/v1/student/{student['dcid']}", "UPDATE", place, first_name="Not-what-is-there"
            )
            assert sent == 204
    assert logged
    secret = made["address"].rpartition("/")[2]
    assert [text for text in ("Not-what-is-there", secret) if text in json.dumps(logged, default=str)] == []
    assert await look(hub, timedelta(seconds=5)) == []
    (run,) = await look(hub, timedelta(seconds=15))
    assert (run.requested_by, str(run.source_id)) == ("hints", path.rpartition("/")[2])
    async with working(hub):
        done = await ended(hub, str(run.run_id))
    assert done["state"] == "applied"
    counts = {name: (of["created"], of["updated"], of["deleted"]) for name, of in done["counts"].items()}
    assert {name: of for name, of in counts.items() if any(of)} == {"users": (0, 1, 0)}
    async with hub.pool.district(hub.district) as tx:
        names = {row["given_name"] for row in await tx.fetch("SELECT given_name FROM users")}
    assert NAME in names
    assert "Not-what-is-there" not in names
    assert (await hub.made("DELETE", path + "/hints", role="district"))["problem"] is None
    assert sis.events is None


@pytest.mark.threat("T17", "T21", "T25", "T29")
async def test_the_address_is_shown_once_and_every_other_one_is_nothing(hub: AdminHub, sis: Server) -> None:
    path = await powerschool(hub, sis)
    made = await hub.made("POST", path + "/hints", role="district", json={})
    own = made["address"].partition("/d/")[2]
    secret = own.rpartition("/")[2]
    shown = await hub.made("GET", path + "/hints", role="district")
    assert shown["address"] == made["address"].removesuffix(secret) + "…"
    async with hub.pool.district(hub.district) as tx:
        row = await tx.fetchrow("SELECT * FROM source_hints")
    assert row is not None
    assert secret not in f"{dict(row)} {await hub.audit_rows()} {shown}"
    assert (await hub.call("POST", path + "/hints", json={})).status == 409
    assert (await hub.call("POST", f"/districts/{hub.district}/sources/{hub.source}/hints", json={})).status == 409

    district, _, source, _ = own.split("/")
    assert (await told(hub, own))[0] == 204
    wrong = [
        f"{district}/hints/{source}/{secret[:-1]}", f"{district}/hints/{source}/{secret}x",
        f"{district}/hints/{source}/…", f"{district}/hints/{hub.source}/{secret}",
        f"{hub.foreign_district}/hints/{source}/{secret}", f"{uuid4()}/hints/{source}/{secret}",
        f"x/hints/y/{secret}", f"{district}/hints/{source}/{'x' * 5000}",
    ]  # fmt: skip
    answers = {await told(hub, one) for one in wrong}
    assert len(answers) == 1, answers
    ((status, _),) = answers
    assert status == 404

    anew = await hub.made("POST", path + "/hints/rotate", role="district", json={"distance_seconds": 600})
    assert anew["distance_seconds"] == 600
    await asyncio.sleep(receiver._SOON_SECONDS)
    assert await told(hub, own) in answers
    assert (await told(hub, anew["address"].partition("/d/")[2]))[0] == 204
    await hub.made("DELETE", path + "/hints", role="district")
    await asyncio.sleep(receiver._SOON_SECONDS)
    assert await told(hub, anew["address"].partition("/d/")[2]) in answers
    assert (await hub.call("GET", path + "/hints")).status == 404


async def told(hub: AdminHub, rest: str, body: bytes = b"{}", session: ClientSession | None = None) -> tuple[int, Any]:
    async with (session or hub.session).post(f"/d/{rest}", data=io.BytesIO(body)) as answer:
        return answer.status, await answer.read()


@pytest.mark.threat("T25", "T47")
async def test_hints_are_bounded(hub: AdminHub, sis: Server) -> None:
    path = await powerschool(hub, sis)
    made = await hub.made("POST", path + "/hints", role="district", json={})
    own = made["address"].partition("/d/")[2]
    assert (await told(hub, own, bytes(receiver.LARGEST)))[0] == 204
    assert (await told(hub, own, bytes(receiver.LARGEST + 1)))[0] == 413
    assert [run.requested_by for run in await look(hub, timedelta(seconds=15))] == ["hints"]  # heard all the same

    before = hub.server.app[CONTEXT]
    settings = before.settings.model_copy(update={"wrong_credentials_burst": 1, "wrong_credentials_per_second": 0.01})
    strict = ApiContext(before.db, settings, before.clock, before.wake)
    async with TestServer(build_api(strict)) as server, ClientSession(base_url=server.make_url("/")) as session:
        statuses = [(await told(hub, own + "x", session=session))[0] for _ in range(10)]
        assert statuses == sorted(statuses)
        assert set(statuses) == {404, 429}
        assert (await told(hub, own, session=session))[0] == 429  # not looked at either

    sis.quirks.events = False
    refused = await hub.made("POST", path + "/hints/rotate", role="district", json={"subscribe": True})
    assert "does not let the plugin subscribe" in refused["problem"]
    assert refused["subscribed_at"] is None


async def test_at_the_command_line(hub: AdminHub, sis: Server) -> None:
    source = ("--source", (await powerschool(hub, sis)).rpartition("/")[2])
    code, out = await command(hub, "source", "hints", "on", *source, "--subscribe")
    assert code == 0, out
    assert sis.events is not None
    assert sis.events["callback_url"] in out
    assert "cannot be shown again" in out
    _, out = await command(hub, "source", "hints", "show", *source)
    assert sis.events["callback_url"] not in out
    assert "told by      the hub" in out
    _, out = await command(hub, "source", "hints", "rotate", *source, "--distance-seconds", "120")
    assert "120 seconds" in out
    assert "whoever enters the address" in out
    _, out = await command(hub, "source", "hints", "off", *source)
    assert out.startswith("The source hears no hints.")


@dataclass
class Site:
    """A source that hears hints, by a clock that the test turns."""

    hub: AdminHub
    worker: Pool
    source: UUID
    clock: Turned = field(default_factory=Turned)

    async def hear(self, secret_hash: bytes = bytes(32)) -> datetime | None:
        async with self.hub.pool.district(self.hub.district) as tx:
            return await store.hear(tx, self.source, secret_hash, self.clock.at)

    async def queued(self, after: timedelta = timedelta(0)) -> int:
        """The runs that three workers queue which look at once, so much later."""
        self.clock.at += after
        looks = (schedules.look(self.worker, self.clock, spread_seconds=0) for _ in range(3))
        return sum(await asyncio.gather(*looks))

    async def due(self) -> datetime:
        async with self.worker.district(self.hub.district) as tx:
            found: datetime = await tx.fetchval("SELECT due_at FROM source_hints")
        return found

    async def end_runs(self) -> None:
        async with self.worker.district(self.hub.district) as tx:
            await tx.execute("UPDATE runs SET state = 'cancelled', cancelled_by = 'test'")

    async def change(self, **members: Any) -> None:
        path = f"/districts/{self.hub.district}/sources/{self.source}"
        await self.hub.made("PATCH", path, role="district", json=members)


@pytest.fixture
async def site(hub: AdminHub, sis: Server) -> AsyncIterator[Site]:
    source = UUID((await powerschool(hub, sis)).rpartition("/")[2])
    async with hub.pool.district(hub.district) as tx:
        await store.create(tx, source, secret_hash=bytes(32), distance_seconds=300)
    worker = await Pool.open(hub.worker_url, name="tests as a worker", largest=4)
    yield Site(hub, worker, source)
    await worker.close()


async def test_many_hints_come_to_one_pull_and_pulls_keep_their_distance(site: Site) -> None:
    begun, second = site.clock.at, timedelta(seconds=1)
    assert await site.hear(bytes(31) + b"x") is None
    assert await site.queued(60 * second) == 0
    begun = site.clock.at
    assert await site.hear() == begun + store.SETTLE
    assert await site.queued(5 * second) == 0
    assert await site.hear() == begun + store.SETTLE  # the same pull
    assert await site.queued(5 * second) == 1
    assert await site.queued(20 * second) == 0
    assert await site.hear() == begun + store.SETTLE + 300 * second
    assert await site.queued(300 * second) == 0  # the run still waits, and serves for these as well
    claim = await runs.claim(site.worker)
    assert claim is not None
    assert await site.queued(10 * second) == 0
    assert await site.hear() is not None
    assert await site.queued(300 * second) == 0  # it is under way, and may have read what changed
    assert await site.due() == site.clock.at + store.LATER
    async with site.worker.district(site.hub.district) as tx:
        await runs.finish(tx, claim, "unchanged", counts={}, report={})
    assert await site.queued(store.LATER) == 1


async def test_hints_wait_while_the_system_wants_to_be_left_alone_and_while_the_source_is_paused(
    site: Site, sis: Server
) -> None:
    config, hour = {"url": sis.url, "client_id": CLIENT}, timedelta(hours=1)
    await site.change(config=config | {"quiet": f"{site.clock.at:%H}:00-18:00", "zone": "UTC"})
    await site.hear()
    assert await site.queued(hour) == 0
    assert (await site.due()).astimezone(UTC).hour == 18
    site.clock.at = await site.due()
    assert await site.queued() == 1
    await site.end_runs()
    await site.change(state="paused", config=config)
    assert await site.hear() is not None
    assert await site.queued(hour) == 0
    await site.change(state="active")
    assert await site.queued(hour) == 1  # what was heard meanwhile is not lost
