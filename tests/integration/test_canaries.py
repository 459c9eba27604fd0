"""No personal value and no secret reaches a log: the hub's, the libraries', or PostgreSQL's own."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import polars as pl
import pytest
import structlog

from hub import logs
from hub.embedded import EmbeddedPostgres
from hub.errors import Code, HubError
from hub.settings import SERVICE_ROLE, WORKER_ROLE, Settings, role_passwords, role_url
from hub.store.database import Database
from hub.store.migrate import migrate
from tests.districts import District, Frames, changed, sandbox

#: Columns whose values are about a person, by file.
PERSONAL = {
    "users": ["givenName", "familyName", "middleName", "preferredGivenName", "email", "phone", "sms", "username"],
    "demographics": ["birthDate", "cityOfBirth"],
}
SHORTEST = 5  # shorter names are parts of ordinary words


@dataclass
class Scene:
    """A hub of its own, with everything it ever logged."""

    district: District
    owner: str
    url: str
    written: io.StringIO
    server_log: Path

    async def text(self) -> str:
        return self.written.getvalue() + await asyncio.to_thread(self.server_log.read_text)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the process logs, at debug level, as its commands configure it."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    logs.configure(Settings(log_level="debug", log_format="json"), stream)
    yield stream
    structlog.reset_defaults()
    root.setLevel(before[0])
    for handler in [h for h in root.handlers if h not in before[1]]:
        root.removeHandler(handler)


@pytest.fixture
async def scene(embedded_folder: Path, written: io.StringIO) -> AsyncIterator[Scene]:
    """Its PostgreSQL runs with the settings that we ship, and its log is read."""
    server = EmbeddedPostgres(embedded_folder, settings={"fsync": "off"})
    await asyncio.to_thread(server.start)
    key = b"canary master key " + secrets.token_hex(16).encode()
    owner = await asyncio.to_thread(server.url)
    await migrate(owner, passwords=role_passwords(key))
    url = role_url(owner, WORKER_ROLE, role_passwords(key)[WORKER_ROLE])
    db = await Database.open(url, name="test worker", largest=4)
    district = await District(db).create()
    yield Scene(district, owner, url, written, embedded_folder / "postgres.log")
    await db.close()
    await asyncio.to_thread(server.stop)


def canaries(frames: Frames) -> set[str]:
    """Values of people that could not stand in a log by chance."""
    found: set[str] = set()
    for file, columns in PERSONAL.items():
        for column in columns:
            if column in frames[file].columns:
                found.update(frames[file][column].drop_nulls().cast(pl.String).to_list())
    return {value for value in found if len(value) >= SHORTEST}


def leaks(text: str, frames: Frames) -> list[str]:
    return sorted(value for value in canaries(frames) if value in text)


@pytest.mark.threat("T48")
async def test_a_sync_logs_nobody(scene: Scene) -> None:
    frames = sandbox().frames
    run = await scene.district.sync(frames)
    assert run.state == "applied"
    await scene.district.sync(changed(frames, "users", frames["users"]["sourcedId"][0], givenName="Canarissima"))
    text = await scene.text()

    assert "Canarissima" not in text
    assert leaks(text, frames) == []


@pytest.mark.threat("T48")
async def test_a_sync_that_the_database_refuses_logs_nobody(scene: Scene) -> None:
    """PostgreSQL quotes the whole row that breaks a rule, and asyncpg's errors repeat it."""
    frames = sandbox().frames
    name = frames["users"].filter(pl.col("givenName").str.len_chars() >= SHORTEST)["givenName"][0]
    owner = await asyncpg.connect(scene.owner)
    await owner.execute(f"ALTER TABLE hub.users ADD CONSTRAINT canary CHECK (given_name <> '{name}')")
    await owner.close()
    run = await scene.district.sync(frames)
    text = await scene.text()

    assert run.state == "failed"
    assert name not in (run.error_message or "")
    assert '"run failed"' in text
    assert "CheckViolationError 23514" in text
    assert "staging.py:" in text
    assert leaks(text, frames) == []


@pytest.mark.threat("T48")
async def test_a_statement_that_fails_is_logged_without_its_values(scene: Scene) -> None:
    """A value that does not fit its type stands in the server's error; statement, parameters and keys do not."""
    with suppress(asyncpg.PostgresError):
        async with scene.district.db.district(scene.district.district_id) as tx:
            await tx.execute("SELECT 'x' FROM users WHERE given_name = $1 AND 1 / (length($1) - 11) = 0", "Canarissima")
    with suppress(asyncpg.PostgresError):
        async with scene.district.db.district(scene.district.district_id) as tx:
            row = (scene.district.district_id, scene.district.source_id, "users", "Canarissima", 1, 1, True)
            for _ in range(2):
                await tx.execute("INSERT INTO source_records VALUES ($1, $2, $3, $4, $5, $6, $7)", *row)
    text = await scene.text()

    assert "duplicate key" in text
    assert "Canarissima" not in text


@pytest.mark.threat("T29")
async def test_no_secret_is_logged(scene: Scene) -> None:
    """Neither by the migration that sets passwords, nor by a login that is refused."""
    settings = Settings(database_url=scene.url, master_key="m" * 40, redis_url="redis://:canary-secret@127.0.0.1/0")
    logging.getLogger("asyncio").error("settings", extra={"settings": settings})
    structlog.get_logger().info("settings", settings=str(settings))
    wrong = "a wrong password that somebody typed"
    with suppress(asyncpg.PostgresError):
        await asyncpg.connect(role_url(scene.owner, SERVICE_ROLE, wrong))
    try:
        int(scene.url)
    except ValueError:
        logging.getLogger("any.library").exception("failed\n%s", scene.url)
        structlog.get_logger().exception("failed")
    text = await scene.text()
    password = scene.url.split(":")[2].partition("@")[0]

    assert '"error":"ValueError"' in text
    assert "password authentication failed" in text
    for secret in (password, "m" * 40, "canary-secret", wrong, "SCRAM-SHA-256$"):
        assert secret not in text


def test_our_own_errors_are_told_and_others_by_kind_and_place_only() -> None:
    def fail() -> None:
        try:
            int("Canarissima")
        except ValueError as error:
            raise HubError(Code.UNAVAILABLE, "Try again.") from error

    with pytest.raises(HubError) as caught:
        fail()
    told = logs.described(caught.value)

    assert told["error"] == "HubError < ValueError"
    assert told["message"] == "unavailable: Try again."
    assert "test_canaries.py:" in told["at"]
    assert "Canarissima" not in str(told)
