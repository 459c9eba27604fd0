"""Two districts that agree, what the new one says of pupils of the old one, and whom either is told about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import polars as pl

from hub.crypto import column_key
from hub.store import agreements, audit, matching
from hub.store.agreements import Agreement, Terms
from hub.store.database import Database as Pool
from hub.sync import agreements as acts
from hub.sync.tokenising import tokenise_once
from tests.districts import District, Frames, sandbox, without
from tests.services import MASTER_KEY
from tests.sync.test_several_sources import member

KEY = column_key(MASTER_KEY)
OURS = sandbox(100, 3).frames
THEIRS = sandbox(100, 5).frames
PUPILS = (
    OURS["users"].filter(pl.col("middleName").is_not_null() & pl.col("grades").is_not_null())["sourcedId"].to_list()
)
TERMS = Terms(["student"], [], 365, 10, None)
TOKENS = "SELECT district_id, agreement_id, token, rid, left_at FROM hub.agreement_tokens"


def joined(package: Frames, keys: Sequence[str], **values: str | None) -> Frames:
    """Another district's package with some of our pupils, who have other ids and schools there."""
    school = package["roles"]["orgSourcedId"][0]
    now = pl.concat_str(pl.lit("new-"), "sourcedId").alias("sourcedId")
    users = OURS["users"].filter(pl.col("sourcedId").is_in(keys))
    blank = ("userIds", "userMasterIdentifier", "identifier", "email", "phone", "sms", "agentSourcedIds")
    users = users.with_columns(
        now, *(pl.lit(None, pl.String).alias(name) for name in blank), primaryOrgSourcedId=pl.lit(school),
        username=pl.concat_str(pl.lit("new-"), "username"),
    )  # fmt: skip
    users = users.with_columns(pl.lit(value, pl.String).alias(name) for name, value in values.items())
    roles = OURS["roles"].filter(pl.col("userSourcedId").is_in(keys)).with_columns(
        now, userSourcedId=pl.concat_str(pl.lit("new-"), "userSourcedId"), orgSourcedId=pl.lit(school)
    )  # fmt: skip
    about = OURS["demographics"].filter(pl.col("sourcedId").is_in(keys)).with_columns(now)
    more = {"users": users, "roles": roles, "demographics": about}
    return dict(package) | {name: pl.concat([package[name], rows]) for name, rows in more.items()}


def left(package: Frames, keys: Sequence[str]) -> Frames:
    """A package without some people, and what is about them."""
    found = without(without(package, "users", list(keys)), "demographics", list(keys))
    for file in ("roles", "enrollments"):
        found[file] = found[file].filter(~pl.col("userSourcedId").is_in(list(keys)))
    agents = pl.col("agentSourcedIds").str.split(",").list.eval(pl.element().filter(~pl.element().is_in(list(keys))))
    found["users"] = found["users"].with_columns(agents.list.join(",").replace("", None).alias("agentSourcedIds"))
    return found


@dataclass
class Two:
    """The old district and the new one; ``service``: what their administrators act through; ``owner`` sees all rows.

    ``worker``: where a worker of its own logs in.
    """

    old: District
    new: District
    service: Pool
    owner: asyncpg.Connection
    worker: str

    async def propose(self, terms: Terms = TERMS) -> UUID:
        async with self.service.district(self.old.district_id) as tx:
            return (await acts.propose(tx, self.new.district_id, terms, None)).agreement_id

    async def accept(self, which: UUID) -> None:
        key = await acts.new_key(self.service, KEY, which)
        async with self.service.district(self.new.district_id) as tx:
            await acts.accept(tx, which, None, key)

    async def agree(self, terms: Terms = TERMS) -> UUID:
        which = await self.propose(terms)
        await self.accept(which)
        return which

    async def end(self, which: UUID, by: District) -> Agreement:
        async with self.service.district(by.district_id) as tx:
            return await acts.end(tx, which)

    async def exempt(self, key: str, by: str | None = "Ms Ito") -> None:
        """Exempts one of the old district's people, or takes that back."""
        rid = (await member(self.old, key))["rid"]
        async with self.service.district(self.old.district_id) as tx:
            await matching.set_exempt(tx, rid, by=by)

    async def look(self) -> int:
        """Makes tokens until nothing is left; how many times something was."""
        times = 0
        while await tokenise_once(self.old.db, KEY):
            times += 1
        return times

    async def told(self, district: District) -> set[str]:
        """The keys by which a district's own source knows those of whom it is told."""
        async with self.service.district(district.district_id) as tx:
            found = await agreements.findings(tx, asked=False)
        return {
            await self.owner.fetchval(
                "SELECT key FROM hub.source_records WHERE district_id = $1 AND entity = 'users' AND rid = $2",
                district.district_id, one.rid,
            ) for one in found
        }  # fmt: skip

    async def tokens(self, district: District | None = None, key: str | None = None) -> list[asyncpg.Record]:
        """All token rows, or those of a district, or of one person in it."""
        rid = None if district is None or key is None else (await member(district, key))["rid"]
        return await self.owner.fetch(
            f"{TOKENS} WHERE ($1::uuid IS NULL OR district_id = $1) AND ($2::int IS NULL OR rid = $2)",
            None if district is None else district.district_id, rid,
        )  # fmt: skip

    async def actions(self, district: District) -> list[tuple[str, str]]:
        """Actor and action of a district's audit rows."""
        async with self.service.district(district.district_id) as tx:
            return [(row.actor, row.action) for row in await audit.listing(tx)][::-1]
