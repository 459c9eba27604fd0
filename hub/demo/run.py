"""Runs the demo: servers, processes, chapters, and then stays until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
from rich.console import Console

from hub import app
from hub.clock import SystemClock
from hub.demo import checks, story
from hub.demo.change import change
from hub.demo.clients import Admin
from hub.demo.processes import Process
from hub.demo.state import State
from hub.demo.story import Stage
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.embedded.process import exclusive
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.settings import SERVICE_ROLE, Settings
from hub.store import admin_tokens
from hub.store.database import Database

READY_SECONDS = 60
#: The receivers listen on this machine, which webhooks may not reach unless they are allowed to.
LOOPBACK = "127.0.0.0/8"
_LOG_COLUMNS = 140


def run_demo(settings: Settings, *, once: bool, fresh: bool) -> int:
    """Tells the whole story; 0, or 1 when a check of ``once`` failed.

    ``fresh`` forgets what an earlier start left in the data folder. Raises HubError when something cannot run.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_LOG_COLUMNS)
    _refuse_taken(settings.host, settings.port)
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    with exclusive(settings.data_dir / "demo.lock", seconds=0, otherwise=_in_use(settings.data_dir)):
        if fresh:
            _forget(settings.data_dir)
        started = time.monotonic()
        with app.services(settings) as services:
            console.print(f"PostgreSQL and Redis run; data in {settings.data_dir.absolute()}")
            asyncio.run(app.migrate_all(settings, services))
            return asyncio.run(_tell(settings, services, console, once=once, started=started))


def _refuse_taken(host: str, port: int) -> None:
    """Raises HubError(UNAVAILABLE) when somebody listens on the port: two hubs could share it and mix up requests."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            text = f"Port {port} of {host} is taken. Name another: --port N, or make demo ARGS='--port N'."
            raise HubError(Code.UNAVAILABLE, text) from error


def _in_use(folder: Path) -> str:
    return (
        f"Another process uses {folder.absolute()}. Stop it first (Ctrl-C), or name another folder with HUB_DATA_DIR."
    )


def _forget(folder: Path) -> None:
    """Removes what the demo keeps, and nothing else that may lie in the folder.

    Raises HubError(UNAVAILABLE) while somebody's servers run on it, such as those of ``hub serve``.
    """
    servers = (EmbeddedPostgres(folder), EmbeddedRedis(folder))
    if any(server.used for server in servers):
        raise HubError(Code.UNAVAILABLE, _in_use(folder))
    for server in servers:
        server.erase()
    for name in ("demo.json", "demo.notes.json", "api.log", "worker.log"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "sandbox", ignore_errors=True)


@contextlib.asynccontextmanager
async def _hub(settings: Settings, stage: Stage) -> AsyncIterator[None]:
    """The API and the worker, ready."""
    environment = {
        "HUB_DATA_DIR": str(settings.data_dir.absolute()), "HUB_HOST": settings.host, "HUB_PORT": str(settings.port),
        "HUB_BASE_URL": stage.state.base_url, "HUB_WEBHOOK_ALLOW": LOOPBACK, "HUB_LOG_FORMAT": "json",
    }  # fmt: skip
    processes = [
        Process("API", ["serve"], stage.folder / "api.log", environment),
        Process("worker", ["worker"], stage.folder / "worker.log", environment),
    ]
    async with contextlib.AsyncExitStack() as stack:
        for process in processes:
            await stack.enter_async_context(process)
        end = time.monotonic() + READY_SECONDS
        while not await _ready(stage):
            for process in processes:
                process.check()
            if time.monotonic() > end:
                raise HubError(Code.UNAVAILABLE, f"The API does not answer. Its log is {stage.folder / 'api.log'}.")
            await asyncio.sleep(0.1)
        yield


async def _ready(stage: Stage) -> bool:
    try:
        async with stage.admin.http.get(f"{stage.state.base_url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def _tell(settings: Settings, services: app.Services, console: Console, *, once: bool, started: float) -> int:
    state = State.load(settings.data_dir)
    state.move(settings.public_url)
    if not state.admin_token:
        state.admin_token = await _operator(services)
    state.save(settings.data_dir)
    async with aiohttp.ClientSession() as http:
        admin = Admin(http, f"{state.base_url}/admin/v1", state.admin_token)
        stage = Stage(settings.data_dir, state, admin, console)
        stop = asyncio.Event()

        def leave() -> None:
            if not stop.is_set():
                console.print("\nStopping as soon as this step is done …")
                stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, leave)
        async with _hub(settings, stage):
            try:
                found = await _chapters(stage, stop)
                if found is None:
                    return 1
                console.print(f"\nReady after {time.monotonic() - started:.0f} s.")
                if once:
                    return _verdict(console, found)
                _addresses(stage)
                await stop.wait()
            finally:
                for receiver in stage.receivers.values():
                    await receiver.stop()
    return 0


async def _operator(services: app.Services) -> str:
    """A token for the operator, made as ``hub token create`` makes it."""
    db = await Database.open(services.database_urls[SERVICE_ROLE], name="hub demo")
    try:
        async with db.shared() as tx:
            expires = SystemClock().now() + timedelta(days=90)
            _, token = await admin_tokens.create(tx, new_id(), name="demo", role="operator", expires_at=expires)
            return token
    finally:
        await db.close()


async def _chapters(stage: Stage, stop: asyncio.Event) -> checks.Checks | None:
    """Tells what was not told yet; the checks of what can be checked each time, or None when it was stopped on the way.

    What one start did the next one does not do again, so each step is noted as soon as it is done.
    """
    found = checks.Checks()
    done = stage.state.done
    for row in stage.state.apps:
        await story.receive(stage, row)
    if "districts" not in done:
        async for _ in story.districts(stage):
            if stop.is_set():
                return None
        _done(stage, "districts")
    await story.quality(stage)
    if "apps" not in done:
        await story.apps(stage)
        _done(stage, "apps")
    if stop.is_set():
        return None
    checks.check_reads(found, await story.reads(stage))
    if "change" not in done:
        await change(stage)
        await checks.check_changes(found, stage)
        _done(stage, "change")
    else:
        stage.console.print("The mid-year file arrived at an earlier start. ARGS=--fresh tells the whole story again.")
    return found


def _done(stage: Stage, chapter: str) -> None:
    stage.state.done.append(chapter)
    stage.state.save(stage.folder)


def _verdict(console: Console, found: checks.Checks) -> int:
    for claim in found.failed:
        console.print(f"[red]failed:[/] {claim}")
    console.print(f"{found.passed} checks passed, {len(found.failed)} failed.")
    return 1 if found.failed else 0


def _addresses(stage: Stage) -> None:
    """What to try next."""
    console, state = stage.console, stage.state
    console.rule("[bold]6. Go on from here", align="left")
    console.print(f"admin API    {stage.admin.url}/docs   token: {state.admin_token}", soft_wrap=True)
    for district in state.districts:
        console.print(f"OneRoster    {district['oneroster']}/rostering/v1p2   {district['name']}", soft_wrap=True)
    for app_row in state.apps:
        base = next(d["oneroster"] for d in state.districts if d["id"] == app_row["districts"][0])
        console.print(f"\nas [bold]{app_row['name']}[/]:")
        console.print(
            f"  TOKEN=$(curl -s -u {app_row['client_id']}:{app_row['client_secret']} -d grant_type=client_credentials "
            f"{app_row['token_url']} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n"
            f"  curl -s -H \"Authorization: Bearer $TOKEN\" '{base}/rostering/v1p2/users?limit=3'",
            soft_wrap=True, markup=False,
        )  # fmt: skip
    console.print(f"\nAll of this stands in {(stage.folder / 'demo.json').absolute()}. Stop with Ctrl-C; "
                  "a later `make demo` goes on from here, ARGS=--fresh starts over.", soft_wrap=True)  # fmt: skip
