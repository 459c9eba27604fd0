"""Other ids in documents: wherever an id stands, and nowhere else, whatever the data look like."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.scope.identifiers import Page, standing_in, without_head
from hub.scope.places import renamed
from hub.scope.pseudonyms import Blocks
from hub.sync import minting
from transforms.catalogue import CATALOGUE
from transforms.references import escaped_bases, reference_to

IDS = minting.mint(12).to_list()
#: What a person may be called: other ids, and texts that look like parts of documents.
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(IDS),
    st.sampled_from(IDS).map(lambda id_: f'{{"href":"/orgs/{id_}","sourcedId":"{id_}"'),
    st.sampled_from(IDS).map(lambda id_: f'\0{{"sourcedId":"{id_}"\x01'),
)  # fmt: skip
NAMES = st.dictionaries(st.sampled_from(IDS), st.text(min_size=1, max_size=8))


def written(sourced_id: str, title: str, targets: list[str]) -> str:
    """An object as it is read: data as JSON, references with the byte of their base."""
    references = ",".join(reference_to("orgs", target) for target in targets)
    value = orjson.dumps({"sourcedId": sourced_id, "title": title}).decode()[:-1]
    return f'{value},"orgs":[{references}],"user":{reference_to("users", sourced_id)}}}'


def parsed(text: str) -> Any:
    return orjson.loads(escaped_bases(text))


OBJECTS = st.lists(st.tuples(st.sampled_from(IDS), VALUES, st.lists(st.sampled_from(IDS), max_size=3)), max_size=4)


@given(OBJECTS, NAMES)
def test_ids_are_renamed_where_they_stand_and_nothing_else_is(
    objects: list[tuple[str, str, list[str]]], names: dict[str, str]
) -> None:
    texts = [written(*each) for each in objects]
    page = Page.of(texts)
    assert page.ids(None, heads=True) == {id_ for own, _, targets in objects for id_ in (own, *targets)}
    assert page.ids({"orgs"}, heads=False) == {target for *_, targets in objects for target in targets}
    assert Page.of(texts).renamed({}) == texts
    for (own, title, targets), text in zip(objects, page.renamed(names), strict=True):
        found = parsed(text)
        assert (found["sourcedId"], found["title"]) == (names.get(own, own), title)
        assert [one["sourcedId"] for one in found["orgs"]] == [names.get(target, target) for target in targets]
        assert found["user"]["sourcedId"] == names.get(own, own)


def test_an_id_that_stands_in_for_a_value_is_renamed_too_and_another_value_is_not() -> None:
    own, other = IDS[:2]
    courses = CATALOGUE["courses"]
    assert standing_in(courses) == ("courseCode",)
    assert standing_in(CATALOGUE["orgs"]) == ("identifier",)
    assert standing_in(CATALOGUE["users"]) == ()
    text = f'{{"sourcedId":"{own}","title":"{own}","courseCode":"{own}","org":{reference_to("orgs", other)}}}'
    (found,) = Page.of([text]).renamed({own: IDS[2]}, standing_in(courses))
    assert (parsed(found)["courseCode"], parsed(found)["title"]) == (IDS[2], own)
    assert list(parsed(without_head(found))) == ["title", "courseCode", "org"]
    assert without_head('{"title":"x"}') == '{"title":"x"}'
    assert without_head(f'{{"sourcedId":"{own}"}}') == "{}"


def turned(ids: Blocks) -> Blocks:
    """Other ids of the hub's, told apart from the ones given by their last byte."""
    found = ids.copy()
    found[:, 15] ^= 0xFF
    return found


@given(OBJECTS)
def test_ids_of_the_same_length_are_written_over_all_at_once(objects: list[tuple[str, str, list[str]]]) -> None:
    texts = [written(*each) for each in objects]
    names = {id_: f"{id_[:-2]}{int(id_[-2:], 16) ^ 0xFF:02x}" for id_ in IDS}
    assert renamed(texts, turned) == (Page.of(texts).renamed(names) if texts else None)


@pytest.mark.parametrize(
    "text",
    [
        '{"title":"no id"}',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01/users","sourcedId":"{IDS[1]}"}}}}',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01/users/{IDS[1]}","sourcedId":"{IDS[2]}"}}}}',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01/users/{IDS[1]}","type":"user"}}}}',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01/users/{IDS[1]}","sourcedId":"{IDS[1]}x"}}}}',
        f'{{"sourcedId":"{IDS[0]}","a":"\x02/users/{IDS[1]}"}}',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01',
        f'{{"sourcedId":"{IDS[0]}","a":{{"href":"\x01/users/{IDS[1]}',
        f'{{"sourcedId":"{IDS[0]}x"}}',
        f'{{"sourcedId":"{IDS[0]}',
    ],
    ids=[
        "no id",
        "no place for an id",
        "two ids",
        "one id",
        "another end",
        "no base",
        "cut behind the base",
        "cut behind the id",
        "a longer id",
        "cut behind its own",
    ],  # minted ids would be other names in each process
)
def test_a_page_of_another_form_is_not_written_over(text: str) -> None:
    good = written(IDS[0], "x", [IDS[1]])
    assert renamed([good], turned) is not None
    assert renamed([text, good], turned) is None
    assert renamed([good, text], turned) is None
    assert renamed([text], turned) is None


def test_an_id_that_is_none_of_the_hubs_is_a_mistake_and_not_left_as_it_is() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        renamed([f'{{"sourcedId":"{IDS[0][:-1]}X"}}'], turned)
