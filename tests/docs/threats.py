"""Which tests carry which threat marks, and what docs/threat-model.md says of them.

``python -m tests.docs.threats`` prints every number with its state and its tests.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "threat-model.md"
NUMBERS = tuple([f"T{n}" for n in range(1, 57)] + [f"F{n}" for n in range(1, 29)])
_LINE = re.compile(r"^\| ([TF]\d+) \|(.*)\|$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One line of the page."""

    number: str
    danger: str
    answer: str
    state: str
    missing: str


def lines() -> list[Line]:
    """The lines of the page, in its order."""
    found = []
    for number, rest in _LINE.findall(PAGE.read_text(encoding="utf-8")):
        cells = [cell.strip() for cell in rest.split("|")]
        if len(cells) != 4:
            raise ValueError(f"the line of {number} has {len(cells)} cells after its number, not 4")
        found.append(Line(number, *cells))
    return found


def marks() -> Mapping[str, list[str]]:
    """For each number the test files and lines that carry its mark, read without running anything."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.threat"):
                for argument in node.args:
                    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                        raise TypeError(f"{path}:{node.lineno}: a threat mark takes plain numbers")
                    found[argument.value].append(f"{path.relative_to(TESTS.parent)}:{node.lineno}")
    return found


def main() -> None:
    """Print every number with its state and its tests."""
    found = marks()
    for line in lines():
        print(f"{line.number:4} {line.state:7} {len(found.get(line.number, []))} {line.missing}")
        for place in found.get(line.number, []):
            print(f"       {place}")


if __name__ == "__main__":
    main()
