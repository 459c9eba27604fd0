"""What a district enters for its Ed-Fi ODS / API source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from connectors.config import Address, ClientId, Headers, QuietHours
from connectors.edfi.descriptors import MEANINGS

EntityName = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
_Route = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z._-]{1,64}$")]
_Word = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class EdFiConfig(QuietHours):
    """What a district may set for its Ed-Fi source. The secret of the key is entered apart from it."""

    url: Address = Field(description="The base address of the ODS / API, which describes itself there.")
    key: ClientId = Field(description="The key of the API client.")
    client_auth: Literal["basic", "body"] = Field(
        default="basic", description="How the client says who it is: HTTP Basic, or members of the form."
    )
    school_year: int | None = Field(
        default=None, ge=2000, le=2100, description="The school year, by the year in which it ends. Null: the current."
    )
    instance: _Route | None = Field(default=None, description="The instance in the addresses of a host with several.")
    tenant: _Route | None = Field(default=None, description="The tenant in the addresses of a host with several.")
    district: int | None = Field(
        default=None, ge=1, description="localEducationAgencyId, where the key sees more than one district."
    )
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics must be asked for."
    )
    contacts: bool = Field(default=True, description="Pull students' contacts (parents) as users.")
    page_rows: int = Field(default=500, ge=2, le=5_000, description="Rows of a page.")
    changes: bool = Field(default=True, description="Leave alone what did not change, by change queries.")
    snapshot: bool = Field(default=False, description="Read the host's snapshot instead of data that changes.")
    staff_role: Literal["ext:staff", "aide", "siteAdministrator"] = Field(
        default="ext:staff", description="The role of staff whose classification says nothing and who teach nobody."
    )
    descriptors: dict[_Word, dict[_Word, _Word]] = Field(
        default_factory=dict,
        description="Meanings of descriptors besides the known ones: by descriptor, then by value or whole URI.",
    )
    headers: Headers = Field(default_factory=dict, description="Headers that the host wants besides; no secrets.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "?" in self.url:
            raise ValueError("url: the address of an API has no query")
        for name, values in self.descriptors.items():
            if name not in MEANINGS:
                raise ValueError(f"descriptors: {', '.join(MEANINGS)} have meanings here")
            known = MEANINGS[name]
            for meaning in values.values():
                if known and meaning not in known:
                    raise ValueError(f"descriptors: a value of {name} means one of {', '.join(sorted(known))}")
        return self
