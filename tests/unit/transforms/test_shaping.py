"""Definitions and what they make of rows: order of steps, refusals with places, what must be the same again."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.shaping.checking import load
from transforms.shaping.definition import as_json, mark
from transforms.shaping.exposure import exposures
from transforms.shaping.mapping import mapped, partners
from transforms.shaping.mappings import BUILT_IN, built_in
from transforms.shaping.steps import DefinitionError, apply

USERS = ["sourcedId", "role", "grades", "email", "line"]


def users(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    values = [(*row, n) for n, row in enumerate(rows, 2)]
    return pl.DataFrame(values, schema={**dict.fromkeys(USERS[:-1], pl.String), "line": pl.UInt32}, orient="row")


def shaped(steps: dict[str, Any], frame: pl.DataFrame, **more: Any) -> tuple[pl.DataFrame, int]:
    return apply(load({"files": {"users": steps}}).files["users"], frame, **more)


FRAME = users(("u1", "student", "K,1", None), ("u2", "TCH", "2", "a@x.example"), ("u3", None, None, "b@x.example"))


def test_steps_act_in_the_order_in_which_they_are_written() -> None:
    steps = {
        "columns": {"identifier": "email"},
        "values": {"role": {"TCH": "teacher"}},
        "set": {"username": "role || '-' || COALESCE(identifier, 'none')"},
        "defaults": {"username": "nobody", "enabledUser": "true"},
        "where": "username <> 'nobody'",
    }
    frame, left_out = shaped(steps, FRAME)

    assert left_out == 1
    assert frame["username"].to_list() == ["student-none", "teacher-a@x.example"]
    assert frame["identifier"].to_list() == [None, "a@x.example"]
    assert frame["enabledUser"].to_list() == ["true", "true"]
    assert frame.columns[:4] == USERS[:4]
    assert frame.columns[-1] == "line"
    assert frame["line"].to_list() == [2, 3]


def test_lists_are_looked_up_item_by_item_and_null_takes_an_item_out() -> None:
    frame, _ = shaped({"values": {"grades": {"K": "KG", "2": None}}}, FRAME)
    assert frame["grades"].to_list() == ["KG,1", None, None]


def test_expressions_see_the_row_before_any_of_them_acts() -> None:
    frame, _ = shaped({"set": {"role": "grades", "grades": "role"}}, FRAME)
    assert frame["role"].to_list() == ["K,1", "2", None]
    assert frame["grades"].to_list() == ["student", "TCH", None]


def test_columns_that_a_package_lacks_are_blank() -> None:
    frame, left_out = shaped({"where": "metadata.house IS NULL AND phone IS NULL"}, FRAME)
    assert (left_out, frame.columns) == (0, USERS)


def test_a_frame_without_rows_keeps_its_columns() -> None:
    frame, left_out = shaped({"set": {"role": "'x'"}, "values": {"grades": {"K": "KG"}}}, FRAME.clear())
    assert (frame.height, left_out, frame.columns) == (0, 0, USERS)


def test_in_a_file_of_changes_a_row_that_is_left_out_says_so() -> None:
    frame, left_out = shaped({"where": "role = 'student'"}, FRAME, marks_left_out=True)
    assert left_out == 2
    assert frame["status"].to_list() == [None, "tobedeleted", "tobedeleted"]


@pytest.mark.parametrize(
    ("definition", "place", "words"),
    [
        ({"files": {"pupils": {}}}, "files.pupils", "no data file"),
        ({"files": {"users": {"set": {"shoe": "'9'"}}}}, "files.users.set.shoe", "no column of this name"),
        ({"files": {"users": {"set": {"password": "'x'"}}}}, "files.users.set.password", "no column"),
        ({"files": {"users": {"set": {"email": "password"}}}}, "files.users.set.email", "line 1, column 1"),
        ({"files": {"users": {"set": {"status": "'tobedeleted'"}}}}, "files.users.set.status", "reader"),
        ({"files": {"users": {"set": {"email": "UPPER(\n  emial)"}}}}, "files.users.set.email", "line 2, column 3"),
        ({"files": {"users": {"where": "role"}}}, "files.users.where", "condition"),
        ({"files": {"users": {"columns": {"email": "mail"}}}}, "files.users.columns.email", "no column mail"),
        ({"files": {"users": {"defaults": {"": "x"}}}}, "files.users.defaults", "at least 1"),
        ({"files": {"users": {"values": {"role": {"a": 1}}}}}, "files.users.values.role.a", "string"),
        ({"files": {"users": {"wehre": "TRUE"}}}, "files.users.wehre", "not permitted"),
        ({"file": {}}, "file", "not permitted"),
        ({"mapping": {"base": "sds-9"}}, "mapping.base", "Known: auto, sds-2.1"),
        ({"mapping": {}}, "mapping", "Say in `files`"),
        ({"mapping": {"files": {"users": {"from": []}}}}, "mapping.files.users.from", "at least 1"),
        ({"mapping": {"files": {"roles": {"from": [{"table": "t", "columns": {"role": "r"}}]}}}},
         "mapping.files.roles.from[0]", "sourcedId"),
        ({"mapping": {"files": {"users": {"from": [{"table": "t", "columns": {"sourcedId": "id"},
                                                    "set": {"email": "a ||"}}]}}}},
         "mapping.files.users.from[0].set.email", "line 1, column 5"),
        ({"mapping": {"files": {"users": {"from": [
            {"table": "t", "columns": {"sourcedId": "id", "email": "Password"}}]}}}},
         "mapping.files.users.from[0]", "secret"),
        ({"mapping": {"files": {"users": {"from": [{"table": "t", "columns": {"sourcedId": "id", "role": "r"}}]}}}},
         "mapping.files.users.from[0].columns.role", "no column"),
        ({"mapping": {"files": {"users": {"from": [{"table": "../etc", "columns": {"sourcedId": "id"}}]}}}},
         "mapping.files.users.from[0].table", "pattern"),
        ({"mapping": {"files": {"users": {"from": [
            {"table": "t", "columns": {"sourcedId": "id"}, "join": [
                {"table": "a", "name": "a", "on": {"b.x": "y"}}, {"table": "b", "name": "b", "on": {"x": "y"}}]}]}}}},
         "mapping.files.users.from[0].join[0].on", "joined later"),
        ({"files": {"users": {"values": {"role": {"a": "b\0"}}}}}, "files.users.values.role.a", "pattern"),
        ({"files": {"users": {"where": "role = '\0'"}}}, "files.users.where", "pattern"),
        ("text", "", ""),
        ({"files": {"users": {"values": {"email": {str(n): "x" * 900 for n in range(400)}}}}}, "", "at most"),
    ],
)  # fmt: skip
def test_what_is_broken_is_refused_with_its_place(definition: Any, place: str, words: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        load(definition)
    faults = {fault.place: fault.message for fault in refused.value.faults}
    assert place in faults, faults
    assert words in faults[place]


def test_all_faults_are_said_at_once() -> None:
    with pytest.raises(DefinitionError) as refused:
        load({"files": {"users": {"where": "x", "set": {"email": "y"}}, "orgs": {"where": "z"}}})
    assert len(refused.value.faults) == 3


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_mappings_are_in_order(name: str) -> None:
    assert load({"mapping": as_json(built_in(name))}).mapping is not None


def test_the_mark_of_a_definition_tells_meanings_apart() -> None:
    one, same = load({"files": {"users": {"where": "TRUE"}}}), load({"files": {"users": {"where": "TRUE", "set": {}}}})
    other = load({"files": {"users": {"where": "FALSE"}}})
    assert mark(one.definition) == mark(same.definition)
    assert mark(one.definition) != mark(other.definition)
    assert load(as_json(one.definition)).definition == one.definition


CELL = st.one_of(st.none(), st.sampled_from(["K", "KG", "1", "K,1", "student", "TCH", "x"]))
ROWS = st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), CELL, CELL, CELL), max_size=8)
#: Each value that comes out is one that the steps leave as it is.
SETTLED = {
    "values": {"grades": {"K": "KG"}, "role": {"TCH": "teacher"}},
    "set": {"email": "LOWER(email)"},
    "defaults": {"role": "student"},
    "where": "role <> 'x'",
}


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_rows_that_are_as_they_should_be_stay_so(rows: list[tuple[str | None, ...]]) -> None:
    once, _ = shaped(SETTLED, users(*rows))
    twice, left_out = shaped(SETTLED, once)
    assert twice.equals(once)
    assert left_out == 0


@settings(max_examples=100, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_the_size_of_batches_change_nothing(
    rows: list[tuple[str | None, ...]], draw: Any
) -> None:
    frame = users(*rows)
    whole, _ = shaped(SETTLED, frame)
    places = list(range(frame.height))
    draw.shuffle(places)
    shuffled, _ = shaped(SETTLED, frame[places])
    parts = [shaped(SETTLED, part)[0] for part in frame.iter_slices(2)]
    assert shuffled.sort("line").equals(whole)
    assert pl.concat([whole.clear(), *parts]).equals(whole)


TABLE = st.lists(st.tuples(st.sampled_from("123"), st.sampled_from(["a", "b", None])), max_size=6)


@settings(max_examples=100, deadline=None)
@given(TABLE, TABLE, st.randoms(use_true_random=False), st.sampled_from(["one", "list"]))
def test_a_join_multiplies_no_row_and_does_not_look_at_the_order(own: Any, other: Any, draw: Any, many: str) -> None:
    part = {"table": "t", "columns": {"sourcedId": "id", "name": "o.v"},
            "join": [{"table": "u", "name": "o", "on": {"id": "id"}, "many": many}]}  # fmt: skip
    checked = load({"mapping": {"files": {"orgs": {"from": [part]}}}}).mapping
    assert checked is not None
    one = checked.files["orgs"].parts[0]
    schema = {"t:id": pl.String, "t:v": pl.String}
    rows = pl.DataFrame(own, schema=schema, orient="row").with_columns(
        line=pl.int_range(2, len(own) + 2, dtype=pl.UInt32)
    )
    table = pl.DataFrame(other, schema=schema, orient="row")
    mixed = list(other)
    draw.shuffle(mixed)
    made = [
        mapped(one, ["name", "sourcedId"], rows, [partners(one, one.part.join[0], frame)], [False])
        for frame in (table, pl.DataFrame(mixed, schema=schema, orient="row"))
    ]
    assert made[0].frame.equals(made[1].frame)
    assert made[0].frame["line"].to_list() == rows["line"].to_list()
    values = {key: sorted({v for k, v in other if k == key and v}) for key in "123"}
    expected = [(",".join(values[k]) if many == "list" else next(iter(values[k]), "")) or None for k, _ in own]
    assert made[0].frame["name"].to_list() == expected


def test_a_value_that_more_apps_would_see_is_found() -> None:
    made = load(
        {
            "files": {
                "users": {
                    "columns": {"identifier": "phone", "sms": "phone"},
                    "set": {"username": "LOWER(COALESCE(email, username))", "metadata.x": "pronouns"},
                },
                "demographics": {"set": {"metadata.born": "birthDate", "sex": "sex"}},
            }
        }
    )
    assert [(e.column, e.source, e.privacy) for e in exposures(made)] == [
        ("identifier", "phone", "contact"), ("metadata.x", "pronouns", "demographic"), ("username", "email", "contact"),
    ]  # fmt: skip
