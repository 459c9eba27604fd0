"""The shape of what a subscription's receiver gets, for the OpenAPI document. hub/changes/message.py writes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.shapes import Asked
from hub.changes.types import MARKS, TYPES


class Change(Asked):
    """One record, in its latest state at the end of the batch's range."""

    type: str = Field(
        description="As seen from the grant's view: a collection and what happened.",
        json_schema_extra={"enum": [t for t in TYPES if t not in MARKS]},
    )
    sourced_id: str = Field(alias="sourcedId", description="As the app knows the record.")
    version: int = Field(description="The last step that touched the record: of two states the higher one is newer.")
    href: str | None = Field(default=None, description="Where to read the record; missing after it left.")
    record: dict[str, Any] | None = Field(
        default=None, description="In the mode `records`: the object of OneRoster 1.2, as the app may see it now."
    )
    previous: dict[str, Any] | None = Field(
        default=None, description="In the mode `records`, of an updated one: what members said that say otherwise now."
    )


class Mark(Asked):
    """The end of what one sync or one edit of the grant did to the view."""

    type: Literal["syncs.completed", "grants.updated"]
    version: int = Field(description="The step that it was.")
    at: datetime
    counts: dict[str, dict[str, int]] = Field(description="By collection: created, updated and deleted records.")


class Range(Asked):
    """A stretch of a grant's feed."""

    subscription: UUID
    district: UUID
    grant: UUID
    from_: int = Field(alias="from", description="The step before the first change.")
    to: int = Field(description="The step of the last change.")
    more: bool | None = Field(default=None, description="Whether the same stretch goes on in the next batch.")
    changes: list[Change | Mark] | None = Field(
        default=None, description="What is there now first, then what left, then marks. Missing in the mode signal."
    )
    replay: Literal[True] | None = Field(default=None, description="Somebody asked for it to be sent again.")
    parked: Literal[True] | None = Field(default=None, description="A change that was refused before, once more.")
    probe: Literal[True] | None = Field(default=None, description="A change that comes again in its turn.")
    reason: Literal["retention", "restored"] | None = Field(default=None, description="Why to start over.")
    snapshot: str | None = Field(default=None, description="Where everything is read, to start over.")


class Batch(Asked):
    """The body of a delivery."""

    type: Literal["roster.changes", "roster.moved", "subscriptions.resync_required"]
    timestamp: datetime
    data: Range
