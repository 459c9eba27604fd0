"""What a district enters for its Aeries source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from yarl import URL

from connectors.config import Address, ConfigModel, QuietHours

EntityName = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
ContactRole = Literal["parent", "guardian", "relative"]
_Code = Annotated[str, StringConstraints(min_length=1, max_length=20)]
_API = "/api/v5"


class DistrictOrg(ConfigModel):
    """The district itself, where Aeries' list of schools does not have it as school 0."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class AeriesConfig(QuietHours):
    """What a district may set for its Aeries source. The certificate is entered apart from it."""

    url: Address = Field(description="Where Aeries is, as https://district.aeries.net/aeries.")
    database_year: int | None = Field(
        default=None, ge=2000, le=2100, description="The year in which the school year begins; null: Aeries' own."
    )
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics must be asked for."
    )
    contacts: bool = Field(default=False, description="Pull students' contacts as users, with their agents.")
    contact_role: ContactRole = Field(
        default="guardian", description="The role of contacts whose relationship is not listed."
    )
    relationships: dict[_Code, ContactRole] = Field(
        default_factory=dict, description="Roles of contacts by Aeries' code of the relationship."
    )
    staff_role: Literal["ext:staff", "aide", "siteAdministrator"] = Field(
        default="ext:staff", description="The role of staff who teach no class."
    )
    grades: dict[_Code, _Code] = Field(
        default_factory=dict, description="CEDS codes of grades beside 0 to 12, by Aeries' number, as -1 to TK."
    )
    district: DistrictOrg | None = Field(default=None, description="The district, where Aeries has no school 0.")
    schools: tuple[int, ...] = Field(default=(), description="The codes of schools that are pulled; empty: all.")
    exclude_schools: tuple[int, ...] = Field(
        default=(999,), description="The codes of schools that are not pulled: 999 keeps inactive students."
    )
    missing_is_empty: bool = Field(
        default=False, description="Whether a school's list that Aeries does not find (HTTP 404) has no rows."
    )
    page_rows: int = Field(default=1_000, ge=2, le=10_000, description="Students of a request.")
    changes: bool = Field(default=True, description="Ask Aeries what changed since the last time.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "?" in self.url:
            raise ValueError("url: the address has no query")
        return self

    def address(self, path: str) -> URL:
        """The address of one of the API's lists: ``path`` as it stands behind ``/api/v5/``."""
        base = self.url.rstrip("/")
        found = URL(f"{base.removesuffix(_API)}{_API}/{path}")
        return found if self.database_year is None else found.with_query({"DatabaseYear": str(self.database_year)})

    def asks(self, *entities: str) -> bool:
        """Whether one of some entities is pulled."""
        return bool({*entities} & {*self.entities})
