"""``hub subscriptions debug``: why a receiver refuses a message, with the hub's help or with the secret alone."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from hub.cli.admin import ADDRESS, call


@click.command()
@click.option("--headers", "headers_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file with the headers that came: `name: value` in lines, or a JSON object.")  # fmt: skip
@click.option("--body", "body_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A file with the body, byte by byte as it came.")  # fmt: skip
@click.option("--received-at", help="When it came, by the receiver's own clock, such as 2026-09-01T07:30:00Z.")
@click.option("--computed", help="The signature that the receiver's code computed.")
@click.option("--subscription", type=click.UUID, help="Ask the hub about this subscription in place of a secret.")
@click.option("--district", type=click.UUID, help="The subscription's district.")
@click.option("--token", envvar="HUB_ADMIN_TOKEN", help="A token that reaches it; better as HUB_ADMIN_TOKEN than here.")
@click.option("--url", envvar="HUB_ADMIN_URL", default=ADDRESS, show_default=True,
              help="Address of the admin API (HUB_ADMIN_URL).")  # fmt: skip
def debug(
    *, headers_file: Path, body_file: Path, received_at: str | None, computed: str | None, subscription: UUID | None,
    district: UUID | None, token: str | None, url: str,
) -> None:  # fmt: skip
    """Say why a receiver refuses a message: make its checks one by one.

    Without --subscription no hub is asked: the subscription's secret (or its public key) is read from standard input,
    and nothing leaves this machine. Exits 1 when a check fails.
    """
    headers = _headers(headers_file.read_text(encoding="utf-8"))
    body, moment = body_file.read_bytes(), _moment(received_at)
    if subscription is None:
        found = _alone(headers, body, moment, computed)
    elif district is None or token is None:
        raise click.UsageError("--subscription goes with --district and --token (or HUB_ADMIN_TOKEN).")
    else:
        asked = {
            "headers": headers, "body_base64": base64.b64encode(body).decode(), "computed": computed,
            "received_at": moment.isoformat() if moment else None,
        }  # fmt: skip
        path = f"/districts/{district}/subscriptions/{subscription}/signature"
        found = asyncio.run(call(url, token, "POST", path, json=asked))
    _show(found)


def _headers(text: str) -> dict[str, str]:
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError:
            raise click.UsageError("--headers begins like JSON and is none.") from None
        return {str(name): str(value) for name, value in found.items()}
    lines = [line.partition(":") for line in text.splitlines() if ":" in line]
    return {name.strip(): value.strip() for name, _, value in lines}


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError("--received-at is a time with its zone, such as 2026-09-01T07:30:00Z.")
    return moment


def _alone(headers: Mapping[str, str], body: bytes, received_at: datetime | None, computed: str | None) -> Any:
    """The diagnosis with a secret that somebody types or pipes in."""
    from hub.clock import SystemClock
    from hub.webhooks.debugging import Check, Known, Received, diagnose
    from hub.webhooks.mistakes import read_secret
    from hub.webhooks.sign import PUBLIC, secret_text

    text = click.prompt("Secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    public = text.strip().startswith(PUBLIC)
    secret = None if public else read_secret(text)
    if secret is None and not public:
        return {"verified": False, "content": None, "findings": [
            {"check": Check.SECRET_FORM, "fails": True, "text": "This is no whsec_ (or whpk_) with base64: copy it."},
        ]}  # fmt: skip
    known = Known([secret_text(secret.key) if secret else text.strip()], SystemClock().now())
    found = diagnose(Received(headers, body, received_at, computed), known)
    findings = [{"check": f.check, "fails": f.fails, "text": f.text} for f in found.findings]
    if secret is not None and secret.wrong is not None:
        said = f"The secret {secret.wrong}. Here it was read all the same; your code may not."
        findings.insert(0, {"check": Check.SECRET_FORM, "fails": True, "text": said})
    return {"verified": found.verified, "content": found.content, "findings": findings}


def _show(found: dict[str, Any]) -> None:
    click.echo(f"the signature {'holds' if found['verified'] else 'does NOT hold'}")
    for one in found["findings"]:
        click.echo(f"{'wrong' if one['fails'] else 'note'}: {one['check']}: {one['text']}")
    if found["content"]:
        click.echo(f"the signed content begins with: {found['content']}")
    if any(one["fails"] for one in found["findings"]) or not found["verified"]:
        raise click.exceptions.Exit(1)
    if not found["findings"]:
        click.echo("what your code refuses is right: look at its secret, at its body and at the name of its headers,")
        click.echo("or give --computed, the signature that it comes to")
