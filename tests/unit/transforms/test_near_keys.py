"""SourcedIds that an export writes in two ways (ID-004)."""

from __future__ import annotations

import polars as pl
import pytest

from tests.fakes.rosters import raw, run

ROW = {"name": "District", "type": "district"}


def told(keys: list[str], held: list[str], size: int | None = None) -> list[tuple[str, int, str]]:
    """The findings about a file of orgs with these keys: key, line, cause."""
    frame = raw("orgs", "1.2", [{"sourcedId": key, **ROW} for key in keys])
    result = run("1.2", {"orgs": frame}, held=lambda _: pl.Series("key", held, pl.String), size=size)
    assert result.keys("orgs") == sorted(keys)  # nothing is mended
    assert set(result.codes()) <= {"ID-004", "ID-011"}
    return result.issues.filter(code="ID-004").select("key", "line", "cause").rows()


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(
    ("keys", "held", "found"),
    [
        (["12"], ["0012"], [("12", 2, "orgs:0012")]),
        (["0012"], ["12"], [("0012", 2, "orgs:12")]),
        (["ab-C"], ["Ab-c"], [("ab-C", 2, "orgs:Ab-c")]),
        (["a b"], ["ab"], [("a b", 2, "orgs:ab")]),
        (["0012", "12"], ["12"], [("0012", 2, "orgs:12")]),
        (["x", "12", "0012"], [], [("0012", 4, "orgs:12")]),
        (["12", "0012"], ["12", "0012"], [("0012", 3, "orgs:12")]),
        (["012", "12", "0012"], ["12"], [("0012", 4, "orgs:12"), ("012", 2, "orgs:12")]),
        (["0", "00"], [], [("0", 2, "orgs:00")]),
        # Another one, zeros within, and the same as before.
        (["12"], ["120"], []),
        (["a012"], ["a12"], []),
        (["12", "ab"], ["12", "ab"], []),
        ([], ["12", "0012"], []),
    ],
)
def test_keys_that_are_nearly_equal_are_named(
    keys: list[str], held: list[str], found: list[tuple[str, int, str]], size: int | None
) -> None:
    assert told(keys, held, size) == found
