"""What a district lets one app see, as an administrator writes it down. docs/grants.md explains it with examples."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator, model_validator

from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind, Need, Privacy
from transforms.catalogue import vocabularies as voc


def policy_fields(entity: Entity) -> tuple[Field, ...]:
    """The fields that a grant decides on: all of the body but the base fields, which every record shows."""
    return tuple(f for f in entity.body if f.name not in BASE_NAMES)


#: What a grant shows unless it says otherwise: demographics, grades and resources are opt-in (T19).
DEFAULT_ENTITIES: tuple[str, ...] = tuple(
    e.name
    for e in CATALOGUE.of_service("rostering")
    if not all(f.privacy is Privacy.DEMOGRAPHIC for f in policy_fields(e))
)
#: Records of the key are of no use without those of the value, and would not be shown.
NEEDS: dict[str, tuple[str, ...]] = {
    "enrollments": ("classes", "users"),
    "demographics": ("users",),
    "scoreScales": ("classes",),
    "lineItems": ("classes", "categories"),
    "results": ("lineItems", "users"),
    "assessmentResults": ("assessmentLineItems", "users"),
}
#: What apps may be let write: the gradebook. Everything else is the district's own systems' to say.
WRITABLE: tuple[str, ...] = tuple(e.name for e in CATALOGUE.of_service("gradebook"))
#: Writing records of the key needs more than seeing them: whether a student is enrolled must be the app's to know.
WRITING_NEEDS: dict[str, tuple[str, ...]] = {"results": ("enrollments",)}
MOST_IDS = 10_000
#: The members of a rule that hold ids of records.
RULE_IDS = ("schools", "courses", "classes", "terms")

Ids = tuple[UUID, ...]
Token = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class Mask(StrEnum):
    """How a value is shown in part. A masked field can be read but not filtered or sorted by."""

    INITIAL = "initial"  # the first letter of a text, as a capital
    YEAR = "year"  # the first of January of a date's year

    def fits(self, field: Field) -> bool:
        """Whether this mask can be laid over ``field``."""
        kind = Kind.STRING if self is Mask.INITIAL else Kind.DATE
        return field.kind is kind and not field.many and field.vocabulary is None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Model):
    """Which records: each member that is not empty limits them further. All ids are the hub's sourcedIds."""

    schools: Ids = ()
    courses: Ids = ()
    classes: Ids = ()
    terms: Ids = ()
    grades: tuple[Token, ...] = ()
    roles: tuple[Token, ...] = ()

    @field_validator("schools", "courses", "classes", "terms", "grades")
    @classmethod
    def _few(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(value) > MOST_IDS:
            raise ValueError(f"at most {MOST_IDS} may be listed")
        return value

    @field_validator("roles")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = frozenset(voc.USER_ROLE.tokens("1.1") + voc.USER_ROLE.tokens("1.2"))
        for role in value:
            if role not in known and not role.startswith("ext:"):
                raise ValueError(f"{role!r} is no user role; known are {', '.join(sorted(known))} and ext: tokens")
        return value

    @property
    def limits_classes(self) -> bool:
        """Whether it names courses, classes or terms, and so reaches only who is enrolled."""
        return bool(self.courses or self.classes or self.terms)

    @property
    def whole(self) -> bool:
        """Whether it reaches all orgs, sessions, courses and classes of the district."""
        return not (self.schools or self.limits_classes)


class FieldRule(_Model):
    """Which fields of one entity, beside those of the grant's privacy classes: ``hide`` wins over ``show``."""

    show: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    masks: dict[str, Mask] = {}

    def check(self, entity: Entity) -> None:
        """Raises ``ValueError``, naming the field, where the rule cannot be applied to ``entity``."""
        body = {f.name: f for f in policy_fields(entity)}
        for name in (*self.show, *self.hide, *self.masks):
            if name not in body:
                raise ValueError(f"{entity.name} has no field {name!r}; it has {', '.join(body)}")
        for name in self.hide:
            if name in self.masks:
                raise ValueError(f"{entity.name}.{name} cannot be hidden and masked at once")
            if body[name].rest12 is Need.REQUIRED:
                masks = [mask.value for mask in Mask if mask.fits(body[name])]
                instead = f"mask it instead ({', '.join(masks)})" if masks else "it is always shown"
                raise ValueError(f"{entity.name}.{name} cannot be hidden, OneRoster requires it: {instead}")
        for name, mask in self.masks.items():
            if not mask.fits(body[name]):
                raise ValueError(f"{entity.name}.{name} cannot be masked by {mask.value!r}")


class GrantDefinition(_Model):
    """The rows, entities and fields that one app sees of one district.

    ``rules`` are alternatives; none means the whole district. ``privacy`` lists the classes of fields shown beside
    ``directory``. ``write`` lists the entities of which the app may create records, and change and delete its own.
    """

    rules: tuple[Rule, ...] = ()
    entities: tuple[str, ...] = DEFAULT_ENTITIES
    privacy: tuple[Privacy, ...] = ()
    fields: dict[str, FieldRule] = {}
    write: tuple[str, ...] = ()

    @field_validator("rules")
    @classmethod
    def _few_rules(cls, value: tuple[Rule, ...]) -> tuple[Rule, ...]:
        most = 100
        if len(value) > most:
            raise ValueError(f"at most {most} rules may be listed")
        return value

    @field_validator("entities")
    @classmethod
    def _granted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _entity(name)
        for name, needed in NEEDS.items():
            missing = [other for other in needed if other not in value]
            if name in value and missing:
                raise ValueError(f"{name} need {' and '.join(missing)} beside them")
        return tuple(e.name for e in CATALOGUE.entities if e.name in value)

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        for name, rule in self.fields.items():
            rule.check(_entity(name))
        return self

    @model_validator(mode="after")
    def _writing_fits(self) -> Self:
        for name in self.write:
            if name not in WRITABLE:
                raise ValueError(f"{name!r} cannot be written; {', '.join(WRITABLE)} can")
            missing = [other for other in (name, *WRITING_NEEDS.get(name, ())) if other not in self.entities]
            if missing:
                raise ValueError(f"writing {name} needs {' and '.join(missing)} in entities")
        return self

    def with_ids(self, renamed: Callable[[Ids], Ids]) -> Self:
        """The same with other ids in its rules."""
        rules = [
            rule.model_copy(update={name: renamed(getattr(rule, name)) for name in RULE_IDS}) for rule in self.rules
        ]
        return self.model_copy(update={"rules": tuple(rules)})

    @property
    def alternatives(self) -> tuple[Rule, ...]:
        """The rules; one without limits where none is given."""
        return self.rules or (Rule(),)

    @property
    def admitted_roles(self) -> frozenset[str] | None:
        """The user roles that may show, ``None`` for all: a role that no rule names is nobody's business."""
        if not all(rule.roles for rule in self.alternatives):
            return None
        return frozenset(role for rule in self.alternatives for role in rule.roles)


def _entity(name: str) -> Entity:
    names = [e.name for e in CATALOGUE.entities]
    if name not in names:
        raise ValueError(f"{name!r} is no entity; known are {', '.join(names)}")
    return CATALOGUE[name]
