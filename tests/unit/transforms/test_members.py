"""Stored documents taken apart and put together again, byte for byte."""

from __future__ import annotations

import orjson

from tests.fakes.rosters import clean, frames, run
from transforms.catalogue import CATALOGUE
from transforms.members import members_of, put_together, taken_apart
from transforms.references import escaped_bases
from transforms.render import render


def test_every_document_is_the_sum_of_its_members() -> None:
    seen = 0
    made = run("1.2", frames("1.2", clean("1.2"))).frames
    for name, frame in made.items():
        for doc, private in render(name, frame.with_columns(sourcedId="key")).iter_rows():
            assert put_together(CATALOGUE[name], members_of(doc, private)) == (doc, private)
            seen += 1
    assert seen > 10


def test_quotes_brackets_and_short_references_in_values_end_nothing() -> None:
    doc = ',"a":"x\\",\\"b\\":[","n":1.5,"r":\x02cabc\x02,"l":[{"k":"},"},2],"o":{"z":","}'
    assert taken_apart(doc) == {
        "a": '"x\\",\\"b\\":["', "n": "1.5", "r": "\x02cabc\x02", "l": '[{"k":"},"},2]', "o": '{"z":","}',
    }  # fmt: skip
    assert taken_apart("") == {}


def test_members_are_json() -> None:
    made = run("1.2", frames("1.2", clean("1.2"))).frames["users"]
    for doc, private in render("users", made.with_columns(sourcedId="key")).iter_rows():
        whole = orjson.loads("{" + escaped_bases(doc + private)[1:] + "}")
        assert {name: orjson.loads(escaped_bases(text)) for name, text in members_of(doc, private).items()} == whole
