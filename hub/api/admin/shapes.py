"""What the shapes of requests and answers share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: Names that people give to things. Control characters have no place in a list or a log.
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class Asked(BaseModel):
    """A body or a query: members that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rotation(Asked):
    """How long the old secret counts beside the new one; 0 ends it at once."""

    overlap_seconds: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = 24 * 3600


class Shown(BaseModel):
    """An answer, made from a row's attributes or from keywords."""

    model_config = ConfigDict(from_attributes=True, frozen=True)
