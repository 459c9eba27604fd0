"""``hub doctor``: what keeps this hub from working, and what to do about it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from hub.settings import Settings

Outcome = Literal["ok", "warn", "fail"]
_SIGNS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}
_LITTLE_DISK, _LEAST_DISK = 5_000_000_000, 500_000_000
_SKEW_SECONDS = 5.0
_OLDEST_POSTGRES = 150_000
_FAILING_SECONDS = 900.0  # a grade target's system may be restarted


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``advice`` says what to do where it is not ok."""

    outcome: Outcome
    subject: str
    text: str
    advice: str = ""


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Check settings, database, schema, logins, Redis, disk and clock, and say what to do.

    Exits 1 when something fails. Starts the embedded servers for the time of the check where they were set up before.
    """
    from hub.errors import HubError
    from hub.settings import load

    findings = []
    try:
        settings = load()
    except HubError as error:
        findings.append(Finding("fail", "settings", error.message, "docs/settings.md lists every setting."))
    else:
        findings.append(Finding("ok", "settings", f"they agree; the public address is {settings.public_url}"))
        findings += [*_disk(settings), *_servers(settings)]
    for finding in findings:
        sign, colour = _SIGNS[finding.outcome]
        click.echo(f"{click.style(sign, fg=colour)}  {finding.subject:9} {finding.text}")
        if finding.advice:
            click.echo(f"      {'':9} → {finding.advice}")
    ctx.exit(1 if any(finding.outcome == "fail" for finding in findings) else 0)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free at {settings.data_dir}"
    if free < _LEAST_DISK:
        yield Finding("fail", "disk", text, "Free some space: syncs need room for the package and the database.")
    elif free < _LITTLE_DISK:
        yield Finding("warn", "disk", text, "Large districts need several times the size of their package.")
    else:
        yield Finding("ok", "disk", text)


def _servers(settings: Settings) -> Iterator[Finding]:
    from hub.embedded import EmbeddedPostgres, EmbeddedRedis

    with contextlib.ExitStack() as running:
        if settings.database_url is not None:
            yield from _database(settings, settings.database_url.get_secret_value())
        elif not (settings.data_dir / "postgres.password").exists():  # made at the first start
            advice = "Run `hub migrate`, or set HUB_DATABASE_URL to a server of your own."
            yield Finding("fail", "database", "the embedded PostgreSQL was not set up yet", advice)
        else:
            yield from _embedded(running, "database", EmbeddedPostgres(settings.data_dir), settings)
        if settings.redis_url is not None:
            yield from _redis(settings.redis_url.get_secret_value())
        elif not (settings.data_dir / "redis.password").exists():
            yield Finding("ok", "redis", "the embedded Redis starts with `hub serve` or `hub worker`")
        else:
            yield from _embedded(running, "redis", EmbeddedRedis(settings.data_dir), settings)


def _embedded(running: contextlib.ExitStack, subject: str, server: object, settings: Settings) -> Iterator[Finding]:
    from hub.embedded import EmbeddedPostgres, EmbeddedRedis
    from hub.errors import HubError

    try:
        if isinstance(server, EmbeddedPostgres):
            yield from _database(settings, running.enter_context(server).url())
        elif isinstance(server, EmbeddedRedis):
            yield from _redis(running.enter_context(server).url())
    except HubError as error:
        yield Finding("fail", subject, error.message)


def _database(settings: Settings, owner_url: str) -> Iterator[Finding]:
    from hub.settings import SERVICE_ROLE, WORKER_ROLE, database_urls

    urls = database_urls(settings, owner_url)
    logins = [asyncio.run(_login(role, urls[role])) for role in (SERVICE_ROLE, WORKER_ROLE)]
    yield from logins
    if logins[0].outcome == "ok":
        yield from asyncio.run(_facts(urls[SERVICE_ROLE]))
    if logins[1].outcome == "ok":
        yield from asyncio.run(_passback(urls[WORKER_ROLE]))


async def _login(role: str, url: str) -> Finding:
    """Whether a login works, is weak enough, and finds this release's schema."""
    from hub.errors import Code, HubError
    from hub.store.migrate import check

    try:
        await check(url)
    except HubError as error:
        advice = "" if error.code in {Code.ROLE_TOO_STRONG, Code.SCHEMA_OUTDATED} else "Is the server running?"
        return Finding("fail", "database", f"{role}: {error.message}", advice)
    except Exception as error:
        text = f"{role} cannot log in ({type(error).__name__})"
        return Finding("fail", "database", text, "Check HUB_DATABASE_URL and HUB_MASTER_KEY, then run `hub migrate`.")
    return Finding("ok", "database", f"{role} logs in, is bound to one district at a time, and finds its schema")


async def _facts(url: str) -> list[Finding]:
    from hub.store import health
    from hub.store.database import Database

    db = await Database.open(url, name="hub doctor", largest=1)
    try:
        async with db.shared() as tx:
            facts = await health.facts(tx)
        skew = abs((datetime.now(UTC) - facts.now).total_seconds())
    finally:
        await db.close()
    found = [Finding("ok", "database", f"PostgreSQL {facts.version // 10_000}, {facts.bytes / 1e6:,.0f} MB")]
    if facts.version < _OLDEST_POSTGRES:
        found.append(Finding("fail", "database", "PostgreSQL is older than 15", "Upgrade the server."))
    if not facts.fsync:
        found.append(Finding("fail", "database", "fsync is off: a crash loses data", "Set fsync = on."))
    late = skew > _SKEW_SECONDS
    advice = "Let both machines follow the same time server: tokens and leases depend on it." if late else ""
    found.append(Finding("warn" if late else "ok", "clock", f"{skew:.1f} s from the database's", advice))
    return found


async def _passback(url: str) -> list[Finding]:
    """Grade targets that do not get on: their system fails, they are paused, or objects wait for a person."""
    from hub.store import grade_targets
    from hub.store.database import Database

    db = await Database.open(url, name="hub doctor", largest=1)
    try:
        troubles = await grade_targets.troubles(db, seconds=_FAILING_SECONDS)
    finally:
        await db.close()
    found = []
    for one in troubles:
        text = f"grade target {one.target_id} of district {one.district_id}: "
        if one.state == "paused":
            found.append(Finding("warn", "passback", text + "paused", "Resume it, or end it if it is of no more use."))
        elif one.failing_since is not None:
            advice = "`hub passback list` tells more; docs/passback.md explains each code."
            text += f"{one.last_error} since {one.failing_since:%Y-%m-%d %H:%M} UTC"
            found.append(Finding("warn", "passback", text, advice))
        else:
            advice = f"hub passback report --district {one.district_id} {one.target_id}"
            found.append(Finding("warn", "passback", f"{text}{one.troubled:,} objects wait for a person", advice))
    return found or [Finding("ok", "passback", "no grade target is in trouble")]


def _redis(url: str) -> Iterator[Finding]:
    async def ping() -> None:
        from hub.worker.doorbell import connect

        pool = await connect(url)
        await pool.aclose(close_connection_pool=True)

    try:
        asyncio.run(ping())
    except Exception as error:
        text = f"it does not answer ({type(error).__name__}); syncs and deliveries start up to 5 s late"
        yield Finding("warn", "redis", text, "Check HUB_REDIS_URL. Nothing is lost meanwhile.")
    else:
        yield Finding("ok", "redis", "it answers")
