"""Short answers of the database are read without the column engine, as the engine reads long ones."""

from __future__ import annotations

import asyncio
import io
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hub.store import columns
from hub.store.database import Transaction

SCHEMA = {"key": pl.String, "rid": pl.UInt32, "hash": pl.Int64, "active": pl.Boolean}
ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.sampled_from('aé\u2028 ,"'), min_size=1, max_size=4), st.none() | st.integers(0, 9),
        st.none() | st.integers(-(1 << 63), (1 << 63) - 1), st.none() | st.sampled_from("tf"),
    ),
    max_size=5,
)  # fmt: skip


class Answering:
    """A connection that answers any query with the same text."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def copy_from_query(self, query: str, *values: object, output: io.BytesIO, **how: object) -> None:
        """Writes the text."""
        del query, values, how
        output.write(self.text.encode())


def answer(text: str, schema: dict[str, Any]) -> pl.DataFrame:
    """What is made of an answer."""

    class Open:
        connection = Answering(text)

    return asyncio.run(columns.copied(cast("Transaction", Open()), "SELECT", schema))


def quoted(value: object) -> str:
    """A value as COPY writes it."""
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


@given(ROWS)
def test_a_short_answer_is_read_as_a_long_one(rows: list[tuple[object, ...]]) -> None:
    text = "".join(",".join(map(quoted, row)) + "\n" for row in rows)
    with pytest.MonkeyPatch.context() as patch:
        short = answer(text, SCHEMA)
        patch.setattr(columns, "_SHORT", -1)
        long = answer(text, SCHEMA)

    assert_frame_equal(short, long)
    assert short["key"].to_list() == [row[0] for row in rows]
