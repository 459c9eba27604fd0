"""What a district enters for its PowerSchool source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator
from yarl import URL

from connectors.config import Address, ClientId, ConfigModel, QuietHours

StaffStatus = Literal["0", "1", "2", "3", "4"]
StaffRole = Literal[
    "teacher", "aide", "counselor", "principal", "proctor", "siteAdministrator", "districtAdministrator",
    "systemAdministrator",
]  # fmt: skip
SectionRole = Literal["teacher", "proctor", "administrator"]
EntityName = Literal["courses", "classes", "users", "enrollments"]
ENTITIES: tuple[EntityName, ...] = ("courses", "classes", "users", "enrollments")
EnrollStatus = Annotated[int, Field(ge=-2, le=4)]
#: All that the system knows: pre-registered, active, inactive, transferred out, graduated, imported.
EVERY_STATUS: tuple[int, ...] = (-2, -1, 0, 1, 2, 3, 4)
#: A table and a field as Oracle names them, which also keeps anything else out of the plugin's SQL.
FieldName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,29}\.[A-Za-z][A-Za-z0-9_]{0,29}$", to_lower=True)
]
STAFF_ROLES: Mapping[StaffStatus, StaffRole] = {"1": "teacher", "2": "aide", "4": "teacher"}
SECTION_ROLES: Mapping[str, SectionRole] = {
    "lead teacher": "teacher", "co-teacher": "teacher", "principal": "administrator",
    "school administrator": "administrator",
}  # fmt: skip


class KitOptions(ConfigModel):
    """What decides which queries the plugin brings, and so what it asks to read."""

    student_email: FieldName | None = Field(
        default=None,
        description="Where students' e-mail addresses are: table.field, of the table students, of an extension that "
        "has studentsdcid, or psm_studentcontact.email. Null: students have none.",
    )
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ENTITIES, description="What is pulled beside orgs and academic sessions."
    )
    demographics: bool = Field(default=False, description="Pull birth dates, sex and races of students.")
    contacts: bool = Field(default=False, description="Pull guardians with an account, and whose they are.")


class PowerSchoolConfig(KitOptions, QuietHours):
    """What a district may set for its PowerSchool source. The client's secret is entered apart from it."""

    url: Address = Field(description="The server's address, such as https://district.powerschool.com.")
    client_id: ClientId = Field(description="As the plugin's Data Provider Configuration shows it.")
    enroll_status: Annotated[tuple[EnrollStatus, ...], Field(min_length=1)] = Field(
        default=(0, -1), description="Students of these statuses are pulled; 0: active, -1: pre-registered."
    )
    staff_roles: dict[StaffStatus, StaffRole] = Field(
        default_factory=lambda: dict(STAFF_ROLES),
        description="Roles of staff by staffstatus; who has none is left out. 0: unassigned, 1: teacher, 2: staff, "
        "3: lunch staff, 4: substitute.",
    )
    section_roles: dict[str, SectionRole] = Field(
        default_factory=lambda: dict(SECTION_ROLES),
        description="Roles in classes by the name of their definition, in small letters. Others that have "
        '"teacher" in their names, but not "aide" or "student", are teachers, the rest proctors.',
    )
    lead_role: str = Field(
        default="lead teacher", max_length=100, description="The role definition that makes the primary teacher."
    )
    year_days: int = Field(
        default=30, ge=0, le=180,
        description="So many days before its first and after its last day a school year is pulled.",
    )  # fmt: skip
    page_rows: int | None = Field(
        default=None, ge=2, le=50_000, description="Rows of a page, at most what the plugin may have. Null: that."
    )
    at_once: int = Field(default=2, ge=1, le=4, description="So many pages are asked for side by side.")
    data_version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,30}$")] | None = Field(
        default="RosterHub",
        description="The application name of the data version subscription. Null: all is pulled each time.",
    )
    sweep_hours: int = Field(
        default=24, ge=0, le=8_760,
        description="So often pulls of changes go through all keys for what was deleted. 0: each time.",
    )  # fmt: skip

    @field_validator("url")
    @classmethod
    def _whole_server(cls, url: str) -> str:
        if URL(url).path.strip("/") or "?" in url:
            raise ValueError("the address of the server alone, without a path")
        return url.rstrip("/")

    @field_validator("section_roles")
    @classmethod
    def _small_letters(cls, roles: dict[str, SectionRole]) -> dict[str, SectionRole]:
        return {name.strip().lower(): role for name, role in roles.items()}

    def options(self) -> KitOptions:
        """What the plugin has to bring for this source."""
        return KitOptions.model_validate({name: getattr(self, name) for name in KitOptions.model_fields})

    def at(self, path: str) -> URL:
        """The address of a path of the server."""
        return URL(self.url + path, encoded=True)
