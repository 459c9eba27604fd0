"""Rules about the names of people. None of them changes a name, which is the person's own."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity
from transforms.marks import absent, certain
from transforms.rules.given import BEFORE, Given, column, found, in_fields, rule
from transforms.sheet import spread

_BOTH = ("givenName", "familyName")
_NO_SMALL, _NO_CAPITAL = r"^\P{Ll}*$", r"^\P{Lu}*$"
#: Nearly every name begins so, which is cheaper to see.
_OF_BOTH = "^[A-Z][a-z]"
_INITIAL = r"\S\s\p{L}\.?$"
_SUFFIX = r"(?i)[\s,](?:jr|sr|ii|iii|iv)\.?$"
_NICKNAME = (
    r"[\"\u201c-\u201e(\[][^\"\u201c\u201d)\]]+[\"\u201c\u201d)\]]|(?:^|\s)['\u2018][^'\u2019]+['\u2019](?:\s|$)"
)


@rule(
    "NAME-002", Severity.INFO, Action.REPORT, "A name in capitals or in small letters alone",
    "Write names in the student system as people write them. The hub changes none: McNeil, O'Hara and van Dyk cannot "
    "be told from their capitals.",
    entity="users", fields=_BOTH, phase=Phase.ROW, reads={"users": _BOTH}, params={"letters": 3},
)  # fmt: skip
def capitals(given: Given) -> pl.DataFrame:
    """Names of at least ``letters`` letters of which all are capitals or none is."""
    users, fewest = given["users"], given.params["letters"]
    return in_fields({name: found(users, _of_one_kind(users[name], fewest)) for name in _BOTH})


_SAME = pl.col("").str.contains(_NO_SMALL) | pl.col("").str.contains(_NO_CAPITAL)
_LETTERS = pl.max_horizontal(pl.col("").str.count_matches(r"\p{Lu}"), pl.col("").str.count_matches(r"\p{Ll}"))


def _of_one_kind(values: pl.Series, fewest: float) -> pl.Series:
    rest = certain(~values.str.contains(_OF_BOTH))
    odd = values.filter(rest).to_frame("").select_seq(_SAME & _LETTERS.ge(fewest)).to_series()
    return spread(rest, rest, certain(odd))


@rule(
    "NAME-004", Severity.WARN, Action.SUGGEST, "Given name and family name have changed places since the last sync",
    "Look which is right, and swap the two in the student system if they were entered the wrong way round.",
    entity="users", fields=_BOTH, phase=Phase.CROSS_SNAPSHOT, reads={"users": _BOTH},
)  # fmt: skip
def swapped(given: Given) -> pl.DataFrame:
    """Users whose names are those of before in the other order."""
    users = given["users"]
    now = [users[name].str.to_lowercase() for name in _BOTH]
    was = [users[name + BEFORE].str.to_lowercase() for name in _BOTH]
    mark = (now[0] == was[1]) & (now[1] == was[0]) & (now[0] != now[1])
    return in_fields({"givenName": found(users, mark)})


@rule(
    "NAME-005", Severity.INFO, Action.REPORT, "A middle initial in the given name, or a suffix in the family name",
    "Put initials into middleName; OneRoster has no field for suffixes (Jr, III). The hub changes neither.",
    entity="users", fields=_BOTH, phase=Phase.ROW, reads={"users": _BOTH},
)  # fmt: skip
def parts_of_names(given: Given) -> pl.DataFrame:
    """Given names that end in a single letter, family names that end in a suffix."""
    users = given["users"]
    return in_fields({
        "givenName": found(users, users["givenName"].str.contains(_INITIAL)),
        "familyName": found(users, users["familyName"].str.contains(_SUFFIX)),
    })  # fmt: skip


@rule(
    "NAME-006", Severity.INFO, Action.SUGGEST, "A nickname in quotes or brackets in the given name",
    "Put it into preferredGivenName (OneRoster 1.2), where applications look for it.",
    entity="users", fields=("givenName",), phase=Phase.ROW, reads={"users": ("givenName", "preferredFirstName")},
)  # fmt: skip
def nicknames(given: Given) -> pl.DataFrame:
    """Given names with a part in quotes or brackets, where no preferred name is given."""
    users = given["users"]
    return found(users, users["givenName"].str.contains(_NICKNAME) & absent(column(users, "preferredFirstName")))
