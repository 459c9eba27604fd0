"""The shape of what a subscription's receiver gets, for the OpenAPI document. hub/webhooks/batch.py writes it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.shapes import Asked


class Change(Asked):
    """One record, in its latest state at the end of the batch's range."""

    entity: str
    operation: Literal["entered", "updated", "left"] = Field(description="As seen from the grant's view.")
    sourced_id: UUID = Field(alias="sourcedId")
    href: str | None = Field(default=None, description="Where to read the record; missing after it left.")


class Range(Asked):
    """A stretch of a grant's feed."""

    subscription: UUID
    district: UUID
    grant: UUID
    from_: int = Field(alias="from", description="Position before the first change.")
    to: int = Field(description="Position of the last change.")
    more: bool = Field(description="Whether the same stretch goes on in the next batch.")
    changes: list[Change] = Field(description="What is there now first, then what left.")


class Batch(Asked):
    """The body of a delivery."""

    type: Literal["roster.changes"]
    timestamp: datetime
    data: Range
