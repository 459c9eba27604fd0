"""Names in a query, looked up in a view: what each version passes over, warns of and refuses."""

from __future__ import annotations

from uuid import UUID

import pytest
from multidict import MultiDict

from hub.api.oneroster.asked import Asked, understand
from hub.api.oneroster.errors import RefusedError
from hub.api.oneroster.query import parse_query
from hub.behaviour import Behaviour
from hub.objects.looking import Lens
from hub.scope.grants import GrantDefinition
from hub.scope.view import EntityView, View
from transforms.catalogue import CATALOGUE, Version

LIBRARY = GrantDefinition.model_validate(
    {"fields": {"users": {"hide": ["identifier"], "masks": {"familyName": "initial"}}}}
)
VIEW = View(UUID(int=1), 1, LIBRARY, {entity.name: EntityView() for entity in CATALOGUE.entities})


def asked(entity: str, version: Version = "1.2", behaviour: Behaviour | None = None, **given: str) -> Asked:
    lens = Lens(VIEW, behaviour or Behaviour(), version)
    query = parse_query(MultiDict(given), single=False, version=version, behaviour=lens.behaviour)
    return understand(lens, CATALOGUE[entity], query)


def refused(entity: str, version: Version = "1.2", behaviour: Behaviour | None = None, **given: str) -> tuple[int, str]:
    with pytest.raises(RefusedError) as error:
        asked(entity, version, behaviour, **given)
    return error.value.status, error.value.minor.value


@pytest.mark.parametrize(
    ("given", "minor"),
    [({"sort": "shoeSize"}, "invalid_sort_field"), ({"sort": "identifier"}, "invalid_sort_field"),
     ({"sort": "familyName"}, "invalid_sort_field"), ({"sort": "agents.sourcedId"}, "invalid_sort_field"),
     ({"sort": "metadata"}, "invalid_sort_field"), ({"sort": "metadata.a b"}, "invalid_sort_field"),
     ({"sort": "roles.role"}, "invalid_sort_field"), ({"sort": "sourcedId.x"}, "invalid_sort_field"),
     ({"fields": "sourcedId,shoeSize"}, "invalid_selection_field"),
     ({"fields": "givenName,email"}, "invalid_selection_field")],
)  # fmt: skip
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_what_is_unknown_or_hidden_is_passed_over_with_one_warning(
    given: dict[str, str], minor: str, version: Version
) -> None:
    found = asked("users", version, **given)

    assert (found.sort, found.fields) == (None, None)
    assert [warning.minor.value for warning in found.warnings] == [minor]
    (value,) = given.values()
    assert value.rpartition(",")[2] in found.warnings[0].description


def test_an_app_can_have_it_refused() -> None:
    strict = Behaviour(unknown_sort="refuse", unknown_selection="refuse")

    assert refused("users", "1.2", strict, sort="shoeSize") == (400, "invaliddata")
    assert refused("users", "1.1", strict, sort="identifier") == (400, "invalid_sort_field")
    assert refused("users", "1.2", strict, fields="identifier") == (400, "invalid_selection_field")
    assert refused("users", "1.1", strict, fields="shoeSize") == (400, "invalid_selection_field")


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_filters_on_what_is_unknown_or_hidden_are_always_refused(version: Version) -> None:
    for text in ("shoeSize='1'", "identifier='1'", "familyName='x'", "email='x'", "givenName='x' OR email='x'"):
        assert refused("users", version, filter=text) == (400, "invalid_filter_field")
    assert asked("users", version, filter="givenName='x'").query.filter is not None


def test_blank_selections_are_refused_in_the_words_of_each_version() -> None:
    for text in ("", "sourcedId,,status", " , "):
        assert refused("users", "1.2", fields=text) == (400, "invalid_selection_field")
        assert refused("users", "1.1", fields=text) == (400, "invalid_blank_selection_field")


def test_an_order_that_is_none_is_refused_or_ascending() -> None:
    assert refused("users", "1.2", sort="givenName", orderBy="up") == (400, "invaliddata")
    lenient = asked("users", "1.2", Behaviour(bad_order_by="ascending"), sort="givenName", orderBy="up")
    old = asked("users", "1.1", sort="givenName", orderBy="up")
    for found in (lenient, old):
        assert (found.sort, found.query.descending) == (("givenName",), False)
        assert [warning.minor.value for warning in found.warnings] == ["invalid_sort_field"]
    assert asked("users", "1.1", orderBy="up").warnings == ()


def test_members_of_one_version_are_unknown_in_the_other() -> None:
    for name in ("preferredFirstName", "pronouns", "roles"):
        assert asked("users", "1.1", fields=name).fields is None
    assert asked("users", "1.2", fields="preferredFirstName,roles").fields == {"preferredFirstName", "roles"}
    assert refused("users", "1.1", filter="preferredFirstName='x'") == (400, "invalid_filter_field")
    assert asked("users", "1.1", sort="preferredFirstName").sort is None
    assert asked("users", "1.2", sort="preferredFirstName").sort == ("preferredFirstName",)


def test_paths_in_orders_and_selections() -> None:
    assert asked("classes", sort="course.sourcedId").sort == ("course", "sourcedId")
    assert asked("classes", sort="metadata.house").sort == ("metadata", "house")
    assert asked("classes", sort="terms.sourcedId").sort is None
    assert asked("classes", behaviour=Behaviour(dotted_sort=False), sort="course.sourcedId").sort is None
    assert asked("classes", fields="course.sourcedId").fields is None
    found = asked("classes", behaviour=Behaviour(dotted_selection="member"), fields="course.sourcedId,title")
    assert found.fields == {"course", "title"}
