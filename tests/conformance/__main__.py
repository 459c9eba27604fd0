"""Compares official OpenAPI documents of the three services of OneRoster 1.2 with this hub.

    python -m tests.conformance FOLDER [TABLES]

First the catalogue: the documents that the hub publishes of itself, operation by operation and property by property.
Then live answers: a server over two synced districts is asked for every collection, nested ones too, and for single
objects; each answer must fit the official schema. 1.1 has no such documents; where TABLES is a folder with a digest of
it, operations, members and answers of 1.1 are compared with its tables. Exits 1 where something differs, 2 without
documents.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from hub.api.oneroster.bindings import BINDINGS, Binding
from hub.api.oneroster.discovery import document
from tests.conformance import v1p1
from tests.conformance.live import answers_that_do_not_fit
from tests.conformance.shapes import MEANT, differences

HUB = "https://hub.example"


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    found = {binding: official for binding in BINDINGS if (official := _official(folder, binding)) is not None}
    if not found:
        sys.stderr.write(f"{folder}/ holds none of {', '.join(b.documents[0] for b in BINDINGS if b.documents)}\n")
        return 2
    wrong = 0
    for binding, official in found.items():
        lines = sorted(differences(official, document(binding, HUB, HUB + binding.path)))
        operations = sum(len(item) for item in official["paths"].values())
        sys.stdout.write(f"{binding.title}: {operations} operations compared, {len(lines)} differences\n")
        sys.stdout.writelines(f"  {line}\n" for line in lines)
        wrong += len(lines)
    for place, reason in MEANT.items():
        sys.stdout.write(f"meant: {place}: {reason}\n")
    checked, misfits = asyncio.run(answers_that_do_not_fit(found))
    sys.stdout.write(f"live: {checked} answers compared, {len(misfits)} do not fit\n")
    sys.stdout.writelines(f"  {line}\n" for line in misfits)
    return 1 if wrong or misfits or _older(Path(sys.argv[2]) if len(sys.argv) > 2 else None) else 0


def _older(folder: Path | None) -> bool:
    """Compares 1.1, where there is something to compare it with; whether anything differs."""
    found = v1p1.digest(folder) if folder is not None else []
    if not found:
        return False
    compared = asyncio.run(v1p1.compare(found))
    sys.stdout.write(f"OneRoster 1.1: {compared.operations} operations and {compared.answers} answers compared, ")
    sys.stdout.write(f"{len(compared.wrong)} differences\n")
    sys.stdout.writelines(f"  {line}\n" for line in compared.wrong)
    sys.stdout.writelines(f"meant: {place}: {reason}\n" for place, reason in v1p1.MEANT.items())
    return bool(compared.wrong)


def _official(folder: Path, binding: Binding) -> dict[str, Any] | None:
    for name in binding.documents:
        if (folder / name).is_file():
            loaded: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return loaded
    return None


if __name__ == "__main__":
    sys.exit(main())
