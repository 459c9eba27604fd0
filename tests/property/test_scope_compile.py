"""Compiling by arrays against the rules of docs/grants.md, record by record."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.scope.compile import compile_grant
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.trim import trim
from tests.property.compile_model import compile_slowly
from tests.property.small_districts import (
    ENTITIES,
    District,
    columns_of,
    definitions,
    districts,
    document,
    resolve,
    rids_of,
    sourced_id,
)  # fmt: skip
from transforms.catalogue import CATALOGUE, Need
from transforms.references import escaped_bases


@settings(max_examples=300, deadline=None)
@given(definitions(), districts())
def test_arrays_select_what_the_rules_say(definition: GrantDefinition, district: District) -> None:
    views = compile_grant(definition, columns_of(district), resolve)
    assert {entity: set(present) for entity, present in views.items()} == compile_slowly(definition, district)


@settings(deadline=None)
@given(definitions(), districts())
def test_only_active_records_are_present(definition: GrantDefinition, district: District) -> None:
    views = compile_grant(definition, columns_of(district), resolve)
    for entity in ENTITIES:
        assert all(district[entity][rid].active for rid in views[entity])


def _printed(value: object) -> list[tuple[str, str]]:
    """The (type, sourcedId) of each reference object inside a JSON value."""
    if isinstance(value, list):
        return [found for item in value for found in _printed(item)]
    if isinstance(value, dict):
        if value.keys() == {"href", "sourcedId", "type"}:
            return [(value["type"], value["sourcedId"])]
        return [found for item in value.values() for found in _printed(item)]
    return []


@pytest.mark.threat("T12", "T13")
@settings(max_examples=300, deadline=None)
@given(definitions(), districts(), st.data())
def test_every_reference_that_is_printed_is_in_the_view(
    definition: GrantDefinition, district: District, data: st.DataObject
) -> None:
    columns = columns_of(district)
    views = compile_grant(definition, columns, resolve)
    collections = {e.singular: e.name for e in CATALOGUE.entities}
    fields = data.draw(st.one_of(st.none(), st.frozensets(st.sampled_from(["sourcedId", "roles", "terms", "agents"]))))
    for entity in ENTITIES:
        projection = Projection(definition, entity)
        trimmed = trim(projection, views, columns)
        for rid in views[entity]:
            record = district[entity][rid]
            refs = rids_of(record, projection.references) if rid in trimmed else None
            served = projection.render(
                str(sourced_id(entity, rid)), "2025-01-01T00:00:00.000Z", *document(entity, record),
                refs=refs, sees=lambda target, other: other in views[target], fields=fields,
            )  # fmt: skip
            parsed = orjson.loads(escaped_bases(served))
            for kind, sid in _printed(parsed):
                assert sid in {str(sourced_id(collections[kind], other)) for other in views[collections[kind]]}
            if fields is None:
                required = {f.name for f in CATALOGUE[entity].references if f.rest12 is Need.REQUIRED}
                assert required | ({"roles"} if entity == "users" else set()) <= parsed.keys()


@settings(deadline=None)
@given(definitions(), districts())
def test_who_is_in_the_view_has_a_role_that_shows(definition: GrantDefinition, district: District) -> None:
    views = compile_grant(definition, columns_of(district), resolve)
    admitted = definition.admitted_roles
    for rid in views["users"]:
        assert any(
            role["org"] in views["orgs"] and (admitted is None or role["role"] in admitted)
            for role in district["users"][rid].roles
        )


@settings(max_examples=300, deadline=None)
@given(definitions(), districts())
def test_trimmed_are_exactly_those_that_show_less(definition: GrantDefinition, district: District) -> None:
    columns = columns_of(district)
    views = compile_grant(definition, columns, resolve)
    for entity in ENTITIES:
        projection = Projection(definition, entity)
        less = BitMap()
        for rid in views[entity]:
            record = district[entity][rid]
            refs = rids_of(record, projection.references)
            doc = document(entity, record)
            filtered = projection.members(*doc, refs=refs, sees=lambda target, other: other in views[target])
            if orjson.loads("{" + escaped_bases(filtered[1:]) + "}") != orjson.loads(
                "{" + escaped_bases(projection.members(*doc)[1:]) + "}"
            ):
                less.add(rid)
        assert trim(projection, views, columns) == less
