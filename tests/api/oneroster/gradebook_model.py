"""What the gradebook should do, as slowly and plainly as it can be said: objects in a list, rules as loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api.oneroster.gradebooks import Ids, ref

ENTITIES = ("categories", "scoreScales", "lineItems", "results", "assessmentLineItems", "assessmentResults")
#: Field to the entity that it refers to, by entity; those of the roster are not objects of the model.
REFERENCES: dict[str, dict[str, str]] = {
    "categories": {},
    "scoreScales": {"class": "classes"},
    "lineItems": {"class": "classes", "school": "orgs", "category": "categories", "scoreScale": "scoreScales"},
    "results": {"lineItem": "lineItems", "student": "users", "scoreScale": "scoreScales"},
    "assessmentLineItems": {
        "class": "classes", "parentAssessmentLineItem": "assessmentLineItems", "scoreScale": "scoreScales",
    },
    "assessmentResults": {
        "assessmentLineItem": "assessmentLineItems", "student": "users", "scoreScale": "scoreScales",
    },
}  # fmt: skip
OPTIONAL = {"scoreScale", "parentAssessmentLineItem"}
GONE_WITH = {"results": "lineItem", "assessmentResults": "assessmentLineItem"}


@dataclass(eq=False)
class Object:
    """One object. ``refs``: field to another object, or to a canonical id of the roster."""

    entity: str
    owner: str | None
    key: str  # the owner's id; of the SIS's the canonical one
    canonical: str = ""
    active: bool = True
    refs: dict[str, Any] = field(default_factory=dict)
    known_by: set[str] = field(default_factory=set)  # apps that see it or have seen it


@dataclass
class Model:
    """``sees`` lists, for each app, the ids of the roster that it sees; ``enrolled`` the students of each class."""

    sees: Mapping[str, frozenset[str]]
    enrolled: Mapping[str, frozenset[str]]
    objects: list[Object] = field(default_factory=list)

    def visible(self, app: str, one: Object | str) -> bool:
        """Whether an app sees an object or something of the roster."""
        if isinstance(one, str):
            return one in self.sees[app]
        needed = [target for name, target in one.refs.items() if name not in OPTIONAL]
        return one.active and all(self.visible(app, target) for target in needed)

    def shown(self, app: str, entity: str) -> set[str]:
        """The ids by which an app knows what it sees of an entity."""
        return {self.name(app, one) for one in self.objects if one.entity == entity and self.visible(app, one)}

    def name(self, app: str, one: Object) -> str:
        return one.key if one.owner == app else one.canonical

    def meant(self, app: str, entity: str, sourced_id: str) -> Object | None:
        """What an app means by an id: its own object, or one that it sees or has been told of."""
        for one in self.objects:
            if one.entity == entity and one.owner == app and one.key == sourced_id:
                return one
        return next((o for o in self.objects if o.entity == entity and o.canonical == sourced_id), None)

    def used_by(self, one: Object) -> list[Object]:
        return [other for other in self.objects if other.active and one in other.refs.values()]

    def put(self, app: str, entity: str, key: str, given: Mapping[str, str]) -> tuple[int, Object | None]:
        """The status of a PUT with these references, and the object where it was accepted."""
        before = self.meant(app, entity, key)
        if before is not None and before.owner != app:
            if app in before.known_by:
                return 403, None
            before = None
        refs: dict[str, Any] = {}
        for name, sourced_id in given.items():
            target = REFERENCES[entity][name]
            one = self.meant(app, target, sourced_id) if target in ENTITIES else sourced_id
            if one is None or not self.visible(app, one):
                return 422, None
            refs[name] = one
        if entity == "results" and refs["student"] not in self.enrolled[refs["lineItem"].refs["class"]]:
            return 422, None
        made = before or Object(entity, app, key, active=False)
        moves = made.active and made.refs.get("class") != refs.get("class")
        if self.lies_below(refs.get("parentAssessmentLineItem"), made) or (moves and self.used_by(made)):
            return 422, None
        if before is None:
            self.objects.append(made)
        made.active, made.refs = True, refs
        self.tell()
        return 201, made

    def tell(self) -> None:
        """Notes who sees what."""
        for one in self.objects:
            one.known_by |= {app for app in self.sees if self.visible(app, one)}

    def lies_below(self, one: Object | None, above: Object) -> bool:
        while one is not None:
            if one is above:
                return True
            one = one.refs.get("parentAssessmentLineItem")
        return False

    def delete(self, app: str, entity: str, key: str) -> int:
        """The status of a DELETE."""
        one = self.meant(app, entity, key)
        if one is None or not self.visible(app, one):
            return 404
        if one.owner != app:
            return 403
        others = self.used_by(one)
        if any(GONE_WITH.get(o.entity) is None or o.refs[GONE_WITH[o.entity]] is not one for o in others):
            return 422
        for gone in (one, *others):
            gone.active = False
        return 204


def sis_objects(ids: Ids) -> list[Object]:
    """The district's own gradebook."""
    made = {
        key: Object(entity, None, ids.sis[key], ids.sis[key])
        for key, entity in (("K1", "categories"), ("K2", "categories"), ("S1", "scoreScales"), ("L1", "lineItems"),
                            ("L2", "lineItems"), ("R1", "results"), ("R2", "results"))
    }  # fmt: skip
    made["S1"].refs = {"class": ids.here}
    made["L1"].refs = {"class": ids.here, "school": ids.school, "category": made["K1"]}
    made["L2"].refs = {"class": ids.there, "school": ids.other_school, "category": made["K1"]}
    made["R1"].refs = {"lineItem": made["L1"], "student": ids.students[0]}
    made["R2"].refs = {"lineItem": made["L2"], "student": ids.there_student}
    return list(made.values())


def body(entity: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The members of a PUT with these references; optional ones that are not given are left out."""
    values: dict[str, Any] = dict.fromkeys(REFERENCES[entity], ...)
    return values | {name: ref(sourced_id) for name, sourced_id in given.items()}
