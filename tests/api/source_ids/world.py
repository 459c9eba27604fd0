"""A district of two sources, and three apps with the same view of it: by the hub's ids and by those of each source."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import polars as pl

from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oneroster.scopes import SCOPES
from hub.store import apps, sources
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.oneroster.gradebooks import Book, Ids
from tests.api.oneroster.rosters import Prepared, issue, running
from tests.api.oneroster_v1p1.school import package
from tests.api.pseudonyms.world import CANONICAL, PLAIN, WHOLE, World
from tests.districts import District, Frames
from tests.services import Database
from transforms.catalogue import CATALOGUE

#: The apps by the source whose ids they know: PLAIN by none.
SIS, HR = "sis", "hr"
#: What the SIS calls some objects: nothing that could stand in an address as it is.
ODD = {
    "zoe": "zoe a/b@x.org?#%é", "gus": 'g{u}s"', "ivy": 'iv"y\\', "art": "art 1/2", "e8": 'e/8 "ü"', "south": "s{ü}d",
    "r2": "r.2@lms",
}  # fmt: skip
_REST = re.compile(rf"({CANONICAL.pattern})((?:\.[A-Za-z:-]+)?)")


def renamed(frames: Frames, keys: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """The frames with other ids."""
    where = re.compile("ourcedIds?$")
    return {
        file: frame.with_columns(
            pl.col([n for n in frame.columns if where.search(n) and n != "agentSourcedIds"]).replace(keys)
        )
        for file, frame in frames.items()
    }


def sis(**people: Any) -> dict[str, pl.DataFrame]:
    """What the first source says."""
    return renamed(package(**people), ODD)


def hr(*more: str) -> dict[str, pl.DataFrame]:
    """What the second one says: a school and people of its own, of whom one has a key that the SIS has too."""
    people = ["amy", "hr 1/@", *more]
    return {
        "orgs": pl.DataFrame([{"sourcedId": "north", "name": "Evening school", "type": "school"}]),
        "users": pl.DataFrame([
            {"sourcedId": key, "enabledUser": "true", "username": f"hr{n}", "givenName": f"Given{n}{n}",
             "familyName": f"Other{n}", "email": f"hr{n}@example.net"} for n, key in enumerate(people)
        ]),
        "roles": pl.DataFrame([
            {"sourcedId": f"role {key}", "userSourcedId": key, "roleType": "primary", "role": "teacher",
             "orgSourcedId": "north"} for key in people
        ]),
    }  # fmt: skip


@dataclass
class TwoSources(Prepared):
    """What was prepared. ``second``: the other source."""

    second: UUID = field(default_factory=uuid4)


async def prepare(worker_url: str) -> TwoSources:
    """Syncs both sources, and one person leaves the SIS."""
    db = await Pool.open(worker_url, name="preparing", largest=2)
    district = await District(db).create()
    other = replace(district, source_id=uuid4())
    async with db.district(district.district_id) as tx:
        await sources.create(tx, other.source_id, name="HR", kind="oneroster_csv", config={"partial": True})
    out = TwoSources(district.district_id, uuid4(), district.source_id, second=other.source_id)
    for name, source_id in ((PLAIN, None), (SIS, district.source_id), (HR, other.source_id)):
        await add_app(db, out, name, source_id)
    for source, frames in ((district, sis(ivy=(("student", "north", "primary"),))), (other, hr()), (district, sis())):
        run = await source.sync(frames)
        assert run.state == "applied", (run.state, run.guard, run.error_message, run.report)
    await db.close()
    return out


async def add_app(db: Pool, out: Prepared, name: str, source_ids: UUID | None) -> None:
    """A new app with a grant, and a token with all scopes."""
    app_id, client_id, secret = uuid4(), apps.new_client_id(), new_secret()
    async with db.shared() as tx:
        await apps.create(tx, app_id, name)
        await apps.create_client(tx, client_id, app_id=app_id, secret_hash=hash_secret(secret), scopes=[*SCOPES])
    out.apps[name], out.clients[name] = app_id, (client_id, secret)
    out.tokens[name] = await issue(db, client_id, [*SCOPES])
    async with db.district(out.here) as tx:
        now = District(db).clock.now()
        out.grants[name] = (await grants.create(tx, app_id, WHOLE, now, source_ids=source_ids))[0].grant_id


@dataclass
class Sourced(World):
    """A client of the running hub. ``keys``: by app, what the source of its grant calls records, by the hub's ids."""

    keys: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def prepared(self) -> TwoSources:
        found = self.hub.prepared
        assert isinstance(found, TwoSources)
        return found

    @property
    def other(self) -> District:
        """The district by its second source."""
        return replace(self.district, source_id=self.prepared.second)

    async def learn(self) -> None:
        """What each source calls the records of now, as it said itself."""
        here = self.prepared
        self.keys = {PLAIN: {}, SIS: {}, HR: {}}
        async with self.hub.db.district(here.here) as tx:
            for app, source_id in ((SIS, here.source), (HR, here.second)):
                for entity in CATALOGUE.entities:
                    rows = await tx.fetch(
                        f"SELECT t.sourced_id::text AS id, s.key FROM source_records s JOIN {entity.table} t "
                        "USING (district_id, rid) WHERE s.entity = $1::text::entity_name AND s.source_id = $2",
                        entity.name, source_id,
                    )  # fmt: skip
                    self.keys[app] |= {row["id"]: row["key"] for row in rows}

    def told(self, text: str, app: str) -> str:
        """What an app is told where it would be this with the hub's own ids: as text, or in an address."""
        address = "/" in text
        names = self.keys[app]

        def other(match: re.Match[str]) -> str:
            if match[1] not in names:
                return match[0]
            return quote(names[match[1]] + match[2], safe="") if address else names[match[1]] + match[2]

        return _REST.sub(other, text)

    def as_told(self, value: Any, app: str) -> Any:
        """The same with all texts in it as the app is told them."""
        if isinstance(value, dict):
            return {name: self.as_told(inner, app) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.as_told(inner, app) for inner in value]
        return self.told(value, app) if isinstance(value, str) else value


@asynccontextmanager
async def opened(database: Database, prepared: TwoSources, **settings: Any) -> AsyncIterator[Sourced]:
    """A client of a server over a database that was prepared."""
    async with running(database, replace(prepared, grants=dict(prepared.grants)), **settings) as hub:
        pool = await Pool.open(database.service, name="tests beside the API", largest=2)
        world = Sourced(Book(hub, Ids(), {}, pool), {})
        await world.learn()
        yield world
        await pool.close()
