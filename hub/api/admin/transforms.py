"""Transforms: what a district makes of a source's columns, values and rows. Every version is kept and can be tried.

Only the district itself may write and try expressions: the counts that come back would tell an operator who is in a
roster (T55).
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from connectors.protocol import ConnectorError
from connectors.registry import connector
from hub.api.admin.call import Call
from hub.api.admin.forms import FORM, read_form
from hub.api.admin.problem import FieldError, InvalidError
from hub.api.admin.route import DISTRICT, STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.store import sources, uploads
from hub.store import transforms as store
from hub.store.database import Transaction
from hub.sync import preview as trying
from hub.sync import rule_settings, shaping
from transforms.shaping.checking import Checked, check
from transforms.shaping.definition import Definition, as_json
from transforms.shaping.exposure import exposures
from transforms.shaping.steps import DefinitionError

Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]


class TransformVersionQuery(Asked):
    """Which version."""

    version: int | None = Field(default=None, ge=1, description="A version; without it the one that acts.")


class NewTransform(Asked):
    """A definition that is to act from the next run on."""

    definition: Definition
    note: Note = Field(default="", description="Why, for those who come later.")


class TransformReversion(Asked):
    """Which version is to act again."""

    version: int = Field(ge=1)


class TransformCandidate(Asked):
    """A definition to be tried on a package."""

    definition: Definition
    upload_id: UUID | None = Field(default=None, description="The package; without it the newest that is still there.")
    against: Literal["active", "none"] = Field(
        default="active", description="What it is compared with: the version that acts, or rows as they come."
    )


class TransformVersion(Shown):
    """One version, without its definition."""

    version: int = Field(description="0: none was saved, rows are taken as they come.")
    note: str
    created_by: str | None
    created_at: datetime | None
    active: bool


class TransformVersions(Shown):
    """All versions, newest first."""

    items: list[TransformVersion]


class SourceTransform(TransformVersion):
    """One version."""

    definition: dict[str, Any]
    warnings: list[Exposed] = Field(default=[], description="Of a definition that was just saved.")


class Exposed(Shown):
    """A column that takes values of one which fewer apps see."""

    file: str
    column: str
    source: str
    privacy: str = Field(description="The privacy class of `source`; that of `column` is wider.")


class CellChange(Shown):
    """A value and what stands in its place."""

    before: str | None
    after: str | None
    cells: int


class ColumnChanges(Shown):
    """What happens to one column."""

    changed: int = Field(description="Cells that come out different.")
    samples: list[CellChange] = Field(description="The most frequent changes.")


class FileChanges(Shown):
    """What happens to one OneRoster file."""

    before: int
    after: int
    left_out: int = Field(description="Rows that are no longer there.")
    added: int = Field(description="Rows that were not there before.")
    whole: bool = Field(description="Whether all rows were looked at; of very large files the first ones are.")
    columns: dict[str, ColumnChanges]


class FindingCounts(Shown):
    """How often a rule found something."""

    before: int
    after: int


class TransformPreview(Shown):
    """What a definition would change. Nothing was written."""

    upload_id: UUID | None = Field(description="Null for a package that came in a form.")
    files: dict[str, FileChanges]
    findings: dict[str, FindingCounts] = Field(description="By code; empty where not all rows were looked at.")
    refused: bool = Field(description="Whether a run would refuse the whole package.")
    warnings: list[Exposed]
    whole: bool


def checked(definition: Definition, under: str = "definition") -> Checked:
    """The definition with everything in it checked. Raises InvalidError with every fault and its place."""
    try:
        return check(definition)
    except DefinitionError as error:
        fields = [FieldError(field=f"{under}.{f.place}" if f.place else under, message=f.message)
                  for f in error.faults]  # fmt: skip
        raise InvalidError("body", fields) from None


async def _fits(source: sources.Source, definition: Definition) -> None:
    """Refuses a mapping for a source that has none. Raises InvalidError."""
    if definition.mapping is None:
        return
    try:
        mapped = (await asyncio.to_thread(connector, source.kind)).mapped
    except ConnectorError:
        mapped = False
    if not mapped:
        text = f"Sources of the kind {source.kind} have no mapping; those of the kind table_csv do."
        raise InvalidError("body", [FieldError(field="definition.mapping", message=text)])


def _warnings(transform: Checked) -> list[Exposed]:
    return [Exposed.model_validate(one) for one in exposures(transform)]


def _shown(row: store.Transform | None) -> SourceTransform:
    if row is None:
        return SourceTransform(version=0, note="", created_by=None, created_at=None, active=True, definition={})
    return SourceTransform.model_validate(row)


async def get(call: Call, query: TransformVersionQuery) -> SourceTransform:
    """The transform that acts on a source, or another version of it."""
    source_id = call.id("source")
    async with call.reading() as tx:
        await sources.get(tx, source_id)
        if query.version is not None:
            return _shown(await store.get(tx, source_id, query.version))
        return _shown(await store.active(tx, source_id))


async def listing(call: Call) -> TransformVersions:
    """All versions of a source's transform."""
    source_id = call.id("source")
    async with call.reading() as tx:
        await sources.get(tx, source_id)
        rows = await store.listing(tx, source_id)
    return TransformVersions(items=[TransformVersion.model_validate(row) for row in rows])


async def put(call: Call, body: NewTransform) -> SourceTransform:
    """Saves a new version; the next run compares row by row. A broken definition is refused with the place."""
    source_id = call.id("source")
    made = await asyncio.to_thread(checked, body.definition)
    async with call.writing() as writing:
        await _fits(await sources.get(writing.tx, source_id), body.definition)
        row = await store.add(
            writing.tx, source_id, as_json(body.definition), note=body.note, created_by=call.actor_name
        )
        writing.note(f"source/{source_id}", version=row.version, files=sorted(body.definition.files))
    return _shown(row).model_copy(update={"warnings": _warnings(made)})


async def revert(call: Call, body: TransformReversion) -> SourceTransform:
    """Lets a version that was saved before act again."""
    source_id = call.id("source")
    async with call.writing() as writing:
        await sources.get(writing.tx, source_id)
        row = await store.revert(writing.tx, source_id, body.version)
        writing.note(f"source/{source_id}", version=row.version)
    return _shown(row)


async def preview(call: Call, body: TransformCandidate | None) -> TransformPreview:
    """Compares what a definition makes of a package with what comes out now. Nothing is written.

    The package is one that was uploaded, or comes as `file` in a form behind the JSON object as `body`; then it is
    looked at and not kept.
    """
    if body is not None:
        return await _preview(call, body, None, None)
    async with trying.received() as folder:
        package, limit = folder / "package", call.context.settings.upload_max_bytes
        body = await read_form(call.request, TransformCandidate, package, limit=limit)
        if body.upload_id is not None:
            text = "The package is in the form: leave upload_id out."
            raise InvalidError("body", [FieldError(field="upload_id", message=text)])
        return await _preview(call, body, package, folder)


async def _preview(
    call: Call, body: TransformCandidate, package: Path | None, folder: Path | None
) -> TransformPreview:  # fmt: skip
    source_id, upload_id = call.id("source"), None
    candidate = await asyncio.to_thread(checked, body.definition)
    async with call.reading() as tx:
        source = await sources.get(tx, source_id)
        await _fits(source, body.definition)
        rules, today = await rule_settings.in_force(tx), call.context.clock.now().date()
        if package is None:
            upload_id = await _upload(tx, source_id, body.upload_id)
        try:
            now = await shaping.in_force(tx, source_id) if body.against == "active" else None
        except ConnectorError:
            now = None
    try:
        if package is not None and folder is not None:
            found = await trying.preview_of(source, package, folder, now, candidate, rules, today)
        else:
            assert upload_id is not None, "a package is in the form, or was uploaded"
            db, district = call.context.db, call.district_id
            found = await trying.preview(db, district, source, upload_id, now, candidate, rules, today)
    except ConnectorError as error:
        raise trying.refused(error) from None
    return TransformPreview(
        upload_id=upload_id, files={name: _file(file) for name, file in found.files.items()},
        findings={code: FindingCounts(before=a, after=b) for code, (a, b) in found.findings.items()},
        refused=found.refused, whole=found.whole, warnings=_warnings(candidate),
    )  # fmt: skip


async def _upload(tx: Transaction, source_id: UUID, asked: UUID | None) -> UUID:
    """The upload that was asked for, or the newest. Raises HubError(UPLOAD_INCOMPLETE), HubError(NOT_FOUND)."""
    upload_id = asked or await uploads.last_of(tx, source_id)
    if upload_id is None:
        text = "No package of this source is kept any more. Send one first, or along with the definition as a form."
        raise HubError(Code.UPLOAD_INCOMPLETE, text)
    if (await uploads.get(tx, upload_id)).source_id != source_id:
        raise HubError(Code.NOT_FOUND, "This source has no such upload.")
    return upload_id


def _file(file: trying.FilePreview) -> FileChanges:
    columns = {
        name: ColumnChanges(
            changed=cells.changed,
            samples=[CellChange(before=a, after=b, cells=n) for a, b, n in cells.samples],
        )
        for name, cells in file.columns.items()
    }
    return FileChanges(
        before=file.before,
        after=file.after,
        left_out=file.left_out,
        added=file.added,
        whole=file.whole,
        columns=columns,
    )


_OF = "/districts/{district}/sources/{source}/transform"
ROUTES = (
    Route("GET", _OF, get, "A source's transform", roles=STAFF, query=TransformVersionQuery, answer=SourceTransform),
    Route("PUT", _OF, put, "Save a new version of a source's transform", roles=DISTRICT, body=NewTransform,
          answer=SourceTransform, action="transform.put"),
    Route("GET", _OF + "/versions", listing, "All versions of a source's transform", roles=STAFF,
          answer=TransformVersions),
    Route("POST", _OF + "/revert", revert, "Let an earlier version act again", roles=STAFF, body=TransformReversion,
          answer=SourceTransform, action="transform.revert"),
    Route("POST", _OF + "/preview", preview, "Try a transform on a package; nothing is written", roles=DISTRICT,
          body=TransformCandidate, streams=(FORM,), answer=TransformPreview, writes=False,
          errors=(Code.UPLOAD_INCOMPLETE, Code.CONFLICT, Code.UNAVAILABLE)),
)  # fmt: skip
