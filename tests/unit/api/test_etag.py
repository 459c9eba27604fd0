"""Entity tags, and codings that a client prefers."""

from __future__ import annotations

import pytest

from hub.api.compression import Accepted, Coding, _preferred
from hub.api.etag import entity_tag, matches


def test_a_tag_is_of_all_its_parts_in_their_order() -> None:
    tags = {entity_tag("a", "b"), entity_tag("b", "a"), entity_tag("ab"), entity_tag("a", "", "b"), entity_tag("a")}
    assert len(tags) == 5
    assert entity_tag("a", "b") in tags
    assert all(tag.startswith('W/"') and tag.endswith('"') for tag in tags)


def test_a_tag_matches_weak_or_strong_and_among_others() -> None:
    tag = entity_tag("a")
    for header in (tag, tag.removeprefix("W/"), f'"x", {tag}', f'W/"x",{tag} , "y"'):
        assert matches(header, tag)
    for header in (None, "", "*", '"x"', tag[:-1], tag.upper(), tag + "x", '"x", ' * 1_000 + tag):
        assert not matches(header, tag)


@pytest.mark.parametrize(
    ("header", "coding", "identity"),
    [("gzip", Coding.GZIP, True), ("zstd", Coding.ZSTD, True), ("gzip, deflate, br, zstd", Coding.ZSTD, True),
     ("gzip;q=1.0, zstd;q=0.5", Coding.GZIP, True), ("zstd;q=0", None, True), ("br", None, True),
     ("*", Coding.GZIP, True), ("*;q=0.5, gzip;q=0", None, True), ("X-GZIP", Coding.GZIP, True),
     ("identity;q=0", None, False), ("*;q=0", None, False), ("gzip, identity;q=0", Coding.GZIP, False),
     ("gzip;q=0.5, identity", None, True), ("gzip;q=2", None, True), ("gzip;q=0.00000000001", None, True),
     (",;=,", None, True), ("gzip;q", None, True)],
)  # fmt: skip
def test_the_coding_that_weighs_most_is_taken_and_of_equal_ones_zstd(
    header: str, coding: Coding | None, *, identity: bool
) -> None:
    assert _preferred(header) == Accepted(coding, identity)
