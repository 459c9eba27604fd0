"""Nothing that the code knows is missing from the pages about routes and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from hub.api.admin.routes import ROUTES
from hub.cli import main
from tests.docs.generate import DOCS


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_route_stands_on_its_page_with_who_may_call_it() -> None:
    page = _page("admin-api.md")
    for route in ROUTES:
        line = next(text for text in page.splitlines() if text.startswith(f"| {route.method} | `{route.path}` |"))
        assert all(role in line for role in route.roles)
    assert len(re.findall(r"^\| (?:GET|PUT|POST|PATCH|DELETE) \|", page, re.MULTILINE)) == len(ROUTES)


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            yield from _commands(inner, f"{name} {part}")


def test_every_command_and_option_stands_on_its_page() -> None:
    page = _page("cli.md")
    for name, command in _commands(main, "hub"):
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for parameter in command.params:
            names = parameter.opts if isinstance(parameter, click.Option) else [(parameter.name or "").upper()]
            assert all(option in section for option in names), (name, names)


def test_every_command_and_option_says_what_it_is_for() -> None:
    for name, command in _commands(main, "hub"):
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)
