"""``hub upload``: sends a package in parts, and goes on where it was cut, also in another process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking, reaching
from hub.cli.sync import EXITS, FAILED, follow, show
from hub.errors import Code, HubError, Intent

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from rich.progress import Progress

_PART_BYTES = 8 << 20
_VERSION = {"Tus-Resumable": "1.0.0"}
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
#: Errors after which another try from the hub's offset may go well.
_AGAIN = {Code.OFFSET_MISMATCH, Code.CHECKSUM_MISMATCH, Code.UPLOAD_INCOMPLETE, Code.UNAVAILABLE, Code.STORAGE_FULL}


@click.command()
@click.argument("package", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@reaching
@click.option("--source", type=click.UUID, required=True, help="The id of the district's source.")
@click.option("--dry-run", is_flag=True, help="Compute and report everything, change nothing.")
@click.option("--no-run", is_flag=True, help="Send the package alone, and start no run.")
@click.option("--patience", type=click.IntRange(0, 86_400), default=600, show_default=True,
              help="Seconds to go on trying while the hub cannot be reached.")  # fmt: skip
@click.pass_context
def upload(
    ctx: click.Context, *, package: Path, district: UUID, url: str, token: str, source: UUID, dry_run: bool,
    no_run: bool, patience: int,
) -> None:  # fmt: skip
    """Send the ZIP archive PACKAGE in parts, and follow the run that it starts to its end.

    After a cut it goes on from the last byte that the hub has; started again with the same package, it does too, within
    the hours that the hub keeps what came (HUB_UPLOAD_RESUME_HOURS). Exits as `hub sync` does.
    """
    place = f"{url.rstrip('/')}/districts/{district}"
    metadata = {"filename": package.name[-200:], "dry_run": str(dry_run).lower(), "run": str(not no_run).lower()}
    sending = _Sending(package, f"{place}/sources/{source}/resumable", f"{place}/resumable", metadata, patience)
    run, report = asyncio.run(_send(sending, place, url, token))
    if run is None:
        click.echo("The package is there; no run was started.")
        ctx.exit(0)
    show(run, report, f"{place}/runs/{run['run_id']}")
    ctx.exit(EXITS.get(run["state"], FAILED))


async def _send(sending: _Sending, place: str, url: str, token: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The run at its end, and its report; no run where none was started."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        async with asking(url, token) as http:
            run_id = await sending.run(http, bars)
            if run_id is None:
                return None, {}
            address = f"{place}/runs/{run_id}"
            run = await follow(http, address, await answer(await http.get(address)), bars)
            return run, (await answer(await http.get(f"{address}/report")))["report"] or {}


@dataclass
class _Sending:
    """One package on its way. ``begin`` and ``uploads`` are addresses; ``patience``: seconds without any progress."""

    package: Path
    begin: str
    uploads: str
    metadata: Mapping[str, str]
    patience: float

    async def run(self, http: ClientSession, bars: Progress) -> str | None:
        """Sends what the hub does not have yet; the run that was started."""
        import aiohttp

        size = (await asyncio.to_thread(self.package.stat)).st_size
        bar = bars.add_task("uploading", total=size, left="")
        known, wait = await asyncio.to_thread(self._remembered), _FIRST_WAIT_SECONDS
        offset, patient_until = -1, time.monotonic() + self.patience
        while True:
            try:
                if known is None:
                    known = await self._begun(http, size)
                found = await answer(await http.get(f"{self.uploads}/{known}", headers=_VERSION))
                if found["offset"] > offset:
                    offset, wait, patient_until = found["offset"], _FIRST_WAIT_SECONDS, time.monotonic() + self.patience
                bars.update(bar, completed=offset)
                if offset == size:
                    await asyncio.to_thread(self._forget)
                    return str(found["run_id"]) if found["run_id"] else None
                await self._add(http, f"{self.uploads}/{known}", offset, bars, bar)
                continue
            except HubError as error:
                if error.code in {Code.UPLOAD_GONE, Code.NOT_FOUND} and known is not None and offset < 0:
                    known = None  # what was remembered has expired
                    await asyncio.to_thread(self._forget)
                    continue
                if error.code not in _AGAIN:
                    raise
                last: HubError = error
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                last = HubError(
                    Code.UNAVAILABLE, f"The hub does not answer ({type(error).__name__}). Start the command again"
                    " later: it goes on where it was.", intent=Intent.RETRY,
                )  # fmt: skip
            if time.monotonic() + wait > patient_until:
                raise last
            bars.update(bar, description=f"waiting ({last.code.value})")
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            bars.update(bar, description="uploading")

    async def _begun(self, http: ClientSession, size: int) -> str:
        pairs = ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in self.metadata.items())
        headers = {**_VERSION, "Upload-Length": str(size), "Upload-Metadata": pairs}
        response = await http.post(self.begin, headers=headers)
        place = response.headers.get("Location", "")
        await answer(response)
        known = place.rpartition("/")[2]
        await asyncio.to_thread(self._remember, known)
        return known

    async def _add(self, http: ClientSession, url: str, offset: int, bars: Progress, bar: Any) -> None:
        """Sends parts from ``offset`` on, each with its checksum, to the end of the file."""
        while part := await asyncio.to_thread(self._part, offset):
            checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
            headers = {
                **_VERSION, "Upload-Offset": str(offset), "Upload-Checksum": f"sha256 {checksum}",
                "Content-Type": "application/offset+octet-stream",
            }  # fmt: skip
            await answer(await http.patch(url, data=io.BytesIO(part), headers=headers))
            offset += len(part)
            bars.update(bar, completed=offset)

    def _part(self, offset: int) -> bytes:
        with self.package.open("rb") as file:
            file.seek(offset)
            return file.read(_PART_BYTES)

    def _note(self) -> Path:
        """Where is remembered which upload this file, as it is now, belongs to."""
        found = self.package.stat()
        parts = (self.begin, self.package.resolve(), found.st_size, found.st_mtime_ns, sorted(self.metadata.items()))
        name = hashlib.sha256(repr(parts).encode()).hexdigest()
        return Path(click.get_app_dir("rosterhub")) / "uploads" / name

    def _remembered(self) -> str | None:
        try:
            return str(UUID(self._note().read_text().strip()))
        except (OSError, ValueError):
            return None

    def _remember(self, known: str) -> None:
        note = self._note()
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(known)

    def _forget(self) -> None:
        self._note().unlink(missing_ok=True)
