"""``hub connector``: the beginning of a connector of one's own (docs/connectors.md)."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

#: What stands in the skeleton where the new connector's own names come.
_KIND, _DISTRIBUTION, _TITLE, _CLASS = "example_sis", "example-sis", "Example SIS", "ExampleSis"
_PLAIN = re.compile(r"[a-z][a-z0-9_]{1,40}")
#: It stands in texts of Python, TOML and Markdown.
_TITLES = re.compile(r"[\w .,()&+-]{1,60}")
#: The tests lie elsewhere in RosterHub's own distribution, which has none.
_FOLDERS = {"checks": "tests"}


@click.group()
def connector() -> None:
    """Connectors of one's own, for systems that RosterHub does not know (docs/connectors.md)."""


@connector.command()
@click.argument("name")
@click.option("--title", help="What people call the system; made of NAME if left out.")
@click.option("--into", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".",
              help="Where the folder is made; here if left out.")  # fmt: skip
def new(*, name: str, title: str | None, into: Path) -> None:
    """Write a distribution with a connector of the kind NAME into a new folder.

    It pulls from a made-up system that stands in its tests, and passes RosterHub's contract suite as it is: change it
    step by step into one for the real system.
    """
    from connectors.registry import kinds

    if _PLAIN.fullmatch(name) is None:
        raise click.UsageError("NAME is a plain name: lower-case letters, digits and underscores, such as acme_sis.")
    if name in kinds():
        raise click.UsageError(f"There is a connector of the kind {name} already.")
    title = title or name.replace("_", " ").title()
    if _TITLES.fullmatch(title) is None:
        raise click.UsageError("--title has letters, digits, blanks and .,()&+- alone, 60 at most.")
    folder = into / f"rosterhub-{name.replace('_', '-')}"
    if folder.exists():
        raise click.UsageError(f"{folder} is there already.")
    _write(files("connectors") / "skeleton", folder, name, title)
    click.echo(f"{folder}: a connector of the kind {name}")
    click.echo(f"  install it: pip install -e '{folder}[test]'")
    click.echo(f"  try it: pytest {folder}")
    click.echo(f"  see it: hub source kinds {name}, once the hub was started anew")


def _write(skeleton: Traversable, folder: Path, name: str, title: str) -> None:
    folder.mkdir()
    for one in skeleton.iterdir():
        if one.is_dir() and one.name != "__pycache__":
            _write(one, folder / _FOLDERS.get(one.name, one.name.replace(_KIND, name)), name, title)
        elif one.is_file():
            text = one.read_text(encoding="utf-8")
            for old, own in _names(name, title).items():
                text = text.replace(old, own)
            (folder / one.name).write_text(text, encoding="utf-8")


def _names(name: str, title: str) -> dict[str, str]:
    words = "".join(part.capitalize() for part in name.split("_"))
    return {_KIND: name, _DISTRIBUTION: name.replace("_", "-"), _TITLE: title, _CLASS: words}
