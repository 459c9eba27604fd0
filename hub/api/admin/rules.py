"""What a district has set for rules about its data: thresholds, rules that are off, when findings hold a run."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import Field

from connectors.rules import load
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.store import rules as store
from transforms.issues import RULES
from transforms.rules.settings import RuleError, RuleSettings, read

Settings = dict[str, dict[str, Any]]


class RuleEdit(Asked):
    """The settings of rules by code; what is left out is as the rules declare it."""

    rules: Settings = Field(
        default={},
        max_length=500,
        description="Of each rule `off` (true; rules that suggest, report or hold), `params` (its thresholds by name) "
        "and `hold` (the guard asks when there are more findings than `above` and than a `share` of all rows; null: it "
        "never asks).",
    )


class ShownRule(Shown):
    """A rule, with the thresholds that count in the district."""

    code: str
    title: str
    howto: str
    entity: str
    fields: list[str]
    phase: str
    severity: str
    action: str
    params: dict[str, Any]
    off: bool
    optional: bool = Field(description="Whether it can be switched off.")
    version: int
    since: str


class Rules(Shown):
    """What was set, and all rules as they count then."""

    settings: Settings
    rules: list[ShownRule]


def _shown(kept: Settings) -> Rules:
    settings = RuleSettings(kept)
    return Rules(settings=kept, rules=[
        ShownRule(
            code=rule.code, title=rule.title, howto=rule.howto, entity=rule.entity, fields=list(rule.fields),
            phase=rule.phase.value, severity=rule.severity.value, action=rule.action.value, optional=rule.optional,
            params=settings.params(rule), off=not settings.runs(rule), version=rule.version, since=rule.since,
        )
        for _, rule in sorted(RULES.items())
    ])  # fmt: skip


async def get(call: Call) -> Rules:
    """What the district has set for rules, and all rules."""
    await asyncio.to_thread(load)
    async with call.reading() as tx:
        return _shown(await store.of_district(tx))


async def replace(call: Call, body: RuleEdit) -> Rules:
    """Replaces what the district has set; the next run of each source reads its package in full.

    The audit log keeps each version.
    """
    await asyncio.to_thread(load)
    try:
        settings = dict(read(body.rules).of)
    except RuleError as error:
        raise HubError(Code.INVALID_REQUEST, f"Mend `rules.{error.place}`: {error.text}.") from None
    async with call.writing() as writing:
        await store.set_of_district(writing.tx, settings)
        writing.note(f"district/{call.district_id}", settings=settings)
    return await get(call)


ROUTES = (
    Route("GET", "/districts/{district}/rules", get, "The rules about a district's data", roles=STAFF, answer=Rules),
    Route("PUT", "/districts/{district}/rules", replace, "Set thresholds and switch rules off", roles=STAFF,
          body=RuleEdit, answer=Rules, action="rules.edit"),
)  # fmt: skip
