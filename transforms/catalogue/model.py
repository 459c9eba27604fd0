"""How the catalogue is written down: entities and fields, each with everything that derives from it.

CSV reading and writing, canonical frames, database columns, JSON, filters, field policies and the docs page all read
these declarations; none of them repeats a field's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import Literal

from transforms.catalogue.vocabularies import Vocabulary

Version = Literal["1.1", "1.2"]
Service = Literal["rostering", "gradebook", "resources"]


class Kind(StrEnum):
    """The type of one value of a field."""

    STRING = "string"
    ENUM = "enum"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    DATE = "date"
    DATETIME = "datetime"
    YEAR = "year"
    URI = "uri"
    REF = "ref"
    USER_ID = "userId"  # {type, identifier}; in CSV "{type:identifier}"
    COMPONENT = "component"  # nested objects that have a CSV file of their own (roles, userProfiles)
    SCALE_VALUE = "scoreScaleValue"  # {itemValueLHS, itemValueRHS}; in CSV "{lhs:rhs}"
    OBJECTIVES = "learningObjectiveSet"  # {source, learningObjectiveIds}
    OBJECTIVE_RESULTS = "learningObjectiveScoreSet"  # {source, learningObjectiveResults: {id, score, textScore}}
    METADATA = "metadata"  # a JSON object; in CSV the columns "metadata.<name>"


class Need(StrEnum):
    """Whether a value must be there: in a CSV cell (R, O, D of the standard) or in a JSON object."""

    REQUIRED = "R"
    OPTIONAL = "O"
    DELTA = "D"  # required in delta mode, must be blank in bulk mode
    ABSENT = "-"  # not a column or member of that version


class Privacy(StrEnum):
    """The privacy class of a field. A new grant shows ``DIRECTORY`` only; the others are opt-in."""

    DIRECTORY = "directory"
    CONTACT = "contact"
    DEMOGRAPHIC = "demographic"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one entity.

    ``name`` is the JSON name of OneRoster 1.2 and the column of canonical frames. ``csv_name`` is the header in CSV
    files (``None``: not a column). ``rest12``/``rest11`` and ``csv12``/``csv11`` say where it must be present.
    ``derived`` fields are computed by the hub (``children``) and never read. ``component`` names the CSV file whose
    rows give the values, where that is a file of its own (roles, or the links from classes to resources).
    """

    name: str
    kind: Kind = Kind.STRING
    many: bool = False
    rest12: Need = Need.OPTIONAL
    rest11: Need = Need.OPTIONAL
    csv_name: str | None = None
    csv12: Need = Need.OPTIONAL
    csv11: Need = Need.OPTIONAL
    vocabulary: Vocabulary | None = None
    target: str | None = None  # entity that a REF points to
    target_type: tuple[str, ...] = ()  # the ``type`` values that the target must have
    privacy: Privacy = Privacy.DIRECTORY
    derived: bool = False
    stored: bool = True  # False: never kept or served (passwords)
    component: str | None = None
    note: str = ""

    def csv_need(self, version: Version) -> Need:
        """Whether this field is a CSV column of ``version`` and whether a cell needs a value."""
        if self.csv_name is None:
            return Need.ABSENT
        return self.csv11 if version == "1.1" else self.csv12

    def rest_need(self, version: Version) -> Need:
        """Whether this field is a JSON member of ``version`` and whether it must be present."""
        return self.rest11 if version == "1.1" else self.rest12

    @property
    def table_column(self) -> str:
        """The PostgreSQL column: snake case; references are stored as the target's rid."""
        snake = "".join("_" + c.lower() if c.isupper() else c for c in self.name)
        if self.kind is Kind.REF:
            return snake + ("_rids" if self.many else "_rid")
        return snake


@dataclass(frozen=True, slots=True)
class Entity:
    """One class of OneRoster objects, or (``component_of``) one CSV file whose rows nest inside another entity.

    ``name`` is the collection's name in URLs and envelopes, ``singular`` that of one object and of references.
    ``rid_of`` names the entity whose rids and sourcedIds this one shares (demographics are keyed by the user).
    ``csv_file`` is empty for what OneRoster exchanges as JSON only. ``code`` stands for the entity in references that
    are stored short; it must never change.
    """

    name: str
    singular: str
    fields: tuple[Field, ...]
    csv_file: str
    service: Service = "rostering"
    component_of: str | None = None
    rid_of: str | None = None
    versions: tuple[Version, ...] = ("1.1", "1.2")
    compact: bool = False  # many and small: stored documents spell references short, see transforms/render.py
    code: str = ""
    _index: dict[str, Field] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {f.name: f for f in self.fields})

    def __hash__(self) -> int:
        # The name tells entities apart, and entities are keys of caches: hashing all fields anew would cost more than
        # what is cached. Equality looks at everything.
        return hash(self.name)

    def __getitem__(self, name: str) -> Field:
        return self._index[name]

    def __contains__(self, name: object) -> bool:
        return name in self._index

    @property
    def table(self) -> str:
        """The PostgreSQL table's name."""
        return _table(self.name)

    def csv_columns(self, version: Version) -> tuple[Field, ...]:
        """The columns of the CSV file in ``version``, in the exact order of the standard."""
        return _csv_columns(self, version)

    def csv_header(self, version: Version) -> tuple[str, ...]:
        """The header row of the CSV file in ``version``."""
        return tuple(f.csv_name for f in self.csv_columns(version) if f.csv_name)

    def members(self, version: Version) -> tuple[Field, ...]:
        """The JSON members beside the base fields (sourcedId, status, dateLastModified)."""
        return _members(self, version)

    @property
    def body(self) -> tuple[Field, ...]:
        """The fields that canonical frames and documents carry beside the base fields: JSON 1.2 members."""
        return self.members("1.2")

    @property
    def references(self) -> tuple[Field, ...]:
        """The body fields that point to other objects, derived ones included."""
        return tuple(f for f in self.body if f.kind is Kind.REF)

    @property
    def is_tree(self) -> bool:
        """Whether objects name a parent of their own kind, and the hub derives their children from that."""
        return any(f.derived and f.target == self.name for f in self.references)


@cache
def _members(entity: Entity, version: Version) -> tuple[Field, ...]:
    return tuple(f for f in entity.fields if f.stored and f.rest_need(version) is not Need.ABSENT)


@cache
def _table(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


@cache
def _csv_columns(entity: Entity, version: Version) -> tuple[Field, ...]:
    return tuple(f for f in entity.fields if f.csv_need(version) is not Need.ABSENT)


class Catalogue:
    """All entities and components, by name, in dependency order (referenced before referring)."""

    def __init__(self, entities: tuple[Entity, ...]) -> None:
        self._by_name = {e.name: e for e in entities}

    def __getitem__(self, name: str) -> Entity:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """Entities with a collection of their own, in dependency order."""
        return tuple(e for e in self._by_name.values() if e.component_of is None)

    @cached_property
    def components(self) -> tuple[Entity, ...]:
        """CSV files whose rows nest inside an entity (roles and userProfiles inside users)."""
        return tuple(e for e in self._by_name.values() if e.component_of is not None)

    @cached_property
    def all(self) -> tuple[Entity, ...]:
        """Entities and components, in dependency order."""
        return tuple(self._by_name.values())

    def components_of(self, entity: str) -> tuple[Entity, ...]:
        """The components that nest inside ``entity``."""
        return tuple(c for c in self.components if c.component_of == entity)

    def of_service(self, service: Service) -> tuple[Entity, ...]:
        """The entities whose collections a service of OneRoster 1.2 has, in dependency order."""
        return tuple(e for e in self.entities if e.service == service)

    def files(self, version: Version) -> dict[str, Entity]:
        """CSV file name (without ``.csv``) to entity or component, for one version."""
        return {e.csv_file: e for e in self.all if version in e.versions and e.csv_file}
