"""People in the form that they are compared in: columns beside the originals, missing and placeholders null."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any, overload

import numpy as np
import polars as pl

from transforms.marks import as_list, blank, certain, empty, present
from transforms.matching import names
from transforms.matching.few import Few, People
from transforms.matching.hashes import MANY, Values, of_texts, slices

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
_DATES = frozenset((date(1, 1, 1), date(1111, 11, 11), date(1900, 1, 1), date(1901, 1, 1), date(9999, 12, 31)))
_STREET = {
    "st": "street", "str": "street", "ave": "avenue", "av": "avenue", "rd": "road", "dr": "drive", "ln": "lane",
    "blvd": "boulevard", "ct": "court", "pl": "place", "cres": "crescent", "hwy": "highway", "pkwy": "parkway",
    "ter": "terrace", "sq": "square", "n": "north", "s": "south", "e": "east", "w": "west", "apt": "unit",
    "ste": "unit",
}  # fmt: skip
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_NO_LOCAL = re.compile(r"(no ?e?-?mail|none|na|unknown|test|noreply|no-reply|nomail|null)\d*@")
_NO_NUMBER = re.compile(r"0+|1+|2+|3+|4+|5+|6+|7+|8+|9+|123456789?0?|0?123456789?")
_EXTENSION = re.compile(r"\s*(x|ext)[^\n]*\Z", re.IGNORECASE)
_NO_DIGITS, _BETWEEN, _NO_CODE = re.compile(r"\D+"), re.compile(r"[\W_]+"), re.compile(r"[^A-Z0-9]+")
_AMERICAN, _ZIP = re.compile(r"(?:00)?1(\d{10})"), re.compile(r"(\d{5})\d{4}")
_SEX = {"male": "m", "female": "f", "m": "m", "f": "f", "boy": "m", "girl": "f", "x": "x", "nonbinary": "x"}
#: What one value of a field comes to: something for each of the columns that are made of it, or nothing.
Made = Callable[[Any], Sequence[Any] | None]


@overload
def normalised(people: pl.DataFrame) -> pl.DataFrame: ...
@overload
def normalised(people: Few) -> Few: ...
def normalised(people: People) -> People:
    """``people`` with the columns of comparison beside them: their names begin with ``c_``.

    ``c_matchable`` is false for placeholders, for records that tell nothing of a person, and for those marked
    ``no_match``.
    A guardian is known by name, e-mail and phone of the record that ``guardians`` names, so those records have to be
    in ``people`` as well; what is not there is no evidence.
    """
    if isinstance(people, Few):
        return Few(_Forms(people.lists))
    forms = _Forms(people.to_dict())
    frame = people.hstack([forms[name].alias(name) for name in _COMPARED])
    return frame.hstack([_guardians(frame)])


class _Forms(dict[str, Any]):
    """Columns by name, with those of comparison: each is made when it is asked for first.

    Of a few most never are: who is surely another person is told by a first name and a birth date.
    """

    def __missing__(self, name: str) -> Any:
        if name in _MADE_OF:
            self[name] = _MADE_OF[name](self)
        else:
            field = _FIELD_OF[name]
            self.update(_each(self[field], *_FIELDS[field]))
        return self[name]


def _matchable(of: Mapping[str, Any]) -> Any:
    nobody = _marked(of["no_given"]) | _marked(of["no_family"]) | _marked(of["no_match"])
    lives = _there(of["birth_date"]) & _there(of["street"]) & _there(of["postcode"])
    return (_there(of["c_given"]) | _there(of["c_family"]) | _there(of["c_ids"]) | lives) & ~nobody


def _each(values: Values, make: Made, columns: Mapping[str, Any]) -> Mapping[str, Values]:
    """The columns of a field. Of many values each different one is looked at once, some of them at a time."""
    if not isinstance(values, pl.Series):
        return _columns(values, make, columns)
    if empty(values):
        return {name: blank(len(values), dtype) for name, dtype in columns.items()}
    if len(values) < MANY:
        return _frame(values.to_list(), make, columns).to_dict()
    frame = values.alias("value").to_frame()
    parts = [
        _frame(part.to_list(), make, columns).insert_column(0, part)
        for part in slices(frame.drop_nulls().unique().to_series())
    ]
    return frame.join(pl.concat(parts), on="value", how="left", maintain_order="left").drop("value").to_dict()


def _columns(values: Sequence[Any], make: Made, names: Collection[str]) -> dict[str, Sequence[Any]]:
    nothing = (None,) * len(names)
    rows = [nothing if value is None else make(value) or nothing for value in values]
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}


def _frame(values: Sequence[Any], make: Made, columns: Mapping[str, Any]) -> pl.DataFrame:
    made = _columns(values, make, columns)
    return pl.DataFrame([pl.Series(name, made[name], dtype) for name, dtype in columns.items()])


def _lists(values: Values, make: Callable[[Any], list[Any] | None], inner: Any) -> Values:
    if not isinstance(values, pl.Series):
        return [None if value is None else make(value) for value in values]
    if empty(values):
        return blank(len(values), pl.List(inner))
    parts = [pl.Series(_lists(part.to_list(), make, inner), dtype=pl.List(inner)) for part in slices(values)]
    return parts[0] if len(parts) == 1 else pl.concat(parts)


def _or(values: Values, others: Values) -> Values:
    if isinstance(values, pl.Series) and isinstance(others, pl.Series):
        return values.zip_with(present(values), others) if values.null_count() else values
    return [other if value is None else value for value, other in zip(values, others, strict=True)]


def _there(values: Values) -> Any:
    """Where there is a value: a mark, or an array of few, of which the same may be asked."""
    return present(values) if isinstance(values, pl.Series) else np.array([v is not None for v in values], np.bool_)


def _marked(values: Values) -> Any:
    """Where a mark is set; null counts as not set."""
    return certain(values) if isinstance(values, pl.Series) else np.array([v is True for v in values], np.bool_)


def _street(value: str) -> tuple[str] | None:
    text = names.folded(value)
    return None if text is None else (" ".join(_STREET.get(word, word) for word in text.split(" ")),)


def _born(value: date) -> tuple[date] | None:
    return None if value in _DATES else (value,)


def _sex(value: str) -> tuple[str | None]:
    return (_SEX.get(value.strip().lower()),)


def _email(value: str) -> tuple[str] | None:
    text = value.strip().lower()
    return (text,) if _ADDRESS.fullmatch(text) and not _NO_LOCAL.match(text) else None


def _phone(value: str) -> tuple[str] | None:
    digits = _NO_DIGITS.sub("", _EXTENSION.sub("", value, count=1))
    american = _AMERICAN.fullmatch(digits)
    digits = american[1] if american else digits
    return (digits,) if len(digits.encode()) >= 7 and not _NO_NUMBER.fullmatch(digits) else None


def _username(value: str) -> tuple[str | None]:
    return (value.strip().lower() or None,)


def _postcode(value: str) -> tuple[str] | None:
    code = _NO_CODE.sub("", value.upper())
    longer = _ZIP.fullmatch(code)
    code = longer[1] if longer else code
    return (code,) if code and not _NO_NUMBER.fullmatch(code) else None


def _ids(value: Sequence[Mapping[str, str | None] | None]) -> list[str] | None:
    """Identifiers as ``type:IDENTIFIER``; placeholders among them are dropped."""
    found = set[str]()
    for one in value:
        code = _BETWEEN.sub("", (one["identifier"] or "").upper()) if one else ""
        if one and code and not _NO_NUMBER.fullmatch(code):
            found.add(f"{(one['type'] or '').lower()}:{code}")
    return sorted(found) or None


_TEXT, _FLAG = pl.String, pl.Boolean
#: Before the name of a guardian, of whom other facts are known as well.
_NAMED = "n:"
_FIELDS: dict[str, tuple[Made, dict[str, Any]]] = {
    "given": (
        names.given,
        {"c_given": _TEXT, "c_first": _TEXT, "c_nicknames": pl.List(pl.UInt16), "initial": _TEXT, "of_given": _TEXT,
         "no_given": _FLAG},
    ),
    "family": (
        names.family,
        {"c_family": _TEXT, "c_family_whole": _TEXT, "c_family_set": pl.List(_TEXT), "of_family": _TEXT,
         "no_family": _FLAG},
    ),
    "middle": (names.middle, {"of_middle": _TEXT}),
    "preferred": (names.preferred, {"c_preferred": _TEXT}),
    "suffix": (names.suffix, {"of_suffix": _TEXT}),
    "street": (_street, {"c_street": _TEXT}),
    "birth_date": (_born, {"c_birth": pl.Date}),
    "sex": (_sex, {"c_sex": _TEXT}),
    "email": (_email, {"c_email": _TEXT}),
    "phone": (_phone, {"c_phone": _TEXT}),
    "username": (_username, {"c_username": _TEXT}),
    "postcode": (_postcode, {"c_postcode": _TEXT}),
}  # fmt: skip


def _guardians(made: pl.DataFrame) -> pl.Series:
    """Guardians by what two sources would both know of them: hashes of first and last name, of e-mail, of phone."""
    none = blank(made.height, pl.List(pl.UInt64)).alias("c_guardians")
    if empty(made["guardians"]):
        return none
    links = made.select(pl.row_index("row"), rid="guardians").drop_nulls().explode("rid", empty_as_null=False)
    if not len(np.intersect1d(links["rid"].to_numpy(), made["rid"].to_numpy())):
        return none
    told = made.filter(pl.col("rid").is_in(as_list(links["rid"].unique()))).select(
        "rid", pl.concat_str(pl.lit(_NAMED), "c_first", pl.lit(" "), "c_family"), "c_email", "c_phone"
    )
    facts = told.unpivot(index="rid", value_name="fact").drop_nulls("fact")
    facts = facts.with_columns(pl.Series("hash", of_texts(facts["fact"])))
    lists = links.join(facts, on="rid").group_by("row").agg(pl.col("hash").unique().sort().alias("c_guardians"))
    return made.select(pl.row_index("row")).join(lists, on="row", how="left", maintain_order="left")["c_guardians"]


def _guardians_of_few(of: Mapping[str, Any]) -> list[list[int] | None]:
    """The same of few."""
    wanted = {rid for guardians in of["guardians"] for rid in guardians or ()}
    if wanted.isdisjoint(of["rid"]):
        return [None] * len(of["rid"])
    facts = {}
    for rid, first, family, *others in zip(
        *(of[name] for name in ("rid", "c_first", "c_family", "c_email", "c_phone")), strict=True
    ):
        if rid in wanted:
            name = None if first is None or family is None else f"{_NAMED}{first} {family}"
            facts[rid] = of_texts([fact for fact in (name, *others) if fact is not None]).tolist()
    told = ({fact for rid in guardians or () for fact in facts.get(rid, ())} for guardians in of["guardians"])
    return [sorted(found) or None for found in told]


_FIELD_OF = {name: field for field, (_, columns) in _FIELDS.items() for name in columns}
#: What is made of several columns.
_MADE_OF: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "c_middle": lambda of: _or(of["of_middle"], of["initial"]),
    "c_suffix": lambda of: _or(_or(of["of_suffix"], of["of_family"]), of["of_given"]),
    "c_ids": lambda of: _lists(of["ids"], _ids, pl.String),
    "c_matchable": _matchable,
    "c_guardians": _guardians_of_few,
}
#: The columns of a frame that are made of one record each.
_COMPARED = (*(name for name in _FIELD_OF if name.startswith("c_")), "c_middle", "c_suffix", "c_ids", "c_matchable")
