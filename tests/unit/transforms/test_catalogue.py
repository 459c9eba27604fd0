"""Entities as keys: found by their name, told apart by everything."""

from __future__ import annotations

from dataclasses import replace

from transforms.catalogue import CATALOGUE


def test_entities_are_keys_by_name_and_equal_by_all_that_they_say() -> None:
    users = CATALOGUE["users"]
    other = replace(users, fields=users.fields[:-1])

    assert hash(users) == hash(other) == hash(replace(users))
    assert users == replace(users)
    assert users != other
    assert {users: "users", other: "other"} == {other: "other", replace(users): "users"}
    assert len({hash(entity) for entity in CATALOGUE.all}) == len(CATALOGUE.all)
