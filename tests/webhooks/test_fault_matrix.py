"""Every fault of a receiver and of the network, all at the same time, against one dispatcher.

Of each: what arrived (in order, no gap, twice only with the same id and bytes), what the attempt log says, when the
next attempt comes, and the state of the subscription.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from hub.clock import SystemClock
from hub.store import attempts
from hub.store.database import Database
from hub.webhooks import subscriptions
from hub.webhooks.courier import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from tests.fakes.certificates import certificate
from tests.fakes.receiver import Receiver, receiver, status
from tests.webhooks.conftest import BASE, KEY, Subscribed, World
from tests.webhooks.fault_cells import CELLS, TIMEOUT, Cell, Failed

ALLOW = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Names(AbstractResolver):
    """A name service; what it does not know has no address."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_UNSPEC) -> list[ResolveResult]:
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        address = self.known[host]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@dataclass
class Ground:
    """Where all cells run: one dispatcher, one name service, the certificates by name."""

    world: World
    dispatcher: Dispatcher
    names: Names
    files: dict[str, Path]
    stack: AsyncExitStack
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def move(self, some: Subscribed, rid: int) -> None:
        async with self.lock:
            await self.world.feeds.move(some.district, some.grant, updated=[rid])
        self.dispatcher.wake()

    async def due(self, some: Subscribed) -> None:
        """Moves time to the next attempt."""
        async with self.world.db.district(some.district) as tx:
            await tx.execute("UPDATE subscriptions SET ready_at = now() WHERE subscription_id = $1", some.id)
        self.dispatcher.wake()

    async def row(self, some: Subscribed) -> Any:
        async with self.world.db.district(some.district) as tx:
            return await tx.fetchrow("SELECT * FROM subscriptions WHERE subscription_id = $1", some.id)

    async def log(self, some: Subscribed) -> list[tuple[str, int, int | None, str | None]]:
        async with self.world.db.district(some.district) as tx:
            found = await attempts.page(tx, some.id, attempts.Wanted(), limit=100, after=None)
        return [(one.batch_id, one.attempt, one.status, one.error_class) for one in found[::-1]]

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(15):
            while not await done():
                await asyncio.sleep(0.03)


@dataclass
class Standing:
    """One cell's receiver and subscription. ``mend`` takes the fault away."""

    cell: Cell
    there: Receiver
    some: Subscribed
    mend: Callable[[], Awaitable[None]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    kinds = {"fine": ("127.0.0.1", 1), "expired": ("127.0.0.1", -1), "other host": ("192.0.2.1", 1),
             "unknown issuer": ("127.0.0.1", 1)}  # fmt: skip
    return {kind: certificate(folder, host, days=days, name=kind) for kind, (host, days) in kinds.items()}


@asynccontextmanager
async def ground(world: World, files: dict[str, Path]) -> AsyncIterator[Ground]:
    def trust() -> ssl.SSLContext:
        context = ssl.create_default_context()
        for kind, file in files.items():
            if kind != "unknown issuer":
                context.load_verify_locations(file)
        return context

    names, stop = Names(), asyncio.Event()
    async with AsyncExitStack() as stack:
        db = await Database.open(world.addresses.worker, name="test worker")
        stack.push_async_callback(db.close)
        way_out = Egress(allow=ALLOW, timeout=TIMEOUT, resolver=names, trust=trust)
        egress = await stack.enter_async_context(way_out)
        courier = Courier(db, egress, SystemClock(), KEY, BASE, 20)
        dispatcher = Dispatcher(courier, limits=Limits(), listen_url=world.addresses.worker)
        task = asyncio.create_task(dispatcher.run(stop))
        try:
            yield Ground(world, dispatcher, names, files, stack)
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)


async def stand(here: Ground, cell: Cell, port: int) -> Standing:
    """Puts a cell's receiver up, wrong as it is to be, and subscribes it."""
    world, behave, tls = here.world, cell.behave(), None
    if cell.place in here.files:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(here.files[cell.place])
    if cell.place == "refused":
        there = Receiver(f"http://127.0.0.1:{port}/hook", behave)
    else:
        host = "::1" if cell.place == "IPv6 alone" else "127.0.0.1"
        there = await here.stack.enter_async_context(receiver(behave, tls=tls, host=host))
    named = {"no name": "nowhere.example", "inward name": "turns.example", "IPv6 alone": "six.example"}
    real = there.url
    if cell.place in named:
        there.url = str(URL(real).with_host(named[cell.place]))
    here.names.known |= {"six.example": "::1", "turns.example": "169.254.169.254"}
    district = await world.feeds.district()
    await world.feeds.records(district, "users", 3)
    grant = await world.feeds.grant(district)
    async with world.db.district(district) as tx:
        made, secret = await subscriptions.create(tx, grant_id=grant, url=there.url, key=KEY, allow=ALLOW)
    assert secret is not None
    some = Subscribed(there, district, grant, made.subscription_id, secret, world.feeds.ids[district, "users"])

    async def mend() -> None:
        if tls is not None:
            tls.load_cert_chain(here.files["fine"])
        elif cell.place == "no name":
            here.names.known["nowhere.example"] = "127.0.0.1"
        elif cell.place == "inward name":  # names are kept for some seconds
            await world.edit(some, url=real)
        elif cell.place == "refused":
            mended = await here.stack.enter_async_context(receiver(port=port))
            mended.received = there.received
        if not cell.again:
            there.behave = status(204)

    return Standing(cell, there, some, mend)


async def prove(here: Ground, one: Standing) -> None:
    """Two batches, the first of which meets the fault until it is mended."""
    cell, some = one.cell, one.some
    await here.move(some, 0)
    await fails(here, one, cell.failed)
    await one.mend()
    if cell.state == "disabled":
        await here.due(some)
        await asyncio.sleep(0.2)
        assert len(await here.log(some)) == len(cell.failed)
        async with here.world.db.district(some.district) as tx:
            await subscriptions.resume(tx, some.id)
    if cell.failed:
        await here.due(some)

    async def through(step: int) -> bool:
        return bool((await here.row(some))["position"] == step)

    await here.until(lambda: through(1))
    before = len(await here.log(some))
    await here.move(some, 1)
    await here.until(lambda: through(2))
    log, row = await here.log(some), await here.row(some)
    expected = [*written(cell.failed), (None, None), *written(cell.again), (None, None)]
    assert [(code if error else None, error) for _, _, code, error in log] == expected
    assert [number for _, number, *_ in log] == [*range(1, before + 1), *range(1, len(log) - before + 1)]
    assert all(code in {200, 204} for _, _, code, error in log if error is None)
    assert (row["state"], row["attempt"], row["failing_since"], row["batch_id"]) == ("active", 0, None, None)
    arrived(one, [batch for batch, *_ in log])


async def fails(here: Ground, one: Standing, failed: tuple[Failed, ...]) -> None:
    """Waits for each failure, and says what the subscription is after it."""
    for number, expected in enumerate(failed, 1):

        async def logged(least: int = number) -> bool:
            return len(await here.log(one.some)) >= least

        await here.until(logged)
        row = await here.row(one.some)
        least, most = expected.wait
        assert least - 0.01 <= (row["ready_at"] - row["attempted_at"]).total_seconds() <= most + 0.01
        assert (row["state"], row["position"], row["attempt"]) == (one.cell.state, 0, number)
        assert (row["last_status"], row["last_error"]) == (expected.status, expected.error)
        assert row["lease_token"] is None
        if number < len(failed):
            await here.due(one.some)


def written(failed: tuple[Failed, ...]) -> list[tuple[int | None, str]]:
    return [(each.status, each.error) for each in failed]


def arrived(one: Standing, batches: list[str]) -> None:
    """The receiver's own log: what the attempt log says was sent, each batch whole and the same each time."""
    cell, got = one.cell, [request for request in one.there.received if "probe" not in request.data]
    # Who has refused a batch twice is asked whether it takes anything else: the same change without its mark.
    probes = [request for request in one.there.received if "probe" in request.data]
    assert len(probes) == max(0, sum(each.status == 400 for each in cell.failed) - 1)
    assert {tuple(request.changes) for request in probes} <= {tuple(got[0].changes)}
    reached = batches if cell.arrives else [batches[-2], batches[-1]]
    assert [request.id for request in got] == reached
    assert len({(request.id, request.body) for request in got}) == 2
    spans = [(request.data["from"], request.data["to"], request.data["more"]) for request in got]
    assert list(dict.fromkeys(spans)) == [(0, 1, False), (1, 2, False)]
    assert [request.changes for request in (got[0], got[-1])] == [
        [("users", "updated", one.some.users[0])], [("users", "updated", one.some.users[1])]]  # fmt: skip
    for request in got:
        request.verify(one.some.secret)


@pytest.mark.threat("F14", "T33", "T34")
async def test_every_fault_of_a_receiver_and_of_the_network_costs_its_own_subscription_time_and_nothing_else(
    world: World, files: dict[str, Path], free_port: int
) -> None:
    async with ground(world, files) as here:
        standing = [await stand(here, cell, free_port) for cell in CELLS]
        outcomes = await asyncio.gather(*(prove(here, one) for one in standing), return_exceptions=True)
        wrong = []
        for cell, outcome in zip(CELLS, outcomes, strict=True):
            if isinstance(outcome, Exception):
                outcome.add_note(f"the cell: {cell.name}")
                wrong.append(outcome)
        if wrong:
            raise ExceptionGroup("cells of the matrix", wrong)
