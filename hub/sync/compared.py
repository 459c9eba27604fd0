"""The district's people in the columns that ``transforms.matching`` compares, and what is kept of them in the index."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from hub.store import matching, matching_people
from hub.store.columns import FEW
from hub.store.database import Transaction
from hub.store.matching import VALUES, Entry
from transforms.matching import one
from transforms.matching.columns import Columns, columns_of
from transforms.matching.few import Few, People
from transforms.matching.frequencies import values
from transforms.matching.one import ALONE
from transforms.matching.people import PERSON, keys
from transforms.parse import parse

#: Which sources speak of each user.
Said = dict[int, frozenset[str]]
#: Kinds of people by their roles, the first that fits.
_KINDS = {
    "student": ("student",),
    "guardian": ("guardian", "parent", "relative"),
}
_STAFF = "staff"
_DECODER = json.JSONDecoder(strict=False)
#: The members of a user that are ids given by a state or a federation, beside its userIds. ``identifier`` is none: two
#: systems count from one.
_IDS = ("userMasterIdentifier",)


async def people(tx: Transaction, rids: Sequence[int] | None) -> pl.DataFrame:
    """Active users, of some rids or all, as ``PERSON``."""
    return framed((await spoken(tx, rids))[0])


async def spoken(tx: Transaction, rids: Sequence[int] | None) -> tuple[People, Said]:
    """The same, as lists where they are few, and which sources speak of each."""
    if rids is not None and len(rids) <= FEW:
        return of_rows(await matching_people.some(tx, rids) if rids else [])
    users = await matching_people.users(tx, rids)
    about = await matching_people.demographics(tx, rids)
    said = await matching_people.speakers(tx, rids)
    exempt = await matching.exempt(tx)
    found = defaultdict[int, set[str]](set)
    for rid, source in said.rows():
        found[rid].add(source)
    everybody = await asyncio.to_thread(many_people, users, about, said, exempt)
    return everybody, {rid: frozenset(sources) for rid, sources in found.items()}


def of_rows(rows: Sequence[Sequence[Any]]) -> tuple[Few, Said]:
    """The same of rows of ``hub.store.matching_people.some``."""
    return few_people(rows), {row[0]: frozenset(row[5] or ()) for row in rows}


def together(some: People, others: People) -> People:
    """Both, whether they are few or many."""
    if isinstance(some, Few) and isinstance(others, Few):
        return some.above(others)
    return framed(some).vstack(framed(others))


def framed(people: People) -> pl.DataFrame:
    """``PERSON`` as a frame."""
    return people.frame(PERSON) if isinstance(people, Few) else people


def few_people(rows: Iterable[Sequence[Any]]) -> Few:
    """As ``many_people``, of rows of ``hub.store.matching_people.some``: without the column engine."""
    made = []
    for rid, schools, guardians, *texts, sources, exempt in rows:
        user, facts = (_document(text) for text in texts)
        day = facts.get("birthDate")
        master = user.get("userMasterIdentifier")
        ids = [{"type": one.get("type"), "identifier": one.get("identifier")} for one in user.get("userIds") or ()]
        roles = [one["role"] for one in user.get("roles") or () if one.get("role") is not None]
        made.append({
            "rid": rid, "source": min(sources or ("",)), "kind": _kind_of(roles),
            "given": user.get("givenName") or None, "middle": user.get("middleName"),
            "family": user.get("familyName") or None, "preferred": user.get("preferredFirstName"),
            "birth_date": None if day is None else date.fromisoformat(day), "sex": facts.get("sex"),
            "email": user.get("email"), "phone": user.get("sms") if user.get("phone") is None else user["phone"],
            "username": user.get("username"),
            "ids": ids + ([] if master is None else [{"type": _IDS[0], "identifier": master}]),
            "schools": _there(schools), "grade": next(iter(user.get("grades") or ()), None),
            "guardians": _there(guardians), "active": True, "no_match": exempt,
        })  # fmt: skip
    return Few({name: [row.get(name) for row in made] for name in PERSON})


def _document(text: str | None) -> dict[str, Any]:
    """The members of a document; bases in references stand in it as control characters."""
    found: dict[str, Any] = _DECODER.decode("{" + text[1:] + "}") if text else {}
    return found


def _kind_of(roles: Sequence[str]) -> str:
    if not roles:
        return ""
    if any(role in _KINDS["student"] for role in roles):
        return "student"
    return "guardian" if all(role in _KINDS["guardian"] for role in roles) else _STAFF


def _there(numbers: Sequence[int | None] | None) -> list[int] | None:
    return None if numbers is None else [number for number in numbers if number is not None]


def many_people(
    users: pl.DataFrame, about: pl.DataFrame, said: pl.DataFrame, exempt: Collection[int]
) -> pl.DataFrame:  # fmt: skip
    """``PERSON`` of what the store (hub.store.matching_people) knows of users: demographics, who speaks of them."""
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


def valued(people: People | Columns) -> pl.DataFrame:
    """The values of people whose frequencies count: rid, kind (of transforms.matching, Int16), hash."""
    columns = columns_of(people)
    rids, kinds, hashes = [np.empty(0, np.uint32)], [np.empty(0, np.int16)], [np.empty(0, np.int64)]
    for of, arrays in values(columns).items():
        for array in arrays:
            met = np.flatnonzero(columns.matchable & (array != 0))
            rids.append(columns.rid[met])
            kinds.append(np.full(len(met), VALUES + int(of), np.int16))
            hashes.append(array[met].view(np.int64))
    parts = (("rid", rids), ("kind", kinds), ("hash", hashes))
    return pl.DataFrame([pl.Series(name, np.concatenate(arrays)) for name, arrays in parts])


def counted(columns: Columns, pairs: pl.DataFrame) -> list[int]:
    """The hashes of the values of people that have to be counted to decide on pairs (rids), each once.

    Those of the pairs, and of their namesakes, who are compared with them; a middle name where it is a first name.
    """
    rids = {*pairs["left"].to_list(), *pairs["right"].to_list()}
    named = columns.name.tolist()
    names = {name for name, rid in zip(named, columns.rid.tolist(), strict=True) if rid in rids}
    rows = [row for row, name in enumerate(named) if name in names]
    found, asked = set[int](), set(columns.middle.view(np.int64)[rows].tolist())
    for arrays in values(columns).values():
        for array in arrays:
            hashes = array.view(np.int64)
            found.update(hashes[columns.matchable].tolist())
            asked.update(hashes[rows].tolist())
    return sorted((found & asked) - {0})


def indexed(people: People | Columns) -> pl.DataFrame:
    """What the index has of normalised people (hub.store.matching.KEYS): keys and values."""
    columns = columns_of(people)
    own = keys(columns)
    kinds = own["kind"].cast(pl.Int16)
    return pl.DataFrame([own["rid"], kinds, own["hash"]]).vstack(valued(columns))


def entries(people: Few) -> list[Entry]:
    """The same of a few, as rows: where they are very few, without an array."""
    if people.height > ALONE:
        return indexed(people).rows()
    found = []
    for row, rid in enumerate(people["rid"]):
        own, met = one.entries(people, row)
        found += [(rid, kind, hashed) for kind, hashed in own]
        found += [(rid, VALUES + of, hashed) for of, hashed in met]
    return found


def framed_entries(rows: pl.DataFrame | Sequence[Entry]) -> pl.DataFrame:
    """Rows of the index as a frame."""
    return rows if isinstance(rows, pl.DataFrame) else pl.DataFrame(rows, matching.KEYS, orient="row")


def rows(entries: pl.DataFrame | Sequence[Entry]) -> Sequence[Entry]:
    """Rows of the index as tuples."""
    return entries.rows() if isinstance(entries, pl.DataFrame) else entries


def nothing() -> pl.DataFrame:
    """An index of nobody."""
    return pl.DataFrame(schema=matching.KEYS)
