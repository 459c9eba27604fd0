"""What a district has set for rules, as a run heeds it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from typing import Any

from connectors.rules import load
from hub.store import rules
from hub.store.database import Transaction
from transforms.rules.settings import RuleError, RuleSettings, read


async def in_force(tx: Transaction) -> RuleSettings:
    """The district's settings. What another version of the hub has saved and this one does not know is passed over."""
    await asyncio.to_thread(load)
    kept: dict[str, Mapping[str, Any]] = {}
    for code, written in (await rules.of_district(tx)).items():
        try:
            kept.update(read({code: written}).of)
        except RuleError:
            continue
    return RuleSettings(kept)


def marked(text: str, settings: RuleSettings) -> str:
    """What a package is known by, where the same package would give other findings than without the settings."""
    return f"{text}:{zlib.crc32(settings.mark.encode()):x}" if settings.mark else text
