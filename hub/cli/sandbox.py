"""``hub sandbox``: districts that do not exist."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--students", type=click.IntRange(100, 1_000_000), default=1_000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--version", type=click.Choice(["1.1", "1.2"]), default="1.2", show_default=True, help="Of OneRoster.")
@click.option("--changes", is_flag=True, help="Also write changes.zip: the same district some months later.")
@click.option("--clean", is_flag=True, help="Plant no dirt.")
@click.option("--dirt", type=click.FloatRange(0, 0.2), default=0.01, show_default=True, help="Share of rows spoilt.")
@click.option("--gradebook", is_flag=True, help="Also resources, and line items and results of a third of the classes.")
@click.option(
    "--people",
    type=click.IntRange(100, 10_000_000),
    help="So many records of people with the truth about them, instead.",
)
@click.option("--identifiers", is_flag=True, help="With --people: state ids of 60 %, e-mail addresses of 50 %.")
def sandbox(
    out: Path, *, students: int, seed: int, version: str, changes: bool, clean: bool, dirt: float, gradebook: bool,
    people: int | None, identifiers: bool,
) -> None:  # fmt: skip
    """Write a made-up district into the folder OUT.

    district.zip is a OneRoster CSV package, truth.json lists every defect and every person that was planted twice.
    With --people it is people.parquet and truth.parquet: records of several sources, and who is who among them, to try
    the matching of people with.
    """
    if people is not None:
        _people(out, people, seed, identifiers=identifiers)
        return
    from rich.console import Console
    from rich.progress import Progress

    from hub.sandbox import DistrictPlan, write_sandbox

    plan = DistrictPlan(
        students=students, seed=seed, version="1.1" if version == "1.1" else "1.2", changes=changes,
        dirt=0 if clean else dirt, gradebook=gradebook,
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("making people", total=None)

        def show(what: str, done: int, total: int) -> None:
            bars.update(bar, description=what, completed=done, total=total)

        made = write_sandbox(out, plan, show)
    click.echo(f"{made.name}: OneRoster {made.version}, " + ", ".join(f"{n:,} {file}" for file, n in made.rows.items()))
    if made.defects:
        click.echo("planted: " + ", ".join(f"{n:,} {kind}" for kind, n in sorted(made.defects.items())))
    if made.changes:
        click.echo("changes: " + ", ".join(f"{n:,} {kind}" for kind, n in sorted(made.changes.items())))
    for path in (made.files.package, made.files.truth, made.files.changed_package, made.files.changes):
        if path is not None:
            click.echo(f"  {path}")


def _people(out: Path, records: int, seed: int, *, identifiers: bool) -> None:
    from hub.sandbox.rosterbench import RosterPlan, rosterbench

    made = rosterbench(RosterPlan(records, seed, identifiers))
    out.mkdir(parents=True, exist_ok=True)
    for name, frame in (("people", made.people), ("truth", made.truth)):
        frame.write_parquet(out / f"{name}.parquet")
        click.echo(f"  {out / name}.parquet: {frame.height:,} rows")
