"""The district's people in the columns that ``transforms.matching`` compares, and what is kept of them in the index."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import polars as pl

from hub.store import matching
from hub.store.database import Transaction
from hub.store.matching import VALUES
from transforms.matching.columns import Columns
from transforms.matching.frequencies import values
from transforms.matching.people import PERSON, keys
from transforms.parse import parse

#: Kinds of people by their roles, the first that fits.
_KINDS = {
    "student": ("student",),
    "guardian": ("guardian", "parent", "relative"),
}
_STAFF = "staff"
#: The members of a user that are ids given by a state or a federation, beside its userIds. ``identifier`` is none: two
#: systems count from one.
_IDS = ("userMasterIdentifier",)


async def people(tx: Transaction, rids: Sequence[int] | None) -> pl.DataFrame:
    """Active users, of some rids or all, as ``PERSON``."""
    users = await matching.users(tx, rids)
    about = await matching.demographics(tx, rids)
    said = await matching.speakers(tx, rids)
    exempt = await matching.exempt(tx)
    return await asyncio.to_thread(_people, users, about, said, exempt)


def _people(users: pl.DataFrame, about: pl.DataFrame, said: pl.DataFrame, exempt: Sequence[int]) -> pl.DataFrame:
    born = parse("demographics", about).select("rid", "birthDate", "sex")
    first = said.group_by("rid").agg(pl.col("source").min())
    whole = parse("users", users).join(born, on="rid", how="left").join(first, on="rid", how="left")
    whole = whole.with_columns(_numbers("schools"), _numbers("guardians"))
    return as_people(whole, no_match=pl.col("rid").is_in(list(exempt)))


def as_people(users: pl.DataFrame, *, no_match: pl.Expr) -> pl.DataFrame:
    """``PERSON`` of users in canonical columns, by rid.

    Beside the canonical ones: rid, source, birthDate, sex, and schools and guardians as lists of rids.
    """
    ids = pl.concat_list(
        pl.col("userIds").fill_null([]),
        *(
            pl.when(pl.col(name).is_null())
            .then(pl.lit([], pl.List(PERSON["ids"].inner)))  # type: ignore[attr-defined]
            .otherwise(pl.concat_list(pl.struct(type=pl.lit(name), identifier=pl.col(name))))
            for name in _IDS
        ),
    )
    columns = {
        "rid": pl.col("rid"), "source": pl.col("source").fill_null(""), "kind": _kind(),
        "given": pl.col("givenName"), "middle": pl.col("middleName"), "family": pl.col("familyName"),
        "preferred": pl.col("preferredFirstName"), "birth_date": pl.col("birthDate"), "sex": pl.col("sex"),
        "email": pl.col("email"), "phone": pl.coalesce("phone", "sms"), "username": pl.col("username"), "ids": ids,
        "schools": pl.col("schools"), "grade": pl.col("grades").list.first(), "guardians": pl.col("guardians"),
        "active": pl.lit(value=True), "no_match": no_match,
    }  # fmt: skip
    return users.select(
        columns.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in PERSON.items()
    ).sort("rid")  # fmt: skip


def _kind() -> pl.Expr:
    roles = pl.col("roles").list.eval(pl.element().struct.field("role"))
    kind = pl.when(roles.list.len() > 0).then(pl.lit(_STAFF)).otherwise(pl.lit(""))
    for name, words in reversed(_KINDS.items()):
        fits = roles.list.eval(pl.element().is_in(words))
        every = fits.list.all() if name == "guardian" else fits.list.any()
        kind = pl.when(every & (roles.list.len() > 0)).then(pl.lit(name)).otherwise(kind)
    return kind


def _numbers(column: str) -> pl.Expr:
    """PostgreSQL's text of an array of integers; those without a value are left out."""
    items = pl.col(column).str.strip_chars("{}").str.split(",")
    return items.list.eval(pl.element().cast(pl.UInt32, strict=False).drop_nulls())


def keyed(normalised: pl.DataFrame) -> pl.DataFrame:
    """The keys of people by which they are compared: rid, kind (UInt8), hash."""
    return keys(normalised)


def valued(normalised: pl.DataFrame) -> pl.DataFrame:
    """The values of people whose frequencies count: rid, kind (of transforms.matching, Int16), hash."""
    columns = Columns(normalised)
    parts = [nothing()]
    for of, arrays in values(columns).items():
        for array in arrays:
            met = columns.matchable & (array != 0)
            frame = pl.DataFrame({"rid": columns.rid[met], "hash": array[met].view("int64")})
            parts.append(frame.select("rid", pl.lit(VALUES + int(of), pl.Int16).alias("kind"), "hash"))
    return pl.concat(parts).unique()


def indexed(normalised: pl.DataFrame) -> pl.DataFrame:
    """What the index has of people (hub.store.matching.KEYS): both."""
    return pl.concat([keyed(normalised).with_columns(pl.col("kind").cast(pl.Int16)), valued(normalised)])


def nothing() -> pl.DataFrame:
    """An index of nobody."""
    return pl.DataFrame(schema=matching.KEYS)
