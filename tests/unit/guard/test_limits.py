"""The guard's borders: what is held and what is not, one below and one above each limit."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import hub.sync.guard.judge
import hub.sync.judging
from hub.sync.guard import Counts, Facts, Loss, Reason, Settings, Share, passes, reasons, rules_of, suspects
from hub.sync.guard.usual import FEWEST, usual

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


def codes(counts: dict[str, Counts], settings: dict[str, Any] | None = None, **facts: Any) -> list[str]:
    written = Settings.model_validate(settings or {}).as_json()
    found = reasons(rules_of(written, {}, NOON), Facts(counts, **facts))
    assert all(reason.text and reason.holds for reason in found)
    return [reason.code for reason in found]


@pytest.mark.threat("F11", "F9")
@pytest.mark.parametrize(
    ("kind", "before", "number", "held"),
    [
        ("deleted", 100, 20, False), ("deleted", 100, 21, True), ("deleted", 420, 21, False),
        ("deleted", 419, 21, True), ("deleted", 21, 20, False), ("deleted", 21, 21, True),
        ("deleted", 10_000, 500, False), ("deleted", 10_000, 501, True), ("deleted", 0, 0, False),
        ("updated", 20, 20, False), ("updated", 21, 6, False), ("updated", 21, 7, True),
        ("updated", 1000, 300, False), ("updated", 1000, 301, True),
        ("moved", 100, 20, False), ("moved", 100, 21, True), ("moved", 1000, 100, False), ("moved", 1000, 101, True),
        ("rebound", 100, 1, False), ("rebound", 99, 1, True), ("rebound", 1000, 10, False),
        ("rebound", 1000, 11, True), ("rebound", 3, 1, True),
    ],
)  # fmt: skip
def test_the_defaults_of_a_source(kind: str, before: int, number: int, held: bool) -> None:
    counts = {"users": Counts(before=before, **{kind: number})}
    assert codes(counts) == ([f"too_many_{kind}"] if held else [])


@pytest.mark.threat("F11")
@pytest.mark.parametrize(
    ("before", "number", "held"),
    [(100, 50, False), (100, 51, True), (1000, 200, False), (1000, 201, True), (0, 60, False)],
)
def test_one_field_that_changes_in_many_records(before: int, number: int, held: bool) -> None:
    counts = {"users": Counts(before=before, updated=min(number, before // 4))}
    fields = {("users", "email"): number, ("users", "phone"): 50}
    assert codes(counts, fields=fields) == (["mass_change"] if held else [])
    assert codes(counts, {"limits": {"users": {"same_field": None}}}, fields=fields) == []


def test_a_mass_change_is_approved_once() -> None:
    facts = Facts(
        {"users": Counts(before=1000, updated=250)}, fields={("users", "email"): 250, ("users", "phone"): 240},
        learnt=frozenset({"users.email", "courses.phone"}),
    )  # fmt: skip
    found = reasons(rules_of({}, {}, NOON), facts)
    assert [(r.code, r.subject, r.number, r.holds) for r in found] == [
        ("mass_change_let_pass", "users.email", 250, False), ("mass_change", "users.phone", 240, True),
    ]  # fmt: skip


@pytest.mark.threat("F11")
@pytest.mark.parametrize(
    ("limit", "before", "number", "held"),
    [
        ({"share": 0.5}, 100, 50, False), ({"share": 0.5}, 100, 51, True),
        ({"share": None, "most": 10}, 100_000, 10, False), ({"share": None, "most": 10}, 100_000, 11, True),
        ({"most": 3}, 1000, 4, True), ({"most": 3}, 1000, 3, False),
        ({"above": 0}, 10, 1, True), (None, 10, 10, False), ({"share": 0, "above": 0}, 10, 1, True),
        ({"size": 50, "above": 0}, 50, 50, False), ({"size": 50, "above": 0}, 51, 51, True),
    ],
)  # fmt: skip
def test_limits_by_share_and_by_number(limit: dict[str, Any] | None, before: int, number: int, held: bool) -> None:
    settings = {"limits": {"classes": {"deleted": limit}}}
    counts = {"classes": Counts(before=before, deleted=number)}
    assert codes(counts, settings) == (["too_many_deleted"] if held else [])


def test_a_limit_of_one_entity_lies_over_that_of_all_others() -> None:
    settings = {"limits": {"default": {"deleted": {"share": 0.2}}, "enrollments": {"deleted": {"share": 0.9}}}}
    counts = {name: Counts(before=100, deleted=80) for name in ("users", "enrollments")}
    assert codes(counts, settings) == ["too_many_deleted"]
    lifted = {"limits": {"default": {"deleted": None}, "enrollments": {"deleted": {"share": 0.5}}}}
    assert codes(counts, lifted) == ["too_many_deleted"]


@pytest.mark.parametrize(("number", "held"), [(20, False), (21, True)])
def test_a_school_that_loses_more_than_half(number: int, held: bool) -> None:
    counts = {"enrollments": Counts(before=10_000, deleted=number)}
    facts = {"schools": {("enrollments", "deleted"): {"a": Share(number, 40), "b": Share(5, 5)}}}
    assert codes(counts, **facts) == (["school_too_many_deleted"] if held else [])
    if held:
        rules = rules_of({}, {}, NOON)
        assert [r.schools for r in reasons(rules, Facts(counts, **facts))] == [("a",)]
        assert suspects(rules, counts, {("enrollments", "deleted"): {"a": number}}) == {"enrollments"}
    else:
        assert suspects(rules_of({}, {}, NOON), counts, {("enrollments", "deleted"): {"a": number}}) == set()


@pytest.mark.parametrize(("left", "before", "held"), [(20, 30, False), (21, 105, False), (21, 104, True)])
def test_an_app_that_loses_more_than_a_fifth(left: int, before: int, held: bool) -> None:
    assert codes({}, losses=[Loss("app", "users", left, before)]) == (["app_loses_too_many"] if held else [])


def test_files_and_emptied_schools() -> None:
    facts: dict[str, Any] = {"missing": ["users", "classes"], "headers": ["users"], "emptied": ["a"], "vanished": ["b"]}
    assert codes({}, **facts, renumbered=["b"])[1:3] == ["school_vanished", "school_renumbered"]
    assert codes({}, **facts) == ["school_emptied", "school_vanished", "file_empty", "file_missing"]
    assert codes({}, {"missing_file": "allow", "emptied_school": "allow"}, **facts) == []


def test_a_reason_says_what_is_usual_and_where_it_happens() -> None:
    counts = {"users": Counts(before=1000, deleted=60)}
    schools = {("users", "deleted"): {"bad": Share(50, 100), "good": Share(5, 400), "at": Share(5, 100)}}
    (found,) = reasons(
        rules_of({}, {}, NOON), Facts(counts, schools=schools, usual={("users", "deleted"): 0.004})
    )  # fmt: skip
    assert found.text.endswith("Usually it is below 0.4%.")
    assert found.schools == ("bad",)


@pytest.mark.threat("F11")
@pytest.mark.parametrize(
    ("seen", "now", "passing"),
    [
        ({"number": 30}, {"number": 30}, True), ({"number": 30}, {"number": 29}, True),
        ({"number": 30}, {"number": 31}, False), ({"subject": "users"}, {}, False),
        ({"code": "file_missing"}, {}, False), ({"schools": ["a", "b"]}, {"schools": ("a",)}, True),
        ({"schools": ["a"]}, {"schools": ("a", "b")}, False),
    ],
)  # fmt: skip
def test_an_approval_is_bound_to_what_was_seen(seen: dict[str, Any], now: dict[str, Any], passing: bool) -> None:
    """Of every kind of reason: the same or less passes, more of it, another subject or another school does not."""
    reason = {"code": "too_many_deleted", "subject": "enrollments", "number": 30, "limit": 0.05, "text": "t"}
    approved = {"by": "x", "reasons": [reason | {"schools": []} | seen]}
    found = Reason(**(reason | now))  # type: ignore[arg-type]
    assert passes(found, approved) is passing
    assert not passes(found, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": {"pupils": {}}}, {"limits": {"users": {"deleted": {"share": 1.5}}}}, {"hold_days": 0},
        {"limits": {"users": {"renamed": {}}}}, {"windows": [{"kind": "blackout", "name": "x", "starts":
         "2026-01-02T00:00", "ends": "2026-01-01T00:00"}]}, {"windows": [{"kind": "rollover", "name": "x", "starts":
         "2026-01-01T00:00", "ends": "2026-01-02T00:00"}]}, {"windows": [{"kind": "additive", "name": "x", "starts":
         "2026-01-01T00:00Z", "ends": "2026-01-02T00:00Z"}]}, {"unknown": 1},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_what_is_usual_is_a_quantile_of_what_runs_did() -> None:
    runs = [{"users": {"before": 1000, "deleted": n}} for n in (0, 1, 2, 3, 400)]
    assert usual(runs)["users", "deleted"] == 0.4
    many = [{"users": {"before": 1000, "deleted": 4}}] * 40 + [{"users": {"before": 1000, "deleted": 300}}]
    assert usual(many)["users", "deleted"] == 0.004
    assert usual(many)["users", "rebound"] == 0
    assert usual(runs[: FEWEST - 1]) == {}
    assert usual([{"users": {"before": 0, "created": 5}}] * 9) == {}


def test_every_code_stands_on_the_guards_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "guard.md").read_text(encoding="utf-8")
    modules = [Path(hub.sync.guard.judge.__file__), Path(hub.sync.judging.__file__)]
    source = "".join(path.read_text(encoding="utf-8") for path in modules)
    codes = set(re.findall(r'Reason\(\s*f?"([a-z_]+)(?:_\{kind\})?"', source))
    assert {"too_many", "school_emptied", "blackout", "file_missing"} <= codes
    assert [code for code in codes if f"`{code}" not in page] == []
