"""The generated pages say what the code says."""

from __future__ import annotations

import pytest

from hub.settings import Settings
from tests.docs.generate import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_setting_has_a_line_with_its_default() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `HUB_{name.upper()}` |"))
        shown = "none" if field.default is None or field.default == () else f"`{field.default}`"
        assert shown in line
        assert field.description
        assert field.description in line
