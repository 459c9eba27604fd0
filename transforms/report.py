"""Findings summed up: what was fixed, dropped and kept out, which few causes explain most of it, where to look first.

Made for ``hub validate``, run reports and the demo. Summaries hold codes, places and counts, no values; keys of people
are left out unless asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from transforms.issues import RULES, Action, Rule, Severity

#: Entities whose keys stand for people.
_PEOPLE = ("users", "demographics", "roles", "userProfiles", "userResources")
_ORDER = {s: i for i, s in enumerate(Severity)}


def summary(issues: pl.DataFrame, *, examples: int = 3, causes: int = 10, people: bool = False) -> dict[str, Any]:
    """A JSON-able summary of a frame of findings.

    - ``total``, and ``actions``: findings per action (``Action``);
    - ``rows``: rows that are kept out, per entity;
    - ``rules``: per code and entity, worst first: code, entity, severity, action, title, howto, count, examples (file,
      line, field);
    - ``causes``: what explains most kept out rows and dropped values: cause, rows, codes. The keys of people are
      replaced by ``?`` unless ``people`` is true.
    """
    actions = [rule.action.value for rule in RULES.values()]
    action = pl.col("code").replace_strict(list(RULES), actions, default="", return_dtype=pl.String)
    known = issues.with_columns(action=action)
    kept_out = known.filter(pl.col("action") == Action.QUARANTINE.value)
    return {
        "total": issues.height,
        "actions": _counts(known, "action"),
        "rows": _counts(kept_out.unique(["file", "line"]), "entity"),
        "rules": _rules(known, examples),
        "causes": _causes(known, causes, people=people),
    }


def rules_page(rules: Mapping[str, Rule] = RULES) -> str:
    """docs/issues.md: every rule with what it is about, what it does, its thresholds, and how to mend it."""
    lines = [*_HEAD]
    for code in sorted(rules, key=lambda c: (c.split("-")[0], c)):
        rule = rules[code]
        about = " ".join([rule.entity, *rule.fields]).strip()
        what = f"{rule.action.value} ({_shown(rule)})" if rule.params else rule.action.value
        cells = (code, rule.title, about, rule.phase.value, rule.severity.value, what, rule.howto)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(rule: Rule) -> str:
    texts = {n: f"{v:g}" if isinstance(v, int | float) else ", ".join(v) or "none" for n, v in rule.params.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


_HEAD = """# Findings

What the hub finds in a roster, by code. A finding names a place (file, line, field) and never holds personal
data. This page is generated: `make docs`. A district may set the thresholds that stand in brackets, and switch rules
off that suggest, report or hold: [admin-api.md](admin-api.md), `hub rules`.

| what happens | meaning |
|---|---|
| fix | repaired, because nobody could disagree |
| fix_keep_original | repaired, and what the source wrote stays in the record's metadata |
| drop_value | the row goes on without this value |
| suggest | nothing was changed; the finding says what is probably meant |
| report | nothing was changed |
| hold | nothing was changed; the guard asks a person before the run is applied |
| quarantine | the row is kept out; an older good version stays |
| refuse | nothing of the package is applied |

Rules run in phases: of a *file*, of a *row* with what it refers to, of all rows of an *entity*, *cross_entity* (of
several files) and *cross_snapshot* (with what the store knows from before). Files of changes (delta) have no whole, so
rules that need one wait for the next whole package.

| code | finding | about | phase | severity | what happens | how to mend it |
|---|---|---|---|---|---|---|""".splitlines()


def _counts(frame: pl.DataFrame, name: str) -> dict[str, int]:
    return dict(frame.group_by(name).len().sort(name).iter_rows())


def _rules(known: pl.DataFrame, examples: int) -> list[dict[str, Any]]:
    places = ("file", "line", "field")
    groups = (
        known.sort(places, nulls_last=True)
        .group_by("code", "entity")
        .agg(count=pl.len(), examples=pl.struct(places).head(examples))
        .iter_rows(named=True)
    )
    found = [_rule(RULES.get(group["code"]), group) for group in groups]
    return sorted(found, key=lambda r: (_ORDER.get(r["severity"], len(_ORDER)), -r["count"], r["code"], r["entity"]))


def _rule(rule: Rule | None, group: dict[str, Any]) -> dict[str, Any]:
    return {
        "code": group["code"],
        "entity": group["entity"],
        "severity": rule.severity.value if rule else "",
        "action": rule.action.value if rule else "",
        "title": rule.title if rule else "",
        "howto": rule.howto if rule else "",
        "count": group["count"],
        "examples": group["examples"],
    }


def _causes(known: pl.DataFrame, most: int, *, people: bool) -> list[dict[str, Any]]:
    entity = pl.col("cause").str.extract(r"^([A-Za-z]+):")
    hidden = pl.when(entity.is_in(_PEOPLE)).then(entity + ":?").otherwise("cause")
    found = known.filter(pl.col("cause").is_not_null() & pl.col("action").is_in(["quarantine", "drop_value"]))
    groups = (
        found.with_columns(cause="cause" if people else hidden)
        .group_by("cause")
        .agg(rows=pl.struct("file", "line").n_unique(), codes=pl.col("code").unique().sort())
        .sort(["rows", "cause"], descending=[True, False])
    )
    return groups.head(most).to_dicts()
