"""Several sources of one district: which value survives, what persons set in its place, and where values come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, field_validator

from hub.api.admin.call import Call, Writing
from hub.api.admin.paging import Page, Paging, cut
from hub.api.admin.route import DISTRICT, STAFF, Route
from hub.api.admin.runs import Run
from hub.api.admin.shapes import Asked, Name, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import districts, runs, sources, statements
from hub.store.database import Transaction
from hub.sync import overrides as setting
from transforms.canonical import body
from transforms.catalogue import CATALOGUE
from transforms.catalogue import Entity as Catalogued
from transforms.merge import Preference, lists

_FOUND_OUT = frozenset({"sourced_id", "run", "merged_into", "rests"})
Entity = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]


class FieldRule(Asked):
    """Which of several sources' values of one field survives."""

    rule: Preference = Field(
        default=Preference.PRIORITY,
        description="`priority`: of the source that goes first; `freshness`: of the statement that changed last; "
        "`completeness`: of the statement with the most fields, of lists the longest; `union`: all items of lists.",
    )
    sources: list[UUID] = Field(default=[], description="An order of its own for this field; others come behind.")


class Survivorship(Asked):
    """The rules by entity and field; fields without one follow the priority of the sources."""

    rules: dict[Entity, dict[str, FieldRule]] = Field(default={})

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: dict[Entity, dict[str, FieldRule]]) -> dict[Entity, dict[str, FieldRule]]:
        for name, named in rules.items():
            _check(CATALOGUE[name], named)
        return rules


class SurvivorshipEdit(Asked):
    """Rules to set or (null) to take away; those that are not named stay."""

    rules: dict[Entity, dict[str, FieldRule | None]]

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: dict[Entity, dict[str, FieldRule | None]]) -> dict[Entity, dict[str, FieldRule | None]]:
        for name, named in rules.items():
            _check(CATALOGUE[name], named)
        return rules


def _check(entity: Catalogued, named: Mapping[str, FieldRule | None]) -> None:
    """Raises ValueError for a rule of a field that there is not, or that it cannot have."""
    if unknown := named.keys() - {f.name for f in body(entity)}:
        raise ValueError(f"{entity.name} has no field {min(unknown)}")
    unions = [f for f, rule in named.items() if rule is not None and rule.rule is Preference.UNION]
    if single := [f for f in unions if f not in lists(entity)]:
        raise ValueError(f"{entity.name}.{single[0]} is no list: union joins lists")


class Rules(Shown):
    """The rules of a district, and the run that applies a change of them to merged records."""

    rules: dict[str, dict[str, FieldRule]]
    run: Run | None = None


class NewOverride(Asked):
    """A value to set in place of what sources say."""

    entity: Entity
    sourced_id: UUID = Field(description="The hub's sourcedId of the record.")
    field: str = Field(max_length=100, description="A member of the record in OneRoster 1.2.")
    value: Any = Field(default=None, description="As OneRoster 1.2 has it; references by sourcedId; null empties.")
    owner: Name = Field(description="Who answers for it.")
    reason: Name
    until: AwareDatetime | None = Field(default=None, description="When it ends by itself.")


class Override(Shown):
    """A value that a person set."""

    override_id: UUID
    entity: str
    sourced_id: UUID | None
    field: str
    value: Any
    owner: str
    reason: str
    until: datetime | None
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    merged_into: UUID | None = Field(
        default=None, description="The record to which it applies, where its own has been merged into that one."
    )
    rests: bool = Field(default=False, description="That record has one for the field that goes before this one.")
    run: Run | None = Field(default=None, description="The run that applies it.")


class Overrides(Shown):
    """Overrides, oldest first."""

    items: list[Override]


class OverridesQuery(Asked):
    """Which overrides."""

    ended: bool = Field(default=False, description="Those that have ended too.")


class ProvenanceQuery(Paging):
    """Of which merged records."""

    entity: Entity = "users"
    sourced_id: UUID | None = Field(default=None, description="Of this record alone.")


class Provenance(Shown):
    """Where the values of one record come from."""

    entity: str
    sourced_id: UUID
    fields: dict[str, str] = Field(description="Field to the source's id, or to `override:` and the override's id.")


class ProvenancePage(Page[Provenance]):
    """Some merged records, in the order of their age."""


async def survivorship(call: Call) -> Rules:
    """The rules of the district."""
    async with call.reading() as tx:
        return Rules.model_validate({"rules": await districts.survivorship(tx)})


async def set_survivorship(call: Call, body: Survivorship) -> Rules:
    """Sets the rules and queues the run that applies them to the records that are merged already."""
    async with call.writing() as writing:
        run = await _set_rules(call, writing, body.rules)
    await call.context.wake("sync", call.district_id)
    return Rules(rules=body.rules, run=run)


async def edit_survivorship(call: Call, body: SurvivorshipEdit) -> Rules:
    """Sets or takes away the rules of some fields, and queues the run that applies that."""
    async with call.writing() as writing:
        kept = Survivorship.model_validate({"rules": await districts.survivorship(writing.tx, to_edit=True)})
        rules = {name: dict(fields) for name, fields in kept.rules.items()}
        for name, fields in body.rules.items():
            mine = rules.setdefault(name, {}) | fields
            rules[name] = {field: rule for field, rule in mine.items() if rule is not None}
        rules = {name: fields for name, fields in rules.items() if fields}
        run = await _set_rules(call, writing, rules)
    await call.context.wake("sync", call.district_id)
    return Rules(rules=rules, run=run)


async def _set_rules(call: Call, writing: Writing, rules: Mapping[Entity, Mapping[str, FieldRule]]) -> Run:
    """Raises HubError(INVALID_REQUEST) for a rule that names a source which the district has not."""
    known = {source.source_id for source in await sources.listing(writing.tx)}
    named = {one for fields in rules.values() for rule in fields.values() for one in rule.sources}
    if named - known:
        raise HubError(Code.INVALID_REQUEST, "A rule names a source that this district does not have.")
    written: dict[str, Any] = {
        name: {f: rule.model_dump(mode="json") for f, rule in fields.items()} for name, fields in rules.items()
    }
    await districts.set_survivorship(writing.tx, written)
    run = await runs.request(
        writing.tx, new_id(), source_id=None, upload_id=None, dry_run=False, requested_by=call.actor_name,
        kind="remerge",
    )  # fmt: skip
    writing.note(f"district/{call.district_id}", fields=sum(map(len, written.values())), run=str(run.run_id))
    return Run.model_validate(run)


async def override(call: Call, body: NewOverride) -> Override:
    """Sets one field of one record."""
    async with call.writing() as writing:
        made, run = await setting.override(
            writing.tx, entity=body.entity, sourced_id=body.sourced_id, field=body.field, value=body.value,
            owner=body.owner, reason=body.reason, until=body.until,
        )  # fmt: skip
        writing.note(f"override/{made.override_id}", entity=made.entity, field=made.field, run=str(run.run_id))
        resting = await setting.resting(writing.tx, await statements.overrides(writing.tx, entity=made.entity))
        shown = await _shown(writing.tx, made, resting)
    await call.context.wake("sync", call.district_id)
    return shown.model_copy(update={"run": Run.model_validate(run)})


async def listing(call: Call, query: OverridesQuery) -> Overrides:
    """The overrides of the district."""
    async with call.reading() as tx:
        found = await statements.overrides(tx, ended=query.ended)
        resting = await setting.resting(tx, [one for one in found if one.ended_at is None])
        return Overrides(items=[await _shown(tx, one, resting) for one in found])


async def end(call: Call) -> Override:
    """Ends an override: the field goes back to the sources."""
    async with call.writing() as writing:
        ended, run = await setting.end(writing.tx, call.id("override"), by=call.actor_name)
        writing.note(f"override/{ended.override_id}", entity=ended.entity, field=ended.field, run=str(run.run_id))
        shown = await _shown(writing.tx, ended)
    await call.context.wake("sync", call.district_id)
    return shown.model_copy(update={"run": Run.model_validate(run)})


async def provenance(call: Call, query: ProvenanceQuery) -> ProvenancePage:
    """Which source each value of the merged records comes from."""
    after = int(query.after) if query.after and query.after.isdigit() else -1
    async with call.reading() as tx:
        rows = await statements.provenances(
            tx, CATALOGUE[query.entity], sourced_id=query.sourced_id, after=after, limit=query.limit + 1
        )
    items = [Provenance(entity=query.entity, sourced_id=sourced_id, fields=fields) for _, sourced_id, fields in rows]
    shown, following = cut(items, query.limit, [str(rid) for rid, _, _ in rows])
    return ProvenancePage(items=shown, next=following)


async def _shown(tx: Transaction, one: statements.Override, resting: Collection[UUID] = ()) -> Override:
    place = (await setting.places(tx, one.entity, [one.rid]))[one.rid]
    sourced_id = await statements.sourced_id(tx, CATALOGUE[one.entity], one.rid)
    into = await statements.sourced_id(tx, CATALOGUE[one.entity], place) if place != one.rid else None
    values = {name: getattr(one, name) for name in Override.model_fields if name not in _FOUND_OUT}
    return Override(**values, sourced_id=sourced_id, merged_into=into, rests=one.override_id in resting)


ROUTES = (
    Route("GET", "/districts/{district}/survivorship", survivorship, "Which of several sources' values survives",
          roles=STAFF, answer=Rules),
    Route("PUT", "/districts/{district}/survivorship", set_survivorship, "Set which value survives", roles=STAFF,
          body=Survivorship, answer=Rules, action="survivorship.set"),
    Route("PATCH", "/districts/{district}/survivorship", edit_survivorship, "Set or take away rules of some fields",
          roles=STAFF, body=SurvivorshipEdit, answer=Rules, action="survivorship.edit"),
    Route("GET", "/districts/{district}/overrides", listing, "List overrides", roles=DISTRICT, query=OverridesQuery,
          answer=Overrides),
    Route("POST", "/districts/{district}/overrides", override, "Override a field of a record", roles=DISTRICT,
          body=NewOverride, answer=Override, status=201, action="override.create", errors=(Code.CONFLICT,)),
    Route("DELETE", "/districts/{district}/overrides/{override}", end, "End an override", roles=DISTRICT,
          answer=Override, action="override.end"),
    Route("GET", "/districts/{district}/provenance", provenance, "Where the values of merged records come from",
          roles=DISTRICT, query=ProvenanceQuery, answer=ProvenancePage),
)  # fmt: skip
