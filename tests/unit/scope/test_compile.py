"""The examples of docs/grants.md and the corners of its rules, on one small district."""

from __future__ import annotations

from typing import Any

import pytest

from hub.scope.columns import Columns
from hub.scope.compile import compile_grant
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.trim import trim, trim_changes
from tests.property.small_districts import District, Record, columns_of, derive, resolve, sourced_id
from transforms.catalogue import CATALOGUE

DISTRICT, NORTH, SOUTH = 0, 1, 2
YEAR, FALL, SPRING, FIRST_QUARTER = 0, 1, 2, 3
MATH, ART = 0, 1
MATH_NORTH, ART_NORTH, MATH_SOUTH, NO_TERM = 0, 1, 2, 3
ANA, BEN, TEA, BOTH, MUM = 0, 1, 2, 3, 4
Views = dict[str, set[int]]


def org(parent: int | None) -> Record:
    return Record(refs={"parent": parent}, values={"type": "district" if parent is None else "school"})


def session(parent: int | None, kind: str) -> Record:
    return Record(refs={"parent": parent}, values={"type": kind})


def taught(course: int, school: int, terms: list[int]) -> Record:
    return Record(refs={"course": course, "school": school, "terms": terms})


def person(*roles: tuple[str, int, str], grades: tuple[str, ...] = (), agents: tuple[int, ...] = ()) -> Record:
    entries: list[dict[str, Any]] = [
        {"role": role, "org": at, "roleType": kind, "userProfile": ""} for role, at, kind in roles
    ]
    return Record(refs={"agents": list(agents)}, roles=entries, values={"grades": list(grades)})


def enrolled(user: int, class_: int, school: int, role: str = "student") -> Record:
    return Record(refs={"user": user, "class": class_, "school": school}, values={"role": role})


def district() -> District:
    records: dict[str, list[Record]] = {
        "orgs": [org(None), org(DISTRICT), org(DISTRICT)],
        "academicSessions": [
            session(None, "schoolYear"), session(YEAR, "term"), session(YEAR, "term"), session(FALL, "gradingPeriod"),
        ],
        "courses": [
            Record(refs={"schoolYear": YEAR, "org": DISTRICT}), Record(refs={"schoolYear": None, "org": SOUTH}),
            Record(refs={"schoolYear": None, "org": None}),
        ],
        "classes": [
            taught(MATH, NORTH, [FALL]), taught(ART, NORTH, [SPRING]), taught(MATH, SOUTH, [FALL]),
            taught(MATH, NORTH, []),
        ],
        "users": [
            person(("student", NORTH, "primary"), grades=("05",), agents=(MUM,)),
            person(("student", SOUTH, "primary"), grades=("04",), agents=(MUM,)),
            person(("teacher", NORTH, "primary")),
            person(("parent", SOUTH, "secondary"), ("teacher", SOUTH, "primary"), ("teacher", DISTRICT, "secondary")),
            person(("parent", NORTH, "primary"), agents=(ANA, BEN)),
        ],
        "enrollments": [
            enrolled(ANA, MATH_NORTH, NORTH), enrolled(BEN, MATH_SOUTH, SOUTH),
            enrolled(TEA, MATH_NORTH, NORTH, "teacher"), enrolled(BOTH, ART_NORTH, NORTH, "teacher"),
            enrolled(ANA, NO_TERM, NORTH), enrolled(ANA, ART_NORTH, NORTH),
        ],
        "demographics": [Record(), Record()],
    }  # fmt: skip
    return derive({entity: dict(enumerate(held)) for entity, held in records.items()})


def rule(**limits: Any) -> dict[str, Any]:
    entities = {"schools": "orgs", "courses": "courses", "classes": "classes", "terms": "academicSessions"}
    return {
        name: [sourced_id(entities[name], rid) for rid in wanted] if name in entities else wanted
        for name, wanted in limits.items()
    }


def compiled(*rules: dict[str, object], columns: Columns | None = None, **more: object) -> Views:
    definition = GrantDefinition.model_validate({"rules": rules, **more})
    views = compile_grant(definition, columns or columns_of(district()), resolve)
    return {entity: set(present) for entity, present in views.items()}


def test_a_grant_without_rules_is_the_whole_district() -> None:
    views = compiled()
    assert views["orgs"] == {DISTRICT, NORTH, SOUTH}
    assert views["courses"] == {0, 1, 2}
    assert views["users"] == {ANA, BEN, TEA, BOTH, MUM}
    assert views["classes"] == {MATH_NORTH, ART_NORTH, MATH_SOUTH}  # a class without terms can never be served
    assert views["enrollments"] == {0, 1, 2, 3, 5}
    assert views["demographics"] == set()


def test_a_school_brings_its_classes_people_and_ancestors() -> None:
    views = compiled(rule(schools=[NORTH]))
    assert views["classes"] == {MATH_NORTH, ART_NORTH}
    assert views["users"] == {ANA, TEA, BOTH, MUM}  # BOTH works elsewhere but teaches a class of this school
    assert views["enrollments"] == {0, 2, 3, 5}
    assert views["orgs"] == {DISTRICT, NORTH}  # BOTH keeps the role at the district
    assert views["academicSessions"] == {YEAR, FALL, SPRING, FIRST_QUARTER}


def test_a_user_without_a_role_in_reach_brings_the_org_of_the_primary_role() -> None:
    views = compiled(rule(schools=[NORTH], roles=["teacher"]), entities=["users", "classes"])
    assert views["users"] == {TEA, BOTH}
    assert DISTRICT in views["orgs"]
    records = district()
    records["users"][BOTH].roles.pop()
    views = compiled(rule(schools=[NORTH]), columns=columns_of(records))
    assert views["orgs"] == {DISTRICT, NORTH, SOUTH}


def test_an_id_that_nobody_has_selects_nothing() -> None:
    assert not any(compiled(rule(schools=[99])).values())
    assert compiled(rule(classes=[99]))["users"] == set()


def test_all_students_bring_the_orgs_that_their_roles_require() -> None:
    views = compiled(rule(roles=["student"]), entities=["users"])
    assert views["users"] == {ANA, BEN}
    assert views["orgs"] == {NORTH, SOUTH}
    assert not any(views[entity] for entity in ("classes", "courses", "academicSessions", "enrollments"))


def test_classes_reach_only_who_is_enrolled() -> None:
    views = compiled(rule(schools=[NORTH], classes=[ART_NORTH, MATH_SOUTH]))
    assert views["classes"] == {ART_NORTH}
    assert views["users"] == {ANA, BOTH}
    assert views["courses"] == {ART}


def test_terms_include_the_sessions_below_them() -> None:
    assert compiled(rule(terms=[YEAR]))["classes"] == {MATH_NORTH, ART_NORTH, MATH_SOUTH}
    assert compiled(rule(terms=[SPRING]))["classes"] == {ART_NORTH}
    assert compiled(rule(terms=[FIRST_QUARTER]))["classes"] == set()
    assert compiled(rule(terms=[FALL]))["academicSessions"] == {YEAR, FALL, FIRST_QUARTER}


def test_grades_limit_students_and_nobody_else() -> None:
    views = compiled(rule(grades=["05"]))
    assert views["users"] == {ANA, TEA, BOTH, MUM}
    assert views["enrollments"] == {0, 2, 3, 5}


@pytest.mark.threat("T12", "T13")
def test_roles_limit_enrollments_and_role_entries() -> None:
    definition = GrantDefinition.model_validate({"rules": [rule(roles=["teacher"])]})
    columns = columns_of(district())
    views = compile_grant(definition, columns, resolve)
    assert set(views["users"]) == {TEA, BOTH}
    assert set(views["enrollments"]) == {2, 3}
    assert set(trim(Projection(definition, "users"), views, columns)) == {BOTH}  # the role parent does not show


def test_an_enrollment_of_another_role_than_students_needs_a_staff_role() -> None:
    records = district()
    records["users"][TEA].roles[0]["role"] = "principal"
    columns = columns_of(records)
    assert compiled(rule(roles=["principal"]), columns=columns)["enrollments"] == {2}
    assert compiled(rule(roles=["parent", "student"]), columns=columns)["enrollments"] == {0, 1, 5}


def test_rules_are_alternatives_and_do_not_mix() -> None:
    views = compiled(rule(schools=[NORTH], roles=["teacher"]), rule(schools=[SOUTH], roles=["student"]))
    assert views["users"] == {TEA, BOTH, BEN}
    assert views["classes"] == {MATH_NORTH, ART_NORTH, MATH_SOUTH}
    assert views["enrollments"] == {1, 2, 3}


def test_demographics_are_those_of_visible_users() -> None:
    assert compiled(rule(schools=[SOUTH]), entities=["users", "demographics"])["demographics"] == {BEN}


def test_what_is_required_and_inactive_takes_the_record_away() -> None:
    for entity, rid in (("orgs", NORTH), ("academicSessions", FALL), ("courses", MATH), ("users", ANA)):
        records = district()
        records[entity][rid].active = False
        views = compiled(columns=columns_of(records))
        assert (MATH_NORTH in views["classes"]) == (entity == "users")
        assert 0 not in views["enrollments"]
    records = district()
    records["orgs"][NORTH].active = False
    assert ANA not in compiled(columns=columns_of(records))["users"]


def test_orgs_in_a_circle_end() -> None:
    records = district()
    records["orgs"][DISTRICT].refs["parent"] = NORTH
    assert compiled(rule(schools=[SOUTH]), columns=columns_of(records))["orgs"] == {DISTRICT, NORTH, SOUTH}


@pytest.mark.threat("T13")
def test_optional_references_never_widen_the_view() -> None:
    definition = GrantDefinition.model_validate(
        {"rules": [rule(schools=[NORTH])], "privacy": ["contact"], "fields": {"orgs": {"hide": ["children"]}}}
    )
    columns = columns_of(district())
    views = compile_grant(definition, columns, resolve)
    assert BEN not in views["users"]
    trimmed = {entity: set(trim(Projection(definition, entity), views, columns)) for entity in views}
    assert trimmed["users"] == {BOTH, MUM}  # a role elsewhere; a child elsewhere
    assert trimmed["courses"] == {ART}  # owned by the other school
    assert trimmed["orgs"] == set()  # the children that would be left out are hidden


def test_a_record_changes_when_the_target_of_a_reference_comes_into_view() -> None:
    before, after = (
        GrantDefinition.model_validate({"rules": [rule(schools=schools)], "privacy": ["contact"]})
        for schools in ([NORTH], [NORTH, SOUTH])
    )
    columns = columns_of(district())
    old, new = (compile_grant(definition, columns, resolve) for definition in (before, after))
    changes = {entity: set(trim_changes(Projection(after, entity), old, new, columns)) for entity in new}
    assert changes["users"] == {BOTH, MUM}
    assert changes["orgs"] == {DISTRICT}
    assert changes["courses"] == {ART}


@pytest.mark.threat("T13", "T16")
def test_a_role_that_does_not_show_changes_nothing_when_its_org_enters() -> None:
    before, after = (
        GrantDefinition.model_validate({"rules": [rule(schools=schools, roles=["teacher"])]})
        for schools in ([NORTH], [NORTH, SOUTH])
    )
    records = district()
    records["users"][TEA].roles.append({"role": "parent", "org": SOUTH, "roleType": "secondary", "userProfile": ""})
    columns = columns_of(records)
    old, new = (compile_grant(definition, columns, resolve) for definition in (before, after))
    assert set(trim_changes(Projection(after, "users"), old, new, columns)) == {BOTH}


def graded() -> Columns:
    """The district with resources of a class, a course and a user, and with grades at both schools."""
    records = district()
    records["classes"][MATH_NORTH].refs["resources"] = [0]
    records["courses"][ART].refs["resources"] = [1]
    records["users"][BEN].refs["resources"] = [2]
    item = {"category": 0, "gradingPeriod": FIRST_QUARTER}
    more: dict[str, list[Record]] = {
        "resources": [Record(), Record(), Record(), Record(), Record(active=False)],
        "categories": [Record()],
        "scoreScales": [Record(refs={"class": MATH_NORTH, "course": MATH}), Record(refs={"class": MATH_SOUTH})],
        "lineItems": [
            Record(refs=item | {"class": MATH_NORTH, "school": NORTH}),
            Record(refs=item | {"class": MATH_SOUTH, "school": SOUTH, "scoreScale": 0}),
        ],
        "results": [Record(refs={"lineItem": line, "student": who}) for line, who in ((0, ANA), (0, BEN), (1, BEN))],
        "assessmentLineItems": [Record(), Record(refs={"class": MATH_SOUTH, "parentAssessmentLineItem": 0})],
        "assessmentResults": [
            Record(refs={"assessmentLineItem": test, "student": who}) for test, who in ((0, ANA), (1, ANA), (1, BEN))
        ],
    }
    return columns_of(records | {entity: dict(enumerate(held)) for entity, held in more.items()})


ALL = [entity.name for entity in CATALOGUE.entities]


@pytest.mark.threat("T12", "T13")
def test_resources_are_those_of_visible_courses_classes_and_users() -> None:
    columns = graded()
    assert compiled(columns=columns, entities=ALL)["resources"] == {0, 1, 2, 3}
    assert compiled(rule(schools=[NORTH]), columns=columns, entities=ALL)["resources"] == {0, 1}
    assert compiled(rule(roles=["student"], schools=[SOUTH]), columns=columns, entities=ALL)["resources"] == {2}
    assert compiled(rule(schools=[SOUTH]), columns=columns, entities=["classes", "resources"])["resources"] == set()
    assert compiled(columns=columns)["resources"] == set()


@pytest.mark.threat("T12", "T13")
def test_grades_are_those_of_visible_classes_and_students() -> None:
    columns = graded()
    views = compiled(rule(schools=[NORTH]), columns=columns, entities=ALL)
    assert views["categories"] == {0}
    assert views["scoreScales"] == {0}
    assert views["lineItems"] == {0}
    assert views["results"] == {0}  # of the other student of the same line item nothing shows
    assert compiled(rule(grades=["04"]), columns=columns, entities=ALL)["results"] == {1, 2}
    assert compiled(columns=columns, entities=ALL)["results"] == {0, 1, 2}
    assert not any(compiled(columns=columns)[entity.name] for entity in CATALOGUE.of_service("gradebook"))


@pytest.mark.threat("T12", "T13")
def test_an_assessment_of_a_class_shows_with_its_class() -> None:
    columns = graded()
    views = compiled(rule(schools=[NORTH]), columns=columns, entities=ALL)
    assert views["assessmentLineItems"] == {0}
    assert views["assessmentResults"] == {0}
    assert compiled(columns=columns, entities=ALL)["assessmentResults"] == {0, 1, 2}
    without_classes = ["users", "assessmentLineItems", "assessmentResults"]
    assert compiled(columns=columns, entities=without_classes)["assessmentLineItems"] == {0}


@pytest.mark.threat("T13")
def test_a_scale_or_session_that_is_not_in_the_view_is_left_out_of_line_items() -> None:
    definition = GrantDefinition.model_validate(
        {"rules": [rule(schools=[SOUTH])], "entities": [e for e in ALL if e != "academicSessions"]}
    )
    columns = graded()
    views = compile_grant(definition, columns, resolve)
    assert set(views["lineItems"]) == {1}
    assert set(trim(Projection(definition, "lineItems"), views, columns)) == {1}  # neither the scale nor the quarter


def test_columns_that_lack_something_are_refused() -> None:
    whole = columns_of(district())
    with pytest.raises(KeyError, match="single"):
        Columns(whole.active, {}, whole.many, whole.roles, whole.coded, whole.coded_many, whole.codes)
