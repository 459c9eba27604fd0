"""Rules that other distributions bring: they report, and whatever is wrong with them harms nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.rules import GROUP, load
from tests.docs.generate import DOCS
from tests.fakes.rosters import clean, frames, run
from transforms.issues import RULES

BROKEN = """
from transforms.issues import Action, Phase, Severity
from transforms.rules.given import rule

@rule("BAD-001", Severity.WARN, Action.{action}, "A title that is long enough", "Mend it where it is.",
      entity="users", fields=("username",), phase=Phase.ROW, reads={{"users": ("username",)}})
def bad(given):
    {body}
"""


def example() -> str:
    """The module that docs/connectors.md shows."""
    page = (DOCS / "connectors.md").read_text(encoding="utf-8")
    return page.partition("## Rules of your own")[2].partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution that brings good rules, rules that fail, rules that may not be, and a module that is not there."""
    modules = {
        "acme_rules": example(), "acme_failing": BROKEN.format(action="REPORT", body="raise KeyError('x')"),
        "acme_strict": BROKEN.format(action="QUARANTINE", body="return given['users']").replace("BAD-001", "BAD-002"),
    }  # fmt: skip
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = "\n".join(f"{name} = {name}" for name in [*modules, "acme_gone"])
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = dict(RULES)
    monkeypatch.syspath_prepend(str(tmp_path))
    load.cache_clear()
    yield tmp_path
    RULES.clear()
    RULES.update(before)
    load.cache_clear()
    for name in modules:
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("installed")
def test_others_bring_rules_that_report_and_broken_ones_harm_nobody() -> None:
    assert load() == ("acme_gone", "acme_strict")
    assert "BAD-002" not in RULES
    assert RULES["ACME-001"].origin == "acme_rules"
    files = clean("1.2")
    files["users"][0]["username"] = "Ana Muñoz"

    issues = run("1.2", frames("1.2", files)).issues

    assert [(i["code"], i["key"], i["field"]) for i in issues.filter(code="ACME-001").to_dicts()] == [
        ("ACME-001", "u1", "username")
    ]
    assert issues.filter(code="RULE-001").select("entity", "field").rows() == [("users", "BAD-001")]
    assert set(issues["code"]) == {"ACME-001", "RULE-001"}
