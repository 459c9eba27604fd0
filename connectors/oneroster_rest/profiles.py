"""What is known of vendors' OneRoster servers, as data: only what a district would otherwise have to find out.

Everything else is found out on the way (caps of pages, missing totals, spellings). A value that the configuration
states goes before the profile's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

People = Literal["each_role", "joined"]
Titles = Literal["given", "made"]
Profile = Literal["standard", "infinite_campus", "skyward", "aeries", "classlink", "edfi"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """How one vendor's servers like to be asked. ``page_rows``: rows of a page. ``scopes``: where it needs some stated.

    ``at_once``: requests that are under way at a time, at the most; ``most_at_once``: what a district may set.
    ``root_1_1``: where 1.1 is below ``/ims/oneroster``, where an address does not say it.
    ``note``: where the district's staff makes or permits the credentials.

    ``people``: whether records that 1.1 keeps for each role of a person become one (connectors.oneroster_rest.people).
    ``titles``: whether classes without a title get one, since all elementary ones have none.
    ``quiet``: local hours in which a district's staff works with the system, and it should not be asked for everything.
    """

    page_rows: int = 5_000
    at_once: int = 2
    most_at_once: int = 8
    root_1_1: str = "v1p1"
    quiet: str | None = None
    scopes: bool = True
    people: People = "each_role"
    titles: Titles = "given"
    headers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


PROFILES: Mapping[Profile, Vendor] = MappingProxyType({
    "standard": Vendor(
        note="Look at the student system's page for OneRoster or API connections: the credentials must be active, and "
        "permitted to read each entity of the schools and terms that are wanted.",
    ),
    "infinite_campus": Vendor(
        page_rows=10_000, at_once=4, most_at_once=5, root_1_1="rostering/v1p1", quiet="07:00-16:00", scopes=False,
        people="joined",
        note="Make the credentials in Digital Learning Applications; the token's address ends with ?appName=…",
    ),
    "skyward": Vendor(
        page_rows=1_000, headers=MappingProxyType({"Suppress-Development-Permissions": "true"}),
        note="Make an Integration Access; it must be active, not expired, and name the entity of the district.",
    ),
    "aeries": Vendor(
        titles="made",
        note="The token's address is the server's address with /token. Elementary classes have no title there.",
    ),
    "classlink": Vendor(
        page_rows=10_000, note="By the proxy with a bearer token (login of the kind bearer), or directly with OAuth 1.",
    ),
    "edfi": Vendor(
        page_rows=500, note="The API client's key needs a claim set that reads rosters, and the right school year.",
    ),
})  # fmt: skip
