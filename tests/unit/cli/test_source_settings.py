"""Settings of a connector as ``hub source create --set`` reads them, and as ``hub source kinds`` tells them."""

from __future__ import annotations

from typing import Any

import click
import pytest

from connectors.oneroster_csv import SPEC as CSV
from connectors.oneroster_rest import SPEC as REST
from hub.cli import source_settings as settings

SCHEMA = REST.config_model.model_json_schema()


def test_values_are_read_as_their_settings_mean_them() -> None:
    given = (
        "url=https://sis.example.org/a=b", "version=1.2", "login.kind=oauth2", "login.client_id=7", "page_rows=500",
        "login.token_url=https://sis.example.org/token", "entities=orgs, users", "headers.X-Tenant=3", "changes=false",
        "zone=null", "login.scope=",
    )  # fmt: skip
    made = settings.changed({}, SCHEMA, given)
    assert made == {
        "url": "https://sis.example.org/a=b", "version": "1.2", "page_rows": 500, "entities": ["orgs", "users"],
        "login": {"kind": "oauth2", "client_id": "7", "token_url": "https://sis.example.org/token", "scope": ""},
        "headers": {"X-Tenant": "3"}, "changes": False, "zone": None,
    }  # fmt: skip
    REST.config_model.model_validate(made)
    old = {**made, "login": {"kind": "bearer"}}
    anew = settings.changed(old, SCHEMA, ["login.kind=oauth1", "login.client_id=x"], ["login", "changes"])
    assert anew == {**{k: v for k, v in made.items() if k != "changes"}, "login": {"kind": "oauth1", "client_id": "x"}}
    assert old["login"] == {"kind": "bearer"}
    assert settings.changed({}, SCHEMA, ['entities=["orgs"]'])["entities"] == ["orgs"]
    aliases: Any = CSV.config_model.model_json_schema()
    assert settings.changed({}, aliases, ['aliases={"a": "b"}', "aliases.c=d"])["aliases"] == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("adress=x", "no setting adress. It has: at_once, changes, entities"),
        ("login.user=x", "no setting login.user. It has: login.application"),
        ("url", "--set url=VALUE"), ("page_rows=many", "page_rows takes a number from 2 to 50000"),
        ("changes=yes", "changes takes true or false"), ("url.host=x", "no setting url.host"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_before_the_hub_is_asked(given: str, words: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        settings.changed({}, SCHEMA, [given])
    assert words in caught.value.message


def test_refused_fields_are_named_as_they_are_set() -> None:
    assert settings.named("config.login.oauth2.token_url", SCHEMA) == "login.token_url"
    assert settings.named("config.entities[3]", SCHEMA) == "entities[3]"
    assert settings.named("config.zone", SCHEMA) == "zone"
    assert settings.named("name", SCHEMA) == "name"


def test_settings_are_told_in_words() -> None:
    told = "\n".join(settings.lines(SCHEMA))
    for line in (
        "  url: text, must be set. The server's address", "  version: 1.1, 1.2, 1.2 if left out.",
        "    with login.kind=oauth2: Client credentials", "      login.token_url: text, must be set. Where tokens",
        "  changes: true or false, true if left out.", "  overlap_minutes: a number from 0 to 10080, 120 if left out.",
    ):  # fmt: skip
        assert line in told, told
