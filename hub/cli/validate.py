"""``hub validate``: what a sync would make of a package. No database, no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from hub.sync.examine import Examined
    from transforms.rules.settings import RuleSettings
    from transforms.shaping.checking import Checked

#: Exit codes.
FINE, FAULTY, UNREADABLE = 0, 1, 2
_SHOWN = {
    "refuse": ("refused", "bold red"),
    "quarantine": ("kept out", "red"),
    "drop_value": ("value dropped", "yellow"),
    "hold": ("asked about", "yellow"),
    "suggest": ("suggested", "cyan"),
    "report": ("reported", "cyan"),
    "fix_keep_original": ("repaired, original kept", "green"),
    "fix": ("repaired", "green"),
}


@click.command()
@click.argument("package", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a report.")
@click.option("--limit", type=click.IntRange(0, 1000), default=3, show_default=True, help="Places shown per finding.")
@click.option("--transform", "definition", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A transform as JSON, which is applied first.")  # fmt: skip
@click.option("--rules", "settings", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What a district has set for rules, as JSON: an object from codes to their settings.")  # fmt: skip
@click.pass_context
def validate(ctx: click.Context, package: Path, *, as_json: bool, limit: int, definition: Path | None,
             settings: Path | None) -> None:  # fmt: skip
    """Check a package: a ZIP archive or a folder of OneRoster CSV, or of tables.

    School Data Sync and other known tables are told by their headers and read by the built-in mapping. Says what would
    be repaired, what would be kept out and how to mend it, by file, line and field. Never prints values of records.
    Exits 0 when all rows would go in, 1 when rows would be kept out or the package would be refused, 2 when it cannot
    be read.
    """
    from rich.console import Console

    from connectors.protocol import ConnectorError, utc_now
    from hub.sync.examine import examine
    from transforms.report import summary

    if not package.exists():
        click.echo(f"unreadable: there is no file or folder {package}.", err=True)
        ctx.exit(UNREADABLE)
    transform = None if definition is None else read_definition(definition)
    rules = read_rules(settings)
    try:
        with Console(stderr=True).status("reading") as status:
            found = examine(
                package,
                lambda file, n: status.update(f"checking {file}.csv" + (f", {n:,} rows" if n else "")),
                transform,
                utc_now().date(),
                rules,
            )
    except ConnectorError as error:
        click.echo(f"{error.code}: {error.message}", err=True)
        ctx.exit(UNREADABLE)
    report = summary(found.issues, examples=limit)
    faulty = found.refused or bool(report["rows"])
    if as_json:
        click.echo(_json(package, found, report))
    else:
        _show(Console(highlight=False, soft_wrap=True), package, found, report)
    ctx.exit(FAULTY if faulty else FINE)


def read_rules(path: Path | None) -> RuleSettings:
    """The settings of rules in a file. Raises HubError(INVALID_REQUEST) with the place of the fault."""
    import orjson

    from connectors.rules import load
    from hub.errors import Code, HubError
    from transforms.rules.settings import DEFAULTS, RuleError, read

    load()
    if path is None:
        return DEFAULTS
    try:
        return read(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise HubError(Code.INVALID_REQUEST, f"{path.name} is not JSON: line {error.lineno}.") from None
    except RuleError as error:
        raise HubError(Code.INVALID_REQUEST, f"Mend {path.name}: {error.place}: {error.text}.") from None


def read_definition(path: Path) -> Checked:
    """The transform in a file. Raises HubError(INVALID_REQUEST) with every fault and its place."""
    import orjson

    from hub.errors import Code, HubError
    from transforms.shaping.checking import load
    from transforms.shaping.steps import DefinitionError

    try:
        return load(orjson.loads(path.read_bytes()))
    except orjson.JSONDecodeError as error:
        raise HubError(Code.INVALID_REQUEST, f"{path.name} is not JSON: line {error.lineno}.") from None
    except DefinitionError as error:
        text = "\n".join(f"  {fault.place or path.name}: {fault.message}" for fault in error.faults)
        raise HubError(Code.INVALID_REQUEST, f"Mend {path.name}:\n{text}") from None


def definition_in(path: Path) -> dict[str, Any]:
    """The definition in a file as it is sent, checked before. Raises as ``read_definition``."""
    from transforms.shaping.definition import as_json

    return dict(as_json(read_definition(path).definition))


def _json(package: Path, found: Examined, report: dict[str, Any]) -> str:
    import orjson

    about = {
        "package": _name(package), "version": found.version if found.files else None, "format": found.format,
        "digest": found.digest, "refused": found.refused, "files": found.files, "read": found.rows, "good": found.good,
    }  # fmt: skip
    return orjson.dumps({**about, **report}, option=orjson.OPT_INDENT_2).decode()


def _name(package: Path) -> str:
    """What to call a package, a folder such as ``.`` too."""
    return package.resolve().name


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _show(console: Console, package: Path, found: Examined, report: dict[str, Any]) -> None:
    from rich.table import Table

    kind = f"OneRoster {found.version} CSV" if found.files else "nothing of OneRoster in it"
    if found.format:
        kind = f"{found.format}, told by its headers, read as OneRoster {found.version}"
    console.print(f"[bold]{_name(package)}[/]: {kind}", style="default")
    if found.rows:
        table = Table("entity", "rows", "go in", "kept out", box=None, pad_edge=False)
        for name, rows in found.rows.items():
            kept_out = report["rows"].get(name, 0)
            table.add_row(name, f"{rows:,}", f"{found.good[name]:,}", f"[red]{kept_out:,}[/]" if kept_out else "0")
        console.print(table)
    for rule in report["rules"]:
        word, style = _SHOWN.get(rule["action"], (rule["action"], ""))
        where = f" in {rule['entity']}" if rule["entity"] else ""
        console.print(f"\n[{style}]{rule['code']} {word}[/] {_times(rule['count'])}{where}: {rule['title']}")
        console.print(f"   mend: {rule['howto']}", style="dim")
        for place in rule["examples"]:
            console.print(f"   {_place(place)}", style="dim")
    _causes(console, report["causes"])
    console.print(f"\n{_verdict(found, report)}", style="bold")


def _place(place: dict[str, Any]) -> str:
    parts = [place["file"] or "the package"]
    if place["line"]:
        parts.append(f"line {place['line']}")
    if place["field"]:
        parts.append(place["field"])
    return ", ".join(parts)


def _causes(console: Console, causes: list[dict[str, Any]]) -> None:
    grouped = [cause for cause in causes if cause["rows"] > 1]
    if grouped:
        console.print("\nWhat explains most of it:")
    for cause in grouped:
        console.print(f"   {cause['rows']:,} rows: {cause['cause']} ({', '.join(cause['codes'])})", markup=False)


def _verdict(found: Examined, report: dict[str, Any]) -> str:
    if found.refused:
        return "Refused: nothing of this package would be applied."
    kept_out = sum(report["rows"].values())
    if kept_out:
        return f"{kept_out:,} rows would be kept out; all others would go in."
    return "All rows would go in." if report["total"] else "Clean: all rows would go in, nothing was found."
