"""Pages lead to pages that exist, name modules that exist, and can all be found from docs/index.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / "deploy").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "connectors").rglob("*.md")]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:hub|connectors|transforms)(?:\.\w+)+)`")
#: Names of files, and names that PostgreSQL knows and Python does not.
OTHERS = {"hub.relayed", "hub.district", "hub.run", "hub.env"}
FILE = re.compile(r"`((?:hub|connectors|transforms|tests|deploy|migrations)/[\w./-]+)`")


def links(page: Path) -> list[Path]:
    """The files that a page links to."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    ours = [t.partition("#")[0] for t in targets if "://" not in t and not t.startswith(("#", "mailto:"))]
    return [(page.parent / target).resolve() for target in ours]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [str(target) for target in links(page) if not target.exists()] == []


def test_every_page_is_in_the_index() -> None:
    listed = set(links(DOCS / "index.md"))

    assert [str(p.relative_to(ROOT)) for p in DOCS.rglob("*.md") if p not in listed and p.name != "index.md"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert [name for name in NAMED.findall(text) if name not in OTHERS and not known(name)] == []
    assert [name for name in FILE.findall(text) if not (ROOT / name).exists()] == []


def known(name: str) -> bool:
    """Whether a dotted name is a package, a module, or a name (or a name of a name) that a module binds."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        module = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module.exists():
            return end == len(parts) or parts[end] in bound(module)
    return False


def bound(module: Path) -> set[str]:
    """The names that a module defines or imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
    return found
