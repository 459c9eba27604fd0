"""People in the form that they are compared in: columns beside the originals, missing and placeholders null."""

from __future__ import annotations

from datetime import date

import polars as pl

from transforms.marks import as_list
from transforms.matching import names, nicknames
from transforms.matching.hashes import of_texts

_RIDS: pl.DataType = pl.List(pl.UInt32)
_IDS: pl.DataType = pl.List(pl.Struct({"type": pl.String, "identifier": pl.String}))
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "rid": pl.UInt32,
    "source": pl.String,
    "kind": pl.String,
    "given": pl.String,
    "middle": pl.String,
    "family": pl.String,
    "suffix": pl.String,
    "preferred": pl.String,
    "birth_date": pl.Date,
    "sex": pl.String,
    "email": pl.String,
    "phone": pl.String,
    "username": pl.String,
    "ids": _IDS,
    "schools": _RIDS,
    "grade": pl.String,
    "street": pl.String,
    "postcode": pl.String,
    "guardians": _RIDS,
    "begin": pl.Date,
    "end": pl.Date,
    "active": pl.Boolean,
    "no_match": pl.Boolean,
}
#: One row for each record of one source.
PERSON = pl.Schema(_COLUMNS)
_DATES = (date(1, 1, 1), date(1111, 11, 11), date(1900, 1, 1), date(1901, 1, 1), date(9999, 12, 31))
_STREET = {
    "st": "street", "str": "street", "ave": "avenue", "av": "avenue", "rd": "road", "dr": "drive", "ln": "lane",
    "blvd": "boulevard", "ct": "court", "pl": "place", "cres": "crescent", "hwy": "highway", "pkwy": "parkway",
    "ter": "terrace", "sq": "square", "n": "north", "s": "south", "e": "east", "w": "west", "apt": "unit",
    "ste": "unit",
}  # fmt: skip
_NO_LOCAL = r"^(no ?e?-?mail|none|na|unknown|test|noreply|no-reply|nomail|null)\d*@"
_NO_NUMBER = r"^(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+|123456789?0?|0?123456789?)$"
_SEX = {"male": "m", "female": "f", "m": "m", "f": "f", "boy": "m", "girl": "f", "x": "x", "nonbinary": "x"}


def normalised(people: pl.DataFrame) -> pl.DataFrame:
    """``people`` with the columns of comparison beside them: their names begin with ``c_``.

    ``c_matchable`` is false for placeholders, for records that tell nothing of a person, and for those marked
    ``no_match``.
    A guardian is known by name, e-mail and phone of the record that ``guardians`` names, so those records have to be
    in ``people`` as well; what is not there is no evidence.
    """
    made = names.columns_of(people, _FIELDS)
    given, family = made["given"], made["family"]
    suffix = made["suffix"]["suffix"].fill_null(family["suffix"]).fill_null(given["suffix"])
    frame = people.with_columns(
        *given.select("c_given", "c_first"),
        *family.select("c_family", "c_family_set"),
        made["middle"]["c_middle"].fill_null(given["initial"]),
        *made["preferred"],
        suffix.alias("c_suffix"),
        (given["nobody"].fill_null(value=False) | family["nobody"].fill_null(value=False)).alias("nobody"),
        _nicknames(given),
        *made["street"],
    )
    frame = frame.with_columns(*_plain(), _ids(people))
    return frame.with_columns(_guardians(frame)).drop("nobody")


def _nicknames(given: pl.DataFrame) -> pl.Series:
    """The groups of a given name, or else of its first token."""
    table = nicknames.groups()
    whole = given.select(value="c_given").join(table, on="value", how="left", maintain_order="left")["nicknames"]
    first = given.select(value="c_first").join(table, on="value", how="left", maintain_order="left")["nicknames"]
    return whole.fill_null(first).alias("c_nicknames")


def _street(text: pl.Expr) -> list[pl.Expr]:
    words = text.str.split(" ").list.eval(pl.element().replace(_STREET))
    return [words.list.join(" ").alias("c_street")]


_FIELDS: dict[str, names.Columns] = {
    "given": names.given_columns, "family": names.family_columns, "middle": names.middle_columns,
    "preferred": names.preferred_columns, "suffix": names.suffix_columns, "street": _street,
}  # fmt: skip


def _plain() -> list[pl.Expr]:
    email = pl.col("email").str.strip_chars().str.to_lowercase()
    email = pl.when(email.str.contains(r"^[^@\s]+@[^@\s]+$"), ~email.str.contains(_NO_LOCAL)).then(email)
    digits = pl.col("phone").str.replace(r"(?i)\s*(x|ext).*$", "").str.replace_all(r"\D", "")
    digits = digits.str.replace(r"^(00)?1(\d{10})$", "${2}")
    postcode = pl.col("postcode").str.to_uppercase().str.replace_all(r"[^A-Z0-9]", "")
    postcode = postcode.str.replace(r"^(\d{5})\d{4}$", "${1}")
    named = pl.col("c_given").is_not_null() | pl.col("c_family").is_not_null()
    told = (
        named
        | pl.col("ids").list.len().gt(0).fill_null(value=False)
        | pl.all_horizontal(pl.col("birth_date", "street", "postcode").is_not_null())
    )
    return [
        pl.when(~pl.col("birth_date").is_in(_DATES)).then("birth_date").alias("c_birth"),
        pl.col("sex").str.strip_chars().str.to_lowercase().replace_strict(_SEX, default=None).alias("c_sex"),
        email.alias("c_email"),
        pl.when(digits.str.len_bytes() >= 7, ~digits.str.contains(_NO_NUMBER)).then(digits).alias("c_phone"),
        pl.col("username").str.strip_chars().str.to_lowercase().replace("", None).alias("c_username"),
        pl.when(postcode.str.len_bytes() > 0, ~postcode.str.contains(_NO_NUMBER)).then(postcode).alias("c_postcode"),
        (told & ~pl.col("nobody") & ~pl.col("no_match").fill_null(value=False)).alias("c_matchable"),
    ]


def _ids(people: pl.DataFrame) -> pl.Series:
    """Identifiers as ``type:IDENTIFIER``; placeholders among them are dropped."""
    if people["ids"].null_count() == people.height:
        return pl.Series("c_ids", [None], pl.List(pl.String)).new_from_index(0, people.height)
    rows = people.select(pl.row_index("row"), "ids").drop_nulls().explode("ids", empty_as_null=False).unnest("ids")
    code = pl.col("identifier").str.to_uppercase().str.replace_all(r"[^\p{L}\p{N}]", "")
    rows = rows.with_columns(code=code).filter(
        pl.col("code").str.len_bytes() > 0, ~pl.col("code").str.contains(_NO_NUMBER)
    )
    text = pl.col("type").fill_null("").str.to_lowercase() + ":" + pl.col("code")
    lists = (
        rows.select("row", text.alias("c_ids")).unique(maintain_order=True).group_by("row").agg(pl.col("c_ids").sort())
    )
    return people.select(pl.row_index("row")).join(lists, on="row", how="left", maintain_order="left")["c_ids"]


def _guardians(made: pl.DataFrame) -> pl.Series:
    """Guardians by what two sources would both know of them: hashes of first and last name, of e-mail, of phone."""
    none = pl.Series("c_guardians", [None], pl.List(pl.UInt64)).new_from_index(0, made.height)
    if made["guardians"].null_count() == made.height:
        return none
    links = made.select(pl.row_index("row"), rid="guardians").drop_nulls().explode("rid", empty_as_null=False)
    if not links.height:
        return none
    told = made.filter(pl.col("rid").is_in(as_list(links["rid"].unique()))).select(
        "rid", pl.concat_str(pl.lit("n:"), "c_first", pl.lit(" "), "c_family"), "c_email", "c_phone"
    )
    facts = told.unpivot(index="rid", value_name="fact").drop_nulls("fact")
    facts = facts.with_columns(pl.Series("hash", of_texts(facts["fact"])))
    lists = links.join(facts, on="rid").group_by("row").agg(pl.col("hash").unique().sort().alias("c_guardians"))
    return made.select(pl.row_index("row")).join(lists, on="row", how="left", maintain_order="left")["c_guardians"]
