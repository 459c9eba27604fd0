"""Exports of a district: what was made for whom, and schedules that take packages to a folder or an SFTP server.

Only the district itself may say where its rosters go; operators see how exports are doing, and can stop them (T55).
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, SecretStr, StringConstraints, field_validator

from hub.api.admin.call import Call, Writing
from hub.api.admin.paging import Page, Paging, cut, place_time
from hub.api.admin.route import DISTRICT, STAFF, Route
from hub.api.admin.sealing import sealer
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.export import sftp
from hub.export.targets import FolderPlace, Place, Secret, SftpPlace
from hub.ids import new_id
from hub.store import exports as store
from hub.store import schedules
from hub.store.database import Transaction

_LONGEST_KEY = 20_000


class Export(Shown):
    """One package: for which grant, what it holds and what became of it."""

    export_id: UUID
    grant_id: UUID
    schedule_id: UUID | None = Field(description="Null where the app asked for it.")
    version: str
    mode: str
    kind: str | None = Field(description="What it became: bulk or delta.")
    state: Literal["queued", "running", "ready", "delivering", "done", "failed", "expired", "withdrawn"]
    progress: dict[str, Any]
    rows: dict[str, int] = Field(description="Rows by file.")
    omitted: dict[str, int] = Field(description="Rows that lacked a value which CSV requires, by file.")
    bytes: int | None
    attempt: int
    error_code: str | None
    error_message: str | None
    requested_by: str
    requested_at: datetime
    made_at: datetime | None
    acknowledged_at: datetime | None = Field(description="When the app, or the target, had it.")
    finished_at: datetime | None


class Exports(Page[Export]):
    """Some exports, newest first."""


class Settings(Asked):
    """What is exported when, and where to."""

    version: Literal["1.1", "1.2"] = "1.2"
    mode: Literal["bulk", "delta"] = "bulk"
    full_days: Annotated[int, Field(ge=1, le=365, description="Days after which a delta is whole again.")] = 30
    daily_at: time | None = Field(
        default=None, description="Time of day, as 03:30; null: after each change of what the app sees."
    )
    zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = Field(
        default="UTC", description="Time zone of `daily_at`, such as Europe/Berlin."
    )
    debounce_seconds: Annotated[int, Field(ge=0, le=86_400, description="Quiet time after a change.")] = 300
    target: Place
    password: Annotated[str | None, Field(max_length=1000, repr=False, description="For SFTP.")] = None
    private_key: Annotated[str | None, Field(max_length=_LONGEST_KEY, repr=False)] = Field(
        default=None, description="For SFTP: a key without passphrase. Of an edit, no login keeps the one there is."
    )

    @field_validator("daily_at")
    @classmethod
    def _without_zone(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("a time of day has no zone of its own: state it in `zone`")
        return value

    def secret(self) -> Secret | None:
        """The login, where one is given. Raises HubError(INVALID_REQUEST) for a key that cannot be read."""
        if self.password is None and self.private_key is None:
            return None
        if self.private_key is not None:
            try:
                sftp.read_private_key(self.private_key)
            except ValueError as error:
                raise HubError(Code.INVALID_REQUEST, f"Mend private_key: {error}.") from None
        return Secret(
            password=None if self.password is None else SecretStr(self.password),
            private_key=None if self.private_key is None else SecretStr(self.private_key),
        )

    def columns(self) -> dict[str, object]:
        """The columns of the schedule's row, but for its login."""
        return {
            "version": self.version, "mode": self.mode, "full_days": self.full_days, "daily_at": self.daily_at,
            "zone": self.zone, "debounce": self.debounce_seconds, "target": self.target.model_dump(),
        }  # fmt: skip


class NewSchedule(Settings):
    """For which grant, too."""

    grant_id: UUID


class Schedule(Shown):
    """A schedule and its last export."""

    schedule_id: UUID
    grant_id: UUID
    version: str
    mode: str
    full_days: int
    daily_at: time | None
    zone: str
    debounce_seconds: int
    target: FolderPlace | SftpPlace
    state: Literal["active", "paused"]
    next_at: datetime | None = Field(description="When it is due by the clock.")
    last: Export | None
    created_at: datetime


class Schedules(Shown):
    """All schedules, oldest first."""

    items: list[Schedule]


async def listing(call: Call, query: Paging) -> Exports:
    """Exports, newest first."""
    async with call.reading() as tx:
        rows = await store.listing(tx, before=place_time(query.after), limit=query.limit + 1)
    items, after = cut(
        [Export.model_validate(r) for r in rows], query.limit, [r.requested_at.isoformat() for r in rows]
    )
    return Exports(items=items, next=after)


async def get(call: Call) -> Export:
    """One export."""
    async with call.reading() as tx:
        return Export.model_validate(await store.get(tx, call.id("export")))


async def _shown(tx: Transaction, row: schedules.Schedule) -> Schedule:
    last = await store.last_of(tx, row.schedule_id)
    columns = {name: getattr(row, name) for name in schedules.Schedule.__dataclass_fields__ if name != "secret"}
    more = {"debounce_seconds": row.debounce, "last": None if last is None else Export.model_validate(last)}
    return Schedule.model_validate(columns | more)


def _note(writing: Writing, row: schedules.Schedule) -> None:
    kind, host = row.target["kind"], row.target.get("host")
    writing.note(f"export-schedule/{row.schedule_id}", grant=str(row.grant_id), target=kind, host=host, mode=row.mode)


async def _checked(call: Call, body: Settings) -> None:
    """Refuses what could never work. Asks the name service, so call it outside of any transaction.

    Raises HubError(INVALID_REQUEST).
    """
    settings, target = call.context.settings, body.target
    if isinstance(target, SftpPlace):
        await sftp.check_host(target.host, target.port, settings.export_allow)
    elif settings.export_folder is None:
        raise HubError(
            Code.INVALID_REQUEST,
            "This hub writes to no folder. Use SFTP, or have HUB_EXPORT_FOLDER set by its operator.",
        )
    elif body.password is not None or body.private_key is not None:
        raise HubError(Code.INVALID_REQUEST, "A folder needs no login.")
    if body.mode == "delta" and "{time}" not in target.filename:
        raise HubError(
            Code.INVALID_REQUEST, "Deltas need names of their own, or one is lost when the next comes: add {time}."
        )


async def create(call: Call, body: NewSchedule) -> Schedule:
    """Makes a schedule. What the app sees already is exported first."""
    await _checked(call, body)
    number, secret = new_id(), body.secret()
    if isinstance(body.target, SftpPlace) and secret is None:
        raise HubError(Code.INVALID_REQUEST, "State how to log in there: password or private_key.")
    sealed = await _sealed(call, secret, number)
    async with call.writing() as writing:
        row = await schedules.create(
            writing.tx, number, grant_id=body.grant_id, secret=sealed, **body.columns()
        )  # fmt: skip
        _note(writing, row)
        shown = await _shown(writing.tx, row)
    await call.context.wake("export", call.district_id)
    return shown


async def _sealed(call: Call, secret: Secret | None, number: UUID) -> bytes | None:
    if secret is None:
        return None
    return secret.sealed(await sealer(call), call.district_id, number)


async def edit(call: Call, body: Settings) -> Schedule:
    """Replaces what is exported when and where to. A login is kept only for the server that it was stated for."""
    await _checked(call, body)
    number = call.id("schedule")
    sealed = await _sealed(call, body.secret(), number)
    async with call.writing() as writing:
        before = await schedules.get(writing.tx, number)
        if isinstance(body.target, SftpPlace) and sealed is None:
            if not _same_server(before.target, body.target):
                raise HubError(Code.INVALID_REQUEST, "State the login again: it is that of another server.")
            sealed = before.secret
        row = await schedules.change(writing.tx, number, secret=sealed, **body.columns())
        _note(writing, row)
        return await _shown(writing.tx, row)


def _same_server(before: dict[str, Any], after: SftpPlace) -> bool:
    return all(before.get(n) == getattr(after, n) for n in ("kind", "host", "port", "username", "host_key"))


async def schedule_listing(call: Call) -> Schedules:
    """All schedules with their last exports."""
    async with call.reading() as tx:
        return Schedules(items=[await _shown(tx, row) for row in await schedules.listing(tx)])


async def schedule(call: Call) -> Schedule:
    """One schedule with its last export."""
    async with call.reading() as tx:
        return await _shown(tx, await schedules.get(tx, call.id("schedule")))


async def run(call: Call) -> Schedule:
    """Makes a schedule due now."""
    async with call.writing() as writing:
        row = await schedules.run_now(writing.tx, call.id("schedule"))
        _note(writing, row)
        shown = await _shown(writing.tx, row)
    await call.context.wake("export", call.district_id)
    return shown


async def pause(call: Call) -> Schedule:
    """Stops a schedule; what is under way goes on."""
    return await _set(call, "paused")


async def resume(call: Call) -> Schedule:
    """Lets a paused schedule go on."""
    return await _set(call, "active")


async def _set(call: Call, state: str) -> Schedule:
    async with call.writing() as writing:
        row = await schedules.change(writing.tx, call.id("schedule"), state=state)
        _note(writing, row)
        return await _shown(writing.tx, row)


async def delete(call: Call) -> None:
    """Ends a schedule and forgets its exports."""
    async with call.writing() as writing:
        row = await schedules.get(writing.tx, call.id("schedule"))
        await schedules.delete(writing.tx, row.schedule_id)
        _note(writing, row)


_OVER = "/districts/{district}/exports"
_SCHEDULES = "/districts/{district}/export-schedules"
_ONE = _SCHEDULES + "/{schedule}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _OVER, listing, "List exports, newest first", roles=STAFF, query=Paging, answer=Exports),
    Route("GET", _OVER + "/{export}", get, "One export", roles=STAFF, answer=Export),
    Route("GET", _SCHEDULES, schedule_listing, "List export schedules", roles=STAFF, answer=Schedules),
    Route("POST", _SCHEDULES, create, "Have a grant's packages taken somewhere", roles=DISTRICT, body=NewSchedule,
          answer=Schedule, status=201, action="export_schedule.create", errors=_CONFLICT),
    Route("GET", _ONE, schedule, "One export schedule with its last export", roles=STAFF, answer=Schedule),
    Route("PUT", _ONE, edit, "Change an export schedule", roles=DISTRICT, body=Settings, answer=Schedule,
          action="export_schedule.edit"),
    Route("POST", _ONE + "/run", run, "Export now", roles=STAFF, answer=Schedule, action="export_schedule.run",
          errors=_CONFLICT),
    Route("POST", _ONE + "/pause", pause, "Pause an export schedule", roles=STAFF, answer=Schedule,
          action="export_schedule.pause"),
    Route("POST", _ONE + "/resume", resume, "Resume an export schedule", roles=STAFF, answer=Schedule,
          action="export_schedule.resume"),
    Route("DELETE", _ONE, delete, "End an export schedule", roles=STAFF, action="export_schedule.delete",
          errors=_CONFLICT),
)  # fmt: skip
