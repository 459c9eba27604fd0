"""A worker as it runs: it pulls what is due by the clock and mails what became of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from hub.crypto import column_key
from hub.notices import recipients
from hub.store import runs, source_schedules, sources
from hub.store.database import Database as Pool
from tests.districts import District, packed, sandbox
from tests.fakes.mail_server import mail_server
from tests.services import Database
from tests.worker_process import hub_worker


async def test_a_schedule_is_kept_and_its_failure_and_recovery_are_mailed(database: Database, tmp_path: Path) -> None:
    package = tmp_path / "package.zip"
    await asyncio.to_thread(package.write_bytes, await asyncio.to_thread(packed, sandbox(students=100).frames, "1.2"))
    db = await Pool.open(database.worker, name="test", largest=4)
    district = await District(db).create()

    async def due(path: Path | None) -> None:
        """The source is to be pulled now."""
        async with db.district(district.district_id) as tx:
            config = {"path": str(path) if path else None, "settle_seconds": 0}
            await sources.change(tx, district.source_id, config=config)
            await source_schedules.put(
                tx, district.source_id, cron="0 0 1 1 *", zone="UTC", grace_minutes=60, next_at=datetime.now(UTC)
            )

    async with db.district(district.district_id) as tx:
        await recipients.create(
            tx,
            channel="email",
            address="office@district.example",
            kinds=["failed", "recovered"],
            key=column_key(b"x" * 32),
            allow=(),
        )
    await due(None)
    async with mail_server() as mails:
        smtp = {
            "HUB_SMTP_URL": f"smtp://127.0.0.1:{mails.port}", "HUB_SMTP_FROM": "hub@hub.example",
            "HUB_SMTP_STARTTLS": "never", "HUB_NOTICE_PAUSE_SECONDS": "0",
        }  # fmt: skip
        with hub_worker(database, tmp_path, **smtp):
            async with asyncio.timeout(90):
                while not mails.received:
                    await asyncio.sleep(0.1)
                await due(package)
                while len(mails.received) == 1:
                    await asyncio.sleep(0.1)
    subjects = [m.message["Subject"].rpartition(" syncs ")[2] for m in mails.received]
    assert subjects == ["1 failed", "1 recovered"]
    async with db.district(district.district_id) as tx:
        assert [(r.state, r.requested_by) for r in await runs.listing(tx)] == [
            ("applied", "schedule"), ("failed", "schedule"),
        ]  # fmt: skip
    await db.close()
