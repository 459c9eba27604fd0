"""``hub source``: a district's sources made, changed, tried, pulled, and taken out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click

from hub.cli import source_settings as settings
from hub.cli.admin import ADDRESS, RefusedError, call, of_source, reaching, with_token
from hub.cli.following import carry_out
from hub.cli.hints import hints
from hub.cli.kit import kit
from hub.cli.schedule import schedule
from hub.cli.source_transform import transform
from hub.cli.trace import trace
from hub.errors import Code, HubError

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_MARKS = {"good": "ok", "warning": "look", "bad": "FAILS"}


@click.group()
def source() -> None:
    """The sources of a district: make, change, try and pull them, and take them out (docs/sources.md)."""


source.add_command(schedule)
source.add_command(transform)
source.add_command(kit)
source.add_command(hints)
source.add_command(trace)


def _ask(method: str, url: str, token: str, district: UUID, rest: str = "", **options: Any) -> Any:
    return asyncio.run(call(url, token, method, f"/districts/{district}/sources{rest}", **options))


def _print(found: Any) -> None:
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))


@source.command("list")
@reaching
@_JSON
def list_(*, district: UUID, url: str, token: str, as_json: bool) -> None:
    """List the district's sources, oldest first: id, state, kind and name."""
    found = _ask("GET", url, token, district)["items"]
    if as_json:
        _print(found)
        return
    for one in found:
        click.echo(f"{one['source_id']}  {one['state']:8}  {one['kind']}  {one['name']}")
    if not found:
        click.echo("no source; make one: hub source create")


@source.command()
@of_source
@_JSON
def show(*, district: UUID, url: str, token: str, source_id: UUID, as_json: bool) -> None:
    """Show all that is set of a source; of its secrets only the names."""
    found = _ask("GET", url, token, district, f"/{source_id}")
    if as_json:
        _print(found)
    else:
        _show(found)


def _show(one: Mapping[str, Any]) -> None:
    click.echo(f"source {one['source_id']}: {one['name']}, {one['kind']}, {one['state']}")
    for key, value in _leaves(one["config"]):
        click.echo(f"  {key} = {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
    click.echo(f"  secrets: {', '.join(one['secrets']) or 'none'}")
    click.echo(f"  priority {one['priority']}; pulled whole after {one['full_hours']} hours")
    if one["speaks_for"] is not None:
        parts = [f"{name} ({', '.join(fields)})" if fields else name for name, fields in one["speaks_for"].items()]
        click.echo(f"  speaks for {', '.join(parts) or 'nothing'}")
    if one["key_space"]:
        click.echo(f"  key space {one['key_space']}")
    for entity, fields in one["links"].items():
        click.echo(f"  {entity} are recognised by {', '.join(fields)}")
    click.echo(f"  files applied last: {', '.join(one['files']) or 'none'}")


def _leaves(config: Mapping[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """The settings by the keys that ``--set`` takes."""
    found: list[tuple[str, Any]] = []
    for name, value in config.items():
        inner = isinstance(value, dict) and value
        found += _leaves(value, f"{path}{name}.") if inner else [(path + name, value)]
    return found


@source.command()
@click.argument("kind", required=False)
@click.option("--url", envvar="HUB_ADMIN_URL", default=ADDRESS, show_default=True,
              help="Address of the admin API (HUB_ADMIN_URL).")  # fmt: skip
@with_token
@_JSON
def kinds(*, kind: str | None, url: str, token: str, as_json: bool) -> None:
    """Say which kinds of sources there are, or of one KIND: what to enter, and which secrets it asks for."""
    found = _kinds(url, token)
    if kind is not None:
        found = {kind: _known(found, kind)}
    if as_json:
        _print(list(found.values()))
        return
    for one in found.values():
        click.echo(f"{one['kind']}: {one['title']}" + (f" - {one['problem']}" if one["problem"] else ""))
        for line in settings.lines(one["settings"]):
            click.echo(line)
        for name, text in one["secrets"].items():
            click.echo(f"  secret {name}: {text}")
        if one["places"]:
            click.echo(f"  whoever changes {', '.join(one['places'])} enters the secrets anew")
        if one["files"]:
            click.echo(f"  an operator's token is needed for {', '.join(one['files'])}")


def _kinds(url: str, token: str) -> dict[str, Any]:
    return {one["kind"]: one for one in asyncio.run(call(url, token, "GET", "/connectors"))["items"]}


def _known(found: Mapping[str, Any], kind: str) -> Any:
    """One kind. Raises HubError(INVALID_REQUEST) with the known ones."""
    if kind not in found:
        raise HubError(Code.INVALID_REQUEST, f"There is no kind of source {kind}. Known: {', '.join(found)}.")
    return found[kind]


def _parts(command: Command) -> Command:
    """What ``create`` and ``edit`` set alike."""
    for option in (
        click.option("--config", "file", type=click.File("rb"),
                     help="The settings of the connector as a file of JSON; - for standard input."),
        click.option("--set", "assigned", multiple=True, metavar="KEY=VALUE",
                     help="One setting, such as login.kind=oauth2; goes before --config. See: hub source kinds"),
        click.option("--secret", "asked", multiple=True, metavar="NAME",
                     help="Ask for this secret, without showing it; not from a terminal, a line of standard input."),
        click.option("--secret-file", "read", multiple=True, nargs=2, type=(str, _FILE), metavar="NAME FILE",
                     help="Read a secret from a file; a line's end after it is left out."),
        click.option("--priority", type=click.IntRange(0, 10_000),
                     help="Lower goes first where several sources know a value."),
        click.option("--full-hours", type=click.IntRange(0, 8_760),
                     help="A source that tells what changed is pulled whole when that is so long ago."),
        click.option("--speaks-for", multiple=True, metavar="ENTITY[=FIELD,…]",
                     help="It may speak for this entity, or these fields of it; - alone for everything."),
        click.option("--key-space", help="Sources of one key space share their sourcedIds; - for its own."),
        click.option("--link", "links", multiple=True, metavar="ENTITY=FIELD,…",
                     help="Recognise objects among those of other sources by these fields; - alone for none."),
    ):  # fmt: skip
        command = option(command)
    return command


def _body(
    *, priority: int | None, full_hours: int | None, speaks_for: Sequence[str], key_space: str | None,
    links: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """The members of the request that the options of ``_parts`` name."""
    body: dict[str, Any] = {}
    if priority is not None:
        body["priority"] = priority
    if full_hours is not None:
        body["full_hours"] = full_hours
    if speaks_for:
        body["speaks_for"] = None if tuple(speaks_for) == ("-",) else _listed(speaks_for)
    if key_space is not None:
        body["key_space"] = None if key_space == "-" else key_space
    if links:
        body["links"] = {} if tuple(links) == ("-",) else {n: f or [] for n, f in _listed(links).items()}
    return body


def _listed(given: Sequence[str]) -> dict[str, list[str] | None]:
    parts = [one.partition("=") for one in given]
    return {name: fields.split(",") if equals else None for name, equals, fields in parts}


def _secrets(asked: Sequence[str], read: Sequence[tuple[str, Path]]) -> dict[str, str]:
    """Secrets from a prompt without echo, lines of standard input, or files: never from the command's arguments."""
    found = {name: path.read_text(encoding="utf-8").rstrip("\r\n") for name, path in read}
    for name in asked:
        terminal = sys.stdin.isatty()
        found[name] = click.prompt(name, hide_input=True, err=True) if terminal else sys.stdin.readline().rstrip("\r\n")
    if empty := [name for name, text in found.items() if not text]:
        raise click.UsageError(f"{empty[0]} is empty. Enter it, or leave it out.")
    return found


def _read(file: Any) -> dict[str, Any]:
    try:
        config = json.load(file)
    except ValueError as error:
        raise click.UsageError(f"--config is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise click.UsageError("--config holds one JSON object, such as the config that `hub source show --json` has.")
    return config


def _sent(schema: settings.Schema, ask: Callable[[], Any]) -> Any:
    """The answer. A refusal names the fields as ``--set`` takes them."""
    try:
        return ask()
    except RefusedError as refused:
        if not refused.fields:
            raise
        told = [f"  {settings.told(settings.named(field, schema), text, schema)}" for field, text in refused.fields]
        mend = "Nothing was changed. Mend these with --set KEY=VALUE (`hub source kinds` says what each takes):"
        raise HubError(refused.code, "\n".join([mend, *told])) from None


@source.command()
@reaching
@click.option("--kind", required=True, help="Which connector reads it; `hub source kinds` lists them.")
@click.option("--name", required=True, help="What the district calls it.")
@_parts
def create(
    *, district: UUID, url: str, token: str, kind: str, name: str, file: Any, assigned: tuple[str, ...],
    asked: tuple[str, ...], read: tuple[tuple[str, Path], ...], **parts: Any,
) -> None:  # fmt: skip
    """Make a source, and say what comes next. Nothing is pulled yet."""
    known = _known(_kinds(url, token), kind)
    config = settings.changed(_read(file) if file else {}, known["settings"], assigned)
    body = {"kind": kind, "name": name, "config": config, "secrets": _secrets(asked, read), **_body(**parts)}
    made = _sent(known["settings"], lambda: _ask("POST", url, token, district, json=body))
    where = f"--district {district} --source {made['source_id']}"
    click.echo(f"source {made['source_id']}")
    for secret_name, text in known["secrets"].items():
        if secret_name not in made["secrets"]:
            click.echo(f"  to enter: hub source secret {secret_name} {where}  ({text})")
    click.echo(f"  then try it: hub source test {where}")


@source.command()
@of_source
@click.option("--name", help="What the district calls it.")
@click.option(
    "--unset", "dropped", multiple=True, metavar="KEY", help="Back to what the connector presets; before --set."
)
@click.option("--state", type=click.Choice(["active", "paused"]), help="A paused source starts no runs.")
@_parts
def edit(
    *, district: UUID, url: str, token: str, source_id: UUID, name: str | None, dropped: tuple[str, ...],
    state: str | None, file: Any, assigned: tuple[str, ...], asked: tuple[str, ...],
    read: tuple[tuple[str, Path], ...], **parts: Any,
) -> None:  # fmt: skip
    """Change a source; what is not named stays. The next run compares row by row where settings change.

    Whoever changes where secrets go enters them anew, with --secret.
    """
    body = _body(**parts) | {key: value for key, value in (("name", name), ("state", state)) if value is not None}
    schema: settings.Schema = {}
    if file or assigned or dropped:
        old = _ask("GET", url, token, district, f"/{source_id}")
        schema = _known(_kinds(url, token), old["kind"])["settings"]
        body["config"] = settings.changed(_read(file) if file else old["config"], schema, assigned, dropped)
    if secrets := _secrets(asked, read):
        body["secrets"] = secrets
    if not body:
        raise click.UsageError("Name something to change; see hub source edit --help.")
    _show(_sent(schema, lambda: _ask("PATCH", url, token, district, f"/{source_id}", json=body)))


@source.command()
@of_source
@click.argument("name")
@click.option("--from-file", "file", type=_FILE, help="Read it from a file; a line's end after it is left out.")
@click.option("--forget", is_flag=True, help="Take it away.")
def secret(
    *, district: UUID, url: str, token: str, source_id: UUID, name: str, file: Path | None, forget: bool
) -> None:
    """Enter the secret NAME of a source: asked for without showing it, from a file, or a line of standard input."""
    if forget and file:
        raise click.UsageError("Give --from-file or --forget, not both.")
    given: Mapping[str, str | None] = {name: None}
    if not forget:
        given = _secrets([], [(name, file)]) if file else _secrets([name], [])
    found = _ask("PATCH", url, token, district, f"/{source_id}", json={"secrets": given})
    click.echo(f"secrets: {', '.join(found['secrets']) or 'none'}")


@source.command()
@of_source
@_JSON
@click.pass_context
def test(ctx: click.Context, *, url: str, token: str, district: UUID, source_id: UUID, as_json: bool) -> None:
    """Try the source: what works, what does not, and what to do about it. Nothing is taken over.

    Ends with 1 where something does not work.
    """
    found = _ask("POST", url, token, district, f"/{source_id}/test")
    if as_json:
        _print(found)
    else:
        for item in found["items"]:
            click.echo(f"{_MARKS[item['outcome']]:<6} {item['step']}: {item['text']}")
    ctx.exit(0 if found["works"] else 1)


@source.command()
@of_source
@click.option("--dry-run", is_flag=True, help="Compute and report everything, change nothing.")
@click.option("--wait", is_flag=True, help="Follow the run to its end; exits as `hub sync` does.")
@click.pass_context
def pull(
    ctx: click.Context, *, district: UUID, url: str, token: str, source_id: UUID, dry_run: bool, wait: bool
) -> None:
    """Pull a source now, whatever its schedule says. A pull that waits already is the one that is told."""
    body = {"dry_run": dry_run}
    if wait:
        carry_out(ctx, url, token, district, "POST", f"/sources/{source_id}/run", body)
        return
    run = _ask("POST", url, token, district, f"/{source_id}/run", json=body)
    click.echo(f"run {run['run_id']}: {run['state']}")
    click.echo(f"  watch it: hub runs show {run['run_id']}")


@source.command()
@of_source
@click.option("--runs", type=click.IntRange(2, 50), default=10, show_default=True, help="Runs to look at.")
def trends(*, district: UUID, url: str, token: str, source_id: UUID, runs: int) -> None:
    """Say which findings are new, gone, more or fewer over the last runs of a source."""
    found = _ask("GET", url, token, district, f"/{source_id}/trends", params={"runs": str(runs)})
    for rule in found["rules"]:
        counts = " ".join(f"{count:,}" for count in rule["counts"])
        since = rule["opened_at"] or rule["closed_at"]
        state = "open" if rule["opened_at"] else "closed"
        share = f" ({rule['share']:.2%} of the rows)" if rule["share"] else ""
        click.echo(f"{rule['change']:8} {rule['code']} {rule['entity']}: {counts}{share}  {rule['title']}")
        click.echo(f"         {state} since {since[:16]}")
    if not found["rules"]:
        click.echo("no finding in the last runs")


@source.command()
@of_source
@click.option("--to", type=click.UUID, help="The source whose its records are from then on; without it they end.")
@click.option("--dry-run", is_flag=True, help="Compute and report everything, change nothing.")
@click.pass_context
def depart(
    ctx: click.Context, *, district: UUID, url: str, token: str, source_id: UUID, to: UUID | None, dry_run: bool
) -> None:
    """Take a source out of the district for good, and follow the run that does it to its end.

    What it alone speaks of ends, or is handed over (--to); try it with --dry-run first. Exits as `hub sync` does.
    """
    body = {"to": str(to) if to else None, "dry_run": dry_run}
    carry_out(ctx, url, token, district, "POST", f"/sources/{source_id}/depart", body)
