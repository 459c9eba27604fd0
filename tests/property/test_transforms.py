"""The chain over rosters with any dirt: it never fails, never invents, never shows a value, and repairs once."""

from __future__ import annotations

import random
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.fakes.rosters import Frames, Result, clean, exported, frames, run
from transforms import canonical
from transforms.catalogue import BASE_NAMES, CATALOGUE, Field, Kind, Version
from transforms.hashing import content_hash
from transforms.issues import RULES, Action
from transforms.references import BASES, spelled_out
from transforms.render import render

VERSIONS: tuple[Version, ...] = ("1.1", "1.2")
FIXES = {Action.FIX, Action.QUARANTINE, Action.DROP_VALUE}
NASTY = [
    None, "", " ", "\u00a0", "x", "0", "\x00", "a\x00b", "\x1b[31m", "\ufeff", "\u200b\u200b", "e\u0301", "MuÃ±oz",
    "Ã\u0083Â±",
    "s1", "s1,s2", "s1,,s2", "s1;s2", " u1 ", "u1", "gone", "d", "t1|t2", "true", "TRUE", "Y", "2024-01-02",
    "1/2/2024", "2024-01-02 10:00:00", "99999-01-01", "0001-01-01", "K", "5th", "12+", "Z9", "123-45-6789", "{LDAP:a}",
    "{a}", "{:}{", "<script>", "'; DROP TABLE users;--", "=1+1", "\\", '"', '\\"', "\u2028", "\U0001f600", "ext:x",
    "student", "Teacher", "administrator", "school", "primary", "x" * 101, "x" * 300, "x" * 5000, "{SSN:1}", "a@b.org",
    "A@B.ORG.", "tobedeleted", "87.5", "1e5", "-0", "80 %", "5.", ".5", "9" * 17, "NaN", "inf", "{A:90},{B}", "{A:}",
    "k1", "l1", "b1,b2", "a1", "case", "urn:uuid:1", "6B0F6A1E-2F3C-4B57-9D3A-0C2A5D1E7F42", "fully graded", "Exempt",
]  # fmt: skip
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def dirty(draw: st.DrawFn) -> tuple[Version, Frames]:
    """A roster with some cells replaced and some rows repeated."""
    version = draw(st.sampled_from(VERSIONS))
    files = clean(version)
    for _ in range(draw(st.integers(1, 8))):
        file = draw(st.sampled_from(sorted(files)))
        row = draw(st.sampled_from(files[file]))
        if draw(st.booleans()):
            row = dict(row)
            files[file].append(row)
        columns = [*CATALOGUE.files(version)[file].csv_header(version), "metadata.x"]
        value = draw(st.sampled_from(NASTY) | st.text(max_size=20))
        row[draw(st.sampled_from(columns))] = value
    return version, frames(version, files)


def comparable(result: Result) -> dict[str, list[dict[str, Any]]]:
    """What a run found, without lines and without order."""
    rows = {n: f.drop("line").sort("key").to_dicts() for n, f in result.frames.items()}
    issues = result.issues.drop("line").sort(pl.all(), nulls_last=True).to_dicts()
    return rows | {"issues": issues, "out": [{n: sorted(k) for n, k in result.quarantined.items()}]}


@pytest.mark.threat("T35", "T40", "F25")
@given(dirty())
@QUICK
def test_any_dirt_gives_canonical_frames_whose_references_hold(roster: tuple[Version, Frames]) -> None:
    version, given_frames = roster

    result = run(version, given_frames)

    for name, frame in result.frames.items():
        assert frame.schema == pl.Schema(canonical.schema(name))
        assert frame["key"].is_unique().all()
        assert frame["key"].null_count() == 0
        assert result.quarantined[name].isdisjoint(frame["key"])
        for field in CATALOGUE[name].references:
            target = result.frames.get(field.target or "", pl.DataFrame(schema={"key": pl.String}))["key"]
            values = frame[field.name].explode().drop_nulls() if field.many else frame[field.name].drop_nulls()
            assert values.is_in(target.implode()).all(), field.name
            assert not field.many or (frame[field.name].list.len() > 0).all()
    orgs = result.frames["users"]["roles"].explode().struct.field("org").drop_nulls()
    assert orgs.is_in(result.frames["orgs"]["key"].implode()).all()
    assert set(result.issues["code"]) <= set(RULES)
    assert "never-kept" not in str(result.frames)


@given(dirty(), st.randoms())
@QUICK
def test_the_order_of_rows_and_columns_changes_nothing(roster: tuple[Version, Frames], rng: random.Random) -> None:
    version, given_frames = roster
    shuffled = {
        file: frame.sample(fraction=1, shuffle=True, seed=rng.randrange(1000)).select(
            rng.sample(frame.columns, frame.width)
        )
        for file, frame in given_frames.items()
    }

    assert comparable(run(version, shuffled)) == comparable(run(version, given_frames))


@given(dirty(), st.integers(1, 3))
@QUICK
def test_batches_change_nothing(roster: tuple[Version, Frames], size: int) -> None:
    version, given_frames = roster

    assert comparable(run(version, given_frames, size=size)) == comparable(run(version, given_frames))


@given(dirty())
@QUICK
def test_repairs_are_made_once_and_what_came_out_comes_in_unchanged(roster: tuple[Version, Frames]) -> None:
    version, given_frames = roster
    first = run(version, given_frames)

    again = run("1.2", exported(first))

    repairs = {code for code, rule in RULES.items() if rule.action in FIXES}
    assert set(again.issues["code"]) & repairs == set(), again.issues
    for name, frame in first.frames.items():
        left, right = frame.drop("line", "hash").sort("key"), again.frames[name].drop("line", "hash").sort("key")
        assert_frame_equal(left, right)
        fields = [field.name for field in canonical.body(CATALOGUE[name])]
        assert content_hash(left, fields).equals(content_hash(right, fields))
        if not CATALOGUE.components_of(name):  # the hash of others covers their rows in files of their own, too
            assert frame.sort("key")["hash"].equals(again.frames[name].sort("key")["hash"])


def with_hub_ids(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with references as render is given them: ids that the hub made, not what a source calls its objects."""
    item = pl.element()
    columns = []
    for field in canonical.body(CATALOGUE[name]):
        if field.kind is Kind.REF and field.many:
            columns.append(pl.col(field.name).list.eval(item.str.encode("hex")))
        elif field.kind is Kind.REF:
            columns.append(pl.col(field.name).str.encode("hex"))
        elif field.name == "roles" and field.kind is Kind.COMPONENT:
            org = item.struct.field("org").str.encode("hex")
            columns.append(pl.col(field.name).list.eval(item.struct.with_fields(org.alias("org"))))
    return frame.with_columns(columns)


def addressed(text: str) -> str:
    for base in BASES.values():
        text = text.replace(base, "https://hub")
    return text


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@pytest.mark.threat("T35")
@given(dirty())
@QUICK
def test_documents_are_json_without_nulls_and_say_what_the_rows_say(roster: tuple[Version, Frames]) -> None:
    version, given_frames = roster
    result = run(version, given_frames)

    for name, canonical_frame in result.frames.items():
        frame = with_hub_ids(name, canonical_frame)
        documents = render(name, frame.with_columns(sourcedId="key"))
        for row, (public, private) in zip(frame.to_dicts(), documents.iter_rows(), strict=True):
            text = '{"sourcedId":"x"' + public + private + "}"
            found = orjson.loads(addressed(spelled_out(text)))
            for field in canonical.body(CATALOGUE[name]):
                says(field, found.get(field.name), row[field.name], row["key"])


def says(field: Field, found: Any, value: Any, key: str) -> None:
    """The member of a document is the value of its row."""
    if value is None:
        assert found in {None, "", key}
        return
    match field.kind:
        case Kind.STRING | Kind.ENUM | Kind.YEAR | Kind.FLOAT:
            assert found == value
        case Kind.BOOLEAN:
            assert found == str(value).lower()
        case Kind.DATETIME:
            assert found == value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        case Kind.SCALE_VALUE | Kind.OBJECTIVES | Kind.OBJECTIVE_RESULTS:
            assert found == without_nulls(value)
        case Kind.REF:
            ids = [one["sourcedId"] for one in (found if field.many else [found])]
            assert ids == (value if field.many else [value])
        case _:
            pass


SECRET = "Zq9Secret"
PERSONAL = [f.csv_name or "" for f in CATALOGUE["users"].fields if f.name not in BASE_NAMES and f.kind is Kind.STRING]


@pytest.mark.threat("T35")
@given(
    st.sampled_from(VERSIONS),
    st.lists(st.tuples(st.sampled_from(PERSONAL), st.sampled_from(NASTY)), min_size=1, max_size=6),
)
@QUICK
def test_no_finding_holds_a_personal_value(version: Version, cells: list[tuple[str, str | None]]) -> None:
    files = clean(version)
    for number, (column, dirt) in enumerate(cells):
        if column in CATALOGUE["users"].csv_header(version):
            files["users"][number % 3][column] = f"{SECRET}{dirt or ''}{number}"
    files["demographics"][0] |= {"birthDate": f"{SECRET}1", "sex": f"{SECRET}2", "cityOfBirth": f"{SECRET}\x00"}

    result = run(version, frames(version, files))

    assert SECRET not in str(result.issues.to_dicts())
