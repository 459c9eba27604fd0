"""What is left out before anybody asks how common names are is what would be called separate anyhow."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.matching.columns import Columns
from transforms.matching.few import Few
from transforms.matching.frequencies import values
from transforms.matching.people import COUNTS, PERSON, Frequencies, Policy, decide, normalised, possible

#: Slips, short ones, nicknames, initials, compounds, names that are both first and last ones.
_NAMES = (
    None, "Mai", "Mia", "Bo", "Jo", "William", "Liam", "Wiliam", "W", "Maria Jose", "Maria", "Katharina", "Catharina",
    "Lopez", "Garcia Lopez", "Lee",
)  # fmt: skip
_DAYS = (None, date(2012, 5, 7), date(2012, 7, 5), date(2012, 5, 8), date(2011, 5, 7), date(1979, 1, 31))
_IDS = ([], [{"type": "state", "identifier": "8812345"}], [{"type": "state", "identifier": "8812346"}])
_PERSON = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["sis", "directory"]), "kind": st.sampled_from(["student", "staff"]),
        "given": st.sampled_from(_NAMES), "middle": st.sampled_from(_NAMES), "family": st.sampled_from(_NAMES),
        "preferred": st.sampled_from(_NAMES[:6]), "birth_date": st.sampled_from(_DAYS), "ids": st.sampled_from(_IDS),
        "email": st.sampled_from([None, "one@example.org", "two@example.org"]), "sex": st.sampled_from([None, "F"]),
        "phone": st.sampled_from([None, "5550100"]), "active": st.booleans(),
    }
)  # fmt: skip
_POLICIES = st.builds(
    Policy, merge=st.sampled_from([0.5, 0.9999]), review=st.sampled_from([0.1, 0.995]),
    email_domains=st.sampled_from([None, frozenset({"example.org"})]),
)  # fmt: skip


def people(rows: list[dict[str, Any]]) -> Columns:
    return Columns(normalised(Few.of(pl.DataFrame([{"rid": rid} | row for rid, row in enumerate(rows)], PERSON))))


def counts(columns: Columns, seed: int) -> Frequencies:
    """Some number for each value that there is."""
    rng = np.random.default_rng(seed)
    rows = {
        (int(of), number): int(rng.choice([1, 2, 9, 10, 11, 300]))
        for of, arrays in values(columns).items()
        for array in arrays
        for number in array.view(np.int64).tolist()
        if number
    }
    return Frequencies(5_000, pl.DataFrame([(*key, count) for key, count in rows.items()], COUNTS, orient="row"))


@settings(max_examples=300, deadline=None)
@given(st.lists(_PERSON, min_size=2, max_size=6), st.integers(0, 999), _POLICIES)
def test_who_is_left_out_is_separate_however_common_names_are(
    rows: list[dict[str, Any]], seed: int, policy: Policy
) -> None:
    columns = people(rows)
    each = [(left, right) for right in range(len(rows)) for left in range(right)]
    pairs = pl.DataFrame(each, {"left": pl.UInt32, "right": pl.UInt32}, orient="row")
    told = decide(columns, pairs, population=5_000, frequencies=counts(columns, seed), policy=policy).frame
    found = set(possible(columns, pairs).rows())

    joined = told.filter(pl.col("outcome") != "separate").select("left", "right").rows()

    assert set(joined) <= found <= set(each)


def test_other_first_names_and_birth_dates_are_left_out_if_nothing_says_more() -> None:
    ana = {"given": "Ana", "family": "Ruiz", "birth_date": date(2012, 5, 7), "ids": [], "source": "sis"}
    known = {"ids": [{"type": "state", "identifier": "8812345"}], "email": "ana@example.org"}
    rows = [ana, ana | {"given": "Zoe"}, ana | {"birth_date": date(1979, 1, 31)}, ana | {"source": "directory"}]
    both = [{"given": "Ana", **known}, {"given": "Zoe", **known}]
    columns = people([*rows, *(ana | one for one in both)])
    pairs = pl.DataFrame({"left": [0, 0, 0, 4, 0], "right": [1, 2, 3, 5, 9]}, {"left": pl.UInt32, "right": pl.UInt32})

    assert possible(columns, pairs).rows() == [(0, 3), (4, 5)]


def test_a_slip_in_a_short_name_is_left_in_since_it_depends_on_how_common_both_are() -> None:
    mai = {
        "given": "Mai", "middle": "Lan", "family": "Tran", "birth_date": date(2012, 5, 7), "ids": [], "source": "sis",
        "kind": "student", "phone": "5550100", "email": None, "sex": "F", "active": True,
    }  # fmt: skip
    columns = people([mai, mai | {"given": "Mia", "source": "directory"}])
    names = columns.given.view(np.int64).tolist()
    rows = [(0, name, count) for name, count in zip(names, (1, 12), strict=True)]
    frequencies = Frequencies(5_000, pl.DataFrame(rows, COUNTS, orient="row"))
    pairs = pl.DataFrame({"left": [0], "right": [1]}, {"left": pl.UInt32, "right": pl.UInt32})

    told = decide(columns, pairs, population=5_000, frequencies=frequencies).frame

    assert told["outcome"].to_list() != ["separate"]
    assert possible(columns, pairs).rows() == [(0, 1)]
