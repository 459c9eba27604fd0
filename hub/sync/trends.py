"""What the reports of several runs say together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ORDER = ("new", "more", "constant", "fewer", "gone")


@dataclass(frozen=True, slots=True)
class RuleTrend:
    """One kind of finding: its number in each run. ``change``: of the last run against the one before."""

    code: str
    entity: str
    severity: str
    title: str
    howto: str
    counts: list[int]
    change: str


def trend(reports: Sequence[Mapping[str, Any]]) -> list[RuleTrend]:
    """The kinds of findings of some reports (``transforms.report.summary``), which come oldest first.

    What is new comes first, then what grew; what is gone comes last.
    """
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    counted: list[dict[tuple[str, str], int]] = []
    for report in reports:
        rules = report.get("rules", ())
        counted.append({(rule["code"], rule["entity"]): rule["count"] for rule in rules})
        newest |= {(rule["code"], rule["entity"]): rule for rule in rules}
    found = []
    for key, rule in newest.items():
        counts = [of.get(key, 0) for of in counted]
        texts = {name: rule[name] for name in ("code", "entity", "severity", "title", "howto")}
        found.append(RuleTrend(**texts, counts=counts, change=_change(counts)))
    return sorted(found, key=lambda r: (_ORDER.index(r.change), -r.counts[-1], r.code, r.entity))


def _change(counts: Sequence[int]) -> str:
    last, before = counts[-1], counts[-2] if len(counts) > 1 else None
    if before is None:
        return "new"
    if not last:
        return "gone"
    if not before:
        return "new"
    return "constant" if last == before else "more" if last > before else "fewer"
