"""Texts of places: what is written is read again, and anything else is refused in one way."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hub.api.changes.place import Place, Places, read, read_all, written, written_all

STEPS = st.integers(0, 2**40)
TAGS = st.binary(min_size=3, max_size=3)
PLACES = st.one_of(
    st.builds(Place, STEPS, TAGS),
    st.builds(
        lambda step, tag, more, offset, check: Place(step, tag, step + more, offset, check),
        STEPS, TAGS, STEPS, STEPS, TAGS,
    ),
)  # fmt: skip
KEYS = st.binary(min_size=5, max_size=5)
TEXTS = st.text(st.characters(min_codepoint=33, max_codepoint=1000), max_size=60)


@given(PLACES)
def test_a_place_is_read_as_it_was_written(place: Place) -> None:
    text = written(place)
    assert text.isascii()
    assert text[1:].replace("-", "").replace("_", "").isalnum()
    assert read(text) == place


@given(st.builds(Places, st.dictionaries(KEYS, PLACES, max_size=20), st.integers(0, 500)))
def test_places_are_read_as_they_were_written(places: Places) -> None:
    assert read_all(written_all(places)) == places


@given(TEXTS, PLACES, st.data())
def test_anything_else_is_refused_or_is_a_place(text: str, place: Place, data: st.DataObject) -> None:
    whole = written(place)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for one in (text, "p" + text, "e" + text, cut, cut + text, whole + "A"):
        for reading in (read, read_all):
            with suppress(ValueError):
                found = reading(one)
                assert isinstance(found, Place | Places)
                for each in [found] if isinstance(found, Place) else found.of.values():
                    assert 0 <= each.step < 2**62
                    assert (each.to or 0) + each.offset < 2**63


def test_a_step_is_a_place_whose_life_nobody_knows() -> None:
    assert read("0") == Place(0)
    assert read("41") == Place(41, None)
