"""Documents as the service will serve them."""

from __future__ import annotations

from typing import Any

import orjson
import polars as pl
import pytest

from tests.fakes.rosters import clean, frames, run
from transforms.catalogue import CATALOGUE
from transforms.render import render, spelled_out


def documents(entity: str, key: str, files: dict[str, list[dict[str, str | None]]] | None = None) -> tuple[Any, Any]:
    """The directory and the other members of one record."""
    frame = run("1.2", frames("1.2", files or clean("1.2"))).frames[entity].filter(key=key)
    ((public, private),) = render(entity, frame.with_columns(sourcedId="key")).iter_rows()
    assert all(text == "" or text.startswith(",") for text in (public, private))
    assert all(c >= " " or c in "\x01\x02" for c in public + private)
    assert ("\x02" in public) == CATALOGUE[entity].compact
    public = spelled_out(public)
    return tuple(orjson.loads("{" + t[1:].replace("\x01", "https://hub") + "}") for t in (public, private))


def reference(collection: str, kind: str, key: str) -> dict[str, str]:
    return {"href": f"https://hub/{collection}/{key}", "sourcedId": key, "type": kind}


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

    assert all(c >= " " and c != "\x7f" for c in public.replace("\x01/", ""))
    found = orjson.loads("{" + public[1:].replace("\x01/", "/") + "}")
    assert (found["givenName"], found["grades"], found["roles"][0]["userProfile"]) == (text, [text, "09"], text)
    assert found["userIds"] == [{"type": text, "identifier": text}]


def test_lists_of_several_items() -> None:
    public, _ = documents("classes", "k1")

    assert public["terms"] == [reference("academicSessions", "academicSession", t) for t in ("t1", "t2")]
    assert public["periods"] == ["1", "3", "10"]
    assert documents("orgs", "d")[0]["children"] == [reference("orgs", "org", s) for s in ("s1", "s2")]


def test_an_empty_frame_gives_no_documents() -> None:
    for entity in CATALOGUE.entities:
        frame = run("1.2", frames("1.2", clean("1.2"))).frames[entity.name].clear().with_columns(sourcedId="key")
        assert render(entity.name, frame).shape == (0, 2)
