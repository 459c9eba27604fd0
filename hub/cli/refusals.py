"""How a refusal looks on a terminal: one line, and an exit code of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from hub.errors import HubError

#: Exit code for what cannot be done at all: no file, no server, contradicting settings. Click uses it for bad usage.
IMPOSSIBLE = 2


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Says what the hub refused, or the system, and exits with ``IMPOSSIBLE``."""
    try:
        yield
    except HubError as error:
        _refuse(f"{error.code.value}: {error.message}")
    except OSError as error:  # a server that is not there, a disk that is full
        _refuse(f"unavailable: {error.strerror or type(error).__name__}. Run: hub doctor")


def _refuse(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(IMPOSSIBLE)
