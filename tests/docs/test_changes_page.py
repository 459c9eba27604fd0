"""docs/changes.md says what the code does. Its examples are run by tests/api/changes/test_page.py."""

from __future__ import annotations

import re
from pathlib import Path

from hub.api.changes.asked import LIMIT, LONGEST_WAIT, MODES, MOST, NAMES
from hub.api.changes.everywhere import STATES
from hub.api.changes.reading import MOST_BYTES
from hub.api.changes.service import REASONS
from hub.errors import HTTP_STATUS, Code
from hub.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "changes.md").read_text(encoding="utf-8")


def test_each_parameter_state_reason_and_setting_is_named() -> None:
    settings = [f"HUB_{n.upper()}" for n in Settings.model_fields if n.startswith("changes_")]
    assert settings
    wanted = [*NAMES, *MODES, *STATES, *REASONS, *settings]
    assert [name for name in wanted if f"`{name}`" not in PAGE] == []
    for name, field in Settings.model_fields.items():
        if name.startswith("changes_"):
            assert f"| `HUB_{name.upper()}` | `{field.default}` |" in PAGE


def test_numbers_are_those_of_the_code() -> None:
    assert f"| `limit` | {LIMIT} | Changes in an answer, 1 to {MOST:,}." in PAGE
    assert f"up to {LONGEST_WAIT}" in PAGE
    assert f"{MOST_BYTES >> 20} MB" in PAGE


def test_the_codes_have_the_status_of_the_code() -> None:
    listed = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(listed) >= 8
    assert [code for status, code in listed if HTTP_STATUS[Code(code)] != int(status)] == []
