"""All commands, and how a refusal looks on a terminal."""

from __future__ import annotations

import logging
from typing import Any

import click

import hub
from hub.cli import refusals
from hub.cli.agreements import agreements
from hub.cli.connector import connector
from hub.cli.demo import demo
from hub.cli.doctor import doctor
from hub.cli.drop import drop
from hub.cli.erasures import erasures
from hub.cli.export import export
from hub.cli.guard import guard
from hub.cli.history import history, undo
from hub.cli.identifiers import identifiers
from hub.cli.keys import keys
from hub.cli.listen import listen
from hub.cli.mapping import mapping
from hub.cli.overrides import overrides
from hub.cli.passback import passback
from hub.cli.people import people
from hub.cli.purge import purge
from hub.cli.restored import restored
from hub.cli.rules import rules
from hub.cli.runs import runs
from hub.cli.sandbox import sandbox
from hub.cli.service import migrate, serve, sftp, worker
from hub.cli.source import source
from hub.cli.status import cancel, status
from hub.cli.subscriptions import subscriptions
from hub.cli.survivorship import survivorship
from hub.cli.sync import sync
from hub.cli.tokens import token
from hub.cli.upload import upload
from hub.cli.validate import validate


class Refusals(click.Group):
    """Shows the hub's own errors as one line and exits with ``refusals.IMPOSSIBLE``."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        with refusals.told():
            return super().invoke(ctx)


@click.group(cls=Refusals, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(hub.__version__, prog_name="hub")
def main() -> None:
    """RosterHub: rosters from many school systems in, scoped OneRoster and signed webhooks out.

    Settings are environment variables HUB_…; docs/settings.md lists them. `hub doctor` says what is missing.
    """
    # Whether a server was started or found running is for the log of a service, not for everybody's terminal.
    logging.getLogger("hub.embedded").addHandler(logging.NullHandler())


COMMANDS = (
    demo, serve, worker, sftp, migrate, validate, mapping, sync, upload, status, cancel, source, drop, connector,
    survivorship, overrides, people, agreements, runs, guard, rules, undo, history, export, listen, identifiers,
    subscriptions, passback, purge, erasures, restored, keys, sandbox, doctor, token,
)  # fmt: skip
for command in COMMANDS:
    main.add_command(command)
