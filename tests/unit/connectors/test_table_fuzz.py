"""Tables of any bytes: they are read, or explained, and what comes out has the shape of the protocol."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.table_csv import open_tables
from tests.unit.connectors.packages import loose
from transforms.issues import RULES
from transforms.shaping.definition import Mapping

MAPPING = Mapping.model_validate({"files": {
    "orgs": {"from": [{"table": "t", "columns": {"sourcedId": "id", "name": "name"}, "set": {"type": "'school'"},
                       "join": [{"table": "u", "name": "o", "on": {"id": "id"}}], "may_lack": ["name"]}]},
    "academicSessions": {"from": [
        {"table": "u", "columns": {"sourcedId": "id"}, "distinct": True, "set": {"title": "o.name"},
         "join": [{"table": "t", "name": "o", "on": {"id": "id"}, "many": "list"}], "may_lack": ["name"]},
        {"table": "t", "columns": {"sourcedId": "id"}, "where": "name IS NULL", "may_lack": ["name"]}]},
}})  # fmt: skip
HEADER = st.sampled_from(
    ["id,name", "id;name", "id\tname", '"id","name"', "name,id", "id", "ID,Name", "id,,name", "id,id,name"]
)
ROW = st.one_of(
    st.tuples(st.sampled_from("123"), st.text(max_size=6)).map(",".join),
    st.text(st.sampled_from('12ab,;\t"\n\r\0é '), max_size=10),
)  # fmt: skip
TABLE = st.one_of(
    st.binary(max_size=60),
    st.tuples(HEADER, st.lists(ROW, max_size=6), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
    .map(lambda t: "\r\n".join([t[0], *t[1]]).encode(t[2], "replace")),
)  # fmt: skip


@pytest.mark.threat("T40")
@settings(max_examples=200, deadline=None)
@given(TABLE, TABLE)
@example(b"id,name\r\n1,a\r\n1,b\r\n", b'id\n1\n"2\n')
@example(b"id;name\n1;'a,b'\n2;x;y\n", "id,name\n1,é\n".encode("utf-16"))
def test_any_tables_are_read_or_explained(first: bytes, second: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        package = open_tables(loose(Path(folder) / "p", {"t.csv": first, "u.csv": second}), MAPPING)
        try:
            assert set(package.issues["code"]) <= set(RULES)
            for file in package.mode if not package.refused else ():
                batches = list(package.batches(file, 2))
                frame = pl.concat([b.frame for b in batches])
                assert frame["sourcedId"].to_list() == package.keys(file).to_list()
                assert frame["line"].is_sorted()
                assert frame["line"].is_unique().all()
                found = pl.concat([b.issues for b in batches])
                assert set(found["code"]) <= set(RULES)
                assert package.located(found).height == found.height
        finally:
            package.close()
