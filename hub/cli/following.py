"""Following a run that a command has asked for to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import answer, asking
from hub.cli.sync import EXITS, FAILED, follow, show


def carry_out(
    ctx: click.Context, url: str, token: str, district: UUID, method: str, path: str, body: Any = None, *,
    said: Callable[[dict[str, Any]], None] | None = None,
) -> None:  # fmt: skip
    """Asks for what queues a run, follows the run, prints how it ended, and exits as ``hub sync`` does.

    ``path``: below the district. The answer is the run, or has it as ``run``; ``said`` prints something of the answer.
    """
    root = f"{url.rstrip('/')}/districts/{district}"
    run, report = asyncio.run(_carried_out(root, url, token, method, path, body, said))
    show(run, report, f"{root}/runs/{run['run_id']}")
    ctx.exit(EXITS.get(run["state"], FAILED))


async def _carried_out(
    root: str, url: str, token: str, method: str, path: str, body: Any, said: Callable[[dict[str, Any]], None] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run at its end, and its report."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        async with asking(url, token) as http:
            found = await answer(await http.request(method, root + path, json=body))
            if said is not None:
                said(found)
            queued = found.get("run", found)
            address = f"{root}/runs/{queued['run_id']}"
            run = await follow(http, address, queued, bars)
            return run, (await answer(await http.get(f"{address}/report")))["report"] or {}
