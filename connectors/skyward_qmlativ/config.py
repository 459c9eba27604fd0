"""What a district enters for its Skyward Qmlativ source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from yarl import URL

from connectors.config import Address, ClientId, ConfigModel, Headers, QuietHours

EntityName = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
#: Objects that the hub can do without.
Spare = Literal["Scheduling/SectionLength", "Demographics/NameEmail", "Security/User"]
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
_Code = Annotated[str, StringConstraints(min_length=1, max_length=20)]


class BearerLogin(ConfigModel):
    """Tokens by client credentials: an Integration Access of the type Bearer (OAuth)."""

    kind: Literal["bearer"]
    key: ClientId
    client_auth: Literal["basic", "body"] = Field(default="basic", description="Where key and secret go for a token.")


class BasicLogin(ConfigModel):
    """Key and secret with each request: an Integration Access of the type Basic, which Skyward is ending."""

    kind: Literal["basic"]
    key: ClientId


class QmlativConfig(QuietHours):
    """What a district may set for its Qmlativ source. The secret is entered apart from it."""

    url: Address = Field(description="Where the API is, as https://skyward.iscorp.com/DistrictStuAPI.")
    token_url: Address | None = Field(default=None, description="Where tokens are; null: the API's own /oauth/token.")
    login: Annotated[BearerLogin | BasicLogin, Field(discriminator="kind")] = Field(
        description="The key of the Integration Access, of its type."
    )
    entity: int = Field(ge=1, description="The id of the district's entity, which the Integration Access lists.")
    school_year: int | None = Field(
        default=None, ge=1, description="The id (SchoolYearID) of the school year; null: the entity's current one."
    )
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics must be asked for."
    )
    leave_out: tuple[Spare, ...] = Field(
        default=(), description="Objects that the access may not read, and that the district does without."
    )
    guardians: bool = Field(default=False, description="Pull students' guardians as users, with their agents.")
    staff_role: Literal["ext:staff", "aide", "siteAdministrator"] = Field(
        default="ext:staff", description="The role of staff who are no teachers at a school."
    )
    grades: dict[_Code, _Code] = Field(
        default_factory=dict, description="CEDS codes of grades by Qmlativ's own, as K to KG."
    )
    headers: Headers = Field(default_factory=dict, description="Headers that the server wants besides.")
    page_rows: int = Field(default=5_000, ge=1, le=100_000, description="Objects of a page.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "?" in self.url or "?" in (self.token_url or ""):
            raise ValueError("url, token_url: the address has no query")
        return self

    @property
    def tokens(self) -> str:
        """Where tokens are."""
        return self.token_url or f"{self.url.rstrip('/')}/oauth/token"

    def address(self, path: str) -> URL:
        """The address of something behind the API's root."""
        return URL(f"{self.url.rstrip('/')}/{path.lstrip('/')}", encoded=True)

    def asks(self, *entities: str) -> bool:
        """Whether one of some entities is pulled."""
        return bool({*entities} & {*self.entities})
