"""``make bench``: us, the floor measured in the same run, and the ratio.

make bench                              all, 50,000 students
make bench ARGS="--students 500000"     the big one
make bench ARGS="--only loading"        one of them
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

from rich.console import Console
from rich.table import Table

from tests.benchmarks.result import Result

#: Modules of this package with ``run(students) -> list[Result]``.
ALL = (
    "loading",
    "syncs",
    "rules",
    "shaping",
    "small_districts",
    "compile",
    "pages",
    "queries",
    "page_memory",
    "gradebook",
    "half_open",
    "lag",
    "webhook_latency",
    "deliveries",
    "pull",
    "source_pull",
    "native_pull",
    "sftp_pull",
    "passback",
    "export",
    "past",
    "feed_size",
    "agreements",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--students", type=int, default=50_000, help="size of the district (default 50,000)")
    parser.add_argument("--only", choices=ALL, action="append", help="run just this one; may be repeated")
    arguments = parser.parse_args()
    console = Console(width=160 if not sys.stdout.isatty() else None)
    console.print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"{arguments.students:,} students"
    )
    table = Table("what", "ours", "floor", "unit", "ratio", "must", "aim", "kept", "note")
    verdicts = []
    try:
        for name in arguments.only or ALL:
            console.print(f"measuring {name} …", style="dim")
            module = importlib.import_module(f"tests.benchmarks.{name}")
            for result in module.run(arguments.students):
                table.add_row(*row(result))
                verdicts.append(result.verdict)
    finally:
        console.print(table)  # what was measured before one of them failed
    if "missed" in verdicts:
        sys.exit("a limit is missed")


def row(result: Result) -> tuple[str, ...]:
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}x"
    floor = "" if result.floor is None else f"{result.floor:.3f}"
    limits = (result.limit(result.must), result.limit(result.aim))
    return (result.name, f"{result.ours:.3f}", floor, result.unit, ratio, *limits, result.verdict, result.note)


if __name__ == "__main__":
    main()
