"""What docs/grants.md says, record by record, with Python's own sets and no arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from hub.scope.grants import GrantDefinition, Rule
from tests.property.small_districts import District, resolve

FAMILY = {"student", "parent", "guardian", "relative"}
Views = dict[str, set[int]]


def compile_slowly(definition: GrantDefinition, district: District) -> Views:
    """The present records of every entity."""
    live = {entity: {rid for rid, r in held.items() if r.active} for entity, held in district.items()}
    parts = [_Part(rule, district, live) for rule in definition.rules or (Rule(),)]
    whole = any(part.whole for part in parts)
    granted = set(definition.entities)
    classes = set.union(*(part.classes for part in parts))
    views: Views = {entity: set() for entity in district}
    if "classes" in granted:
        views["classes"] = classes
    if "enrollments" in granted:
        views["enrollments"] = set.union(*(part.enrollments for part in parts))
    if "users" in granted:
        views["users"] = set.union(*(part.users for part in parts))
    if "demographics" in granted:
        views["demographics"] = views["users"] & live["demographics"]
    if granted & {"classes", "courses"}:
        views["courses"] = {district["classes"][c].refs["course"] for c in classes}
    if "courses" in granted and whole:
        views["courses"] = live["courses"]
    views["academicSessions"] = _sessions(granted, classes, views["courses"], district, live, whole=whole)
    views["orgs"] = _orgs(definition, parts, views, district, live)
    if "resources" in granted:
        views["resources"] = live["resources"] if whole else _linked_resources(views, district) & live["resources"]
    for entity in ("categories", "scoreScales", "lineItems", "results", "assessmentLineItems", "assessmentResults"):
        if entity in granted:
            views[entity] = {rid for rid in live[entity] if _complete(entity, district[entity][rid].refs, views)}
    return views


def _linked_resources(views: Views, district: District) -> set[int]:
    return {
        resource
        for entity in ("courses", "classes", "users")
        for rid in views[entity]
        for resource in district[entity][rid].refs["resources"]
    }


def _complete(entity: str, refs: dict[str, Any], views: Views) -> bool:
    """Whether everything that a record of the gradebook requires is in the view."""
    required = {
        "categories": {}, "scoreScales": {"class": "classes"},
        "lineItems": {"class": "classes", "category": "categories", "school": "orgs"},
        "results": {"lineItem": "lineItems", "student": "users"}, "assessmentLineItems": {},
        "assessmentResults": {"assessmentLineItem": "assessmentLineItems", "student": "users"},
    }  # fmt: skip
    if entity == "assessmentLineItems" and refs["class"] is not None and refs["class"] not in views["classes"]:
        return False  # what is about a class belongs to who sees the class
    return all(refs[name] in views[target] for name, target in required[entity].items())


class _Part:
    def __init__(self, rule: Rule, district: District, live: Views) -> None:
        self.rule, self.district, self.live = rule, district, live
        self.whole = not (rule.schools or rule.courses or rule.classes or rule.terms)
        self.schools = self.chosen("orgs", rule.schools) if rule.schools else live["orgs"]
        self.classes = {c for c in live["classes"] if self.class_fits(c)}
        fit = {u for u in live["users"] if self.user_fits(u, live["orgs"])}
        self.enrollments = {e for e in live["enrollments"] if self.enrollment_fits(e, fit)}
        self.users = {district["enrollments"][e].refs["user"] for e in self.enrollments}
        self.orgs = self.schools
        if rule.courses or rule.classes or rule.terms:
            if not rule.schools:
                self.orgs = {district["classes"][c].refs["school"] for c in self.classes}
        elif rule.schools:
            self.users |= {u for u in live["users"] if self.user_fits(u, self.schools)}
        else:
            self.users = fit

    def chosen(self, entity: str, ids: tuple[UUID, ...]) -> set[int]:
        return {rid for i in ids if (rid := resolve(entity, i)) in self.live[entity] and rid is not None}

    def class_fits(self, rid: int) -> bool:
        refs, live, rule = self.district["classes"][rid].refs, self.live, self.rule
        terms = set(refs["terms"]) & live["academicSessions"]
        if not (refs["course"] in live["courses"] and refs["school"] in live["orgs"] and terms):
            return False
        if rule.terms:
            wanted = self.chosen("academicSessions", rule.terms)
            if not set(refs["terms"]) & closed(
                wanted,
                lambda s: {
                    t for t in live["academicSessions"] if self.district["academicSessions"][t].refs["parent"] == s
                },
            ):
                return False
        return (
            (not rule.schools or refs["school"] in self.schools)
            and (not rule.courses or refs["course"] in self.chosen("courses", rule.courses))
            and (not rule.classes or rid in self.chosen("classes", rule.classes))
        )

    def in_grades(self, user: int) -> bool:
        return not self.rule.grades or bool(
            set(self.rule.grades) & set(self.district["users"][user].values.get("grades", []))
        )

    def user_fits(self, user: int, orgs: set[int]) -> bool:
        return any(
            role["org"] in orgs
            and (not self.rule.roles or role["role"] in self.rule.roles)
            and (role["role"] != "student" or self.in_grades(user))
            for role in self.district["users"][user].roles
        )

    def enrollment_fits(self, rid: int, fit: set[int]) -> bool:
        record = self.district["enrollments"][rid]
        refs, role = record.refs, record.values["role"]
        if refs["class"] not in self.classes or refs["user"] not in fit or refs["school"] not in self.live["orgs"]:
            return False
        if role == "student" and not self.in_grades(refs["user"]):
            return False
        if not self.rule.roles or role in self.rule.roles:
            return True
        return role != "student" and bool(set(self.rule.roles) - FAMILY)


def closed(start: set[int], step: Callable[[int], set[int]]) -> set[int]:
    """``start`` and all that repeated steps reach."""
    reached = set(start)
    while True:
        more = {rid for member in reached for rid in step(member)} - reached
        if not more:
            return reached
        reached |= more


def _sessions(
    granted: set[str], classes: set[int], courses: set[int], district: District, live: Views, *, whole: bool
) -> set[int]:
    held = district["academicSessions"]
    if "academicSessions" not in granted:
        if "classes" not in granted:
            return set()
        return {t for c in classes for t in district["classes"][c].refs["terms"]} & live["academicSessions"]
    if whole:
        return live["academicSessions"]
    start = {t for c in classes for t in district["classes"][c].refs["terms"]}
    start |= {year for c in courses if (year := district["courses"][c].refs["schoolYear"]) is not None}
    start &= live["academicSessions"]
    up = closed(start, lambda s: {held[s].refs["parent"]} & live["academicSessions"])
    periods = {s for s in live["academicSessions"] if held[s].values["type"] == "gradingPeriod"}
    return closed(up, lambda s: {p for p in periods if held[p].refs["parent"] == s})


def _orgs(definition: GrantDefinition, parts: list[_Part], views: Views, district: District, live: Views) -> set[int]:
    named = set.union(*(part.orgs for part in parts))
    reached = closed(named, lambda o: {district["orgs"][o].refs["parent"]} & live["orgs"])
    orgs = set(reached) if "orgs" in definition.entities else set()
    for entity in ("classes", "enrollments"):
        orgs |= {district[entity][rid].refs["school"] for rid in views[entity]}
    admitted = definition.admitted_roles
    shown = {
        user: [
            role
            for role in district["users"][user].roles
            if role["org"] in live["orgs"] and (admitted is None or role["role"] in admitted)
        ]
        for user in views["users"]
    }
    orgs |= {role["org"] for roles in shown.values() for role in roles if role["org"] in reached}
    homeless = [roles for roles in shown.values() if not any(role["org"] in orgs for role in roles)]
    for roles in homeless:
        primary = [role for role in roles if role["roleType"] == "primary"]
        orgs = orgs | {(primary or roles)[0]["org"]}
    return orgs
