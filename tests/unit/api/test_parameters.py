"""Query parameters, paging links, buckets and the bounded memory."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from hub.api.buckets import Buckets
from hub.api.caches import ByteCache
from hub.api.oneroster.errors import RefusedError
from hub.api.oneroster.links import link_header
from hub.api.oneroster.query import LARGEST_LIMIT, Query, parse_query
from hub.store import conditions as sql


def query(**given: str) -> Query:
    return parse_query(MultiDict(given), single=False)


def test_nothing_given_is_the_first_hundred() -> None:
    assert query() == Query(limit=100, offset=0)


def test_limits_are_cut_and_order_needs_a_field() -> None:
    assert query(limit="999999999").limit == LARGEST_LIMIT
    assert query(orderBy="desc") == Query()
    assert query(orderBy="sideways") == Query()
    assert query(sort="title", orderBy="DESC").descending
    assert not query(sort="title").descending
    assert query(sort=" ").sort is None


@pytest.mark.parametrize(
    ("given", "minor"),
    [({"limit": "0"}, "invaliddata"), ({"offset": "-1"}, "invaliddata"), ({"limit": "\u0661"}, "invaliddata"),
     ({"sort": "a", "orderBy": "up"}, "invaliddata"), ({"filter": ""}, "invalid_filter_field"),
     ({"fields": ""}, "invalid_selection_field"), ({"fields": "a,,b"}, "invalid_selection_field")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_the_right_words(given: dict[str, str], minor: str) -> None:
    with pytest.raises(RefusedError) as refused:
        query(**given)
    assert (refused.value.status, refused.value.minor) == (400, minor)


def test_a_parameter_given_twice_is_refused_and_a_strange_one_ignored() -> None:
    with pytest.raises(RefusedError):
        parse_query(MultiDict([("limit", "1"), ("limit", "2")]), single=False)
    assert parse_query(MultiDict([("x", "1"), ("x", "2")]), single=False) == Query()


def test_links_keep_other_parameters_as_they_were_sent() -> None:
    header = link_header("https://h/users", "limit=5&filter=a%3D%27x%27&offset=5&sort=b", limit=5, offset=5, total=12)

    start = "<https://h/users?filter=a%3D%27x%27&sort=b&limit=5&offset="
    assert header == (f'{start}0>; rel="first", {start}0>; rel="prev", {start}10>; rel="next", {start}10>; rel="last"')


def test_links_of_one_page_and_of_none() -> None:
    assert link_header("https://h/x", "", limit=5, offset=0, total=5) == (
        '<https://h/x?limit=5&offset=0>; rel="first", <https://h/x?limit=5&offset=0>; rel="last"'
    )
    assert "next" not in link_header("https://h/x", "", limit=5, offset=50, total=5)
    assert 'offset=0>; rel="prev"' in link_header("https://h/x", "", limit=5, offset=50, total=5)
    assert "offset=0" in link_header("https://h/x", "", limit=5, offset=0, total=0)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    now = [100.0]
    buckets = Buckets(2.0, 3, lambda: now[0])

    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]
    assert buckets.take("b") == 0
    now[0] += 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 1]
    now[0] += 1000
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 1]
    buckets.give("a")
    buckets.give("c")
    assert [buckets.take("a") for _ in range(2)] == [0, 1]
    assert [buckets.take("c") for _ in range(4)] == [0, 0, 0, 1]


def test_the_memory_forgets_what_was_used_longest_ago() -> None:
    cache: ByteCache[str, int] = ByteCache(10)
    cache.put("a", 1, 4)
    cache.put("b", 2, 4)
    assert cache.get("a") == 1
    cache.put("c", 3, 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    cache.put("d", 4, 11)
    assert cache.get("d") is None
    cache.put("a", 5, 10)
    assert (len(cache), cache.bytes, cache.get("a")) == (1, 10, 5)


def test_values_of_conditions_are_numbered_in_order() -> None:
    one = sql.exactly(sql.item("a"), sql.Operator.EQUAL, "x")
    condition = sql.both(one, sql.either(sql.contains(sql.metadata("key"), "y"), sql.one_of(sql.item("b"), ["z"])))

    assert condition.values == ("x", "y", "key", ["z"])
    text = condition.numbered(7)
    assert [text.index(f"${n}") for n in range(7, 11)] == sorted(text.index(f"${n}") for n in range(7, 11))
    assert "$#" not in text
