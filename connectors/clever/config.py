"""What a district enters for its Clever source."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from yarl import URL

from connectors.config import Address, ClientId, ConfigModel, QuietHours

EntityName = Literal["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
CleverId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,64}$")]


class DistrictToken(ConfigModel):
    """The token that Clever made for this district and application; it is entered as the source's secret."""

    kind: Literal["token"]


class Application(ConfigModel):
    """The application's own credentials, with which the district's token is fetched; the secret is entered apart."""

    kind: Literal["application"]
    client_id: ClientId


class CleverConfig(QuietHours):
    """What a district may set for its Clever source. The secret is entered apart from it."""

    url: Address = Field(default="https://api.clever.com", description="Where the Data API is.")
    token_url: Address = Field(
        default="https://clever.com/oauth/tokens", description="Where an application fetches the district's token."
    )
    version: Literal["v3.0", "v3.1"] = "v3.1"
    login: Annotated[DistrictToken | Application, Field(discriminator="kind")] = DistrictToken(kind="token")
    district: CleverId | None = Field(
        default=None, description="Clever's id of the district. Needed for a login of the kind application."
    )
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics must be asked for."
    )
    page_rows: int = Field(default=1_000, ge=2, le=10_000, description="Rows of a page.")
    changes: bool = Field(default=True, description="Pull what changed since the last time alone, by events.")
    staff_role: Literal["ext:staff", "aide", "siteAdministrator"] = Field(
        default="ext:staff", description="The role of staff whose title names no other one."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if isinstance(self.login, Application) and self.district is None:
            raise ValueError("district: an application may see several; state the district's id at Clever")
        for name in ("url", "token_url"):
            if "?" in getattr(self, name):
                raise ValueError(f"{name}: the address has no query")
        return self

    def collection(self, name: str) -> URL:
        """The address of one of Clever's collections."""
        return URL(f"{self.url.rstrip('/')}/{self.version}/{name}")
