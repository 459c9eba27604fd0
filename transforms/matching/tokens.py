"""Keyed tokens of people: equal where two districts have a record of one person, and nothing without the key.

A token is made of several facts together, never of a name alone. Two records of one person share a token where

- an id of a type that means the same in both districts and the given name are equal, or
- all given names, the surname and the birth date are equal, and one thing more: a second given name, a guardian's
  name, an e-mail address, or a telephone number of the person or a guardian.

Twins differ in their given names (of which the second one may be what differs), and these are in every token.
Nicknames and slips make no token: what nobody looks at has to be exact. Birth dates on a first of January are often
made up, and a second given name is not enough beside one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

import polars as pl

#: Grows whenever tokens are made of something else: then all are made anew.
SCHEME: Final = 2
#: A token's bytes: half of an HMAC-SHA-256, as RFC 2104 (5) allows.
BYTES: Final = 16
#: Tokens of one person at most.
MOST: Final = 16
_TEXTS: Final = {"rid": pl.UInt32, "text": pl.String}
#: ``who``: the same in all rows of a person, and another one where what they are made of changed.
TOKENS: Final = {"rid": pl.UInt32, "token": pl.Binary, "who": pl.Int64}
_BETWEEN = "\x1f"
_BEHIND = "\x1e"
_BLOCK = 64


def tokens(
    normalised: pl.DataFrame, key: bytes, salt: bytes, *, identifiers: Collection[str], rids: Collection[int]
) -> pl.DataFrame:
    """The tokens (``TOKENS``) of some people of a normalised frame; who is not matchable has none.

    ``normalised``: they, and the guardians whom they name. ``identifiers``: types of ids that mean the same everywhere.
    ``key``: 32 bytes. ``salt``: of ``who``, which stays where the key is another one.
    """
    made = texts(normalised, identifiers, rids)
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in key.ljust(_BLOCK, b"\0")))
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in key.ljust(_BLOCK, b"\0")))

    def token(text: str) -> bytes:
        """HMAC-SHA-256 (RFC 2104): with the key's blocks hashed once it takes a third of the time of ``hmac``."""
        first, last = inner.copy(), outer.copy()
        first.update(text.encode())
        last.update(first.digest())
        return last.digest()[:BYTES]

    found = pl.Series("token", [token(text) for text in made["text"].to_list()], pl.Binary)
    return made.select("rid").with_columns(found).join(_who(made, salt), on="rid", maintain_order="left")


def _who(made: pl.DataFrame, salt: bytes) -> pl.DataFrame:
    whole = made.group_by("rid", maintain_order=True).agg(pl.col("text").str.join(_BEHIND))
    digests = [
        int.from_bytes(hashlib.sha256(salt + text.encode()).digest()[:8], signed=True) or 1
        for text in whole["text"].to_list()
    ]
    return whole.select("rid").with_columns(pl.Series("who", digests, pl.Int64))


def texts(normalised: pl.DataFrame, identifiers: Collection[str], rids: Collection[int]) -> pl.DataFrame:
    """What the tokens are made of: rid and text, ``MOST`` for each person at most."""
    matchable = normalised.filter("c_matchable")
    mine = matchable.filter(pl.col("rid").is_in(list(rids)))
    named = mine.with_columns(
        given=pl.concat_str("c_given", pl.col("c_middle").fill_null("")),
        surname=pl.col("c_family_set").list.join(" "),
        several=(pl.col("c_given") != pl.col("c_first"))
        | (pl.col("c_middle").str.len_chars() > 1).fill_null(value=False),
    ).drop_nulls(["c_given", "surname", "c_birth"])
    guardians = _guardians(named, matchable)
    parts = [
        _ids(mine, identifiers),
        _text("given", named.filter("several", pl.col("c_birth").dt.ordinal_day() != 1), "given"),
        _text("guardian", guardians.drop_nulls("g_name"), "given", "g_name"),
        _text("email", pl.concat([_also(named, "c_email"), _also(guardians, "g_email")]), "given", "also"),
        _text("phone", pl.concat([_also(named, "c_phone"), _also(guardians, "g_phone")]), "given", "also"),
    ]
    return pl.concat(parts).unique().sort("rid", "text").group_by("rid", maintain_order=True).head(MOST)


def _ids(mine: pl.DataFrame, identifiers: Collection[str]) -> pl.DataFrame:
    """Ids with the given name; ``c_ids`` are ``type:CODE``, with the type in lower case."""
    wanted = [name.lower() for name in identifiers]
    ids = mine.select("rid", "c_given", id="c_ids").explode("id", empty_as_null=False).drop_nulls()
    ids = ids.filter(pl.col("id").str.extract(r"^(.*):[^:]*$").is_in(wanted))
    return _joined(ids, "id", "id", "c_given")


def _guardians(named: pl.DataFrame, matchable: pl.DataFrame) -> pl.DataFrame:
    """A row for each person and guardian, who is no pupil: g_name, g_email and g_phone beside the person's."""
    links = named.select("rid", "given", "surname", "c_birth", guardian="guardians").explode("guardian").drop_nulls()
    told = matchable.filter(pl.col("kind") != "student").select(
        guardian="rid", g_name=pl.concat_str("c_first", pl.lit(" "), pl.col("c_family_set").list.join(" ")),
        g_email="c_email", g_phone="c_phone",
    )  # fmt: skip
    return links.join(told, on="guardian")


def _also(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.select("rid", "given", "surname", "c_birth", also=column).drop_nulls()


def _text(kind: str, rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Given names (the first of ``columns``), surname and birth date with what comes beside them."""
    return _joined(rows, kind, columns[0], "surname", pl.col("c_birth").dt.to_string("iso"), *columns[1:])


def _joined(rows: pl.DataFrame, kind: str, *columns: str | pl.Expr) -> pl.DataFrame:
    text = pl.concat_str(pl.lit(kind), *columns, separator=_BETWEEN)
    return rows.select("rid", text.alias("text")).cast(_TEXTS)  # type: ignore[arg-type]
