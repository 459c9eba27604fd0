"""Documents as the service will serve them."""

from __future__ import annotations

from datetime import date
from typing import Any

import orjson
import polars as pl
import pytest

from tests.fakes.gradebooks import CASE
from tests.fakes.rosters import clean, frames, run
from transforms import canonical
from transforms.catalogue import CATALOGUE
from transforms.references import BASES, SHORT, bases, spelled_out
from transforms.render import render


def documents(entity: str, key: str, files: dict[str, list[dict[str, str | None]]] | None = None) -> tuple[Any, Any]:
    """The directory and the other members of one record."""
    frame = run("1.2", frames("1.2", files or clean("1.2"))).frames[entity].filter(key=key)
    ((public, private),) = render(entity, frame.with_columns(sourcedId="key")).iter_rows()
    assert all(text == "" or text.startswith(",") for text in (public, private))
    assert all(c >= " " or c in {*BASES.values(), SHORT} for c in public + private)
    assert (SHORT in public) == CATALOGUE[entity].compact
    return parsed(public), parsed(private)


def parsed(members: str) -> Any:
    text = spelled_out(members)
    for service, base in BASES.items():
        text = text.replace(base, f"https://hub/{service}")
    return orjson.loads("{" + text[1:] + "}")


def reference(collection: str, kind: str, key: str) -> dict[str, str]:
    return {"href": f"https://hub/{CATALOGUE[collection].service}/{collection}/{key}", "sourcedId": key, "type": kind}


def test_an_enrollment() -> None:
    public, private = documents("enrollments", "e2")

    assert public == {
        "class": reference("classes", "class", "k1"), "school": reference("orgs", "org", "s1"),
        "user": reference("users", "user", "u2"), "role": "teacher", "primary": "true",
    }  # fmt: skip
    assert private == {}


def test_a_user() -> None:
    public, private = documents("users", "u1")

    assert public == {
        "enabledUser": "true", "username": "ana", "givenName": "Ana", "familyName": "Muñoz", "identifier": "100",
        "userIds": [{"type": "LDAP", "identifier": "ana"}, {"type": "LTI", "identifier": "4711"}],
        "grades": ["09"], "preferredFirstName": "Bo", "primaryOrg": reference("orgs", "org", "s1"),
        "resources": [reference("resources", "resource", "b2")],
        "roles": [{"roleType": "primary", "role": "student", "beginDate": "2024-08-01",
                   "org": reference("orgs", "org", "s1"), "userProfile": "urn:rosterhub:profile:p1"}],
    }  # fmt: skip
    assert private == {
        "email": "ana@school.org", "phone": "+15552345678", "agents": [reference("users", "user", "u3")],
        "userProfiles": [
            {"profileId": "urn:rosterhub:profile:p1", "profileType": "lms", "vendorId": "v", "applicationId": "a",
             "credentials": [{"type": "password", "username": "ana1"}, {"type": "saml", "username": "ana2"}]}
        ],
    }  # fmt: skip


def test_required_members_fall_back() -> None:
    files = clean("1.2")
    files["courses"][0]["courseCode"] = None
    files["users"][2]["givenName"] = None

    assert documents("orgs", "s1", files)[0]["identifier"] == "s1"
    assert documents("orgs", "d", files)[0]["identifier"] == "D-1"
    assert documents("courses", "c1", files)[0]["courseCode"] == "c1"
    assert documents("users", "u3", files)[0]["givenName"] == ""


def test_demographics_are_private() -> None:
    files = clean("1.2")
    files["demographics"][0]["metadata.note"] = "x"

    public, private = documents("demographics", "u1", files)

    assert public == {}
    assert private == {"birthDate": "2010-02-28", "sex": "female", "white": "true", "metadata": {"note": "x"}}


@pytest.mark.threat("T35")
@pytest.mark.parametrize(
    "text", ['"', "\\", "\\u0000", "\x01", "\x1f", "\x7f", "a\nb\tc", "</script>", "\u2028", "😀", "%"]
)
def test_any_text_survives_in_any_place(text: str) -> None:
    """Frames that did not come from the pipeline are escaped too: no raw control byte gets into a document."""
    frame = run("1.2", frames("1.2", clean("1.2"))).frames["users"].filter(key="u1")
    role = frame["roles"].explode().to_frame().unnest("roles").with_columns(userProfile=pl.lit(text))
    frame = frame.with_columns(
        givenName=pl.lit(text),
        grades=pl.concat_list(pl.lit(text), pl.lit("09")),
        sourcedId="key",
        roles=role.to_struct().implode(),
        userIds=pl.concat_list(pl.struct(type=pl.lit(text), identifier=pl.lit(text))),
    )

    ((public, _),) = render("users", frame).iter_rows()

    assert all(c >= " " and c != "\x7f" for c in public.replace("\x01/", "").replace("\x05/", ""))
    found = parsed(public)
    assert (found["givenName"], found["grades"], found["roles"][0]["userProfile"]) == (text, [text, "09"], text)
    assert found["userIds"] == [{"type": text, "identifier": text}]


def test_lists_of_several_items() -> None:
    public, _ = documents("classes", "k1")

    assert public["terms"] == [reference("academicSessions", "academicSession", t) for t in ("t1", "t2")]
    assert public["periods"] == ["1", "3", "10"]
    assert documents("orgs", "d")[0]["children"] == [reference("orgs", "org", s) for s in ("s1", "s2")]


def test_an_empty_frame_gives_no_documents() -> None:
    for entity in CATALOGUE.entities:
        frame = canonical.empty(entity).with_columns(sourcedId="key")
        assert render(entity.name, frame).shape == (0, 2)


def test_resources_stand_in_their_own_service_and_in_the_order_of_their_keys() -> None:
    links = [reference("resources", "resource", key) for key in ("b1", "b2")]

    assert documents("classes", "k1")[0]["resources"] == links
    assert documents("courses", "c1")[0]["resources"] == links[:1]
    assert "resources" not in documents("classes", "k2")[0]
    assert documents("resources", "b1")[0] == {
        "vendorResourceId": "isbn-1", "title": "Algebra Reader", "roles": ["student", "teacher"],
        "importance": "primary", "vendorId": "v1", "applicationId": "a1",
    }  # fmt: skip
    assert documents("resources", "b2")[0] == {"vendorResourceId": "isbn-2", "metadata": {"shelf": "A"}}


def test_a_line_item_its_category_and_its_scale() -> None:
    assert documents("categories", "g1")[0] == {"title": "Homework", "weight": 30}
    assert documents("lineItems", "l1")[0] == {
        "title": "Fractions", "description": "Pages 3 to 5", "assignDate": "2024-09-02T00:00:00.000Z",
        "dueDate": "2024-09-09T23:59:59.000Z", "class": reference("classes", "class", "k1"),
        "category": reference("categories", "category", "g1"),
        "gradingPeriod": reference("academicSessions", "academicSession", "t1"),
        "academicSession": reference("academicSessions", "academicSession", "t1"),
        "resultValueMin": 0, "resultValueMax": 100, "school": reference("orgs", "org", "s1"),
        "scoreScale": reference("scoreScales", "scoreScale", "a1"),
        "learningObjectiveSet": [
            {"source": "case", "learningObjectiveIds": [CASE]},
            {"source": "unknown", "learningObjectiveIds": ["Knows numbers", "adds fractions"]},
        ],
    }  # fmt: skip
    assert documents("scoreScales", "a1")[0] == {
        "title": "Letters", "type": "letter", "course": reference("courses", "course", "c1"),
        "class": reference("classes", "class", "k1"),
        "scoreScaleValue": [
            {"itemValueLHS": "90-100", "itemValueRHS": "A"}, {"itemValueLHS": "80-89", "itemValueRHS": "B"},
            {"itemValueLHS": "0-79", "itemValueRHS": "C"},
        ],
    }  # fmt: skip


def test_a_result() -> None:
    assert documents("results", "x1")[0] == {
        "lineItem": reference("lineItems", "lineItem", "l1"), "student": reference("users", "user", "u1"),
        "scoreStatus": "fully graded", "score": 87.5, "scoreDate": "2024-09-12", "comment": "Well done",
        "textScore": "B", "class": reference("classes", "class", "k1"), "late": "true", "missing": "false",
        "scoreScale": reference("scoreScales", "scoreScale", "a1"),
        "learningObjectiveSet": [
            {"source": "case", "learningObjectiveResults": [{"learningObjectiveId": CASE, "score": 3.5}]},
            {"source": "unknown",
             "learningObjectiveResults": [{"learningObjectiveId": "Knows numbers", "textScore": "often"}]},
        ],
    }  # fmt: skip


def test_an_assessment_which_no_file_holds() -> None:
    row = {"key": "t1", "sourcedId": "t1", "assessmentLineItem": "m1", "student": "u1", "score": -0.5, "textScore": '"',
           "scoreDate": date(2025, 1, 2), "scorePercentile": 99.5, "scoreStatus": "ext:draft",
           "late": True}  # fmt: skip
    schema = {"sourcedId": pl.String, **canonical.schema("assessmentResults")}
    ((public, private),) = render("assessmentResults", pl.DataFrame([row], schema=schema)).iter_rows()

    assert parsed(public) == {
        "assessmentLineItem": reference("assessmentLineItems", "assessmentLineItem", "m1"),
        "student": reference("users", "user", "u1"), "score": -0.5, "textScore": '"', "scoreDate": "2025-01-02",
        "scorePercentile": 99.5, "scoreStatus": "ext:draft", "late": "true",
    }  # fmt: skip
    assert private == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (100.0, "100"), (87.25, "87.25"), (1e16, "1e+16"), (1e-7, "1e-7"), (-3.0, "-3"), (1 / 3, str(1 / 3))],
)
def test_numbers_are_json_numbers_without_idle_zeros(number: float, text: str) -> None:
    row = {"key": "g", "sourcedId": "g", "title": "T", "weight": number}
    schema = {"sourcedId": pl.String, **canonical.schema("categories")}
    ((public, _),) = render("categories", pl.DataFrame([row], schema=schema)).iter_rows()

    assert public == f',"title":"T","weight":{text}'
    assert parsed(public)["weight"] == number


def test_the_addresses_in_a_document_are_those_of_the_services_that_it_refers_to() -> None:
    found = {entity.name: bases(entity) for entity in CATALOGUE.entities}

    assert found["resources"] == found["categories"] == ()
    assert found["orgs"] == found["enrollments"] == ("rostering",)
    assert found["classes"] == found["users"] == ("rostering", "resources")
    assert found["lineItems"] == found["results"] == ("rostering", "gradebook")
