"""docs/notices.md names every kind of notice."""

from __future__ import annotations

from typing import get_args

from hub.api.admin import app_recipients, recipients
from hub.notices.message import TYPE
from hub.store.notices import ALL_KINDS, SUBSCRIPTION_KINDS
from tests.docs.generate import DOCS


def test_each_kind_stands_on_its_page_and_in_the_api() -> None:
    page = (DOCS / "notices.md").read_text(encoding="utf-8")
    assert [kind for kind in ALL_KINDS if f"| `{kind}` |" not in page] == []
    assert f'"type": "{TYPE}"' in page
    assert sorted(get_args(recipients.Kind)) == sorted(ALL_KINDS)
    assert sorted(get_args(app_recipients.Kind)) == sorted(SUBSCRIPTION_KINDS)
