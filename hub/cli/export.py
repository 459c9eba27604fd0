"""``hub export``: what an app does to get its CSV package, as a command: token, export, progress, file."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from hub.cli.admin import of_district
from hub.errors import Code, HubError, Intent

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from rich.progress import Progress

_LOOK_SECONDS = 0.5
_CHUNK = 1 << 18
_FIRST_ERROR = 400
_UNDER_WAY = {"queued", "running"}


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@of_district
@click.option("--app", "client", envvar="HUB_CLIENT_ID", required=True,
              help="The client id of the app (HUB_CLIENT_ID).")  # fmt: skip
@click.option("--secret", envvar="HUB_CLIENT_SECRET", required=True,
              help="Its secret; better as HUB_CLIENT_SECRET than here.")  # fmt: skip
@click.option("--version", type=click.Choice(["1.2", "1.1"]), default="1.2", show_default=True,
              help="The OneRoster version of the files.")  # fmt: skip
@click.option("--mode", type=click.Choice(["bulk", "delta"]), default="bulk", show_default=True,
              help="All, or what changed since the last acknowledged package.")  # fmt: skip
@click.option("--acknowledge/--no-acknowledge", default=True, show_default=True,
              help="Say that the package was taken over once it is whole: the next delta begins there.")  # fmt: skip
@click.option("--url", envvar="HUB_URL", default="http://127.0.0.1:8080", show_default=True,
              help="Address of the hub (HUB_URL).")  # fmt: skip
def export(
    *, file: Path, district: UUID, client: str, secret: str, version: str, mode: str, acknowledge: bool, url: str
) -> None:
    """Write what an app sees of a district to FILE, as a OneRoster CSV package.

    It asks as the app, with the app's own credentials: no other way leads to a roster. FILE is replaced when the
    package is whole. Exits 2 when the hub cannot be reached, refuses, or fails to make the package.
    """
    wish = {"version": version, "mode": mode}
    made = asyncio.run(_export(file, url.rstrip("/"), (client, secret), district, wish, acknowledge=acknowledge))
    click.echo(f"{file}: {made['kind']}, OneRoster {made['version']}, {made['bytes']:,} bytes")
    for name, rows in sorted(made["files"].items()):
        click.echo(f"  {name}: {rows:,}")
    for name, rows in sorted(made["omitted"].items()):
        click.echo(f"  {name}: {rows:,} rows lack a value that CSV requires and were left out")


async def _export(
    file: Path, url: str, login: tuple[str, str], district: UUID, wish: dict[str, str], *, acknowledge: bool
) -> dict[str, Any]:
    """The export at its end."""
    import aiohttp
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    console = Console(stderr=True)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=300)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
            async with aiohttp.ClientSession(timeout=timeout) as http:
                grant = {"grant_type": "client_credentials"}
                basic = aiohttp.BasicAuth(*login)
                token = await _answer(await http.post(f"{url}/oauth/token", data=grant, auth=basic))
                http.headers["Authorization"] = f"Bearer {token['access_token']}"
                address = f"{url}/d/{district}/export/v1/exports"
                made = await _follow(http, address, await _answer(await http.post(address, json=wish)), bars)
                address += f"/{made['export']}"
                await _fetch(http, f"{address}/file", file, made, bars)
                if acknowledge:
                    await _answer(await http.post(f"{address}/acknowledge"))
                return made
    except (aiohttp.ClientError, TimeoutError) as error:
        raise HubError(
            Code.UNAVAILABLE, f"The hub at {url} does not answer ({type(error).__name__}). Does `hub serve` run there?",
            intent=Intent.RETRY,
        ) from error  # fmt: skip


async def _follow(http: ClientSession, url: str, made: dict[str, Any], bars: Progress) -> dict[str, Any]:
    """Waits until the package is made."""
    bar = bars.add_task("waiting for a worker", total=None)
    while made["state"] in _UNDER_WAY:
        await asyncio.sleep(_LOOK_SECONDS)
        made = await _answer(await http.get(f"{url}/{made['export']}"))
        progress = made["progress"]
        words = f"making {progress['file']}" if progress else "waiting for a worker (does `hub worker` run?)"
        bars.update(bar, description=words, completed=progress.get("records", 0), total=progress.get("total"))
    if made["state"] != "ready":
        why = made["error"] or {"message": f"The export is {made['state']}."}
        raise HubError(Code.CONFLICT, why["message"])
    return made


async def _fetch(http: ClientSession, url: str, file: Path, made: dict[str, Any], bars: Progress) -> None:
    """Writes the bytes beside the file, and puts them in its place when they are whole."""
    bar = bars.add_task("fetching", total=made["bytes"])
    partial = file.with_name(f".{file.name}.partial")
    digest = hashlib.sha256()
    async with await http.get(url) as response:
        if response.status >= _FIRST_ERROR:
            await _answer(response)
        target = await asyncio.to_thread(partial.open, "wb")
        try:
            async for chunk in response.content.iter_chunked(_CHUNK):
                digest.update(chunk)
                await asyncio.to_thread(target.write, chunk)
                bars.advance(bar, len(chunk))
        finally:
            await asyncio.to_thread(target.close)
    if digest.hexdigest() != made["sha256"]:
        raise HubError(Code.UPLOAD_INCOMPLETE, "The package did not arrive whole. Run the command again.")
    await asyncio.to_thread(partial.replace, file)


async def _answer(response: ClientResponse) -> dict[str, Any]:
    """The JSON of an answer. Raises HubError with the hub's own words when it refuses."""
    async with response:
        is_json = response.content_type.endswith("json")
        body: dict[str, Any] = await response.json(content_type=None) if is_json else {}
    if response.status < _FIRST_ERROR:
        return body
    words = body.get("imsx_description") or body.get("error_description") or body.get("error")
    code = {401: Code.UNAUTHORIZED, 403: Code.FORBIDDEN, 404: Code.NOT_FOUND}.get(response.status, Code.CONFLICT)
    raise HubError(code, words or f"The server answered {response.status}. Is this the hub?")
