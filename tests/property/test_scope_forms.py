"""What is cut out of the text of a document is what parsing leaves out, whatever stands in its strings."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.scope.forms import Form
from hub.scope.grants import GrantDefinition, policy_fields
from hub.scope.projection import Projection
from transforms.catalogue import CATALOGUE, Field, Kind, Privacy
from transforms.references import BASES, escaped_bases, reference_to

USERS = CATALOGUE["users"]
FIELDS = policy_fields(USERS)
EVERY = frozenset(f.name for f in FIELDS)
IN, OUT = range(2), range(2, 4)  # rids of what the view has, and has not
#: What could be taken for the end of a string, a list or an object, for a member, or for a reference.
TEXTS = st.lists(
    st.sampled_from([
        '"', "\\", "}", "]", "{", "[", ",", ':"', '},{"', '}],"', ',"agents":[{"href":"\x01/users/', '","pronouns":"',
        ',"familyName":"', '"metadata":{', '"userProfile":"', "\x01", "\x7f", "\n", "é", "É", "Ạ", "Ann",
    ]),
    max_size=4,
).map("".join)  # fmt: skip
DEFINITIONS = [
    {},
    {"privacy": list(Privacy)},
    {"privacy": list(Privacy), "rules": [{"roles": ["teacher"]}]},
    {"privacy": ["credential"], "fields": {"users": {"show": ["agents"], "hide": ["username", "userIds", "metadata"]}}},
    {"fields": {"users": {"hide": ["identifier"], "masks": {"familyName": "initial", "middleName": "initial"}}}},
]  # fmt: skip
Rids = dict[str, list[int]]


def reference(target: str, rid: int) -> orjson.Fragment:
    return orjson.Fragment(reference_to(target, f"0198c0de-{rid}"))


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=3)


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of which each member but the first may be absent."""
    first, *others = members
    return st.fixed_dictionaries({first: members[first]}, optional={name: members[name] for name in others})


#: All that a document holds: others are refused where metadata is written (transforms.objects), and have no JSON here.
INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
METADATA = st.recursive(
    TEXTS | INTEGERS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS | st.sampled_from(["agents", "roles"]), inner),
    max_leaves=6,
)


def values(field: Field) -> st.SearchStrategy[Any]:
    if field.name == "roles":
        return some(st.tuples(st.sampled_from(["student", "teacher"]), st.sampled_from([*IN, *OUT]), st.none() | TEXTS))
    if field.name == "userProfiles":
        return some(objects(profileId=TEXTS, credentials=some(objects(type=TEXTS, username=TEXTS))))
    if field.kind is Kind.REF:
        return some(st.sampled_from([*IN, *OUT])) if field.many else st.sampled_from([*IN, *OUT])
    if field.kind is Kind.USER_ID:
        return some(objects(type=TEXTS, identifier=TEXTS))
    if field.kind is Kind.METADATA:
        return st.dictionaries(TEXTS, METADATA, min_size=1, max_size=2)
    return some(TEXTS) if field.many else TEXTS


RECORDS = st.fixed_dictionaries({}, optional={field.name: values(field) for field in FIELDS})


def written(field: Field, value: Any) -> Any:
    if field.name == "roles":
        return [
            {"roleType": "primary", "role": role, "org": reference("orgs", rid)}
            | ({} if profile is None else {"userProfile": profile})
            for role, rid, profile in value
        ]
    if field.kind is Kind.REF:
        target = field.target or ""
        return [reference(target, rid) for rid in value] if field.many else reference(target, value)
    return value


def document(record: dict[str, Any]) -> tuple[str, str]:
    """The two parts of a document as they are stored."""
    parts = ["", ""]
    for field in FIELDS:
        if field.name in record:
            text = orjson.dumps({field.name: written(field, record[field.name])})[1:-1].decode()
            parts[field.privacy is not Privacy.DIRECTORY] += "," + text.replace("\x7f", "\\u007f")
    return parts[0], parts[1]


def references(record: dict[str, Any]) -> Rids:
    found = {f.name: record.get(f.name, []) for f in FIELDS if f.kind is Kind.REF}
    found["roles"] = [rid for _, rid, _ in record.get("roles", [])]
    return {name: rids if isinstance(rids, list) else [rids] for name, rids in found.items()}


def sees(_: str, rid: int) -> bool:
    return rid in IN


def shown(projection: Projection, record: dict[str, Any], fields: frozenset[str] | None = None) -> str:
    return projection.members(*document(record), refs=references(record), sees=sees, fields=fields)


@pytest.mark.threat("T13", "T14", "T16")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DEFINITIONS), RECORDS, RECORDS)
def test_cutting_shows_what_parsing_shows_and_nothing_of_what_is_hidden(
    definition: dict[str, Any], record: dict[str, Any], other: dict[str, Any]
) -> None:
    projection = Projection(GrantDefinition.model_validate(definition), "users")
    text = shown(projection, record)
    assert text == shown(projection, record, EVERY)  # a choice of fields parses, here all of them
    parsed = orjson.loads("{" + escaped_bases(text)[1:] + "}")
    assert parsed.keys() <= projection.visible
    assert text.count(BASES["rostering"]) == text.count('"href":"' + BASES["rostering"])  # no data forges one
    hidden = EVERY - projection.visible
    twin = {n: v for n, v in record.items() if n not in hidden} | {n: v for n, v in other.items() if n in hidden}
    twin |= {n: [*v, OUT[1]] for n, v in record.items() if n in ("agents", "resources")}
    assert shown(projection, twin) == text


@pytest.mark.threat("T13", "T14")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(DEFINITIONS), st.lists(RECORDS, max_size=5))
def test_many_records_are_cut_as_each_of_them_is(definition: dict[str, Any], records: list[dict[str, Any]]) -> None:
    projection, before = Projection(GrantDefinition.model_validate(definition), "users"), b'\n,"email":"'
    texts = ["".join(document(record)) if projection.private else document(record)[0] for record in records]
    expected = [before + projection.members(text, "").encode() for text in texts]
    assert projection.all_members([before + text.encode() for text in texts], len(before)) == expected


@pytest.mark.parametrize("definition", DEFINITIONS[3:])
def test_usual_records_are_cut_together(definition: dict[str, Any]) -> None:
    projection = Projection(GrantDefinition.model_validate(definition), "users")
    usual = {
        "enabledUser": "true", "roles": [("student", IN[0], None), ("teacher", IN[1], "urn:a")], "username": "a",
        "userIds": [{"type": "a", "identifier": "b"}], "familyName": "Ångström", "middleName": "Bo", "grades": ["01"],
        "primaryOrg": IN[0], "agents": [IN[0], IN[1]], "metadata": {"a": {"agents": ["]"]}}, "email": "a@b.example",
    }  # fmt: skip
    kept = [document({name: value for name, value in usual.items() if name != left}) for left in usual]
    texts = ["".join(parts) if projection.private else parts[0] for parts in kept]
    cut = projection._whole_form.cut_all([text.encode() for text in texts], 0, projection._changed_bytes)
    assert cut == [projection.members(text, "").encode() for text in texts]


def test_metadata_of_any_depth_shows_and_is_parsed_where_the_form_does_not_reach() -> None:
    projection = Projection(GrantDefinition.model_validate({"privacy": list(Privacy)}), "users")
    form = Form([f for f in FIELDS if f.privacy is Privacy.DIRECTORY], EVERY, ())
    deep: Any = "x"
    for levels in range(1, 31):
        deep = {"agents": deep}
        record = {"agents": [IN[0], OUT[0]], "metadata": deep}
        text = shown(projection, record)
        assert text == shown(projection, record, EVERY)
        assert orjson.loads("{" + escaped_bases(text)[1:] + "}")["metadata"] == deep
        assert text.count(BASES["rostering"]) == 1
        assert (form.cut(document(record)[0], lambda _, member: member) is not None) == (levels <= 4)
