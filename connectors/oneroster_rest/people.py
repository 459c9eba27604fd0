"""One person for the records that some 1.1 servers keep for each role of theirs, such as s123 and t123.

Infinite Campus did so in its OneRoster 1.1: a letter for the role, then the person's number. Its 1.2 has one record
for the person with the number alone. Here they become one already in 1.1, under the number, so that a district which
goes on to 1.2 keeps its ids. Two records of one number whose names differ are left apart, each under its own id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.oneroster_rest import rules
from connectors.oneroster_rest.mapping import Members, Objects
from connectors.spool import LINE, Spool
from transforms import issues
from transforms.catalogue import Entity, Kind, Version

_PREFIXED = r"^[A-Za-z](\d+)$"
_KEY, _USER = "sourcedId", "userSourcedId"
_NAMES = ("givenName", "familyName")
#: Which of a person's records goes first: one who studies before one who works there, and that before a parent.
_ORDER = "order"
_RANK = (
    pl.col("role")
    .str.to_lowercase()
    .replace_strict({"student": 0, "parent": 2, "guardian": 2, "relative": 2}, default=1, return_dtype=pl.Int8)
)


@dataclass
class People:
    """The people of one pull. ``apart``: ids of records that are no role of the person with their number."""

    apart: set[str] = field(default_factory=set)

    def with_roles(self, objects: Objects) -> Objects:
        """Users of 1.1 with their role at each of their orgs, as 1.2 has it."""
        members = Members(objects)
        given = zip(objects, members.of("role"), members.of("orgs"), strict=True)
        return [{**one, "roles": _roles(role, orgs)} for one, role, orgs in given]

    def led(self, entity: Entity, version: Version, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of another entity, with references to people in place of those to their records."""
        fields = entity.csv_columns(version)
        columns = [item.csv_name for item in fields if item.kind is Kind.REF and item.target == "users"]
        columns += [_KEY] if entity.name == "demographics" else []
        return frame.with_columns(self._numbers(pl.col(name)).alias(name) for name in columns if name)

    def keys(self, entity: Entity, keys: pl.Series) -> pl.Series:
        """Ids as rows of the entity have them."""
        frame = pl.DataFrame({_KEY: keys})
        return frame.select(self._numbers(pl.col(_KEY)))[_KEY] if entity.name == "demographics" else keys

    def join(self, spools: Mapping[str, Spool]) -> Sequence[pl.DataFrame]:
        """Makes one row of the users that are one person; findings about those that are none."""
        users, roles = spools["users"], spools["roles"]
        ranks = pl.concat(roles.frames([_USER, "role"])).group_by(_USER).agg(_RANK.min().alias(_ORDER))
        names = pl.concat(users.frames([_KEY, *_NAMES])).join(ranks, left_on=_KEY, right_on=_USER, how="left")
        named = names.with_columns(
            pl.col(_KEY).str.extract(_PREFIXED).alias("number"),
            pl.concat_str(*(pl.col(n).fill_null("") for n in _NAMES), separator="\0").str.to_lowercase().alias("name"),
        ).sort(_ORDER, _KEY, nulls_last=True)
        same = pl.col("name").first().over("number") == pl.col("name")
        self.apart = set(named.filter(pl.col("number").is_not_null() & ~same)[_KEY])
        _rewrite(users, lambda rows: _one_each(self._ordered(rows, ranks, _KEY).with_columns(self._agents())))
        _rewrite(roles, lambda rows: _first_is_primary(self._ordered(rows, ranks, _USER)))
        if not self.apart:
            return []
        cause = f"{len(self.apart):,} records"
        return [issues.one(rules.APART, entity="users", file="users.csv", cause=cause)]

    def _ordered(self, rows: pl.DataFrame, ranks: pl.DataFrame, key: str) -> pl.DataFrame:
        """Rows by people, of each the record first of which the role says most."""
        by = rows.join(ranks, left_on=key, right_on=_USER, how="left").sort(_ORDER, key, "sourcedId", nulls_last=True)
        return by.drop(_ORDER).with_columns(self._numbers(pl.col(key)))

    def _numbers(self, ids: pl.Expr) -> pl.Expr:
        """Ids without the letter of the role, but for those of records that stay apart."""
        number = ids.str.extract(_PREFIXED).fill_null(ids)
        return pl.when(ids.is_in(sorted(self.apart))).then(ids).otherwise(number) if self.apart else number

    def _agents(self) -> pl.Expr:
        """The agents of each user: a list in one cell."""
        many = pl.col("agentSourcedIds").str.split(",")
        return many.list.eval(self._numbers(pl.element())).list.unique(maintain_order=True).list.join(",")


def _roles(role: Any, orgs: Any) -> list[dict[str, Any]]:
    given = orgs if isinstance(orgs, list) else [orgs] if orgs else []
    return [{"roleType": "secondary" if at else "primary", "role": role, "org": org} for at, org in enumerate(given)]


def _rewrite(spool: Spool, change: Any) -> None:
    """Reads all rows, changes them and writes them again."""
    rows = pl.concat(spool.frames())
    mode = spool.mode
    spool.begin_again()
    spool.mode = mode
    spool.add(change(rows.drop(LINE)))
    spool.finish()


def _one_each(users: pl.DataFrame) -> pl.DataFrame:
    """Of rows with one id, one with the first value that each column has in the order of the records."""
    twice = pl.col(_KEY).is_duplicated() & pl.col(_KEY).is_not_null()
    several = users.filter(twice)
    if not several.height:
        return users
    joined = several.group_by(_KEY, maintain_order=True).agg(pl.exclude(_KEY).drop_nulls().first())
    return pl.concat([users.filter(~twice), joined.select(users.columns)])


def _first_is_primary(roles: pl.DataFrame) -> pl.DataFrame:
    """A person has one primary role: that of the record that came first."""
    first = (pl.col("roleType") == "primary").cum_sum().over(_USER) == 1
    primary = pl.when(first & (pl.col("roleType") == "primary")).then(pl.lit("primary")).otherwise(pl.lit("secondary"))
    return roles.with_columns(primary.alias("roleType"))
