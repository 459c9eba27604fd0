"""``hub demo``: the whole job on one machine."""

from __future__ import annotations

import click


@click.command()
@click.option("--once", is_flag=True, help="Tell the story, check it, stop. Exits 1 when a check failed.")
@click.option("--fresh", is_flag=True, help="Forget what an earlier demo left in the data folder.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API; 8080 or HUB_PORT without it.")
@click.pass_context
def demo(ctx: click.Context, *, once: bool, fresh: bool, port: int | None) -> None:
    """Show two districts, three apps and their webhooks, end to end."""
    from hub.demo import run_demo
    from hub.settings import load

    settings = load(**({} if port is None else {"port": port}))
    ctx.exit(run_demo(settings, once=once, fresh=fresh))
