"""Objects of 1.1 made as text are those that parsing makes, whatever stands in the strings of a document."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.scope.personas import KEEP, RoleNames
from hub.scope.v1p1 import Documents, Style
from transforms.catalogue import CATALOGUE, Entity, Field, Kind
from transforms.references import escaped_bases, reference_to

IDS = st.sampled_from(["0198c0de-a", "0198c0de-b", "0198c0de-c"])
#: What could be taken for the end of a string, of a member, of an object, or for a member.
TEXTS = st.lists(
    st.sampled_from([
        '"', "\\", "}", "]", "{", ",", ':"', '","pronouns":"', '"metadata":{', ',"userProfiles":[', "\x01/users/", "é",
    ]),
    max_size=4,
).map("".join)  # fmt: skip
SEVERAL = {"0198c0de-c": ("teacher", "student")}
ROLES = st.sampled_from(["student", "teacher", "principal", "counselor", "ext:tutor"])


def references(target: str) -> st.SearchStrategy[orjson.Fragment]:
    return IDS.map(lambda one: orjson.Fragment(reference_to(target, one)))


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*members.values()).map(lambda found: dict(zip(members, found, strict=True)))


def values(field: Field) -> st.SearchStrategy[Any]:
    if field.name == "scoreStatus":
        return st.sampled_from(["submitted", "ext:pending"])
    if field.name == "username":
        return TEXTS.filter(bool)  # nothing empty is stored
    found = nested(field)
    return plain(field) if found is None else found


def plain(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.BOOLEAN:
            return st.sampled_from(["true", "false"])
        case Kind.FLOAT:
            return st.sampled_from([0, 7.5, -3, 1e21])
        case _:
            return st.lists(TEXTS, max_size=2) if field.many else TEXTS


def nested(field: Field) -> st.SearchStrategy[Any] | None:
    match field.kind:
        case Kind.REF:
            one = references(field.target or "")
            return st.lists(one, max_size=2) if field.many else one
        case Kind.COMPONENT if field.name == "roles":
            entry = objects(
                roleType=st.sampled_from(["primary", "secondary"]), role=ROLES, beginDate=st.just("2026-08-01"),
                org=references("orgs"), userProfile=TEXTS,
            )  # fmt: skip
            return st.lists(entry, min_size=1, max_size=2)
        case Kind.COMPONENT:
            credential = objects(type=TEXTS, username=TEXTS)
            return st.lists(objects(profileId=TEXTS, credentials=st.lists(credential, max_size=1)), max_size=1)
        case Kind.USER_ID:
            return st.lists(objects(type=TEXTS, identifier=TEXTS), max_size=1)
        case Kind.METADATA:
            return st.dictionaries(st.sampled_from(["pronouns", "score", "x"]), TEXTS, max_size=2)
        case _:
            return None


def documents(name: str, *always: str) -> st.SearchStrategy[str]:
    """Objects as they are stored: the private members behind the others, strings escaped, marks in references alone."""
    entity = CATALOGUE[name]
    fields = sorted((f for f in entity.body if f.name not in {"sourcedId", "status", "dateLastModified"}),
                    key=lambda f: f.privacy.value != "directory")  # fmt: skip
    required = {f.name: values(f) for f in fields if f.name in always}
    optional = {f.name: values(f) for f in fields if f.name not in always}

    def written(members: dict[str, Any]) -> str:
        ordered = {f.name: members[f.name] for f in fields if f.name in members}
        base = {"sourcedId": "0198c0de-b", "status": "active", "dateLastModified": "2026-08-01T06:00:00.000Z"}
        return orjson.dumps(base | ordered).decode()

    return st.fixed_dictionaries(required, optional=optional).map(written)


def compare(entity: Entity, text: str, style: Style) -> None:
    maker = Documents(entity, style, frozenset(f.name for f in entity.body))
    every = frozenset(f.name for f in entity.fields)
    quick, parsed = (maker.make(text, several=SEVERAL, fields=fields) for fields in (None, every))
    assert (quick is None) == (parsed is None)
    if quick is not None and parsed is not None:
        assert orjson.loads(escaped_bases(quick)) == orjson.loads(escaped_bases(parsed))


STYLES = st.builds(
    Style, st.booleans(),
    st.builds(RoleNames, st.sampled_from([None, "aide"]), st.sampled_from([None, "teacher", KEEP])),
    specific_types=st.booleans(),
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(documents("users", "roles", "username", "enabledUser"), STYLES)
def test_users(text: str, style: Style) -> None:
    compare(CATALOGUE["users"], text, style)


@settings(max_examples=60, deadline=None)
@given(documents("results", "score", "scoreStatus", "student", "lineItem"), STYLES)
def test_results(text: str, style: Style) -> None:
    compare(CATALOGUE["results"], text, style)


@settings(max_examples=40, deadline=None)
@given(documents("enrollments", "user", "class", "school"), ROLES, STYLES)
def test_enrollments(text: str, role: str, style: Style) -> None:
    record = (
        text.replace('"dateLastModified"', f'"role":"{role}","dateLastModified"', 1) if '"role"' not in text else text
    )
    compare(CATALOGUE["enrollments"], record, style)
