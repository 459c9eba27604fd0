"""What a district enters for its OneRoster REST source."""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from yarl import URL

from connectors.oneroster_rest.profiles import PROFILES, Profile, Vendor
from transforms.catalogue import CATALOGUE, Entity, Version

_SERVICES = re.compile(r"/ims/oneroster/(?:(?:rostering|gradebook|resources)/v1p2|v1p1)/?$")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
_SCOPE_11 = "https://purl.imsglobal.org/spec/or/v1p1/scope/"
#: Headers that are the client's own business.
_OURS = frozenset({"authorization", "host", "content-length", "transfer-encoding", "connection", "cookie", "accept"})

Address = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s/?#@]+[^\s#@]*$")]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]
EntityName = Literal[
    "orgs", "academicSessions", "resources", "courses", "classes", "users", "enrollments", "demographics",
    "categories", "scoreScales", "lineItems", "results",
]  # fmt: skip
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OAuth2(_Model):
    """Client credentials (RFC 6749 §4.4)."""

    kind: Literal["oauth2"]
    token_url: Address = Field(description="Where tokens are fetched.")
    client_id: ClientId
    scope: Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[\x21-\x7e ]*$")] | None = Field(
        default=None, description="The scopes to ask for. Empty: none; null: those that the entities need."
    )
    client_auth: Literal["basic", "body"] = Field(
        default="basic", description="How the client says who it is: HTTP Basic, or members of the form."
    )


class OAuth1(_Model):
    """Each request is signed (RFC 5849); for OneRoster 1.1."""

    kind: Literal["oauth1"]
    client_id: ClientId
    signature_method: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"


class Bearer(_Model):
    """A token that the vendor gave out for good; it is entered as the client's secret."""

    kind: Literal["bearer"]


class OneRosterRestConfig(_Model):
    """What a district may set for its OneRoster REST source. The client's secret is entered apart from it."""

    url: Address = Field(description="The server's address: up to its /ims/oneroster/…, with or without that part.")
    version: Version = "1.2"
    login: Annotated[OAuth2 | OAuth1 | Bearer, Field(discriminator="kind")]
    profile: Profile = Field(default="standard", description="Whose server it is, where that is known.")
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics, resources and the gradebook must be asked for."
    )
    page_rows: int | None = Field(
        default=None, ge=2, le=50_000, description="Rows of a page. Null: as many as the profile says."
    )
    headers: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")],
                  Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[\x20-\x7e]*$")]] = Field(
        default_factory=dict, description="Headers that the server wants besides; no secrets."
    )  # fmt: skip
    changes: bool = Field(default=True, description="Pull what changed since the last time alone, by dateLastModified.")
    overlap_minutes: int = Field(
        default=120, ge=0, le=10_080,
        description="So much earlier than the last pull, by the server's clock, changes are asked for.",
    )  # fmt: skip
    sweep_hours: int = Field(
        default=24, ge=0, le=8_760,
        description="So often pulls of changes go through all ids for what was deleted without a word. 0: each time.",
    )  # fmt: skip
    totals: Literal["trusted", "ignored"] = Field(
        default="trusted", description="Whether X-Total-Count is true; ignore it where a server counts wrongly."
    )
    quiet: str | None = Field(
        default=None, description="Local hours without pulls, as 07:00-16:00. Null: the profile's; empty: none."
    )
    zone: str | None = Field(
        default=None, max_length=100, description="Time zone of the quiet hours; without one there are none."
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError("no time zone of this name, such as America/Chicago")
        return zone

    @field_validator("quiet")
    @classmethod
    def _hours(cls, quiet: str | None) -> str | None:
        if quiet and _HOURS.fullmatch(quiet) is None:
            raise ValueError("write quiet hours as 07:00-16:00")
        return quiet

    @field_validator("headers")
    @classmethod
    def _no_own(cls, headers: dict[str, str]) -> dict[str, str]:
        if own := sorted(name for name in headers if name.lower() in _OURS):
            raise ValueError(f"the connector sets {own[0]} itself")
        return headers

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "?" in self.url:
            raise ValueError("url: the address of a server has no query")
        if self.version == "1.2" and isinstance(self.login, OAuth1):
            raise ValueError("login: OneRoster 1.2 has OAuth 2 alone")
        if self.quiet and self.zone is None:
            raise ValueError("zone: name the time zone of the quiet hours")
        for name in self.entities:
            if self.version not in CATALOGUE[name].versions:
                raise ValueError(f"entities: OneRoster {self.version} has no {name}")
        return self

    @property
    def vendor(self) -> Vendor:
        """What is known of the server."""
        return PROFILES[self.profile]

    @property
    def rows(self) -> int:
        """Rows to ask for in one page."""
        return self.page_rows or self.vendor.page_rows

    def collection(self, entity: Entity) -> URL:
        """The address of an entity's collection."""
        root = _SERVICES.sub("", self.url).rstrip("/")
        path = "v1p1" if self.version == "1.1" else f"{entity.service}/v1p2"
        return URL(f"{root}/ims/oneroster/{path}/{entity.name}")

    def pulled(self) -> tuple[Entity, ...]:
        """The entities that are pulled, what others refer to first."""
        return tuple(e for e in CATALOGUE.entities if e.name in self.entities)

    def scope(self) -> str:
        """The scopes that a token is asked for."""
        login = self.login
        if isinstance(login, OAuth2) and login.scope is not None:
            return login.scope
        if not self.vendor.scopes:
            return ""
        entities = [CATALOGUE[name] for name in self.entities]
        names = {"roster.readonly"}
        names |= {"roster-demographics.readonly"} if "demographics" in self.entities else set()
        names |= {"gradebook.readonly"} if any(e.service == "gradebook" for e in entities) else set()
        names |= {"resource.readonly"} if any(e.service == "resources" for e in entities) else set()
        prefix = _SCOPE_11 if self.version == "1.1" else _SCOPE
        return " ".join(prefix + name for name in sorted(names))

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the server wants to be left alone from now on; 0 where it does not. Reads the zone's file."""
        hours = _HOURS.fullmatch(self.vendor.quiet or "" if self.quiet is None else self.quiet)
        if hours is None or self.zone is None:
            return 0.0
        local = now.astimezone(ZoneInfo(self.zone))
        begin, end = time(int(hours[1]), int(hours[2])), time(int(hours[3]), int(hours[4]))
        clock = local.time()
        within = begin <= clock < end if begin <= end else clock >= begin or clock < end
        if not within:
            return 0.0
        minutes = (end.hour * 60 + end.minute) - (clock.hour * 60 + clock.minute)
        return (minutes % 1440) * 60.0 - clock.second
