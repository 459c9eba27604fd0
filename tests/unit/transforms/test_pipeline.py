"""What the chain makes of rosters: shapes, roles, parents and children, root causes, what the store holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

from tests.fakes.rosters import Row, clean, frames, raw, run
from transforms import canonical
from transforms.catalogue import CATALOGUE, Version
from transforms.pipeline import Transform, duplicated


def holding(**keys: list[str]) -> Callable[[str], pl.Series]:
    """A store that holds these keys."""
    return lambda entity: pl.Series("key", keys.get(entity, []), dtype=pl.String)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_frames_have_the_catalogues_columns_in_its_order(version: Version) -> None:
    result = run(version, frames(version, clean(version)))

    assert set(result.frames) == {e.name for e in CATALOGUE.files(version).values() if not e.component_of}
    for name, frame in result.frames.items():
        entity = CATALOGUE[name]
        assert frame.columns == ["key", *(f.name for f in canonical.body(entity)), "hash", "line"]
        assert frame.schema == pl.Schema(canonical.schema(entity.name))
    assert "never-kept" not in str(result.frames)


def test_values_are_typed() -> None:
    result = run("1.2", frames("1.2", clean("1.2")))

    enrollment = result.row("enrollments", "e2")
    assert enrollment["primary"] is True
    assert enrollment["beginDate"] is None
    assert result.row("enrollments", "e1")["beginDate"] == dt.date(2024, 8, 5)
    assert result.row("classes", "k1")["periods"] == ["1", "3", "10"]
    assert result.row("classes", "k1")["terms"] == ["t1", "t2"]
    assert result.row("users", "u2")["metadata"] == '{"house":"Blue \\"B\\""}'
    assert result.row("users", "u1")["userIds"] == [
        {"type": "LDAP", "identifier": "ana"},
        {"type": "LTI", "identifier": "4711"},
    ]


def test_children_are_derived_and_sorted() -> None:
    result = run("1.1", frames("1.1", clean("1.1")))

    assert result.row("orgs", "d")["children"] == ["s1", "s2"]
    assert result.row("orgs", "s1")["children"] is None
    assert result.row("academicSessions", "y")["children"] == ["t1", "t2"]


def test_a_1_1_user_has_the_role_in_each_org_and_the_first_org_is_primary() -> None:
    files = clean("1.1")
    files["users"][1] |= {"orgSourcedIds": "s2,s1"}
    files["users"][2] |= {"orgSourcedIds": "s1,d", "role": "administrator"}

    result = run("1.1", frames("1.1", files))

    lee, mom = result.row("users", "u2"), result.row("users", "u3")
    assert [(r["roleType"], r["role"], r["org"]) for r in lee["roles"]] == [
        ("primary", "teacher", "s1"),
        ("primary", "teacher", "s2"),
    ]
    assert lee["primaryOrg"] == "s2"
    assert {r["org"]: r["role"] for r in mom["roles"]} == {"s1": "siteAdministrator", "d": "districtAdministrator"}


def test_administrators_of_orgs_that_did_not_come_use_the_stores_types() -> None:
    files = clean("1.1")
    del files["orgs"]
    files["users"][0] |= {"role": "administrator", "orgSourcedIds": "s1"}
    types = pl.DataFrame({"key": ["s1"], "type": ["school"]})

    result = run("1.1", frames("1.1", files), held=holding(orgs=["s1", "s2", "d"]), org_types=types)

    assert result.row("users", "u1")["roles"][0]["role"] == "siteAdministrator"


def test_roles_and_profiles_nest_in_their_users() -> None:
    result = run("1.2", frames("1.2", clean("1.2")))

    ana = result.row("users", "u1")
    assert ana["roles"] == [
        {"roleType": "primary", "role": "student", "org": "s1", "userProfile": "urn:rosterhub:profile:p1",
         "beginDate": dt.date(2024, 8, 1), "endDate": None},
    ]  # fmt: skip
    assert ana["userProfiles"] == [
        {"profileId": "urn:rosterhub:profile:p1", "profileType": "lms", "vendorId": "v", "applicationId": "a",
         "description": None,
         "credentials": [{"type": "password", "username": "ana1"}, {"type": "saml", "username": "ana2"}]},
    ]  # fmt: skip
    assert [r["role"] for r in result.row("users", "u2")["roles"]] == ["teacher", "aide"]


def test_of_several_primary_roles_the_one_with_most_responsibility_stays() -> None:
    files = clean("1.2")
    files["roles"][2] |= {"roleType": "primary"}

    roles = run("1.2", frames("1.2", files)).row("users", "u2")["roles"]

    assert {r["role"]: r["roleType"] for r in roles} == {"teacher": "primary", "aide": "secondary"}


def test_another_users_profile_is_not_linked() -> None:
    files = clean("1.2")
    files["roles"][1] |= {"userProfileSourcedId": "p1"}

    result = run("1.2", frames("1.2", files))

    assert result.codes(entity="roles") == ["REF-002"]
    assert result.row("users", "u2")["roles"][0]["userProfile"] is None


@pytest.mark.threat("F25")
def test_one_missing_school_is_the_cause_of_everything_that_falls_with_it() -> None:
    files = clean("1.1")
    files["orgs"] = [row for row in files["orgs"] if row["sourcedId"] != "s2"]
    files["users"][0] |= {"orgSourcedIds": "s2"}

    result = run("1.1", frames("1.1", files))

    assert set(result.issues["cause"]) == {"orgs:s2"}
    assert result.quarantined["classes"] == {"k2"}
    assert result.quarantined["users"] == {"u1"}
    assert result.quarantined["enrollments"] == {"e1", "e3"}
    assert result.quarantined["demographics"] == {"u1"}
    assert result.keys("users") == ["u2", "u3"]
    assert result.row("users", "u2")["roles"][0]["org"] == "s1"
    assert result.codes(entity="users", key="u2") == ["REF-002"]


def test_a_row_kept_out_that_the_store_knows_stays_valid_for_references() -> None:
    files = clean("1.2")
    files["orgs"][1] |= {"type": None}

    unknown = run("1.2", frames("1.2", files))
    below = pl.DataFrame({"key": ["s1"], "parent": ["d"]})
    known = run("1.2", frames("1.2", files), held=holding(orgs=["s1"]), parents=lambda _: below)

    assert unknown.quarantined["users"] == {"u1", "u2", "u3"}
    assert known.quarantined["orgs"] == {"s1"}
    assert known.keys("users") == ["u1", "u2", "u3"]
    assert known.row("orgs", "d")["children"] == ["s1", "s2"]


def test_rows_that_the_connector_kept_out_count_as_known() -> None:
    files = clean("1.2")
    given = frames("1.2", files)
    chain = Transform("1.2", held=holding(orgs=["s1"]))
    orgs = given["orgs"].filter(sourcedId="s2").vstack(given["orgs"].filter(sourcedId="d"))
    list(chain.entity("orgs", [orgs], unread=lambda: pl.Series("key", ["s1"])))

    roles = {"roles": [given["roles"]], "userProfiles": [given["userProfiles"]]}
    outcomes = list(chain.entity("users", [given["users"]], components=roles))

    assert pl.concat(o.frame for o in outcomes)["key"].sort().to_list() == ["u1", "u2", "u3"]


def test_what_is_held_but_gone_from_a_bulk_file_is_not_valid() -> None:
    files = clean("1.2")
    files["classes"] = files["classes"][1:]

    result = run("1.2", frames("1.2", files), held=holding(classes=["k1", "k2"]))

    assert result.quarantined["enrollments"] == {"e1", "e2"}
    assert set(result.issues["cause"]) == {"classes:k1"}


def test_files_that_did_not_come_leave_what_is_held_valid() -> None:
    given = frames("1.2", {"enrollments": clean("1.2")["enrollments"]})

    result = run("1.2", given, held=holding(classes=["k1", "k2"], users=["u1", "u2"], orgs=["s1", "s2"]))

    assert result.keys("enrollments") == ["e1", "e2", "e3"]
    assert result.issues.height == 0


def test_rows_marked_as_deleted_in_a_bulk_file_count_as_not_there() -> None:
    files = clean("1.2")
    files["users"][0] |= {"status": "inactive", "enabledUser": "?"}

    result = run("1.2", frames("1.2", files))

    assert result.deleted["users"] == {"u1"}
    assert result.quarantined["users"] == set()
    assert result.keys("users") == ["u2", "u3"]
    assert result.codes(entity="users") == ["REF-002", "STA-001"]
    assert result.row("users", "u3")["agents"] is None


def test_rows_of_delta_files_say_what_became_of_the_object() -> None:
    rows = [
        {"sourcedId": "a", "status": "active", "name": "A", "type": "school"},
        {"sourcedId": "b", "status": "tobedeleted", "name": "B", "type": "school"},
        {"sourcedId": "c", "name": "C", "type": "school", "parentSourcedId": "old"},
    ]
    chain = Transform("1.2", held=holding(orgs=["old", "b"]))

    _, outcome = chain.entity("orgs", [raw("orgs", "1.2", rows)], delta=True)

    assert outcome.frame["key"].to_list() == ["a"]
    assert outcome.deleted.to_list() == ["b"]
    assert outcome.issues["code"].to_list() == ["STA-002"]
    assert sorted(chain.known.keys("orgs")) == ["a", "old"]


def test_changes_of_a_tree_reach_parents_of_which_no_row_came() -> None:
    said = {"d": None, "north": "d", "s1": "d", "s2": "north"}
    rows = [
        {"sourcedId": "s1", "status": "active", "name": "One", "type": "school", "parentSourcedId": "north"},
        {"sourcedId": "s2", "status": "tobedeleted", "name": "Two", "type": "school"},
    ]
    before = pl.DataFrame({"key": list(said), "parent": list(said.values())})
    chain = Transform("1.2", held=holding(orgs=list(said)), parents=lambda _: before)

    asked, own, others = chain.entity("orgs", [raw("orgs", "1.2", rows)], delta=True)

    assert asked.asks
    assert own.frame["children"].to_list() == [None]
    assert others.frame.height == 0
    assert others.implied is not None
    assert sorted(others.implied.rows()) == [("d", ["north"]), ("north", ["s1"])]


def test_circles_of_parents_lose_their_links_and_keep_their_rows() -> None:
    files = clean("1.2")
    files["orgs"] += [
        {"sourcedId": "x", "name": "X", "type": "department", "parentSourcedId": "z"},
        {"sourcedId": "z", "name": "Z", "type": "department", "parentSourcedId": "x"},
        {"sourcedId": "self", "name": "S", "type": "department", "parentSourcedId": "self"},
        {"sourcedId": "below", "name": "B", "type": "department", "parentSourcedId": "x"},
    ]

    result = run("1.2", frames("1.2", files))

    found = {i["key"]: (i["code"], i["cause"]) for i in result.issues.to_dicts()}
    assert found == {
        "x": ("ORG-002", "orgs:x"), "z": ("ORG-002", "orgs:x"), "self": ("ORG-002", "orgs:self"),
    }  # fmt: skip
    assert result.row("orgs", "x")["parent"] is None
    assert result.row("orgs", "below")["parent"] == "x"
    assert result.row("orgs", "x")["children"] == ["below"]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("one", "school", None)], []),  # there is no district above the only school
        ([("d", "district", None), ("e", "district", None), ("st", "state", None), ("x", "ext:region", None)], []),
        ([("d", "district", None), ("s", "school", "d"), ("t", "school", None)], ["t"]),
        ([("s", "school", None), ("t", "school", None), ("p", "department", "s")], ["s", "t"]),
        ([("d", "district", None), ("t", "school", "gone")], []),  # that is what REF-002 says
    ],
)
def test_schools_that_belong_to_nothing_are_told_of_and_come_in(
    rows: list[tuple[str, str, str | None]], found: list[str]
) -> None:
    orgs = [{"sourcedId": key, "name": key, "type": kind, "parentSourcedId": above} for key, kind, above in rows]
    result = run("1.2", {"orgs": raw("orgs", "1.2", orgs)})
    told = result.issues.filter(code="ORG-005")
    assert told["key"].to_list() == found
    assert result.keys("orgs") == sorted(key for key, _, _ in rows)


def test_a_changed_school_without_a_parent_is_told_of_where_the_district_did_not_come() -> None:
    said = pl.DataFrame({"key": ["d", "s"], "parent": [None, "d"]}, schema={"key": pl.String, "parent": pl.String})
    row = {"sourcedId": "s", "status": "active", "name": "S", "type": "school"}
    for before, codes in ((said, ["ORG-005"]), (said.clear(), [])):
        chain = Transform("1.2", held=holding(orgs=["d", "s"]), parents=lambda _, before=before: before)
        outcomes = chain.entity("orgs", [raw("orgs", "1.2", [row])], delta=True)
        assert [code for o in outcomes for code in o.issues["code"]] == codes


def test_a_long_chain_of_parents_is_no_circle() -> None:
    rows: list[Row] = [
        {"sourcedId": f"o{i}", "name": "O", "type": "local", "parentSourcedId": f"o{i + 1}"} for i in range(5000)
    ]
    rows.append({"sourcedId": "o5000", "name": "O", "type": "local"})

    result = run("1.2", {"orgs": raw("orgs", "1.2", rows)})

    assert result.issues.height == 0


def test_duplicates_across_batches_are_found() -> None:
    files = clean("1.2")
    files["enrollments"] += [files["enrollments"][0], files["enrollments"][1] | {"primary": "false"}]

    result = run("1.2", frames("1.2", files), size=2)

    assert result.codes() == ["ID-002", "ID-003", "ID-003"]
    assert result.keys("enrollments") == ["e1", "e3"]
    assert result.quarantined["enrollments"] == {"e2"}
    assert result.row("enrollments", "e1")["line"] == 2


def test_duplicated_sees_through_spaces() -> None:
    assert duplicated(pl.Series(["a", "b", " a", None, None])).to_list() == ["a"]
    assert duplicated(pl.Series(["a", "b"])).to_list() == []


@pytest.mark.threat("T35")
def test_no_key_that_cannot_be_stored_is_shown() -> None:
    files = clean("1.2")
    bad = ["123-45-6789", "a\x00b", "e" * 300]
    files["users"] += [files["users"][0] | {"sourcedId": key} for key in bad]
    files["enrollments"] += [
        files["enrollments"][0] | {"sourcedId": f"x{i}", "userSourcedId": key} for i, key in enumerate(bad)
    ]

    result = run("1.2", frames("1.2", files))

    shown = str(result.issues.to_dicts())
    assert not any(key in shown or repr(key)[1:-1] in shown for key in bad)
    assert result.quarantined["enrollments"] == {"x0", "x1", "x2"}
    assert result.keys("users") == ["u1", "u2", "u3"]


def test_an_empty_entity_settles_its_keys() -> None:
    chain = Transform("1.2", held=holding(orgs=["s1"]))

    assert list(chain.entity("orgs", [])) == []
    assert chain.known.keys("orgs").to_list() == []
