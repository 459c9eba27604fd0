"""Sources: the connections of a district to its systems."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import Field, ValidationError, field_validator

from connectors.protocol import ConnectorError, ConnectorSpec
from connectors.registry import connector
from hub.api.admin import problem
from hub.api.admin.call import Call
from hub.api.admin.route import STAFF, Role, Route
from hub.api.admin.runs import Run
from hub.api.admin.sealing import sealer
from hub.api.admin.shapes import Asked, Name, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import runs, statements
from hub.store import sources as store
from hub.store.database import Transaction
from hub.sync.parties import LINKS, PERSON
from hub.sync.source_secrets import sealed
from transforms.canonical import body as body_of
from transforms.catalogue import CATALOGUE

Priority = Annotated[int, Field(ge=0, le=10_000, description="Lower goes first where several sources know a value.")]
State = Literal["active", "paused", "departed"]
#: Entity to its fields, or to null for all of them.
SpeaksFor = Annotated[
    dict[str, list[str] | None] | None,
    Field(description="The entities that it may speak for, with their fields (null: all of them); null: everything."),
]
KeySpace = Annotated[
    str | None,
    Field(
        max_length=100,
        description="Sources of one key space call the same object by the same sourcedId. Null: its own.",
    ),
]
#: Taken in and never given out again.
Secret = Annotated[str, Field(min_length=1, max_length=10_000)]
FullHours = Annotated[
    int,
    Field(ge=0, le=8_760, description="A source that tells what changed is pulled whole when that is so long ago."),
]
Links = Annotated[
    dict[str, list[str]],
    Field(description="By which fields of an entity its objects are recognised among records of other sources."),
]


class NewSource(Asked):
    """A source to add."""

    name: Name
    kind: str = Field(max_length=100, description="Which connector reads it, such as `oneroster_csv`.")
    config: dict[str, Any] = Field(default={}, description="The connector's own settings.")
    priority: Priority = 100
    speaks_for: SpeaksFor = None
    key_space: KeySpace = None
    links: Links = Field(default={})
    secrets: dict[str, Secret] = Field(default={}, repr=False, description="What its kind of source asks for, by name.")
    full_hours: FullHours = store.FULL_HOURS

    @field_validator("speaks_for", "links")
    @classmethod
    def _known(cls, named: dict[str, list[str] | None] | None) -> dict[str, list[str] | None] | None:
        return _of_catalogue(named)


class SourceEdit(Asked):
    """What to change; what is left out stays."""

    name: Name | None = None
    config: dict[str, Any] | None = None
    priority: Priority | None = None
    state: Literal["active", "paused"] | None = Field(default=None, description="A paused source starts no runs.")
    speaks_for: SpeaksFor = None
    key_space: KeySpace = None
    links: Links = Field(default={})
    secrets: dict[str, Secret | None] = Field(
        default={}, repr=False, description="New ones by name; null takes one away."
    )
    full_hours: FullHours | None = None

    @field_validator("speaks_for", "links")
    @classmethod
    def _known(cls, named: dict[str, list[str] | None] | None) -> dict[str, list[str] | None] | None:
        return _of_catalogue(named)


class Leaving(Asked):
    """What becomes of the records of which the source alone speaks."""

    to: UUID | None = Field(default=None, description="The source whose they are from now on; null: they end.")
    dry_run: bool = Field(default=False, description="Compute and report everything, change nothing.")


def _of_catalogue(named: dict[str, list[str] | None] | None) -> dict[str, list[str] | None] | None:
    for name, fields in (named or {}).items():
        if name not in CATALOGUE or CATALOGUE[name].component_of:
            raise ValueError(f"OneRoster has no {name}")
        if unknown := set(fields or ()) - {f.name for f in body_of(CATALOGUE[name])}:
            raise ValueError(f"{name} has no field {min(unknown)}")
    return named


class Source(Shown):
    """One connection to one system."""

    source_id: UUID
    name: str
    kind: str
    config: dict[str, Any]
    priority: int
    state: State
    files: list[str] = Field(description="The files of the package that was applied last.")
    digest: str | None = Field(description="SHA-256 of the package that was applied last.")
    created_at: datetime
    speaks_for: SpeaksFor
    key_space: KeySpace
    links: Links
    secrets: list[str] = Field(description="The names of the secrets that were entered.")
    full_hours: int

    @field_validator("secrets", mode="before")
    @classmethod
    def _names(cls, sealed: dict[str, str]) -> list[str]:
        return sorted(sealed)


class Sources(Shown):
    """All sources of a district, oldest first."""

    items: list[Source]


async def _checked(
    call: Call, kind: str, config: dict[str, Any], before: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The configuration as its connector understands it, defaults filled in.

    Raises HubError(INVALID_REQUEST) for a kind that there is not, the refusal of the connector's own model, and
    HubError(FORBIDDEN) when a district names files of the hub's machine: only who runs that machine may open them.
    """
    try:
        spec = await asyncio.to_thread(connector, kind)
    except ConnectorError as error:
        raise HubError(Code.INVALID_REQUEST, error.message) from error
    try:
        model = await asyncio.to_thread(spec.config_model.model_validate, config)  # it may look up time zones
        checked: dict[str, Any] = model.model_dump(mode="json")
    except ValidationError as error:
        raise problem.invalid("body", error, under="config") from None
    places = files_named(spec)
    if call.role is not Role.OPERATOR and any(checked[name] not in (None, before.get(name)) for name in places):
        raise HubError(
            Code.FORBIDDEN, f"Only an operator may set {', '.join(places)}: it opens files of the hub's machine."
        )
    return checked


def files_named(spec: ConnectorSpec) -> list[str]:
    """The settings of a kind that name files of the hub's machine."""
    return [name for name, field in spec.config_model.model_fields.items() if _names_file(field.annotation)]


def _names_file(annotation: Any) -> bool:
    return annotation is Path or any(_names_file(part) for part in get_args(annotation))


async def _sealed(
    call: Call, kind: str, source_id: UUID, given: Mapping[str, str | None], tx: Transaction | None = None
) -> dict[str, str | None]:
    """Secrets as the database keeps them. Raises HubError(INVALID_REQUEST) for names that the kind does not have."""
    if not given:
        return {}
    known = (await asyncio.to_thread(connector, kind)).secrets
    if unknown := sorted(set(given) - set(known)):
        names = ", ".join(sorted(known)) or "none"
        raise HubError(Code.INVALID_REQUEST, f"A source of this kind has no secret {unknown[0]}. It has: {names}.")
    key = await sealer(call, len(given), tx)
    return {
        name: None if text is None else sealed(key, text, call.district_id, source_id, name)
        for name, text in given.items()
    }


async def create(call: Call, body: NewSource) -> Source:
    """Adds a source."""
    config, source_id = await _checked(call, body.kind, body.config), new_id()
    secrets = await _sealed(call, body.kind, source_id, body.secrets)
    async with call.writing() as writing:
        row = await store.create(
            writing.tx, source_id, name=body.name, kind=body.kind, config=config, priority=body.priority,
            speaks_for=body.speaks_for, key_space=body.key_space, links=_links(body.links),
            secrets={name: text for name, text in secrets.items() if text}, full_hours=body.full_hours,
        )  # fmt: skip
        writing.note(f"source/{row.source_id}", kind=row.kind)
    return Source.model_validate(row)


async def listing(call: Call) -> Sources:
    """All sources of the district."""
    async with call.reading() as tx:
        return Sources(items=[Source.model_validate(row) for row in await store.listing(tx)])


async def get(call: Call) -> Source:
    """One source."""
    async with call.reading() as tx:
        return Source.model_validate(await store.get(tx, call.id("source")))


async def edit(call: Call, body: SourceEdit) -> Source:
    """Changes a source. A new configuration makes the next run compare row by row.

    A new priority queues the run that applies it to records of which several sources speak.
    """
    source_id = call.id("source")
    async with call.writing() as writing:
        old = await store.get(writing.tx, source_id)
        if old.state == "departed":
            raise HubError(Code.CONFLICT, "The source has departed. Add a new one.")
        config = None if body.config is None else await _checked(call, old.kind, body.config, old.config)
        secrets = await _secrets(call, writing.tx, old, config, body)
        row = await store.change(
            writing.tx, source_id, name=body.name, config=config, priority=body.priority, state=body.state,
            secrets=secrets, full_hours=body.full_hours,
        )  # fmt: skip
        if body.model_fields_set & _PARTS:
            parts = {name: getattr(body if name in body.model_fields_set else old, name) for name in _PARTS}
            _links(parts["links"])
            row = await store.set_parts(writing.tx, source_id, **parts)
        again = row.priority != old.priority and await statements.any_merged(writing.tx)
        if again:
            await runs.request(
                writing.tx, new_id(), source_id=None, upload_id=None, dry_run=False, requested_by=call.actor_name,
                kind="remerge",
            )  # fmt: skip
        writing.note(f"source/{source_id}", changed=sorted(body.model_fields_set), state=row.state)
    if again:
        await call.context.wake("sync", call.district_id)
    return Source.model_validate(row)


async def _secrets(
    call: Call, tx: Transaction, old: store.Source, config: dict[str, Any] | None, body: SourceEdit
) -> dict[str, str] | None:
    """The secrets after an edit; None where they stay. They go nowhere else than where they were entered for.

    Raises HubError(INVALID_REQUEST).
    """
    given = await _sealed(call, old.kind, old.source_id, body.secrets, tx)
    left = {name: text for name, text in old.secrets.items() if name not in given}
    if config is not None and left:
        places = (await asyncio.to_thread(connector, old.kind)).places
        if moved := sorted(name for name in places if _said(config, name) != _said(old.config, name)):
            names = ", ".join(sorted(left))
            raise HubError(
                Code.INVALID_REQUEST,
                f"State {names} among secrets again (--secret {min(left)}), since {moved[0]} changes.",
            )
    return {**left, **{name: text for name, text in given.items() if text}} if given else None


def _said(config: Mapping[str, Any], name: str) -> Any:
    """What a configuration has under a name; dots lead into its parts."""
    found: Any = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


_PARTS = frozenset({"speaks_for", "key_space", "links"})


def _links(links: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same. Raises HubError(INVALID_REQUEST) for fields that tell nobody apart."""
    for name, fields in links.items():
        allowed = (*LINKS.get(name, ()), *((PERSON,) if name == "users" else ()))
        if set(fields) - set(allowed):
            known = ", ".join(allowed) or "none"
            raise HubError(Code.INVALID_REQUEST, f"Objects of {name} are recognised by these fields only: {known}.")
    return links


async def depart(call: Call, body: Leaving) -> Run:
    """Takes a source out of the district for good, by a run that the guard may hold."""
    source_id = call.id("source")
    async with call.writing() as writing:
        source = await store.get(writing.tx, source_id)
        if source.state == "departed":
            raise HubError(Code.CONFLICT, "The source has departed already.")
        if body.to is not None:
            other = await store.get(writing.tx, body.to)
            if other.source_id == source_id or other.state == "departed":
                raise HubError(Code.CONFLICT, "Records can be handed over to another source that stays.")
        run = await runs.request(
            writing.tx, new_id(), source_id=source_id, upload_id=None, dry_run=body.dry_run,
            requested_by=call.actor_name, kind="departure", task={"to": str(body.to)} if body.to else {},
        )  # fmt: skip
        writing.note(f"source/{source_id}", run=str(run.run_id), dry_run=body.dry_run)
    await call.context.wake("sync", call.district_id)
    return Run.model_validate(run)


ROUTES = (
    Route("GET", "/districts/{district}/sources", listing, "List a district's sources", roles=STAFF, answer=Sources),
    Route("POST", "/districts/{district}/sources", create, "Add a source", roles=STAFF, body=NewSource, answer=Source,
          status=201, action="source.create"),
    Route("GET", "/districts/{district}/sources/{source}", get, "One source", roles=STAFF, answer=Source),
    Route("PATCH", "/districts/{district}/sources/{source}", edit, "Change, pause or resume a source", roles=STAFF,
          body=SourceEdit, answer=Source, action="source.edit", errors=(Code.CONFLICT,)),
    Route("POST", "/districts/{district}/sources/{source}/depart", depart, "Take a source out of the district",
          roles=STAFF, body=Leaving, answer=Run, status=202, action="source.depart", errors=(Code.CONFLICT,)),
)  # fmt: skip
