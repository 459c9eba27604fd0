"""What the reports of several runs say together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ORDER = ("new", "more", "constant", "fewer", "gone")


@dataclass(frozen=True, slots=True)
class RuleTrend:
    """One kind of finding: its number in each run. ``change``: of the last run against the one before.

    ``opened``: the place of the run since which it has been found without a break, ``closed``: of the run since which
    it is not found any more; one of them is None. ``share``: of the entity's rows in the last run, None where nobody
    knows how many there are.
    """

    code: str
    entity: str
    severity: str
    title: str
    howto: str
    counts: list[int]
    change: str
    opened: int | None = None
    closed: int | None = None
    share: float | None = None


def trend(reports: Sequence[Mapping[str, Any]], rows: Mapping[str, int] | None = None) -> list[RuleTrend]:
    """The kinds of findings of some reports (``transforms.report.summary``), which come oldest first.

    ``rows``: how many rows of each entity the last run had.
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
        of_last = (rows or {}).get(rule["entity"])
        share = min(1.0, counts[-1] / of_last) if of_last else None
        opened, closed = _since(counts)
        found.append(
            RuleTrend(**texts, counts=counts, change=_change(counts), opened=opened, closed=closed, share=share)
        )
    return sorted(found, key=lambda r: (_ORDER.index(r.change), -r.counts[-1], r.code, r.entity))


def _since(counts: Sequence[int]) -> tuple[int | None, int | None]:
    """The places of the runs since which a finding is open, or closed."""
    is_open = counts[-1] > 0
    place = len(counts) - 1
    while place and (counts[place - 1] > 0) is is_open:
        place -= 1
    return (place, None) if is_open else (None, place)


def _change(counts: Sequence[int]) -> str:
    last, before = counts[-1], counts[-2] if len(counts) > 1 else None
    if before is None:
        return "new"
    if not last:
        return "gone"
    if not before:
        return "new"
    return "constant" if last == before else "more" if last > before else "fewer"
