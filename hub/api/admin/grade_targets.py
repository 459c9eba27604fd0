"""Grade targets of a district: the systems that take what apps write to the gradebook, and what they did not take.

Only the district itself may say where its grades go; operators see how it goes, and can stop it (T55).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from yarl import URL

from hub.api.admin.call import Call, Writing
from hub.api.admin.paging import Page, Paging, cut, place
from hub.api.admin.route import DISTRICT, STAFF, Route
from hub.api.admin.sealing import sealer
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.passback.codes import MEND, Trouble
from hub.passback.login import Login, OAuth1, OAuth2, sealed
from hub.store import grade_deliveries as outbox
from hub.store import grade_targets as store
from hub.store import sources
from hub.store.database import Transaction
from hub.store.grade_targets import GradeTarget
from hub.webhooks import address
from hub.webhooks.egress import check_host
from transforms.catalogue import CATALOGUE, Need

_ALLOW = "HUB_PASSBACK_ALLOW"
Entity = Literal["categories", "scoreScales", "lineItems", "results", "assessmentLineItems", "assessmentResults"]
State = Literal["waiting", "blocked", "refused", "failed", "skipped"]
_MOST_IDS = 1_000


class Settings(Asked):
    """Where grades go, as whom, and which."""

    version: Literal["1.1", "1.2"] = "1.2"
    url: Annotated[str, Field(
        max_length=2_000,
        description="Of the gradebook service, as https://…/ims/oneroster/gradebook/v1p2 or https://…/ims/oneroster/v1p1.",
    )]  # fmt: skip
    login: Login
    client_secret: Annotated[str | None, Field(min_length=1, max_length=1000, repr=False)] = Field(
        default=None, description="Of an edit, null keeps the one there is."
    )
    entities: Annotated[list[Entity], Field(min_length=1)] = Field(
        default=["categories", "lineItems", "results"], description="What goes. What these refer to must go too."
    )
    apps: list[UUID] | None = Field(default=None, description="The apps whose writes go; null: all.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in self.entities:
            entity = CATALOGUE[name]
            if self.version not in entity.versions:
                raise ValueError(f"OneRoster {self.version} has no {name}: take them out of entities")
            needed = {f.target for f in entity.members(self.version) if f.rest_need(self.version) is Need.REQUIRED}
            if missing := sorted({n for n in needed if n in _WRITTEN} - set(self.entities)):
                raise ValueError(f"{name} refer to {', '.join(missing)}: name them in entities as well")
        if self.version == "1.2" and isinstance(self.login, OAuth1):
            raise ValueError("OneRoster 1.2 has OAuth 2 alone: state a login of the kind oauth2")
        return self

    def columns(self) -> dict[str, object]:
        """The columns of the target's row, but for its secret."""
        return {
            "version": self.version, "url": self.url, "login": self.login.model_dump(),
            "entities": sorted(set(self.entities)), "apps": self.apps,
        }  # fmt: skip


class NewGradeTarget(Settings):
    """For which source, and from when on."""

    source_id: UUID = Field(description="The source whose keys the system knows classes and students by.")
    start: Literal["now", "beginning"] = Field(
        default="now", description="With what apps write from now on, or with all that they ever wrote."
    )
    paused: bool = False


class Target(Shown):
    """One target and how far it is."""

    target_id: UUID
    source_id: UUID
    version: str
    url: str
    login: OAuth2 | OAuth1
    entities: list[str]
    apps: list[UUID] | None
    state: Literal["active", "paused"]
    objects: dict[str, int] = Field(description="How many objects are in which state.")
    waiting_since: datetime | None = Field(description="Time of the oldest write that is on its way.")
    lag_seconds: float = Field(description="How long that write has been waiting; 0 when nothing waits.")
    attempt: int = Field(description="Failures of the system itself, in a row.")
    ready_at: datetime = Field(description="When it is asked again.")
    failing_since: datetime | None
    last_error: str | None
    last_status: int | None
    last_success: datetime | None
    created_at: datetime


class Targets(Shown):
    """All targets, oldest first."""

    items: list[Target]


class Listed(Paging):
    """Which undelivered objects."""

    state: State | None = Field(default=None, description="Without it: blocked, refused, failed and being tried again.")


class BlockedBy(Shown):
    """The object that has to be there first."""

    entity: str
    sourced_id: UUID


class Undelivered(Shown):
    """One object that the system does not have as the hub does, why, and how to mend it."""

    entity: str
    sourced_id: UUID = Field(description="The hub's own id, by which the system is told of the object.")
    app_id: UUID
    operation: Literal["put", "delete"]
    state: State
    written_at: datetime
    code: str | None = Field(description="Stable; null while nothing went wrong.")
    mend: str | None
    field: str | None = Field(description="The member that the code is about.")
    status: int | None = Field(description="HTTP status of the system's answer.")
    minor: str | None = Field(description="OneRoster's code minor in it.")
    description: str | None = Field(description="Its words; … for every word that could be somebody's.")
    blocked_by: BlockedBy | None
    attempt: int
    ready_at: datetime
    failing_since: datetime | None


class Report(Page[Undelivered]):
    """Some undelivered objects, by entity."""


class Chosen(Asked):
    """Which undelivered objects; without members, all that were refused, failed, are blocked or being tried again."""

    entity: Entity | None = None
    sourced_ids: Annotated[list[UUID] | None, Field(max_length=_MOST_IDS)] = None
    code: Trouble | None = None

    def rows(self) -> outbox.Chosen:
        """The same for the store."""
        return outbox.Chosen(self.entity, self.sourced_ids, self.code)


class Done(Shown):
    """How many objects an act was about."""

    objects: int


_WRITTEN = frozenset(e.name for e in CATALOGUE.of_service("gradebook"))


async def _shown(call: Call, tx: Transaction, row: GradeTarget) -> Target:
    since = await outbox.waiting_since(tx, row)
    lag = max(0.0, (call.context.clock.now() - since).total_seconds()) if since else 0.0
    columns = {name: getattr(row, name) for name in GradeTarget.__dataclass_fields__ if name != "secret"}
    more = {"objects": await outbox.counts(tx, row.target_id), "waiting_since": since, "lag_seconds": lag}
    return Target.model_validate({**columns, **more})


def _note(writing: Writing, row: GradeTarget, **details: object) -> None:
    host = URL(row.url).host
    writing.note(f"grade-target/{row.target_id}", source=str(row.source_id), host=host, version=row.version, **details)


async def _checked(call: Call, body: Settings) -> None:
    """Refuses what could never work. Asks the name service, so call it outside of any transaction.

    Raises HubError(INVALID_REQUEST).
    """
    allow = call.context.settings.passback_allow
    urls = [body.url, *([body.login.token_url] if isinstance(body.login, OAuth2) else [])]
    for url in urls:
        parsed = address.parse(url, allow, _ALLOW)
        await check_host(parsed, allow, _ALLOW)
    if URL(body.url).query_string:
        raise HubError(Code.INVALID_REQUEST, "Mend url: the address of a service has no query.")


async def _sealed(call: Call, secret: str, number: UUID) -> bytes:
    return sealed(await sealer(call), secret, call.district_id, number)


async def create(call: Call, body: NewGradeTarget) -> Target:
    """Makes a target. Nothing is passed back before there is one."""
    await _checked(call, body)
    if body.client_secret is None:
        raise HubError(Code.INVALID_REQUEST, "State client_secret: nobody is logged in without one.")
    number = new_id()
    secret = await _sealed(call, body.client_secret, number)
    async with call.writing() as writing:
        await sources.get(writing.tx, body.source_id)
        row = await store.create(
            writing.tx, number, from_beginning=body.start == "beginning", source_id=body.source_id, secret=secret,
            state="paused" if body.paused else "active", **body.columns(),
        )  # fmt: skip
        _note(writing, row, start=body.start)
        shown = await _shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return shown


async def edit(call: Call, body: Settings) -> Target:
    """Replaces where grades go, as whom and which. A secret is kept only for the login that it was stated for."""
    await _checked(call, body)
    number = call.id("target")
    secret = None if body.client_secret is None else await _sealed(call, body.client_secret, number)
    async with call.writing() as writing:
        before = await store.lock(writing.tx, number)
        same_place = (before.url, before.login) == (body.url, body.login.model_dump())
        if secret is None and not same_place:
            raise HubError(Code.INVALID_REQUEST, "State client_secret again: it is that of another login.")
        success = before.last_success if same_place else None
        row = await store.change(
            writing.tx, number, secret=secret or before.secret, last_success=success, **body.columns()
        )
        await outbox.narrow(writing.tx, row)
        _note(writing, row)
        shown = await _shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return shown


async def listing(call: Call) -> Targets:
    """All targets with how far they are."""
    async with call.reading() as tx:
        return Targets(items=[await _shown(call, tx, row) for row in await store.listing(tx)])


async def get(call: Call) -> Target:
    """One target with how far it is."""
    async with call.reading() as tx:
        return await _shown(call, tx, await store.get(tx, call.id("target")))


async def undelivered(call: Call, query: Listed) -> Report:
    """The conflict report: what the system does not have, with code, place and how to mend it."""
    after = place(query.after)
    entity, _, rid = (after or "").partition("/")
    if after is not None and (entity not in _WRITTEN or not rid.isdecimal()):
        raise HubError(Code.INVALID_REQUEST, "`after` is not a value that this list gave out. Start without it.")
    async with call.reading() as tx:
        row = await store.get(tx, call.id("target"))
        rows = await outbox.undelivered(
            tx, row.target_id, state=query.state, after=(entity, int(rid)) if after else None, limit=query.limit + 1
        )
    items, following = cut([_line(one) for one in rows], query.limit, [f"{one.entity}/{one.rid}" for one in rows])
    return Report(items=items, next=following)


def _line(row: outbox.Undelivered) -> Undelivered:
    columns = {n: getattr(row, n) for n in Undelivered.model_fields if n not in {"mend", "blocked_by"}}
    by = None
    if row.blocked_entity is not None and row.blocked_sourced_id is not None:
        by = BlockedBy(entity=row.blocked_entity, sourced_id=row.blocked_sourced_id)
    mend = None if row.code is None else MEND[Trouble(row.code)]
    return Undelivered.model_validate({**columns, "mend": mend, "blocked_by": by})


async def retry(call: Call, body: Chosen) -> Done:
    """Sends undelivered objects again, at once."""
    return await _act(call, body, outbox.retry)


async def skip(call: Call, body: Chosen) -> Done:
    """Gives undelivered objects up until they are written anew; what waited for them is sent as if they were there."""
    return await _act(call, body, outbox.skip)


async def _act(call: Call, body: Chosen, act: outbox.Act) -> Done:
    async with call.writing() as writing:
        row = await store.lock(writing.tx, call.id("target"))
        count = await act(writing.tx, row.target_id, body.rows())
        _note(writing, row, objects=count, entity=body.entity, code=body.code)
    await call.context.wake("deliver", call.district_id)
    return Done(objects=count)


async def resend(call: Call) -> Target:
    """Sends everything that apps ever wrote again: for a system that was restored, or a target that takes more now."""
    async with call.writing() as writing:
        row = await store.lock(writing.tx, call.id("target"))
        await outbox.resend(writing.tx, row.target_id)
        _note(writing, row)
        shown = await _shown(call, writing.tx, await store.get(writing.tx, row.target_id))
    await call.context.wake("deliver", call.district_id)
    return shown


async def pause(call: Call) -> Target:
    """Stops passing back; nothing is lost."""
    return await _set(call, "paused")


async def resume(call: Call) -> Target:
    """Goes on where it stopped, at once."""
    return await _set(call, "active")


async def _set(call: Call, state: str) -> Target:
    async with call.writing() as writing:
        row = await store.lock(writing.tx, call.id("target"))
        row = await store.change(writing.tx, row.target_id, state=state)
        _note(writing, row)
        shown = await _shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return shown


async def delete(call: Call) -> None:
    """Ends a target and forgets how far it was. What is in the system stays there."""
    async with call.writing() as writing:
        row = await store.lock(writing.tx, call.id("target"))
        await store.delete(writing.tx, row.target_id)
        _note(writing, row)


_OVER = "/districts/{district}/grade-targets"
_ONE = _OVER + "/{target}"
ROUTES = (
    Route("GET", _OVER, listing, "List grade targets with their lag", roles=STAFF, answer=Targets),
    Route("POST", _OVER, create, "Have what apps write passed back to a system", roles=DISTRICT, body=NewGradeTarget,
          answer=Target, status=201, action="grade_target.create", errors=(Code.CONFLICT,)),
    Route("GET", _ONE, get, "One grade target with its lag", roles=STAFF, answer=Target),
    Route("PUT", _ONE, edit, "Change a grade target", roles=DISTRICT, body=Settings, answer=Target,
          action="grade_target.edit"),
    Route("GET", _ONE + "/undelivered", undelivered, "What the system did not take, why, and how to mend it",
          roles=STAFF, query=Listed, answer=Report),
    Route("POST", _ONE + "/retry", retry, "Send undelivered objects again", roles=STAFF, body=Chosen, answer=Done,
          action="grade_target.retry"),
    Route("POST", _ONE + "/skip", skip, "Give undelivered objects up", roles=STAFF, body=Chosen, answer=Done,
          action="grade_target.skip"),
    Route("POST", _ONE + "/resend", resend, "Send everything again", roles=STAFF, answer=Target,
          action="grade_target.resend"),
    Route("POST", _ONE + "/pause", pause, "Pause a grade target", roles=STAFF, answer=Target,
          action="grade_target.pause"),
    Route("POST", _ONE + "/resume", resume, "Resume a grade target", roles=STAFF, answer=Target,
          action="grade_target.resume"),
    Route("DELETE", _ONE, delete, "End a grade target", roles=STAFF, action="grade_target.delete"),
)  # fmt: skip
