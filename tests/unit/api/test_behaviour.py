"""The settings of an app: what is not set has its default, and what a newer release stored has no effect."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hub.behaviour import DEFAULT, Behaviour


def test_nothing_stored_is_the_default() -> None:
    assert Behaviour.of({}) == DEFAULT
    assert hash(Behaviour.of({"booleans": "string"})) == hash(DEFAULT)


def test_what_this_release_does_not_know_has_no_effect() -> None:
    stored = {"booleans": "json", "unknown_parent": "gone", "from_the_future": 3, "more_clauses": True}

    assert Behaviour.of(stored) == Behaviour(booleans="json", more_clauses=True)


def test_unknown_names_and_values_are_refused_by_name() -> None:
    with pytest.raises(ValidationError) as refused:
        Behaviour.model_validate({"boolean": "json", "booleans": "yes"})

    assert {problem["loc"][0] for problem in refused.value.errors()} == {"boolean", "booleans"}


def test_every_setting_says_what_it_does() -> None:
    assert all(field.description for field in Behaviour.model_fields.values())
