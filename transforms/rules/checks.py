"""Runs the rules that have a function of their own beside the chain, over columns that are in memory already.

Rules of the phase ``row`` see each batch, those of ``entity`` all rows of a file, those of ``cross_entity`` run as soon
as the last file that they read is done. Whatever no rule waits for any more is let go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from transforms import canonical, issues
from transforms.catalogue import CATALOGUE, Entity
from transforms.issues import RULES, Action, Phase, Rule, Severity, declare, one
from transforms.marks import as_list, beside, certain, rows_of
from transforms.rules import classes, contacts, demographics, guarded, names, people, terms  # noqa: F401 - declare
from transforms.rules.given import ANY, FOUND, SINCE, Given, nothing
from transforms.rules.settings import DEFAULTS, RuleSettings
from transforms.rules.tables import SUMS, Batch, added, belonging, source_of
from transforms.sheet import Sheet, findings
from transforms.validate.hashed import Marks

RULE_001 = declare(
    "RULE-001", Severity.WARN, Action.REPORT, "A rule that another distribution brings has failed",
    "Tell whoever made the rule, which the field names. The sync went on without it.", phase=Phase.FILE, since=SINCE,
)  # fmt: skip

_WHOLE = (Phase.ENTITY, Phase.CROSS_ENTITY)
_NOBODY = Marks([])
#: The columns that a table has whatever rules read: its key, or that of a sum, is no column of a rule.
_ALWAYS = {table: keys for table, (_, keys) in SUMS.items()}
_PLACE = ("key", "line")


class Checks:
    """The rules of one run. ``today``: its day, without which rules that need one find nothing."""

    def __init__(self, today: date | None = None, settings: RuleSettings = DEFAULTS) -> None:
        self.today, self.settings = today, settings
        own = [rule for rule in RULES.values() if rule.check is not None and settings.runs(rule)]
        self.of_rows = [rule for rule in own if rule.phase is Phase.ROW]
        self.waiting = [rule for rule in own if rule.phase in _WHOLE]
        self.parts: dict[str, list[pl.DataFrame]] = {}
        self.tables: dict[str, pl.DataFrame] = {}
        self.belong: list[pl.Series] = []
        self.places: Marks | None = None
        self.failed: list[str] = []

    def rows(self, sheet: Sheet, *, delta: bool) -> None:
        """Runs the rules of single rows over a sheet that is complete, mends what they mend, and keeps what waits."""
        entity = sheet.entity.name
        rules = [rule for rule in self.of_rows if entity in rule.reads or ANY in rule.reads]
        good = Batch(entity, rows_of(sheet.frame, ~sheet.out))
        if not good.rows.height:
            return
        for rule in rules:
            table = entity if entity in rule.reads else ANY
            given = {table: good.table(rule.reads[table])}
            found = self._found(rule, given, delta=delta)
            if found.height:
                sheet.findings += _told(rule, sheet.entity, found)
                if rule.fix is not None:
                    _mend(sheet, rule, found)
        if not delta:
            self._keep(entity, good)

    def close(self, entity: Entity, *, delta: bool) -> list[pl.DataFrame]:
        """What shows when all rows of an entity are known. Of changes nothing does."""
        if delta:
            self.waiting = [rule for rule in self.waiting if entity.name not in _entities(rule)]
            return []
        for table in self._tables_of(entity.name):
            self.tables[table] = self._whole(table)
        out: list[pl.DataFrame] = []
        place = _PLACES[entity.name]
        for rule in [rule for rule in self.waiting if _last(rule) <= place]:
            self.waiting.remove(rule)
            if _last(rule) == place and set(rule.reads) <= set(self.tables):
                given = {
                    t: beside([self.tables[t].get_column(n) for n in _shown(t, read)]) for t, read in rule.reads.items()
                }
                out += _told(rule, CATALOGUE[rule.entity], self._found(rule, given, delta=False))
        out += [one(RULE_001, entity=entity.name, field=code) for code in sorted(set(self.failed))]
        self.failed = []
        self.tables = {t: frame[self._still(t, frame)] for t, frame in self.tables.items() if self._columns(t)}
        return out

    def _found(self, rule: Rule, tables: Mapping[str, pl.DataFrame], *, delta: bool) -> pl.DataFrame:
        return checked(rule, Given(tables, self.settings.params(rule), self.today, delta), self.failed)

    def _whole(self, table: str) -> pl.DataFrame:
        """What was kept of all batches."""
        kept = self.parts.pop(table, [])
        if table in SUMS:
            return added(table, kept or [SUMS[table][0](_no_rows("enrollments"), _NOBODY)])
        return pl.concat(kept) if kept else Batch(table, _no_rows(table)).table(self._columns(table))

    def _keep(self, entity: str, good: Batch) -> None:
        if entity == "users" and "sizes" in self._all():
            self.belong.append(belonging(good))
            self.places = None
        for table in self._tables_of(entity):
            if table in SUMS:
                self.places = self.places or Marks(self.belong)
                self.parts.setdefault(table, []).append(SUMS[table][0](good.rows, self.places))
            else:
                self.parts.setdefault(table, []).append(good.table(self._columns(table)))

    def _all(self) -> set[str]:
        return {table for rule in self.waiting for table in rule.reads}

    def _tables_of(self, entity: str) -> list[str]:
        return sorted(table for table in self._all() if source_of(table) == entity)

    def _columns(self, table: str) -> tuple[str, ...]:
        return tuple(sorted({name for rule in self.waiting for name in rule.reads.get(table, ())}))

    def _still(self, table: str, frame: pl.DataFrame) -> list[str]:
        return frame.columns if table in SUMS else ["key", "line", *self._columns(table)]


def checked(rule: Rule, given: Given, failed: list[str]) -> pl.DataFrame:
    """What a rule answers. One of another distribution that fails is noted in ``failed``, and finds nothing."""
    assert rule.check is not None, "only such rules are run"
    if not rule.origin:
        return rule.check(given)
    try:
        found = rule.check(given)
        names = [*FOUND, "field"] if "field" in found.columns else list(FOUND)
        return found.select(names).cast(pl.Schema(FOUND))
    except Exception:
        failed.append(rule.code)
        return nothing()


def snapshot(
    entity: Entity, rows: pl.DataFrame, settings: RuleSettings = DEFAULTS, today: date | None = None
) -> pl.DataFrame:
    """What rules find of changed records. ``rows``: key, line, and each column now and before (``given.BEFORE``)."""
    told: list[pl.DataFrame] = []
    failed: list[str] = []
    for rule in RULES.values():
        if rule.check is None or rule.phase is not Phase.CROSS_SNAPSHOT or entity.name not in rule.reads:
            continue
        if settings.runs(rule):
            told += _told(rule, entity, checked(rule, Given({entity.name: rows}, settings.params(rule), today), failed))
    told += [one(RULE_001, entity=entity.name, field=code) for code in failed]
    return issues.collect(told)


def remembered(entity: str) -> tuple[str, ...]:
    """The columns of an entity of which rules want to know how they were before."""
    rules = [rule for rule in RULES.values() if rule.check is not None and rule.phase is Phase.CROSS_SNAPSHOT]
    return tuple(sorted({name for rule in rules for name in rule.reads.get(entity, ())}))


def _told(rule: Rule, entity: Entity, found: pl.DataFrame) -> list[pl.DataFrame]:
    if not found.height:
        return []
    if "field" not in found.columns:
        return [findings(rule, entity, found.sort("key", "line"), rule.fields[0] if rule.fields else "")]
    parts = found.sort("key", "line").partition_by("field", maintain_order=True)
    return [findings(rule, entity, part, part["field"][0]) for part in parts]


def _mend(sheet: Sheet, rule: Rule, found: pl.DataFrame) -> None:
    """Puts mended values in the place of those that were found."""
    assert rule.fix is not None, "the caller has looked"
    fields = found["field"].unique().to_list() if "field" in found.columns else [rule.fields[0]]
    for name in fields:
        part = found.filter(field=name) if "field" in found.columns else found
        marked = certain(sheet["line"].is_in(as_list(part["line"]))) & ~sheet.out
        sheet.replace(name, marked, rule.fix(name, sheet[name].filter(marked)))


def _shown(table: str, read: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys((*_ALWAYS.get(table, _PLACE), *read)))


def _entities(rule: Rule) -> set[str]:
    return {source_of(table) for table in rule.reads}


_PLACES = {entity.name: place for place, entity in enumerate(CATALOGUE.entities)}


def _last(rule: Rule) -> int:
    """The place of the last entity that a rule reads."""
    return max(_PLACES[name] for name in _entities(rule))


def _no_rows(entity: str) -> pl.DataFrame:
    return canonical.empty(CATALOGUE[entity])
