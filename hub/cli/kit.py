"""``hub source kit``: what a district installs in its system before the hub can read there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from hub.errors import Code, HubError


@click.command()
@click.argument("kind")
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), required=True,
              help="The archive to write.")  # fmt: skip
@click.option("--options", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="JSON of what it is made for; members of a source's configuration that do not matter for it are "
              "left alone.")  # fmt: skip
def kit(*, kind: str, out: Path, options: Path | None) -> None:
    """Make what a system of KIND needs before the hub can read it, such as PowerSchool's plugin.

    Needs neither a hub nor a token. The admin API gives the same (POST /kits).
    """
    from connectors.kits import archive, read_options
    from connectors.protocol import ConnectorError

    given: Any = {}
    if options is not None:
        try:
            given = json.loads(options.read_bytes())
        except ValueError as error:
            raise HubError(Code.INVALID_REQUEST, f"{options} is no JSON.") from error
    try:
        made = archive(kind, read_options(kind, given), datetime.now(UTC))
    except ConnectorError as error:
        raise HubError(Code.INVALID_REQUEST, error.message) from error
    out.write_bytes(made)
    click.echo(f"{out}: {len(made):,} bytes")
