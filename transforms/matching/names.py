"""Names in the form that they are compared in: folded, in tokens, without particles and suffixes.

What is made here stands beside the original, never in its place. All functions give Polars expressions, which are
evaluated once for each different value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

#: Left out of the set of a surname's tokens: sources keep and drop them as they like.
PARTICLES = (
    "de", "del", "della", "der", "den", "des", "di", "da", "do", "dos", "das", "du", "la", "las", "le", "les", "los",
    "lo", "el", "al", "ul", "van", "von", "vom", "zu", "ten", "ter", "bin", "bint", "ibn", "ben", "abu", "y", "e",
    "i", "san", "st", "ste", "af", "av", "ni", "nic", "mc", "mac", "o", "d", "abd",
)  # fmt: skip
SUFFIXES = {
    "jr": "jr", "junior": "jr", "jnr": "jr", "sr": "sr", "senior": "sr", "snr": "sr", "ii": "2", "2nd": "2", "iii": "3",
    "3rd": "3", "iv": "4", "4th": "4",
}  # fmt: skip
#: Letters that Unicode does not take apart.
_LETTERS = {
    "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŋ": "n",
}  # fmt: skip
#: Stand for "no value".
NOTHING = (
    "unknown", "unk", "nfn", "nln", "nmn", "fnu", "lnu", "na", "n a", "none", "null", "nil", "no name", "not given",
    "x",
    "xx", "xxx", "xxxx", "no first name", "no last name", "no middle name", "blank",
)  # fmt: skip
#: A record with such a name is nobody.
NOBODY = (
    r"^((test|demo|dummy|sample|fake|training|sandbox)( ?(student|teacher|user|staff|account|parent|person))? ?\d*"
    r"|(student|teacher|staff|user|parent|pupil) ?\d+|vacant|vacancy|tbd|tba|placeholder|substitute teacher"
    r"|teacher staff|staff teacher|to be announced|to be determined)$"
)
_SUFFIX = rf"\s({'|'.join(SUFFIXES)})$"
_PARTICLE = rf"\b({'|'.join(PARTICLES)})\b"
_MANY = 4096
Columns = Callable[[pl.Expr], list[pl.Expr]]


def columns_of(people: pl.DataFrame, made: Mapping[str, Columns]) -> dict[str, pl.DataFrame]:
    """For each field the columns that ``made`` has for its folded text, one row for each of ``people``.

    Many rows have few different values, so the work is done for the different ones; few rows are worked on at once.
    """
    if people.height < _MANY:
        # Folded first, for each of these is asked for several times.
        exprs = {field: of(pl.col(field)) for field, of in made.items()}
        every = people.select(folded(pl.col(field)).alias(field) for field in made).select(
            e.alias(f"{field} {e.meta.output_name()}") for field, es in exprs.items() for e in es
        )
        return {
            field: every.select(pl.col(f"{field} {e.meta.output_name()}").alias(e.meta.output_name()) for e in es)
            for field, es in exprs.items()
        }
    return {field: _by_value(people[field], of) for field, of in made.items()}


def _by_value(values: pl.Series, of: Columns) -> pl.DataFrame:
    frame = values.alias("value").to_frame()
    table = frame.drop_nulls().unique().with_columns(folded(pl.col("value")).alias("text"))
    table = table.select("value", *of(pl.col("text")))
    return frame.join(table, on="value", how="left", maintain_order="left").drop("value")


def folded(value: pl.Expr) -> pl.Expr:
    """NFKC, one case, no diacritics, no punctuation, single spaces; null where nothing or a placeholder is left."""
    text = value.str.normalize("NFKC").str.to_lowercase().str.replace_many(_LETTERS)
    text = text.str.normalize("NFKD").str.replace_all(r"[\p{M}'’‘`´ʻʼ.\"“”]", "").str.normalize("NFC")
    return _something(text.str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars())


def _something(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.len_bytes() > 0, ~text.is_in(NOTHING)).then(text)


def given_columns(text: pl.Expr) -> list[pl.Expr]:
    """Of a given name: ``c_given`` (joined), ``c_first`` (its first token), initial behind it, suffix, nobody."""
    bare = text.str.replace(_SUFFIX, "")
    core = bare.str.replace(r"^(\p{L}{2,}.*)\s[a-z]$", "${1}")
    return [
        core.str.replace_all(" ", "").alias("c_given"),
        core.str.extract(r"^(\S+)").alias("c_first"),
        bare.str.extract(r"^\p{L}{2,}.*\s([a-z])$").alias("initial"),
        text.str.extract(_SUFFIX).replace(SUFFIXES).alias("suffix"),
        text.str.contains(NOBODY).alias("nobody"),
    ]


def middle_columns(text: pl.Expr) -> list[pl.Expr]:
    """Of a middle name: ``c_middle``, joined."""
    return [text.str.replace(_SUFFIX, "").str.replace_all(" ", "").alias("c_middle")]


def preferred_columns(text: pl.Expr) -> list[pl.Expr]:
    """Of a preferred name: ``c_preferred``, joined."""
    return [text.str.replace_all(" ", "").alias("c_preferred")]


def family_columns(text: pl.Expr) -> list[pl.Expr]:
    """Of a family name: ``c_family`` (joined, in order, without particles), the set of tokens, suffix, nobody."""
    bare = text.str.replace(_SUFFIX, "")
    short = bare.str.replace_all(_PARTICLE, " ").str.replace_all(r"\s+", " ").str.strip_chars()
    core = pl.when(short.str.len_bytes() > 0).then(short).otherwise(bare)
    return [
        core.str.replace_all(" ", "").alias("c_family"),
        core.str.split(" ").list.unique().list.sort().alias("c_family_set"),
        text.str.extract(_SUFFIX).replace(SUFFIXES).alias("suffix"),
        text.str.contains(rf"{NOBODY}|^\d+$").alias("nobody"),
    ]


def suffix_columns(text: pl.Expr) -> list[pl.Expr]:
    """Of a suffix: ``suffix`` as a number or jr, sr."""
    return [text.replace(SUFFIXES).alias("suffix")]
