"""The shapes of answers to who asks for changes, for the AsyncAPI document. service.py and everywhere.py write them."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.deliveries import Change, Mark
from hub.api.admin.problem import Problem
from hub.api.admin.shapes import Asked


class Answer(Asked):
    """The next changes of one district."""

    district: UUID
    grant: UUID
    from_: int = Field(alias="from", description="The step before the first change.")
    to: int = Field(description="The step of the last change.")
    more: bool = Field(description="Whether the same stretch goes on in the next answer.")
    next: str = Field(description="What to give as `after` in the next request. Opaque.")
    changes: list[Change | Mark] = Field(description="What is there now first, then what left, then marks.")


class DistrictChange(Change):
    """One record of one of several districts."""

    district: UUID


class DistrictMark(Mark):
    """The end of what one sync or one edit did in one of several districts."""

    district: UUID


class Resync(Asked):
    """How to begin anew in a district: read everything, then go on from ``after``."""

    district: UUID
    reason: Literal["expired", "ahead", "other_feed"]
    after: str = Field(description="The position to go on from. It was taken before anything is read.")
    oneroster: str = Field(description="The district's OneRoster.")
    export: str = Field(description="The district's CSV package.")


class State(Asked):
    """What became of a district since the answer before. One that is not named stands where it stood."""

    district: UUID
    state: Literal["followed", "joined", "suspended", "withdrawn", "resync_required"]
    grant: UUID
    from_: int | None = Field(default=None, alias="from")
    to: int | None = None
    more: bool | None = None
    resync: Resync | None = None


class AnswerEverywhere(Asked):
    """The next changes of all districts that grant the app something."""

    more: bool = Field(description="Whether there is more to tell at once.")
    next: str = Field(description="What to give as `after` in the next request. Opaque.")
    districts: list[State]
    changes: list[DistrictChange | DistrictMark]


class ResyncProblem(Problem):
    """The answer with status 410."""

    resync: Resync
