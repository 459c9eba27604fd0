"""What stands in cells: the same masks as over REST, lists and pairs that every reader can take apart again."""

from __future__ import annotations

import io
import zipfile
from itertools import pairwise
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.export.archive import Archive
from hub.export.cells import cells, listed, masked, one_line
from hub.export.layout import File
from hub.export.people import People, fields, people, users
from hub.export.sight import Sight, at_rids, instead
from hub.scope.grants import GrantDefinition, Mask
from hub.scope.personas import KEEP, Entry, RoleNames, persona_id, personas
from hub.scope.projection import Projection
from hub.store.extract import BETWEEN
from transforms.catalogue import CATALOGUE
from transforms.catalogue import vocabularies as voc

ORGS = pl.Series([f"org-{n}" for n in range(4)])
KEEPING = RoleNames(extension=KEEP)
ROLES = (*voc.USER_ROLE.tokens("1.2"), "ext:coach")


def sight(definition: GrantDefinition | None = None, **ids: pl.Series) -> Sight:
    given_ = definition or GrantDefinition(privacy=("contact", "demographic", "credential"))
    projections = {e.name: Projection(given_, e.name) for e in CATALOGUE.entities}
    return Sight(projections, {"orgs": ORGS} | ids)


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=20))
def test_a_masked_name_is_what_rest_shows(names: list[str]) -> None:
    """By every letter there is, capitals that are two letters among them."""
    definition = GrantDefinition.model_validate({"fields": {"users": {"masks": {"familyName": "initial"}}}})
    projection = Projection(definition, "users")
    found = masked(Mask.INITIAL, pl.Series(names, dtype=pl.String), required=True)
    for name, shown in zip(names, found, strict=True):
        expected = projection._shown("familyName", name, None, None)
        assert shown == expected, name


def test_every_letter_has_the_same_capital_as_over_rest() -> None:
    letters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and chr(code).isalpha()]
    found = masked(Mask.INITIAL, pl.Series(letters), required=False)
    assert [(a, b) for a, b in zip(letters, found, strict=True) if a.upper()[:1] != b] == []


def test_lists_hold_no_commas_of_items_and_lines_no_breaks() -> None:
    cells_ = pl.Series([f"Arts, visual{BETWEEN}Maths", "one", "", None])
    assert listed(cells_).to_list() == ["Arts visual,Maths", "one", None, None]
    frame = pl.DataFrame({"a": ["x\r\ny\nz\rw", "plain"]})
    assert one_line(frame)["a"].to_list() == ["x y z w", "plain"]


@pytest.mark.parametrize(
    ("entity", "field", "expected"),
    [("users", "userIds", "{LDAP:a:b},{LTI:4711}"), ("scoreScales", "scoreScaleValue", "{LTI:4711}")],
)
def test_pairs_that_csv_cannot_say_are_left_out(entity: str, field: str, expected: str) -> None:
    """The right side of an identifier may hold a colon; neither side a comma or a brace, nor be blank."""
    left, right = (["LDAP", "LTI", "a,b", "c", "{d", ""], ["a:b", "4711", "x", "1,2", "y", "z"])
    names = ("type", "identifier") if field == "userIds" else ("itemValueLHS", "itemValueRHS")
    table = pl.DataFrame(
        {
            "rid": pl.Series([0, 1], dtype=pl.UInt32), "sourcedId": ["u", "v"],
            f"{field}.{names[0]}": [BETWEEN.join(left), BETWEEN.join(left)],
            f"{field}.{names[1]}": [BETWEEN.join(right), BETWEEN.join(right[1:])],
        }
    )  # fmt: skip
    others = (f for f in CATALOGUE[entity].csv_columns("1.2") if f.name not in {*table.columns, field})
    blank = {f.name: pl.lit(None, pl.String) for f in others}
    blank["course"] = blank["class"] = blank["primaryOrg"] = pl.lit(None, pl.Int32)
    nothing = pl.Series([], dtype=pl.String)
    file = File("1.2", CATALOGUE[entity], CATALOGUE[entity])
    found = cells(file, sight(users=nothing, courses=nothing, classes=nothing), table.with_columns(**blank))
    # Lists of different lengths cannot be told which belongs to which.
    assert found[field].to_list() == [expected, None]


_ENTRIES = st.lists(
    st.tuples(st.sampled_from(ROLES), st.booleans(), st.integers(0, 5)), min_size=1, max_size=5, unique=True
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_ENTRIES, st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=6), st.data())
def test_users_of_1_1_are_the_personas_that_rest_makes(
    given_: list[tuple[list[tuple[str, bool, int]], int | None]], data: st.DataObject
) -> None:
    """Whatever roles people have: who they are, where, in which order, and whom references lead to."""
    names = data.draw(st.sampled_from([RoleNames(), RoleNames(None, None), RoleNames("teacher", "student"), KEEPING]))
    here = sight()  # orgs 4 and 5 do not show
    rows = [
        {
            "rid": n, "sourcedId": f"u{n}", "primaryOrg": primary,
            "roles.role": BETWEEN.join(e[0] for e in entries),
            "roles.roleType": BETWEEN.join("primary" if e[1] else "secondary" for e in entries),
            "roles.beginDate": BETWEEN.join("" for _ in entries), "roles.endDate": BETWEEN.join("" for _ in entries),
            "roles.org": BETWEEN.join(str(e[2]) for e in entries),
        }
        for n, (entries, primary) in enumerate(given_)
    ]  # fmt: skip
    schema = {"rid": pl.UInt32, "sourcedId": pl.String, "primaryOrg": pl.Int32}
    table = pl.DataFrame(rows, schema_overrides=schema)
    assert {f.name for f in fields(here)} == {"roles", "primaryOrg"}
    known = people(here, names, table)
    made = users(here, names, known, table, table.select("rid", "sourcedId"))
    found = [(row["rid"], row["sourcedId"], row["role"], row["orgSourcedIds"]) for row in made.to_dicts()]
    expected = []
    for n, (entries, primary) in enumerate(given_):
        shown = [Entry(role, is_primary, ORGS[org]) for role, is_primary, org in entries if org < ORGS.len()]
        held = personas(shown, None if primary is None else ORGS[primary], names)
        roles = list(held)
        expected += [(n, persona_id(f"u{n}", role, roles), role, ",".join(orgs)) for role, orgs in held.items()]
        assert (n in known.nobody) == (not held)
        for wanted in ("student", "teacher", "ext:coach"):
            one = pl.Series([n], dtype=pl.Int32), pl.Series([f"u{n}"]), pl.Series([wanted])
            leads_to = persona_id(f"u{n}", wanted, roles) if wanted in roles else f"u{n}"
            assert known.persona(*one)[0] == leads_to
    assert sorted(found) == sorted(expected)


def test_people_are_compared_with_what_they_were() -> None:
    before = People({1: ("teacher", "parent"), 2: ("aide", "parent")})
    after = before.but(*_changes({1: ("parent", "teacher")}))
    assert after.several == {1: ("parent", "teacher"), 2: ("aide", "parent")}
    assert list(after.differing(before)) == [1]


def _changes(several: dict[int, tuple[str, ...]]) -> tuple[BitMap, People]:
    return BitMap(several), People(several)


def test_references_beyond_the_last_id_show_nothing() -> None:
    ids = at_rids(pl.Series([1, 3], dtype=pl.UInt32), pl.Series(["a", "b"]))
    assert ids.to_list() == [None, "a", None, "b"]
    here = sight(classes=ids)
    assert here.seen("classes", pl.Series([0, 1, 3, 4, 99, None], dtype=pl.Int32)).to_list() == [
        None, "a", "b", None, None, None,
    ]  # fmt: skip


@given(st.sets(st.uuids().map(str), min_size=1), st.data())
def test_names_stand_in_the_places_of_ids(ids: set[str], data: st.DataObject) -> None:
    names = dict(zip(sorted(ids), data.draw(st.lists(st.text(), min_size=len(ids), max_size=len(ids))), strict=True))
    asked = data.draw(st.lists(st.one_of(st.sampled_from(sorted(ids)), st.uuids().map(str))))
    named = instead(pl.Series(list(names)), pl.Series(list(names.values())))
    assert named(pl.Series(asked, dtype=pl.String)).to_list() == [names.get(one, one) for one in asked]


@given(st.lists(st.tuples(st.lists(st.binary(max_size=200), max_size=4), st.booleans()), min_size=1, max_size=5))
def test_an_archive_holds_what_was_added(entries: list[tuple[list[bytes], bool]]) -> None:
    archive, out = Archive(), b""
    for number, (parts, big) in enumerate(entries):
        out += archive.begin(f"{number}.csv", big=big)
        out += b"".join(archive.add(part) for part in parts)
        out += archive.end()
    out += archive.finish()
    with zipfile.ZipFile(io.BytesIO(out)) as found:
        assert found.testzip() is None
        assert [found.read(name) for name in found.namelist()] == [b"".join(parts) for parts, _ in entries]


def test_an_archive_beyond_4_gb_is_one_that_others_read() -> None:
    """Offsets and sizes that need 64 bits, without writing that many bytes: a sparse file before the entries."""
    archive = Archive()
    gap = 5 << 30
    archive._length = gap
    body = archive.begin("a.csv", big=True) + archive.add(b"x" * 1000) + archive.end()
    body += archive.begin(f"{uuid4()}.csv") + archive.add(b"y") + archive.end() + archive.finish()
    shifted = _Shifted(body, gap)
    with zipfile.ZipFile(shifted) as found:
        assert [found.read(name) for name in found.namelist()] == [b"x" * 1000, b"y"]
        offsets = [info.header_offset for info in found.infolist()]
    assert offsets[0] == gap
    assert all(a < b for a, b in pairwise(offsets))


class _Shifted(io.RawIOBase):
    """A file that begins with very many bytes that nobody reads."""

    def __init__(self, data: bytes, gap: int) -> None:
        self._data, self._gap, self._at = data, gap, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._gap + len(self._data)}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = self._at - self._gap
        assert start >= 0
        found = self._data[start:] if size < 0 else self._data[start : start + size]
        self._at += len(found)
        return found
