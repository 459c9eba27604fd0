"""docs/transforms.md: its definitions load, its expressions give what it says, and it names all that there is."""

from __future__ import annotations

import re

import orjson
import polars as pl
import pytest

from tests.docs.generate import DOCS
from transforms.shaping.checking import load
from transforms.shaping.definition import Join, Part, Steps
from transforms.shaping.expression import Columns, parse
from transforms.shaping.functions import FUNCTIONS
from transforms.shaping.mapping import AUTO
from transforms.shaping.mappings import BUILT_IN
from transforms.shaping.steps import columns_of

PAGE = (DOCS / "transforms.md").read_text(encoding="utf-8")
DEFINITIONS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
EXPRESSIONS = re.findall(r"^\| `(.+)` \| (\w+=.+?) \| (.+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("text", DEFINITIONS)
def test_every_definition_on_the_page_is_taken(text: str) -> None:
    assert load(orjson.loads(text)).definition


@pytest.mark.parametrize(("sql", "row", "expected"), EXPRESSIONS)
def test_every_expression_on_the_page_gives_what_it_says(sql: str, row: str, expected: str) -> None:
    known = columns_of("users")
    cells = dict(re.findall(r"(\w+)=(.+?)(?= \w+=|$)", row))
    frame = pl.DataFrame({name: pl.Series([cells.get(name)], dtype=pl.String) for name in known})
    assert frame.select(parse(sql.replace("\\|", "|"), Columns(known)).text).item() == expected


def test_the_page_has_examples() -> None:
    assert (len(DEFINITIONS), len(EXPRESSIONS)) == (3, 8)


def test_the_page_names_every_function_member_and_mapping() -> None:
    members = {*Steps.model_fields, *Part.model_fields, *Join.model_fields} - {"parts"}
    for name in (*FUNCTIONS, *members, *BUILT_IN, AUTO):
        assert f"`{name}`" in PAGE or f'"{name}"' in PAGE, name
