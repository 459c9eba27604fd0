"""What the store knows of people becomes the same columns, whether they are few or a whole district."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hub.store.matching import KEYS
from hub.sync.compared import entries, few_people, indexed, many_people, valued
from transforms.matching.few import Few
from transforms.matching.people import PERSON, keys, normalised

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
_ROLE = st.fixed_dictionaries(
    {"roleType": st.just("primary"), "role": st.sampled_from(["student", "teacher", "parent", "guardian", "relative"])}
)
_ID = st.fixed_dictionaries({"type": _TEXT, "identifier": _TEXT})
_USER = st.fixed_dictionaries(
    {"givenName": _TEXT, "familyName": _TEXT},
    optional={
        "middleName": _TEXT, "preferredFirstName": _TEXT, "email": _TEXT, "phone": _TEXT, "sms": _TEXT,
        "username": _TEXT, "userMasterIdentifier": _TEXT, "userIds": st.lists(_ID, max_size=3),
        "roles": st.lists(_ROLE, max_size=3), "grades": st.lists(st.sampled_from(["KG", "07"]), max_size=2),
    },
)  # fmt: skip
_FACTS = st.fixed_dictionaries(
    {}, optional={"birthDate": st.dates().map(str), "sex": st.sampled_from(["male", "female"])}
)
PRIVATE = ',"pronouns":"they"'
_ARRAY = st.sampled_from([None, "{}", "{7}", "{3,7}", "{NULL,4}"])
_PERSON = st.tuples(_USER, st.none() | _FACTS, _ARRAY, _ARRAY, st.lists(st.sampled_from("abc"), max_size=3))


def _document(members: dict[str, Any]) -> str:
    """As documents are stored: each member behind a comma, texts as they are."""
    return "".join("," + json.dumps({name: value}, ensure_ascii=False)[1:-1] for name, value in members.items())


@settings(max_examples=60, deadline=None)
@given(st.lists(_PERSON, min_size=1, max_size=5))
def test_few_are_what_many_are(people: list[Any]) -> None:
    rows = list(enumerate(people, 10))[::-1]
    texts = {"rid": pl.UInt32, "sourcedId": pl.String, "doc": pl.String, "doc_private": pl.String}
    users = pl.DataFrame(
        [
            {"rid": rid, "sourcedId": str(rid), "schools": schools, "guardians": guardians,
             "doc": _document(user), "doc_private": PRIVATE}
            for rid, (user, _, schools, guardians, _) in rows
        ],
        texts | {"schools": pl.String, "guardians": pl.String},
    )  # fmt: skip
    about = pl.DataFrame(
        [
            {"rid": rid, "sourcedId": str(rid), "doc": "", "doc_private": _document(facts)}
            for rid, (_, facts, *_) in rows
            if facts is not None
        ],
        texts,
    )
    said = [{"rid": rid, "source": source} for rid, (*_, sources) in rows for source in sources]
    spoken = pl.DataFrame(said, {"rid": pl.UInt32, "source": pl.String})

    few = few_people(
        (rid, _numbers(schools), _numbers(guardians), _document(user) + PRIVATE, facts and _document(facts),
         sources or None, rid == 10)
        for rid, (user, facts, schools, guardians, sources) in sorted(rows)
    ).frame(PERSON)  # fmt: skip

    assert_frame_equal(few, many_people(users, about, spoken, [10]))
    made = normalised(Few.of(few))
    assert sorted(entries(made)) == sorted(indexed(normalised(few)).rows())
    assert few["no_match"].to_list() == [rid == 10 for rid, _ in sorted(rows)]


def _numbers(array: str | None) -> list[int | None] | None:
    """An array as the driver gives it."""
    items = (array or "").strip("{}").split(",")
    return None if array is None else [None if item == "NULL" else int(item) for item in items if item]


def test_the_index_has_keys_and_values_each_once() -> None:
    rows = [
        (rid, None, None, _document({"givenName": "Ana", "familyName": name}), None, None, False)
        for rid, name in ((1, "Cruz Cruz"), (2, "Cruz Rey"))
    ]
    people = normalised(few_people(rows))

    index = indexed(people)

    assert index.schema == pl.Schema(KEYS)
    assert index.height == keys(people).height + valued(people).height == index.n_unique()
    assert {1, 2} == set(valued(people)["rid"])
    assert sorted(entries(people)) == sorted(index.rows())
