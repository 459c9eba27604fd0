"""What a district has set for rules: thresholds, rules that are off, and from how many findings on the guard asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from transforms.issues import RULES, Rule

#: How many texts a threshold may list, and how long each may be.
MOST_ITEMS, LONGEST_ITEM = 100, 255
_MEMBERS: Final = {"off", "params", "hold"}
_HOLD: Final = {"share", "above"}


class RuleError(ValueError):
    """A setting that cannot be. ``place``: its path in what was written."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(f"{place}: {text}")
        self.place, self.text = place, text


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """``of``: by code, ``off`` (true), ``params`` (name to value) and ``hold`` (``share`` and ``above``, or null).

    What is left out is as the rule declares it.
    """

    of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def runs(self, rule: Rule) -> bool:
        """Whether a rule is on."""
        return not (rule.optional and self.of.get(rule.code, {}).get("off", False))

    def params(self, rule: Rule) -> dict[str, Any]:
        """The thresholds of a rule that count."""
        return {**rule.params, **self.of.get(rule.code, {}).get("params", {})}

    def hold(self, rule: Rule) -> Mapping[str, float] | None:
        """From how many findings on the guard asks: more than ``above`` of them and than a ``share`` of all rows."""
        own: Mapping[str, Mapping[str, float] | None] = self.of.get(rule.code, {})
        return own.get("hold")

    @property
    def off(self) -> list[str]:
        """The codes of rules that are off."""
        return [code for code, one in self.of.items() if one.get("off") and code in RULES and RULES[code].optional]

    def kept(self, found: pl.DataFrame) -> pl.DataFrame:
        """Findings without those of rules that are off."""
        off = self.off
        return found.filter(~pl.col("code").is_in(off)) if off and found.height else found

    @property
    def mark(self) -> str:
        """Stands for what changes findings; empty where nothing was set."""
        return (
            "" if not self.of else repr(sorted((code, sorted(one.items(), key=str)) for code, one in self.of.items()))
        )


DEFAULTS: Final = RuleSettings()


def read(written: Any) -> RuleSettings:
    """Settings from JSON. Raises RuleError with the place of the first fault."""
    if not isinstance(written, dict):
        raise RuleError("rules", "write an object from codes of rules to their settings")
    return RuleSettings({code: _one(code, written[code]) for code in sorted(written)})


def _one(code: str, written: Any) -> dict[str, Any]:
    rule = RULES.get(code)
    if rule is None:
        raise RuleError(code[:50], "there is no such rule; docs/issues.md lists them")
    if not isinstance(written, dict) or not written or written.keys() - _MEMBERS:
        raise RuleError(code, f"write an object with {', '.join(sorted(_MEMBERS))}")
    found: dict[str, Any] = {}
    if "off" in written:
        if not isinstance(written["off"], bool):
            raise RuleError(f"{code}.off", "write true or false")
        if written["off"] and not rule.optional:
            raise RuleError(f"{code}.off", "only rules that suggest, report or hold can be switched off")
        found["off"] = written["off"]
    if "params" in written:
        found["params"] = _params(rule, written["params"])
    if "hold" in written:
        found["hold"] = _limit(code, written["hold"])
    return found


def _params(rule: Rule, written: Any) -> dict[str, Any]:
    place = f"{rule.code}.params"
    if not isinstance(written, dict):
        raise RuleError(place, "write an object")
    if unknown := written.keys() - rule.params.keys():
        known = ", ".join(rule.params) or "none"
        raise RuleError(f"{place}.{min(unknown)[:50]}", f"the rule has no such threshold; it has {known}")
    return {name: _value(f"{place}.{name}", rule.params[name], value) for name, value in written.items()}


def _value(place: str, default: Any, value: Any) -> Any:
    if isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
            raise RuleError(place, "write a number from 0 to 1000000")
        return value
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise RuleError(place, f"write a list of at most {MOST_ITEMS} texts")
    if any(not isinstance(item, str) or not 0 < len(item) <= LONGEST_ITEM for item in value):
        raise RuleError(place, f"each item is a text of at most {LONGEST_ITEM} characters")
    return list(value)


def _limit(code: str, written: Any) -> dict[str, float] | None:
    if written is None:
        return None
    place = f"{code}.hold"
    if not isinstance(written, dict) or not written or written.keys() - _HOLD:
        raise RuleError(place, "write null, or an object with share and above")
    for name, most in (("share", 1), ("above", 1e9)):
        value = written.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise RuleError(f"{place}.{name}", f"write a number from 0 to {most:g}")
    return dict(written)
