from __future__ import annotations

import uuid

import pytest
from pyroaring import BitMap

from hub.scope.grants import GrantDefinition, Rule
from hub.scope.personas import (
    KEEP,
    ROLES_11,
    Entry,
    RoleNames,
    agent,
    extra_roles,
    first_shown,
    fitting,
    persona_id,
    personas,
    shows_agents,
    split,
)
from hub.scope.view import EntityView, View
from tests.property.small_districts import District, Record, columns_of
from transforms.catalogue import vocabularies as voc

DEFAULT = RoleNames()


def entry(role: str, org: int, *, primary: bool = True) -> Entry[int]:
    return Entry(role, primary, org)


def test_every_role_of_1_2_has_one_of_1_1() -> None:
    roles = {role: DEFAULT.of(role) for role in (*voc.USER_ROLE.both, *voc.USER_ROLE.only_12, "ext:tutor")}
    assert set(roles.values()) <= set(ROLES_11)
    assert {role: of for role, of in roles.items() if role != of} == {
        "districtAdministrator": "administrator", "siteAdministrator": "administrator",
        "systemAdministrator": "administrator", "principal": "administrator", "counselor": "aide", "ext:tutor": "aide",
    }  # fmt: skip
    assert RoleNames("teacher", None).sources("teacher") == (["teacher", "counselor"], False)
    assert RoleNames("teacher", "aide").sources("aide") == (["aide"], True)
    keeping = RoleNames(extension=KEEP)
    assert (keeping.of("ext:tutor"), keeping.sources("ext:tutor")) == ("ext:tutor", (["ext:tutor"], False))
    assert keeping.sources("aide") == (["aide", "counselor"], False)
    assert not keeping.leaves_out
    assert RoleNames(None, "aide").leaves_out
    assert not DEFAULT.leaves_out


@pytest.mark.parametrize(
    ("entries", "primary_org", "expected"),
    [
        # In the primary org a primary role decides, not the first one.
        ([entry("parent", 1), entry("teacher", 2)], 2, {"teacher": [2], "parent": [1]}),
        # Where there is none, the first primary role.
        ([entry("parent", 1, primary=False), entry("teacher", 2), entry("student", 3)], 1,
         {"teacher": [2], "parent": [1], "student": [3]}),
        ([entry("parent", 1, primary=False), entry("aide", 2, primary=False)], None, {"parent": [1], "aide": [2]}),
        # Several roles may be one in 1.1, whose orgs are those of all, the primary org first and each once.
        ([entry("principal", 1), entry("siteAdministrator", 2), entry("principal", 2)], 2, {"administrator": [2, 1]}),
        ([entry("counselor", 1), entry("aide", 2)], None, {"aide": [1, 2]}),
    ],
)  # fmt: skip
def test_a_person_is_one_user_for_each_role(
    entries: list[Entry[int]], primary_org: int | None, expected: dict[str, list[int]]
) -> None:
    found = personas(entries, primary_org, DEFAULT)
    assert found == expected
    assert list(found) == list(expected)  # the main one first


def test_a_role_that_is_left_out_makes_no_persona() -> None:
    names = RoleNames(counselor=None)
    assert personas([entry("counselor", 1), entry("parent", 2)], 1, names) == {"parent": [2]}
    assert personas([entry("counselor", 1)], 1, names) == {}


def test_ids_of_personas_lead_back_to_the_person() -> None:
    roles = ("teacher", "parent")
    assert persona_id("0198c0de-x", "teacher", roles) == "0198c0de-x"
    assert split("0198c0de-x") == ("0198c0de-x", None)
    assert split(persona_id("0198c0de-x", "parent", roles)) == ("0198c0de-x", "parent")
    assert split("0198c0de-x.principal") == ("0198c0de-x.principal", None)
    assert split(".parent") == (".parent", None)
    assert persona_id("0198c0de-x", "ext:peer.tutor", roles) == "0198c0de-x.ext-peer.tutor"
    assert split("0198c0de-x.ext-peer.tutor") == ("0198c0de-x", "ext:peer.tutor")
    assert split("0198c0de-x.ext-a.parent") == ("0198c0de-x", "ext:a.parent")
    assert split(".ext-tutor") == (".ext-tutor", None)


def test_references_are_to_the_fitting_persona() -> None:
    roles = ("teacher", "parent", "student")
    assert fitting("student", roles) == "student"
    assert fitting("proctor", roles) == "teacher"
    assert agent("student", roles) == "parent"
    assert agent("guardian", roles) == "student"
    assert agent("student", ("aide", "teacher")) == "aide"
    assert [role for role in roles if shows_agents(role, roles)] == ["parent", "student"]
    assert shows_agents("teacher", ("teacher", "aide"))


def role(name: str, org: int, kind: str = "primary") -> dict[str, object]:
    return {"role": name, "roleType": kind, "org": org, "userProfile": ""}


def district() -> District:
    def user(*roles: dict[str, object], primary_org: int | None = None) -> Record:
        return Record(refs={"agents": [], "primaryOrg": primary_org}, roles=list(roles))

    return {
        "orgs": {rid: Record(refs={"parent": None, "children": []}) for rid in (0, 1)},
        "academicSessions": {}, "courses": {}, "classes": {}, "enrollments": {}, "demographics": {},
        "users": {
            0: user(role("teacher", 0), role("parent", 1), primary_org=1),
            1: user(role("student", 0), role("student", 1)),
            2: user(role("teacher", 0), role("parent", 1)),
            3: user(role("student", 0, "secondary"), role("principal", 0), role("parent", 0)),
        },
    }  # fmt: skip


@pytest.mark.threat("T14")
def test_extra_roles_are_of_visible_roles_alone() -> None:
    columns = columns_of(district())

    def of(definition: GrantDefinition, orgs: tuple[int, ...] = (0, 1)) -> dict[str, BitMap]:
        entities = {"users": EntityView(BitMap([0, 1, 2, 3])), "orgs": EntityView(BitMap(orgs))}
        return extra_roles(View(uuid.UUID(int=1), 4, definition, entities), columns)

    assert of(GrantDefinition()) == {"teacher": BitMap([0]), "parent": BitMap([2, 3]), "student": BitMap([3])}
    assert of(GrantDefinition(), orgs=(0,)) == {"parent": BitMap([3]), "student": BitMap([3])}
    assert of(GrantDefinition(rules=(Rule(roles=("teacher", "student")),))) == {}
    hidden = GrantDefinition.model_validate({"fields": {"users": {"hide": ["primaryOrg"]}}})
    assert of(hidden)["parent"] == BitMap([0, 2, 3])


def test_what_was_shown_once_stays_known() -> None:
    old = {"parent": BitMap([1, 2])}
    assert first_shown(old, {"parent": BitMap([2])}) == {}
    assert first_shown(old, {"parent": BitMap([2, 3]), "aide": BitMap([9])}) == {
        "parent": BitMap([3]),
        "aide": BitMap([9]),
    }
    view = View(uuid.UUID(int=1), 9, GrantDefinition(), {}, extra_roles=[
        (4, "parent", BitMap([1])), (7, "parent", BitMap([3])), (7, "aide", BitMap([9])),
    ])  # fmt: skip
    assert view.ever_shown() == {"parent": BitMap([1, 3]), "aide": BitMap([9])}
    assert view.ever_shown(before=7) == {"parent": BitMap([1])}
    assert view.ever_shown(before=4) == {}
