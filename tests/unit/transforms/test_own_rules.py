"""Rules with a function of their own: each has cases, and each keeps what is promised of all of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.unit.transforms.rule_cases import CASES, TODAY, Case, Row, Rows
from transforms import canonical, issues
from transforms.catalogue import CATALOGUE
from transforms.issues import RULES, Action, Phase
from transforms.rules.checks import Checks, snapshot
from transforms.rules.given import BEFORE
from transforms.rules.settings import RuleError, RuleSettings, read
from transforms.rules.tables import MADE
from transforms.sheet import Sheet

OWN = {code: rule for code, rule in RULES.items() if rule.check is not None}
EACH = pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.code}-{c.field}" if c.field else c.code)


def spoilt(case: Case) -> dict[str, list[Row]]:
    """The rows of a case after its mutation."""
    return {name: [row | case.spoilt.get((name, row["key"]), {}) for row in rows] for name, rows in case.clean.items()}


def sheet_of(entity: str, rows: list[Row]) -> Sheet:
    """Complete rows as the chain has them at the end."""
    extra = {"dateLastModified": pl.String}
    schema = canonical.schema(entity) | extra
    full = [{name: row.get(name) for name in schema} | {"line": place + 2} for place, row in enumerate(rows)]
    frame = pl.DataFrame(full, schema=schema)
    return Sheet(CATALOGUE[entity], "1.2", frame, pl.repeat(False, len(rows), eager=True))  # noqa: FBT003 - a mark


def told(
    case: Case, rows: Rows, settings: RuleSettings | None = None, *, cut: int = 1_000
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame]]:
    """All findings of all rules over rows, in batches of ``cut``, and the rows after it."""
    settings = settings or RuleSettings()
    if RULES[case.code].phase is Phase.CROSS_SNAPSHOT:
        ((name, given),) = rows.items()
        frame = sheet_of(name, given).frame
        was = sheet_of(name, [{"key": row["key"], **(case.before or {}).get(row["key"], row)} for row in given]).frame
        before = was.select(pl.col(c).alias(c + BEFORE) for c in was.columns if c not in {"key", "line"})
        return snapshot(CATALOGUE[name], frame.hstack(before), settings, TODAY), {name: frame}
    checks, found, after = Checks(TODAY, settings), list[pl.DataFrame](), dict[str, pl.DataFrame]()
    for entity in CATALOGUE.entities:
        if entity.name not in rows:
            continue
        whole, parts = sheet_of(entity.name, rows[entity.name]), []
        for start in range(0, whole.frame.height, cut):
            part = Sheet(entity, "1.2", whole.frame[start : start + cut], whole.out[start : start + cut])
            checks.rows(part, delta=case.delta)
            found.append(part.issues())
            parts.append(part.frame)
        found += checks.close(entity, delta=case.delta)
        after[entity.name] = pl.concat(parts)
    return issues.collect(found), after


def of(case: Case, found: pl.DataFrame) -> pl.DataFrame:
    """The findings of the case's rule."""
    return found.filter(code=case.code)


def test_each_such_rule_has_a_case() -> None:
    assert {case.code for case in CASES} == set(OWN)


@EACH
def test_nothing_is_found_in_clean_rows_and_the_mutation_is(case: Case) -> None:
    rule = OWN[case.code]

    clean, wrong = of(case, told(case, case.clean)[0]), of(case, told(case, spoilt(case))[0])

    assert clean.to_dicts() == []
    assert sorted(wrong["key"].to_list(), key=str) == sorted(case.found, key=str), wrong
    assert set(wrong["entity"]) == {rule.entity or next(iter(case.clean))}
    assert set(wrong["field"]) <= set(rule.fields)
    assert not case.field or set(wrong["field"]) == {case.field}
    if case.cause is not None:
        assert set(wrong["cause"]) == {case.cause}


@EACH
def test_order_and_batches_change_nothing(case: Case) -> None:
    rows = spoilt(case)
    places = ["code", "entity", "field", "key", "cause"]
    first = told(case, rows)[0].select(places).sort(pl.all(), nulls_last=True)

    shuffled = {name: random.Random(7).sample(given, len(given)) for name, given in rows.items()}

    assert_frame_equal(told(case, shuffled)[0].select(places).sort(pl.all(), nulls_last=True), first)
    assert_frame_equal(told(case, rows, cut=2)[0].select(places).sort(pl.all(), nulls_last=True), first)


@EACH
def test_a_repair_is_made_once_in_its_fields_alone_and_nothing_else_changes(case: Case) -> None:
    rule, rows = OWN[case.code], spoilt(case)

    found, after = told(case, rows)

    repairing = {name for r in OWN.values() if r.fix is not None for name in r.fields}
    for name, frame in after.items():
        before = sheet_of(name, rows[name]).frame
        changed = [c for c in before.columns if not before[c].equals(frame[c], null_equal=True)]
        assert set(changed) <= repairing
        if rule.fix is not None and name == rule.entity:
            assert set(changed) == set(of(case, found)["field"])
    if rule.fix is not None:
        again = told(case, {name: frame.to_dicts() for name, frame in after.items()})
        assert of(case, again[0]).height == 0
        for name in rule.fields:
            values = after[rule.entity][name]
            assert rule.fix(name, values.drop_nulls()).equals(values.drop_nulls())
    if rule.action is Action.KEEP:
        kept = "".join(text for text in after[rule.entity]["metadata"] if text)
        assert all(str(cells["metadata"]) in kept for cells in case.spoilt.values() if "metadata" in cells)


@EACH
def test_findings_hold_no_value_of_a_person(case: Case) -> None:
    found = told(case, spoilt(case))[0]

    shown = "\n".join(text for row in found.iter_rows() for text in row if isinstance(text, str))
    shown += "\n".join(rule.title + rule.howto for rule in OWN.values())
    for secret in _values(spoilt(case)):
        assert secret not in shown
    causes = found["cause"].drop_nulls()
    assert causes.str.contains(r"^[a-zA-Z]+:[a-z0-9]+$").all()


def _values(rows: Rows) -> set[str]:
    names = ("givenName", "familyName", "username", "email", "phone", "sms", "birthDate", "metadata")
    return {str(row[name]) for given in rows.values() for row in given for name in names if row.get(name)}


def test_what_rules_read_is_there() -> None:
    for rule in OWN.values():
        for table, names in rule.reads.items():
            fields = {f.name for f in CATALOGUE[table].fields} if table in CATALOGUE else set()
            if fields:
                assert set(names) <= fields | {name for entity, name in MADE if entity == table}


THRESHOLDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "NAME-002.letters": ("NAME-002", {"letters": 30}),
    "GRD-003.jump": ("GRD-003", {"jump": 2}),
    "EML-005.domains": ("EML-005", {"domains": ["pupils.school.org", "mail.example"]}),
    "EML-005.share": ("EML-005", {"share": 1}),
    "PHN-003.people": ("PHN-003", {"people": 7}),
    "USR-005.most": ("USR-005", {"most": 7}),
    "USR-005.share": ("USR-005", {"share": 1}),
    "DOB-003.youngest_student": ("DOB-003", {"youngest_student": 0}),
    "DOB-003.oldest_student": ("DOB-003", {"oldest_student": 30}),
    "DOB-003.youngest_staff": ("DOB-003", {"youngest_staff": 5}),
    "DOB-004.years": ("DOB-004", {"years": 12}),
    "DOB-005.share": ("DOB-005", {"share": 0.9}),
    "TRM-001.days": ("TRM-001", {"days": 400}),
    "TRM-002.overlap_days": ("TRM-002", {"overlap_days": 100}),
    "TRM-002.gap_days": ("TRM-002", {"gap_days": 100}),
    "CLS-002.most": ("CLS-002", {"most": 2}),
    "CLS-005.fewest": ("CLS-005", {"fewest": 4}),
}


def test_each_threshold_has_an_effect() -> None:
    declared = {f"{code}.{name}" for code, rule in RULES.items() for name in rule.params}
    assert set(THRESHOLDS) == declared
    for code, params in THRESHOLDS.values():
        settings = read({code: {"params": params}})
        cases = [case for case in CASES if case.code == code]
        default = [of(case, told(case, spoilt(case))[0]).height for case in cases]
        assert [of(case, told(case, spoilt(case), settings)[0]).height for case in cases] != default, (code, params)


@pytest.mark.parametrize("code", [code for code, rule in OWN.items() if rule.optional])
def test_rules_that_change_nothing_can_be_switched_off(code: str) -> None:
    case = next(case for case in CASES if case.code == code)

    assert of(case, told(case, spoilt(case), read({code: {"off": True}}))[0]).height == 0


@pytest.mark.parametrize(("written", "place"), [
    ([], "rules"), ({"ZZZ-001": {"off": True}}, "ZZZ-001"), ({"DEM-004": {"off": True}}, "DEM-004.off"),
    ({"CLS-002": {"params": {"least": 1}}}, "CLS-002.params.least"),
    ({"CLS-002": {"params": {"most": "many"}}}, "CLS-002.params.most"), ({"CLS-002": {"params": {"most": -1}}},
    "CLS-002.params.most"), ({"EML-005": {"params": {"domains": "a.org"}}}, "EML-005.params.domains"),
    ({"CLS-001": {"hold": {"share": 2}}}, "CLS-001.hold.share"), ({"CLS-001": {"hold": {}}}, "CLS-001.hold"),
    ({"CLS-001": {}}, "CLS-001"), ({"CLS-001": {"on": True}}, "CLS-001"), ({"CLS-001": {"off": 1}}, "CLS-001.off"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_with_their_place(written: Any, place: str) -> None:
    with pytest.raises(RuleError) as caught:
        read(written)

    assert caught.value.place == place
