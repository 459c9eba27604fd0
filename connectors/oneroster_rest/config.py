"""What a district enters for its OneRoster REST source."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from yarl import URL

from connectors.config import Address, ClientId, ConfigModel, Headers, QuietHours
from connectors.oneroster_rest.profiles import PROFILES, Profile, Vendor
from transforms.catalogue import CATALOGUE, Entity, Version

#: Roots of collections as vendors write them down; those of 1.1 differ, so the one that was entered counts.
_SERVICES = re.compile(r"/ims/oneroster/(?:(?:rostering|gradebook|resources)/v1p2|(?:rostering/)?v1p1)/?$")
ROOTS_1_1 = ("v1p1", "rostering/v1p1")
_ROOT_1_1 = re.compile(r"/(?:ims/oneroster/(?:rostering/)?v1p1|learningdata/v1)/?$")
_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
_SCOPE_11 = "https://purl.imsglobal.org/spec/or/v1p1/scope/"
EntityName = Literal[
    "orgs", "academicSessions", "resources", "courses", "classes", "users", "enrollments", "demographics",
    "categories", "scoreScales", "lineItems", "results",
]  # fmt: skip
ROSTER: tuple[EntityName, ...] = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")


class OAuth2(ConfigModel):
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


class OAuth1(ConfigModel):
    """Each request is signed (RFC 5849); for OneRoster 1.1."""

    kind: Literal["oauth1"]
    client_id: ClientId
    signature_method: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"


class Bearer(ConfigModel):
    """A token that the vendor gave out for good; it is entered as the client's secret."""

    kind: Literal["bearer"]


class ClassLink(ConfigModel):
    """A partner's key for ClassLink's Roster Server, which is entered as the client's secret; for OneRoster 1.1.

    The source's ``url`` is the address of ClassLink's proxy.
    """

    kind: Literal["classlink"]
    application: ClientId = Field(
        description="Which district: its oneroster_application_id in the partner's list. A try lists them."
    )
    connection: Literal["proxy", "direct"] = Field(
        default="proxy", description="Through the proxy, or with signatures to the district's own server."
    )


class OneRosterRestConfig(QuietHours):
    """What a district may set for its OneRoster REST source. The client's secret is entered apart from it."""

    url: Address = Field(description="The server's address: up to its /ims/oneroster/…, with or without that part.")
    version: Version = "1.2"
    login: Annotated[OAuth2 | OAuth1 | Bearer | ClassLink, Field(discriminator="kind")]
    profile: Profile = Field(default="standard", description="Whose server it is, where that is known.")
    entities: Annotated[tuple[EntityName, ...], Field(min_length=1)] = Field(
        default=ROSTER, description="What is pulled. Demographics, resources and the gradebook must be asked for."
    )
    page_rows: int | None = Field(
        default=None, ge=2, le=50_000, description="Rows of a page. Null: as many as the profile says."
    )
    at_once: int | None = Field(
        default=None, ge=1, le=8, description="Requests at a time, at the most. Null: as many as the profile says."
    )
    headers: Headers = Field(default_factory=dict, description="Headers that the server wants besides; no secrets.")
    people: Literal["each_role", "joined"] | None = Field(
        default=None,
        description="joined: in 1.1 records such as s123 and t123 are one person, 123; in 1.2 people are called by "
        "that number where the server tells it. Null: the profile's.",
    )
    titles: Literal["given", "made"] | None = Field(
        default=None, description="Whether classes without a title get their code or id as one. Null: the profile's."
    )
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

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if "?" in self.url:
            raise ValueError("url: the address of a server has no query")
        if self.version == "1.2" and isinstance(self.login, OAuth1 | ClassLink):
            what = "has OAuth 2 alone" if isinstance(self.login, OAuth1) else "is not spoken by ClassLink's proxy"
            raise ValueError(f"login: OneRoster 1.2 {what}")
        if self.at_once is not None and self.at_once > self.vendor.most_at_once:
            raise ValueError(f"at_once: {self.profile} bears {self.vendor.most_at_once} requests at a time")
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

    @property
    def joins_people(self) -> bool:
        """Whether records of one person become one."""
        return self.version == "1.1" and (self.people or self.vendor.people) == "joined"

    @property
    def keeps_numbers(self) -> bool:
        """Whether people of 1.2 are called by the numbers of their records in 1.1, where the server tells them."""
        return self.version == "1.2" and (self.people or self.vendor.people) == "joined"

    @property
    def makes_titles(self) -> bool:
        """Whether classes without a title get one; without, they are kept out."""
        return (self.titles or self.vendor.titles) == "made"

    @property
    def files(self) -> Version:
        """The version of the files that are made: people with several roles need those of 1.2."""
        return "1.2" if self.joins_people else self.version

    @property
    def requests_at_once(self) -> int:
        """How many requests may be under way at a time."""
        return self.at_once or self.vendor.at_once

    def collection(self, entity: Entity, url: str | None = None) -> URL:
        """The address of an entity's collection; ``url`` where it is not the configured server's."""
        given = url or self.url
        if self.version == "1.1" and _ROOT_1_1.search(given):
            return URL(f"{given.rstrip('/')}/{entity.name}", encoded="%" in given)
        root = _SERVICES.sub("", given).rstrip("/")
        path = self.vendor.root_1_1 if self.version == "1.1" else f"{entity.service}/v1p2"
        return URL(f"{root}/ims/oneroster/{path}/{entity.name}", encoded="%" in root)

    def elsewhere(self, entity: Entity) -> tuple[URL, ...]:
        """Where else a collection of 1.1 may be, where the address does not say it: vendors have it in either place."""
        if self.version != "1.1" or _ROOT_1_1.search(self.url):
            return ()
        usual = self.collection(entity)
        roots = (f"{_SERVICES.sub('', self.url).rstrip('/')}/ims/oneroster/{path}" for path in ROOTS_1_1)
        return tuple(url for root in roots if (url := URL(f"{root}/{entity.name}", encoded="%" in root)) != usual)

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
