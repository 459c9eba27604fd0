"""``hub drop``: the login of a source at the hub's own SFTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import call, reaching

_KEY = click.option(
    "--key", "keys", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the vendor's public key, such as id_ed25519.pub; may be repeated.",
)  # fmt: skip
_NO_PASSWORD = click.option("--no-password", is_flag=True, help="Let the keys alone be good.")


@click.group()
def drop() -> None:
    """Where a vendor puts a source's packages down by SFTP (docs/files.md)."""


def _of_source(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--source", "source_id", type=click.UUID, required=True, help="The source's id.")(command)
    return reaching(command)


def _ask(url: str, token: str, district: UUID, source_id: UUID, method: str, more: str = "", **body: Any) -> Any:
    options = {"json": body} if body else {}
    return asyncio.run(call(url, token, method, f"/districts/{district}/sources/{source_id}/drop{more}", **options))


def _body(keys: tuple[Path, ...], *, no_password: bool) -> dict[str, Any]:
    return {"password": not no_password, "public_keys": [key.read_text().strip() for key in keys]}


def _show(found: dict[str, Any]) -> None:
    click.echo(f"address      {found['address'] or '(ask the operator: HUB_SFTP_ADDRESS is not set)'}")
    click.echo(f"username     {found['username']}")
    if "password" in found and found["password"] is not None:
        click.echo(f"password     {found['password']}")
        click.echo("It cannot be shown again.", err=True)
    elif "password" not in found:
        click.echo(f"password     {'set' if found['has_password'] else 'none'}")
    for key in found["public_keys"]:
        click.echo(f"public key   {key}")
    click.echo(f"host key     {found['host_key']}")
    click.echo(f"fingerprint  {found['fingerprint']}")
    if "password" not in found:
        click.echo(f"last login   {found['used_at'] or 'never'}")


@drop.command()
@_KEY
@_NO_PASSWORD
@_of_source
def create(*, keys: tuple[Path, ...], no_password: bool, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Make the login and print it with its password, which cannot be shown again."""
    _show(_ask(url, token, district, source_id, "POST", **_body(keys, no_password=no_password)))


@drop.command()
@_of_source
def show(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Print the login, the server's key to compare, and when somebody logged in last."""
    _show(_ask(url, token, district, source_id, "GET"))


@drop.command()
@_KEY
@_NO_PASSWORD
@_of_source
def rotate(*, keys: tuple[Path, ...], no_password: bool, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Replace the password and the keys; what was good before is not any more."""
    _show(_ask(url, token, district, source_id, "POST", "/rotate", **_body(keys, no_password=no_password)))


@drop.command()
@_of_source
def remove(*, district: UUID, url: str, token: str, source_id: UUID) -> None:
    """Take the login away."""
    _ask(url, token, district, source_id, "DELETE")
    click.echo("The login is gone.")
