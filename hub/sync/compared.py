"""The district's people in the columns that ``transforms.matching`` compares, and what is kept of them in the index."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from hub.store import matching
from hub.store.columns import FEW
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
    if users.height <= FEW:
        return few_people(users, about, said, exempt)
    return await asyncio.to_thread(many_people, users, about, said, exempt)


def few_people(
    users: pl.DataFrame, about: pl.DataFrame, said: pl.DataFrame, exempt: Collection[int]
) -> pl.DataFrame:  # fmt: skip
    """As ``many_people``, without the column engine, whose expressions take longer than a handful of rows."""
    born = {rid: _document(*texts) for rid, *texts in about.select("rid", "doc", "doc_private").rows()}
    first: dict[int, str] = {}
    for rid, source in said.select("rid", "source").rows():
        first[rid] = min(first.get(rid, source), source)
    rows = []
    for rid, schools, guardians, *texts in sorted(
        users.select("rid", "schools", "guardians", "doc", "doc_private").rows()
    ):
        user, facts = _document(*texts), born.get(rid, {})
        day = facts.get("birthDate")
        master = user.get("userMasterIdentifier")
        ids = [{"type": one.get("type"), "identifier": one.get("identifier")} for one in user.get("userIds") or ()]
        roles = [one["role"] for one in user.get("roles") or () if one.get("role") is not None]
        rows.append({
            "rid": rid, "source": first.get(rid, ""), "kind": _kind_of(roles),
            "given": user.get("givenName") or None, "middle": user.get("middleName"),
            "family": user.get("familyName") or None, "preferred": user.get("preferredFirstName"),
            "birth_date": None if day is None else date.fromisoformat(day), "sex": facts.get("sex"),
            "email": user.get("email"), "phone": user.get("sms") if user.get("phone") is None else user["phone"],
            "username": user.get("username"),
            "ids": ids + ([] if master is None else [{"type": _IDS[0], "identifier": master}]),
            "schools": _numbers_of(schools), "grade": next(iter(user.get("grades") or ()), None),
            "guardians": _numbers_of(guardians), "active": True, "no_match": rid in exempt,
        })  # fmt: skip
    columns = {name: [row.get(name) for row in rows] for name in PERSON}
    return pl.DataFrame(columns, PERSON)


def _document(doc: str, private: str) -> dict[str, Any]:
    """The members of a document; bases in references stand in it as control characters."""
    found: dict[str, Any] = json.loads("{" + (doc + private)[1:] + "}", strict=False)
    return found


def _kind_of(roles: Sequence[str]) -> str:
    if not roles:
        return ""
    if any(role in _KINDS["student"] for role in roles):
        return "student"
    return "guardian" if all(role in _KINDS["guardian"] for role in roles) else _STAFF


def _numbers_of(array: str | None) -> list[int] | None:
    return None if array is None else [int(item) for item in array.strip("{}").split(",") if item.isdecimal()]


def many_people(
    users: pl.DataFrame, about: pl.DataFrame, said: pl.DataFrame, exempt: Collection[int]
) -> pl.DataFrame:  # fmt: skip
    """``PERSON`` of what the store (hub.store.matching) knows of users: demographics, who speaks of them."""
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
    rids, kinds, hashes = [np.empty(0, np.uint32)], [np.empty(0, np.int16)], [np.empty(0, np.int64)]
    for of, arrays in values(columns).items():
        for array in arrays:
            met = np.flatnonzero(columns.matchable & (array != 0))
            rids.append(columns.rid[met])
            kinds.append(np.full(len(met), VALUES + int(of), np.int16))
            hashes.append(array[met].view(np.int64))
    parts = (("rid", rids), ("kind", kinds), ("hash", hashes))
    found = pl.DataFrame([pl.Series(name, np.concatenate(arrays)) for name, arrays in parts])
    return found if _once(found) else found.unique()


def _once(rows: pl.DataFrame) -> bool:
    """Whether each row comes once, of few rows; a surname of one token twice has a value twice."""
    return rows.height <= FEW and len(set(rows.rows())) == rows.height


def counted(normalised: pl.DataFrame) -> list[int]:
    """The hashes of the values of people whose frequencies count, each once."""
    columns = Columns(normalised)
    met = (
        array[columns.matchable & (array != 0)] for arrays in values(columns).values() for array in arrays
    )  # fmt: skip
    found: list[int] = np.unique(np.concatenate([np.empty(0, np.uint64), *met])).view("int64").tolist()
    return found


def indexed(normalised: pl.DataFrame) -> pl.DataFrame:
    """What the index has of people (hub.store.matching.KEYS): both."""
    own = keyed(normalised)
    kinds = own["kind"].cast(pl.Int16)
    return pl.DataFrame([own["rid"], kinds, own["hash"]]).vstack(valued(normalised))


def nothing() -> pl.DataFrame:
    """An index of nobody."""
    return pl.DataFrame(schema=matching.KEYS)
