"""From an object as it was read to the record that it becomes: references looked up, members filled in, rules checked.

Every reference must lead to an active record that the app sees; one that it may not see is answered as one that does
not exist. What one member says and another one must say as well is filled in. What is odd and yet allowed is noted.

Source: OneRoster 1.2 Gradebook information model; what it leaves open is decided in docs/gradebook.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from hub.gradebook.desk import Desk
from hub.identifiers import Key
from hub.store import gradebook as store
from hub.store.gradebook import Target
from transforms.catalogue import Entity, Kind
from transforms.faults import FaultCode
from transforms.objects import Written
from transforms.scales import on_scale

ABOVE_MAX, SECOND_RESULT = "above_max", "second_result"


@dataclass(slots=True)
class Draft:
    """An object on its way: ``references`` by field, of those that lead somewhere. ``rid``: of what it replaces."""

    written: Written
    rid: int | None = None
    references: dict[str, Target] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rid_of(self, name: str) -> int | None:
        """The rid of a reference."""
        target = self.references.get(name)
        return None if target is None else target.rid

    def values(self, entity: Entity) -> tuple[dict[str, Any], dict[str, Any]]:
        """Canonical values twice: references as rids, and as sourcedIds."""
        plain = {n: v for n, v in self.written.values.items() if entity[n].kind is not Kind.REF}
        rids = {name: target.rid for name, target in self.references.items()}
        ids = {name: target.sourced_id for name, target in self.references.items()}
        return plain | rids, plain | ids

    def fault(self, name: str, code: FaultCode) -> None:
        """Notes a fault of a member."""
        self.written.fault(name, code)


async def draft(desk: Desk, entity: Entity, drafts: Sequence[Draft]) -> None:
    """Looks up references, fills members in, and notes faults in ``drafts``."""
    await _look_up(desk, entity, drafts)
    good = [one for one in drafts if not one.written.faults]
    for one in good:
        if entity.name == "lineItems":
            _complete_line_item(desk, one)
        _check_bounds(one)
    if entity.name == "results":
        await _complete_results(desk, [one for one in good if "lineItem" in one.references])
    elif entity.name == "assessmentResults":
        for one in good:
            _check_scale(one, one.references.get("scoreScale"))
    elif entity.name == "assessmentLineItems":
        for one in good:
            await _check_cycle(desk, one)


async def _look_up(desk: Desk, entity: Entity, drafts: Sequence[Draft]) -> None:
    fields = [f for f in entity.references if not f.many]
    keys = {
        (f.target or "", one.written.values[f.name]) for one in drafts for f in fields if f.name in one.written.values
    }
    found = await look_up(desk, keys)
    for one in drafts:
        for f in fields:
            given = one.written.values.get(f.name)
            if given is None:
                continue
            target = found.get((f.target or "", given))
            if target is None:
                one.fault(f.name, FaultCode.UNKNOWN_REFERENCE)
            else:
                one.references[f.name] = target


async def look_up(desk: Desk, keys: Iterable[Key]) -> dict[Key, Target]:
    """The records that an app means by (entity, id); those that it does not see are left out."""
    given = list(keys)
    canonical = await desk.identifiers.incoming(desk.tx, given)
    wanted: dict[str, set[str]] = {}
    for (entity, _), sourced_id in canonical.items():
        wanted.setdefault(entity, set()).add(sourced_id)
    found = await store.targets(desk.tx, wanted)
    targets = {key: found.get((key[0], sourced_id)) for key, sourced_id in canonical.items()}
    return {key: target for key, target in targets.items() if target is not None and desk.sees(key[0], target.rid)}


def _complete_line_item(desk: Desk, one: Draft) -> None:
    """The school of the class, where the version has none; session and grading period from each other or by date."""
    facts = one.references["class"].facts
    if "school" not in one.references and facts["school"] is not None:
        one.references["school"] = _target(facts["school"])
    session, period = one.references.get("academicSession"), one.references.get("gradingPeriod")
    found = session or period or _session_of(desk, facts["terms"] or [], one.written.values["dueDate"])
    if found is not None:
        one.references.setdefault("academicSession", found)
        one.references.setdefault("gradingPeriod", found)


def _session_of(desk: Desk, terms: Sequence[Sequence[Any]], due: datetime) -> Target | None:
    """Of the class's terms that the app sees, the shortest in which the date lies, else the one that began last."""
    day = due.astimezone(UTC).date()
    seen = [term for term in terms if desk.sees("academicSessions", term[0]) and term[2] and term[3]]
    spans = [(date.fromisoformat(term[2]), date.fromisoformat(term[3]), term) for term in seen]
    around = [(end - begin, term) for begin, end, term in spans if begin <= day < end]
    if around:
        return _target(min(around, key=lambda found: found[0])[1])
    return _target(max(spans, key=lambda found: found[0])[2]) if spans else None


def _target(pair: Sequence[Any]) -> Target:
    return Target(pair[0], str(pair[1]), {})


def _check_bounds(one: Draft) -> None:
    least, most = (one.written.values.get(name) for name in ("resultValueMin", "resultValueMax"))
    if least is not None and most is not None and least > most:
        one.fault("resultValueMin", FaultCode.MIN_ABOVE_MAX)


async def _complete_results(desk: Desk, drafts: Sequence[Draft]) -> None:
    """The class of the line item, and whether the student is enrolled there."""
    asked = []
    for one in drafts:
        line_item = one.references["lineItem"]
        of_line_item = line_item.facts["class"]
        given = one.references.get("class")
        if of_line_item is None or (given is not None and given.rid != of_line_item[0]):
            one.fault("class", FaultCode.OTHER_CLASS)
            continue
        one.references["class"] = _target(of_line_item)
        scale = one.references.get("scoreScale")
        _check_scale(one, scale or line_item)
        most, score = line_item.facts["resultValueMax"], one.written.values.get("score")
        if most is not None and score is not None and score > most:  # extra credit
            one.notes.append(ABOVE_MAX)
        asked.append(one)
    if asked:
        await _check_students(desk, asked)


async def _check_students(desk: Desk, drafts: Sequence[Draft]) -> None:
    triples = [tuple(one.references[n].rid for n in ("class", "student", "lineItem")) for one in drafts]
    for one, pair in zip(drafts, await store.students(desk.tx, [(a, b, c) for a, b, c in triples]), strict=True):
        if not any(desk.sees("enrollments", rid) for rid in pair.enrollments):
            one.fault("student", FaultCode.NOT_ENROLLED)
        if any(rid != one.rid for rid in pair.results):
            one.notes.append(SECOND_RESULT)


def _check_scale(one: Draft, scaled: Target | None) -> None:
    """A text score is one of the values of the scale that is assigned to the result, or to its line item."""
    text, scale = one.written.values.get("textScore"), scaled.facts.get("scale") if scaled else None
    if text is not None and scale is not None and not on_scale(text, list(zip(*scale, strict=True))):
        one.fault("textScore", FaultCode.NOT_ON_SCALE)


async def _check_cycle(desk: Desk, one: Draft) -> None:
    parent = one.rid_of("parentAssessmentLineItem")
    if one.rid is not None and parent is not None and await store.lies_below(desk.tx, parent, one.rid):
        one.fault("parentAssessmentLineItem", FaultCode.CYCLE)
