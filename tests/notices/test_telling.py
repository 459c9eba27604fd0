"""Telling recipients, with a real database, mail server and receiver: together, again, and never too much."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID, uuid4

import orjson
import pytest

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.dispatcher import Dispatcher
from hub.notices import recipients as service
from hub.notices.mail import Mailer
from hub.notices.tell import Notices, Teller, tell
from hub.store import notices, recipients, runs, source_health, source_schedules, sources
from hub.store.database import Database as Pool
from hub.store.expected import Expectation
from hub.store.notices import KINDS
from hub.store.recipients import Recipient
from hub.webhooks.egress import Egress
from hub.webhooks.proxy import Proxy
from tests.districts import District
from tests.fakes.mail_server import MailServer, mail_server
from tests.fakes.receiver import hang_up, in_turn, receiver, status
from tests.services import MASTER_KEY, Database

ALLOW = (ipaddress.ip_network("127.0.0.0/8"),)
KEY = column_key(MASTER_KEY)


@dataclass(frozen=True)
class World:
    """A district whose syncs end as the test says, and what tells of it."""

    district: District
    teller: Teller

    @property
    def db(self) -> Pool:
        return self.district.db

    async def hears(self, channel: str, address: str, *kinds: str) -> tuple[Recipient, str | None]:
        async with self.db.district(self.district.district_id) as tx:
            return await service.create(
                tx, channel=channel, address=address, kinds=list(kinds or KINDS), key=KEY, allow=ALLOW
            )

    async def ends(self, state: str, *, source: UUID | None = None, code: str = "source_failed") -> None:
        """A run of the district's source ends."""
        async with self.db.district(self.district.district_id) as tx:
            run = await runs.request(
                tx, uuid4(), source_id=source or self.district.source_id, upload_id=None, dry_run=False,
                requested_by="test",
            )  # fmt: skip
            await source_health.ended(
                tx, source or self.district.source_id, run.run_id, state, code=code, counts=None, timings=None
            )
            await tx.execute("UPDATE runs SET state = $2 WHERE run_id = $1", run.run_id, state)

    async def due(self) -> None:
        """As if the time had come for whatever waits."""
        async with self.db.district(self.district.district_id) as tx:
            await tx.execute("UPDATE recipients SET ready_at = now(), lease_until = NULL")

    async def round(self) -> int:
        """Tells what is due; how many messages that were."""
        claims = await notices.claim(self.db, limit=50, lease_seconds=60)
        for claim in claims:
            await tell(self.teller, claim)
        return len(claims)

    async def one(self, made: Recipient) -> Recipient:
        async with self.db.district(self.district.district_id) as tx:
            return await recipients.get(tx, made.recipient_id)


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
async def world(database: Database, mails: MailServer) -> AsyncIterator[World]:
    db = await Pool.open(database.worker, name="test worker", largest=6)
    async with Egress(allow=ALLOW, timeout=5) as egress:
        clock = SystemClock()
        mailer = Mailer("127.0.0.1", mails.port, "hub@hub.example", clock)
        district = await District(db).create()
        yield World(district, Teller(db, egress, mailer, clock, KEY, "https://hub.example", pause_seconds=300))
    await db.close()


async def test_what_happens_together_is_told_together_and_then_not_again_for_a_while(
    world: World, mails: MailServer
) -> None:
    made, _ = await world.hears("email", "office@district.example")
    others = [uuid4() for _ in range(499)]
    async with world.db.district(world.district.district_id) as tx:
        for number, source in enumerate(others):
            await sources.create(tx, source, name=f"S{number}", kind="oneroster_csv", config={})
    for source in others:
        await world.ends("failed", source=source)
    assert await world.round() == 0  # more may come
    await world.due()
    assert await world.round() == 1
    await world.ends("failed")
    assert await world.round() == 0  # the pause
    async with world.db.district(world.district.district_id) as tx:
        waits = await tx.fetchval("SELECT extract(epoch FROM ready_at - now()) FROM recipients")
    assert 200 < waits <= 300
    await world.due()
    assert await world.round() == 1
    assert [m.message["Subject"].rpartition(" syncs ")[2] for m in mails.received] == ["499 failed", "1 failed"]
    assert not (await world.one(made)).waiting


async def test_a_run_that_fails_again_and_again_is_one_mail_and_its_recovery_another(
    world: World, mails: MailServer
) -> None:
    await world.hears("email", "office@district.example")
    for _ in range(50):
        await world.ends("failed")
        await world.due()
        await world.round()
    await world.ends("held", code="too_many_deleted")
    await world.ends("applied")
    await world.ends("unchanged")
    await world.due()
    await world.round()
    assert len(mails.received) == 2
    last = mails.received[-1].message.get_content()
    assert "held for a decision" in last
    assert "well again" in last
    assert "51 times" in last


async def test_a_package_that_did_not_come_is_mailed_and_so_is_the_next_one(world: World, mails: MailServer) -> None:
    await world.hears("email", "office@district.example", "late", "recovered")
    now = world.teller.clock.now()
    async with world.db.district(world.district.district_id) as tx:
        await source_schedules.expect(tx, world.district.source_id, Expectation(24, 60), now=now)
    for hours, late in ((24, 0), (25, 1), (26, 0)):
        assert await source_health.note_late(world.db, now + timedelta(hours=hours)) == late
        await world.due()
        await world.round()
    await world.ends("applied")
    await world.due()
    await world.round()
    assert [m.message["Subject"].rpartition(" syncs ")[2] for m in mails.received] == ["1 late", "1 recovered"]
    assert "late, nothing came in time" in mails.received[0].message.get_content()


async def test_recipients_hear_only_what_they_want_and_only_of_their_district(world: World, mails: MailServer) -> None:
    await world.hears("email", "held@district.example", "held")
    await world.hears("email", "all@district.example")
    other = World(await District(world.db).create(), world.teller)
    await other.hears("email", "other@district.example")
    await world.ends("failed")
    await world.due()
    assert await world.round() == 1
    assert [m.recipients for m in mails.received] == [["all@district.example"]]
    async with world.db.district(other.district.district_id) as tx:
        assert await tx.fetchval("SELECT count(*) FROM notices") == 0


@pytest.mark.threat("T48")
async def test_no_word_of_a_system_and_no_value_of_a_record_is_told(
    world: World, mails: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with receiver() as there:
        await world.hears("email", "office@district.example")
        await world.hears("webhook", there.url)
        run = await world.district.sync(b"no package of Jane Doe's")
        assert run.state == "failed"
        async with world.db.district(world.district.district_id) as tx:
            await tx.execute("UPDATE runs SET error_message = 'Jane Doe, jane@students.example'")
        await world.due()
        assert await world.round() == 2
    told = mails.received[0].message.as_string() + there.received[0].body.decode()
    assert "Jane" not in told
    assert str(run.run_id) in told
    assert "package_refused" in told
    written = capsys.readouterr()
    assert "office@district.example" not in written.out + written.err


@pytest.mark.threat("F14", "F15")
async def test_a_mail_that_was_not_taken_goes_again_as_it_was(world: World, mails: MailServer) -> None:
    made, _ = await world.hears("email", "office@district.example")
    mails.at_data = ["451 later", "554 no", ""]
    await world.ends("failed")
    for error in ("status_451", "status_554"):
        await world.due()
        await world.round()
        shown = await world.one(made)
        assert (shown.state, shown.last_error, shown.waiting) == ("active", error, True)
        assert shown.ready_at > shown.created_at
        await world.ends("applied")  # what happens meanwhile waits for the next message
    assert (await world.one(made)).attempt == 2
    await world.due()
    await world.round()
    await world.due()
    await world.round()
    assert [m.message["Subject"].rpartition(" syncs ")[2] for m in mails.received] == ["1 failed", "1 recovered"]
    shown = await world.one(made)
    assert (shown.attempt, shown.last_error, shown.failing_since, shown.waiting) == (0, None, None, False)


@pytest.mark.threat("F15")
async def test_a_worker_that_dies_after_sending_sends_the_same_again(world: World) -> None:
    async with receiver() as there:
        _, secret = await world.hears("webhook", there.url)
        await world.ends("failed")
        await world.due()
        (claim,) = await notices.claim(world.db, limit=5, lease_seconds=0.01)
        egress = world.teller.egress

        class Dies(Exception):  # noqa: N818
            pass

        class Deadly(Egress):
            async def post(self, *given: object) -> object:  # type: ignore[override]
                await egress.post(*given)  # type: ignore[arg-type]
                raise Dies

        with pytest.raises(Dies):
            await tell(replace(world.teller, egress=Deadly()), claim)
        await world.ends("held", code="x")
        await world.due()
        await world.round()
    first, second = there.received
    assert (first.id, first.body) == (second.id, second.body)
    assert secret is not None
    for one in there.received:
        one.verify(secret)
    assert [n["kind"] for n in orjson.loads(first.body)["notices"]] == ["failed"]


async def test_a_worker_that_outlived_its_lease_settles_nothing(world: World) -> None:
    async with receiver() as there:
        made, _ = await world.hears("webhook", there.url)
        await world.ends("failed")
        await world.due()
        (old,) = await notices.claim(world.db, limit=5, lease_seconds=0.01)
        await asyncio.sleep(0.05)
        (new,) = await notices.claim(world.db, limit=5, lease_seconds=60)
        await tell(world.teller, old)
        assert there.received == []
        async with world.db.district(world.district.district_id) as tx:
            await notices.sent(tx, old, "ntc_none", pause_seconds=0)
            await notices.failed(tx, old, error="x", state="disabled", wait_seconds=0)
        assert (await world.one(made)).state == "active"
        await tell(world.teller, new)
        assert len(there.received) == 1


@pytest.mark.threat("F14")
async def test_a_webhook_that_errs_is_tried_again_and_410_ends_it(world: World) -> None:
    async with receiver(in_turn(status(500), hang_up, status(302, location="https://x"), status(410))) as there:
        made, _ = await world.hears("webhook", there.url)
        await world.ends("failed")
        errors = []
        for _ in range(4):
            await world.due()
            await world.round()
            errors.append((await world.one(made)).last_error)
    assert errors == ["status_500", "protocol", "status_302", "status_410"]
    assert (await world.one(made)).state == "disabled"
    await world.due()
    assert await world.round() == 0


@pytest.mark.threat("T31")
async def test_a_private_address_is_not_dialled(world: World) -> None:
    async with receiver() as there, Egress(timeout=5) as strict:
        made, _ = await world.hears("webhook", there.url)
        await world.ends("failed")
        await world.due()
        (claim,) = await notices.claim(world.db, limit=5, lease_seconds=60)
        await tell(replace(world.teller, egress=strict), claim)
        assert there.received == []
    assert (await world.one(made)).last_error == "blocked_address"


async def test_a_fault_of_the_egress_proxy_is_not_charged_to_a_recipient(world: World, free_port: int) -> None:
    async with receiver() as there, Egress(timeout=1, proxy=Proxy("127.0.0.1", free_port)) as egress:
        made, _ = await world.hears("webhook", there.url)
        await world.ends("failed")
        await world.due()
        async with world.db.district(world.district.district_id) as tx:
            await tx.execute("UPDATE recipients SET address = 'https://receiver.example/'")
        (claim,) = await notices.claim(world.db, limit=5, lease_seconds=60)
        await tell(replace(world.teller, egress=egress), claim)
        row = await world.one(made)
        assert (row.state, row.attempt, row.last_error, row.waiting) == ("active", 0, None, True)
        async with world.db.district(world.district.district_id) as tx:
            assert 2 < await tx.fetchval("SELECT extract(epoch FROM ready_at - now()) FROM recipients") < 7
            await tx.execute("UPDATE recipients SET address = $1", there.url)
        await world.due()
        await world.round()
        assert len(there.received) == 1


async def test_after_days_of_failure_a_recipient_is_disabled_and_resumed_by_hand(
    world: World, mails: MailServer
) -> None:
    made, _ = await world.hears("email", "gone@district.example")
    mails.at_rcpt = ["550 no such user"]
    await world.ends("failed")
    for days in (None, 2, 6):
        if days is not None:
            async with world.db.district(world.district.district_id) as tx:
                await tx.execute(
                    "UPDATE recipients SET failing_since = now() - make_interval(days => $1), "
                    "last_failed = now() - interval '1 hour'", days,
                )  # fmt: skip
        await world.due()
        assert await world.round() == 1
    assert ((await world.one(made)).state, (await world.one(made)).last_error) == ("disabled", "refused_550")
    await world.due()
    assert await world.round() == 0
    mails.at_rcpt = [""]
    async with world.db.district(world.district.district_id) as tx:
        await recipients.change(tx, made.recipient_id, state="active")
    assert await world.round() == 1
    assert len(mails.received) == 1


async def test_without_a_mail_server_mails_wait_for_one(world: World, mails: MailServer) -> None:
    made, _ = await world.hears("email", "office@district.example")
    await world.ends("failed")
    await world.due()
    without = replace(world, teller=replace(world.teller, mailer=None))
    await without.round()
    assert (await world.one(made)).last_error == "no_mail_server"
    await world.due()
    await world.round()
    assert len(mails.received) == 1


async def test_a_paused_recipient_hears_nothing_of_what_happens_meanwhile(world: World, mails: MailServer) -> None:
    made, _ = await world.hears("email", "office@district.example")
    async with world.db.district(world.district.district_id) as tx:
        await recipients.change(tx, made.recipient_id, state="paused")
    await world.ends("failed")
    async with world.db.district(world.district.district_id) as tx:
        await recipients.change(tx, made.recipient_id, state="active")
    await world.due()
    assert await world.round() == 0
    assert mails.received == []


@asynccontextmanager
async def telling(world: World) -> AsyncIterator[None]:
    """The service as a worker runs it."""
    stop = asyncio.Event()
    task = asyncio.create_task(Dispatcher(Notices(world.teller), in_process=4).run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


async def test_two_workers_tell_each_recipient_once(world: World, mails: MailServer) -> None:
    addresses = [f"office{n}@district.example" for n in range(12)]
    for address in addresses:
        await world.hears("email", address)
    await world.ends("failed")
    await world.due()
    async with telling(world), telling(world), asyncio.timeout(30):
        while len(mails.received) < len(addresses):
            await asyncio.sleep(0.05)
    assert sorted(to for m in mails.received for to in m.recipients) == sorted(addresses)
