"""docs/webhooks.md says what the code does."""

from __future__ import annotations

import re
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hub.changes.message import CHANGES, MOVED, RESYNC
from hub.changes.types import MARKS, OPERATIONS
from hub.settings import Settings
from hub.webhooks import sign
from hub.webhooks.debugging import Check
from hub.webhooks.failure import Failure
from hub.webhooks.standing import Waits
from hub.webhooks.terms import Terms
from hub.webhooks.trying import TEST_TYPE
from transforms.catalogue import CATALOGUE

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def names() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in CODE:
        exec(block, found)
    return found


@pytest.mark.threat("T36")
@pytest.mark.parametrize("name", ["verify", "verify_with_library", "verify_with_public_key"])
def test_the_code_of_the_page_verifies_and_refuses(name: str) -> None:
    public = name == "verify_with_public_key"
    recipe, new = names()[name], sign.new_private_key if public else sign.new_secret
    secret, old, body = new(), new(), b'{"data": 1}'

    def verify(key: str, headers: dict[str, str], sent: bytes) -> None:
        recipe(sign.public_key(key) if public else key, headers, sent)

    verify(secret, sign.headers([secret, old], "msg_1", int(time.time()), body), body)
    verify(old, sign.headers([secret, old], "msg_1", int(time.time()), body), body)
    for headers, sent in (
        (sign.headers([old], "msg_1", int(time.time()), body), body),
        (sign.headers([secret], "msg_1", int(time.time()), body), body + b" "),
        (sign.headers([secret], "msg_1", int(time.time()) - 301, body), body),
        (sign.headers([secret], "msg_1", int(time.time()) + 302, body), body),
    ):
        with pytest.raises(Exception, match=r"match|old|new|signature"):
            verify(secret, headers, sent)


def test_the_first_recipe_is_short() -> None:
    assert len(CODE[0].strip().splitlines()) <= 17


def test_each_class_entity_event_and_setting_is_named() -> None:
    settings = [f"HUB_{n.upper()}" for n in Settings.model_fields if n.startswith("webhook_")]
    types = [CHANGES, MOVED, RESYNC, *MARKS, *(f"<collection>.{o}" for o in OPERATIONS)]
    terms = [f.name for f in fields(Terms)]
    wanted = [*Failure, *Waits, *Check, TEST_TYPE, *settings, *terms, *types, *(e.name for e in CATALOGUE.entities)]
    assert [name for name in wanted if f"`{name}`" not in PAGE] == []


def test_the_defaults_are_those_of_the_code() -> None:
    for name, field in Settings.model_fields.items():
        if name.startswith("webhook_") and field.default not in {(), None}:
            assert f"| `HUB_{name.upper()}` | `{field.default}` |" in PAGE
