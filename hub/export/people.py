"""The users of OneRoster 1.1 that people are, in columns: see hub.scope.personas for the rules.

Nearly everybody has one role there and is made here in columns; the few with several go through the rules one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from pyroaring import BitMap

from hub.export.cells import joined, references
from hub.export.nested import visible_roles
from hub.export.sight import Sight
from hub.scope.personas import Entry, RoleNames, agent, persona_id, personas, shows_agents, suffix
from transforms.catalogue import CATALOGUE, Field

_PRIMARY = "primary"


@dataclass(frozen=True)
class People:
    """``several``: by rid the roles of 1.1 of who has more than one, the main one first. ``nobody``: who has none."""

    several: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    nobody: BitMap = field(default_factory=BitMap)

    def but(self, rids: BitMap, others: People) -> People:
        """These people, with what ``others`` says of those with ``rids``."""
        kept = {rid: roles for rid, roles in self.several.items() if rid not in rids}
        return People(kept | dict(others.several), (self.nobody - rids) | others.nobody)

    def differing(self, other: People) -> BitMap:
        """Who is something else there."""
        rids = self.several.keys() | other.several.keys()
        changed = BitMap(rid for rid in rids if self.several.get(rid) != other.several.get(rid))
        return changed | (self.nobody ^ other.nobody)

    def persona(self, rids: pl.Series, ids: pl.Series, roles: pl.Series) -> pl.Series:
        """The ids of references to people by what has a role: to the persona with that role where there is one."""
        rows = [(rid, role, suffix(role)) for rid, held in self.several.items() for role in held[1:]]
        extra = pl.DataFrame(
            rows, schema={"rid": pl.Int32, "role": pl.String, "suffix": pl.String}, orient="row"
        )  # fmt: skip
        if not rows:
            return ids
        found = pl.DataFrame({"rid": rids.cast(pl.Int32), "role": roles, "id": ids}).join(
            extra, on=["rid", "role"], how="left", maintain_order="left"
        )
        return found.select(pl.concat_str("id", pl.col("suffix").fill_null(""))).to_series()


def fields(sight: Sight) -> tuple[Field, ...]:
    """The fields of users that decide who they are there."""
    users = CATALOGUE["users"]
    return (users["roles"], *((users["primaryOrg"],) if sight.shows("users", "primaryOrg") else ()))


def people(sight: Sight, names: RoleNames, table: pl.DataFrame) -> People:
    """Who has several roles of 1.1, and who has none; ``table`` has ``fields``."""
    told = _told(sight, names, table)
    counts = told.group_by("row").agg(pl.col("as").n_unique().alias("n"))
    several = {
        int(table["rid"][row]): tuple(personas(entries, primary, names))
        for row, (entries, primary) in _entries(told, set(counts.filter(pl.col("n") > 1)["row"])).items()
    }
    rows = pl.arange(0, table.height, dtype=pl.UInt32, eager=True)
    without = rows.filter(~rows.is_in(counts["row"].implode()))
    return People(several, BitMap(table["rid"].gather(without).to_list()))


def _told(sight: Sight, names: RoleNames, table: pl.DataFrame) -> pl.DataFrame:
    """The visible roles that 1.1 is told of: row, place, role, roleType, org, as (the role there), primary (an org)."""
    items = visible_roles(sight, table)
    known = {role: names.of(role) for role in items["role"].unique()}
    items = items.with_columns(
        pl.col("role").replace_strict(known, return_dtype=pl.String).alias("as") if known else pl.lit(None).alias("as")
    )
    orgs = pl.repeat(None, table.height, dtype=pl.String, eager=True)
    if "primaryOrg" in table.columns:
        orgs = sight.seen("orgs", table["primaryOrg"])
    return items.with_columns(orgs.gather(items["row"]).alias(_PRIMARY)).drop_nulls("as")


def _entries(told: pl.DataFrame, rows: set[int]) -> dict[int, tuple[list[Entry[str]], str | None]]:
    """The role entries of some rows, in the order of the document, with the primary org."""
    found: dict[int, tuple[list[Entry[str]], str | None]] = {}
    wanted = told.filter(pl.col("row").is_in(list(rows)))
    for row, role, kind, org, primary in wanted.select("row", "role", "roleType", "org", _PRIMARY).iter_rows():
        found.setdefault(row, ([], primary))[0].append(Entry(role, kind == "primary", org))
    return found


def users(
    sight: Sight, names: RoleNames, known: People, table: pl.DataFrame, cells: pl.DataFrame
) -> pl.DataFrame:  # fmt: skip
    """The rows of users.csv: one for each role that a person has there, the main one first.

    ``table`` has ``fields`` and the agents where they show.
    """
    told = _told(sight, names, table)
    of_one = told.filter(pl.col("as").n_unique().over("row") == 1) if told.height else told
    one = (
        of_one.sort("row", pl.col("org") != pl.col(_PRIMARY), "place", nulls_last=True)
        .unique(["row", "org"], keep="first", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(pl.col("as").first().alias("role"), pl.col("org").str.join(",").alias("orgs"))
        .with_columns(number=pl.lit(0, pl.UInt32))
    )
    rows = {*told["row"]} - {*one["row"]}
    several = [
        (row, role, ",".join(orgs), number)
        for row, (entries, primary) in _entries(told, rows).items()
        for number, (role, orgs) in enumerate(personas(entries, primary, names).items())
    ]
    made = pl.concat([one, pl.DataFrame(several, schema=one.schema, orient="row")]).sort("row", "number")
    found = cells[made["row"]].with_columns(made["role"].alias("role"), made["orgs"].alias("orgSourcedIds"))
    if "agents" in table.columns:
        found = found.with_columns(_agents(sight, known, table, made).alias("agentSourcedIds"))
    other = made["number"] > 0
    suffixes = {role: suffix(role) for role in found["role"].unique()}
    person = found["sourcedId"]
    suffixed = person + found["role"].replace_strict(suffixes, return_dtype=pl.String) if suffixes else person
    found = found.with_columns(
        pl.select(pl.when(other).then(suffixed).otherwise(person)).to_series().alias("sourcedId")
    )
    if known.several:
        mine = found["metadata.person"] if "metadata.person" in found.columns else pl.lit(None, pl.String)
        found = found.with_columns(pl.when(other).then(person).otherwise(mine).alias("metadata.person"))
    return found.sort("sourcedId") if several else found


def _agents(sight: Sight, known: People, table: pl.DataFrame, made: pl.DataFrame) -> pl.Series:
    """The agents of each made user, each by the role that fits the relation."""
    rows = pl.DataFrame({"owner": made["row"], "role": made["role"]}).with_row_index("row")
    if known.several:
        held = (known.several.get(rid) for rid in table["rid"].gather(made["row"]))
        shows = [not roles or shows_agents(role, roles) for role, roles in zip(made["role"], held, strict=True)]
        rows = rows.filter(pl.Series(shows, dtype=pl.Boolean))
    items = references(sight, "users", table["agents"]).rename({"row": "owner"})
    pairs = rows.join(items, on="owner", how="inner", maintain_order="left_right")
    if known.several:
        pairs = pairs.with_columns(_as_agents(known.several, pairs).alias("item"))
    return joined(pairs.select("row", "item"), made.height)


def _as_agents(several: Mapping[int, Sequence[str]], pairs: pl.DataFrame) -> pl.Series:
    ids: Iterable[str] = (
        persona_id(item, agent(role, several[rid]), several[rid]) if rid in several else item
        for role, rid, item in pairs.select("role", "rid", "item").iter_rows()
    )
    return pl.Series(ids, dtype=pl.String)
