"""Suggested mappings: by names alone, with scores, and they load."""

from __future__ import annotations

from transforms.shaping.checking import load
from transforms.shaping.detect import detected, scores
from transforms.shaping.mappings import BUILT_IN, built_in
from transforms.shaping.suggest import suggest

DUMP = {
    "Campus": ["CampusID", "Campus Name"],
    "Pupil": ["StudentNumber", "Pupil_ID", "First Name", "Surname", "Year Level", "School_ID", "Password"],
    "Staff": ["staff_id", "Given Name", "Family Name", "Email Address", "CampusID"],
    "Terms": ["TermID", "Name", "StartDate", "EndDate"],
    "Course": ["CourseNumber", "Title", "SchoolID"],
    "Classes": ["ClassID", "CourseID", "TermID", "TeacherID", "Period"],
    "StudentClasses": ["ClassID", "PupilID"],
}


def test_every_built_in_mapping_knows_its_own_tables() -> None:
    for name in BUILT_IN:
        checked = load({"mapping": {"base": name}}).mapping
        assert checked is not None
        tables = {table: sorted(columns) for table, columns in checked.columns.items()}
        found = scores(tables)
        assert found[name] == 1.0
        assert detected(tables) == name
        assert suggest(tables).base == name


def test_a_dump_with_names_of_its_own_gets_a_mapping_that_loads() -> None:
    found = suggest(DUMP)
    assert found.base is None
    assert found.missing == []
    chosen = {(c.table, c.column): c.chosen for c in found.choices}
    assert chosen["schools", ""] == "Campus"
    assert chosen["students", "id"] == "Pupil_ID"
    assert chosen["courses", "id"] == "CourseNumber"
    assert chosen["sections", "id"] == "ClassID"
    assert "Password" not in chosen.values()
    assert all(0 < c.score <= 1 for c in found.choices)
    checked = load({"mapping": found.mapping}).mapping
    assert checked is not None
    assert set(checked.files) == set(built_in("dump").files)
    assert checked.tables == set(DUMP)


def test_what_is_not_found_is_said_and_the_rest_is_suggested() -> None:
    found = suggest({k: v for k, v in DUMP.items() if k not in {"Terms", "Staff"}})
    assert any("the table terms" in text for text in found.missing)
    assert any("the table teachers" in text for text in found.missing)
    assert set(load({"mapping": found.mapping}).definition.mapping.files) >= {"orgs", "users", "classes"}  # type: ignore[union-attr]


def test_the_order_of_tables_and_columns_changes_nothing() -> None:
    turned = {name: DUMP[name][::-1] for name in reversed(DUMP)}
    assert suggest(turned) == suggest(DUMP)


def test_names_that_say_nothing_suggest_nothing() -> None:
    found = suggest({"a1": ["q", "w"], "b2": ["e", ""]})
    assert found.choices == []
    assert found.mapping.get("files", {}) == {}


def test_a_format_that_lacks_something_is_named_with_what_it_lacks() -> None:
    checked = load({"mapping": {"base": "sds-1"}}).mapping
    assert checked is not None
    tables = {table: sorted(columns - {"Username"}) for table, columns in checked.columns.items() if table != "School"}
    found = suggest(tables)
    assert (found.base, found.missing) == ("sds-1", ["School", "Student.Username", "Teacher.Username"])
    assert detected(tables) is None
