"""Writes the generated pages of docs/: ``make docs``. A test keeps them equal to what the code says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import SecretStr

import connectors.aeries.rules
import connectors.clever.rules
import connectors.edfi.rules
import connectors.oneroster_csv.rules
import connectors.oneroster_rest.rules
import connectors.powerschool.rules
import connectors.skyward_qmlativ.rules
import hub.sync.undoing
import transforms.shaping.rules
from hub.settings import Settings
from tests.docs.reference import admin_api_page, behaviour_page, cli_page, metrics_page
from tests.webhooks.faults import page as faults_page
from transforms.catalogue.page import catalogue_page
from transforms.pipeline import RULES
from transforms.report import rules_page

DOCS = Path(__file__).parents[2] / "docs"


def settings_page() -> str:
    """docs/settings.md: each setting with its default and what it does."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable. Settings that contradict each other are refused at start-up.",
        "This page is generated: `make docs`.",
        "",
        "| Setting | Default | Meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `HUB_{name.upper()}` | {_shown(field.default)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, SecretStr):
        raise TypeError("a secret has no default")
    return f"`{default}`"


def issues_page() -> str:
    """docs/issues.md: each finding with what happens and how to mend it."""
    return rules_page(RULES)


PAGES: Mapping[str, Callable[[], str]] = {
    "admin-api.md": admin_api_page,
    "behaviour.md": behaviour_page,
    "catalogue.md": catalogue_page,
    "cli.md": cli_page,
    "issues.md": issues_page,
    "metrics.md": metrics_page,
    "settings.md": settings_page,
    "webhooks-faults.md": faults_page,
}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
