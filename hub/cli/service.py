"""``hub serve``, ``hub worker``, ``hub migrate``: the processes of a hub, and the step before they start."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hub.cli import refusals

if TYPE_CHECKING:
    from hub.settings import Settings


@click.command()
@click.option("--host", help="Address to listen on; HUB_HOST without it.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; HUB_PORT without it.")
def serve(host: str | None, port: int | None) -> None:
    """Serve the API until SIGTERM or Ctrl-C.

    Several of these may listen on one port. With the embedded PostgreSQL it brings the schema up to date first.
    """
    from hub import collector

    collector.put_off()
    from hub import logs
    from hub.metrics.sharing import share
    from hub.settings import load

    settings = load(**{name: value for name, value in (("host", host), ("port", port)) if value is not None})
    logs.configure(settings)
    share(settings.data_dir / "metrics" / "api")  # before anything counts
    from hub import app

    def ready(url: str) -> None:
        click.echo(f"Serving {url}  (admin API: {url}/admin/v1/docs)")

    asyncio.run(app.serve(settings, ready=ready))


@click.command()
@click.option(
    "--processes", type=click.IntRange(1, 64), help="Processes that work side by side; HUB_WORKER_PROCESSES without it."
)
@click.pass_context
def worker(ctx: click.Context, processes: int | None) -> None:
    """Carry out syncs and deliver webhooks until SIGTERM or Ctrl-C.

    Any number may run, on any machine. A process of a worker that is killed loses nothing: another follows at once, and
    its work is taken over, deliveries within a second, all else when its lease ends.
    """
    from hub import collector

    collector.put_off()
    # None of our work needs the threads that this starts at its import, and a fork takes none along.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from hub import logs
    from hub.metrics.sharing import share
    from hub.settings import load

    settings = load(**({} if processes is None else {"worker_processes": processes}))
    logs.configure(settings)
    share(settings.data_dir / "metrics" / "worker")  # before anything counts
    from hub import app

    def live(found: app.Services, tie: int) -> None:
        with refusals.told():
            asyncio.run(app.work(settings, found, tie))

    ctx.exit(app.keep_working(settings, live, processes=settings.worker_processes))


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; HUB_SFTP_PORT without it.")
def sftp(port: int | None) -> None:
    """Take the packages that vendors put down by SFTP, until SIGTERM or Ctrl-C.

    Each source has a login of its own (`hub drop create`), which can put files down and do nothing else.
    """
    from hub import logs
    from hub.settings import load

    settings = load(**({} if port is None else {"sftp_port": port}))
    logs.configure(settings)
    from hub import app

    def ready(port: int) -> None:
        click.echo(f"Taking packages by SFTP on {settings.sftp_host}, port {port}")

    asyncio.run(app.take_files(settings, ready=ready))


@click.command()
def migrate() -> None:
    """Bring the database to the schema of this release.

    Needs HUB_DATABASE_URL, a login that owns the schema and may create roles; without it the embedded PostgreSQL is
    used. Run it before the new release's `serve` and `worker`; the old ones may go on meanwhile.
    """
    from hub.settings import load, master_keys, role_passwords
    from hub.store.migrate import migrate as apply

    settings = load()
    with owner(settings) as url:
        applied = asyncio.run(apply(url, passwords=role_passwords(master_keys(settings)[-1])))
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("The schema is up to date." if not applied else f"{len(applied)} steps applied.")


@contextlib.contextmanager
def owner(settings: Settings) -> Iterator[str]:
    """The address of PostgreSQL for the login that owns the schema; an embedded one runs meanwhile."""
    from hub.embedded import EmbeddedPostgres

    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        yield server.url()
