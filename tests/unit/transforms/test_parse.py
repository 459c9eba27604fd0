"""Documents back to columns: what render made is what parse reads."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.fakes.rosters import clean, frames, run
from transforms import canonical
from transforms.catalogue import CATALOGUE
from transforms.parse import parse
from transforms.render import render


@pytest.mark.parametrize("entity", [entity.name for entity in CATALOGUE.entities if entity.csv_file])
def test_what_was_rendered_is_read_back(entity: str) -> None:
    frame = run("1.2", frames("1.2", clean("1.2"))).frames[entity].with_columns(sourcedId="key")
    assert frame.height

    parsed = parse(entity, pl.concat([frame.select("sourcedId"), render(entity, frame)], how="horizontal"))

    names = [field.name for field in canonical.body(CATALOGUE[entity])]
    assert_frame_equal(parsed.select(names), frame.select(names))


def test_texts_that_look_like_other_things_are_read_back() -> None:
    frame = run("1.2", frames("1.2", clean("1.2"))).frames["users"].head(2)
    strange = frame.with_columns(
        givenName=pl.Series(['a"b\\c', "\u2028,:{}[]"]), familyName=pl.Series([None, '","familyName":"x']),
        metadata=pl.Series(['{"a":"\\"metadata\\":","b":"x"}', None]), sourcedId=pl.col("key"),
    )  # fmt: skip

    parsed = parse("users", pl.concat([strange.select("sourcedId"), render("users", strange)], how="horizontal"))

    for name in ("givenName", "familyName", "metadata", "roles", "userIds"):
        assert parsed[name].to_list() == strange[name].to_list()


def test_what_stands_for_an_absent_value_is_absent_again() -> None:
    frame = (
        run("1.2", frames("1.2", clean("1.2")))
        .frames["orgs"]
        .with_columns(identifier=pl.lit(None, pl.String), sourcedId=pl.lit("the-id"))
    )

    parsed = parse("orgs", pl.concat([frame.select("sourcedId"), render("orgs", frame)], how="horizontal"))

    assert parsed["identifier"].null_count() == frame.height


def test_nothing_is_read_from_nothing() -> None:
    nothing = pl.DataFrame(schema={"sourcedId": pl.String, "doc": pl.String, "doc_private": pl.String})
    for entity in CATALOGUE.entities:
        schema = canonical.schema(entity.name)
        parsed = parse(entity.name, nothing)
        assert parsed.height == 0
        assert {name: parsed.schema[name] for name in schema if name in parsed.columns} == {
            field.name: schema[field.name] for field in canonical.body(entity)
        }
