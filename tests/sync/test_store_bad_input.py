"""Broken and hostile packages through the whole engine: each is named by a code, and nothing that was there is lost."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable, Mapping
from uuid import uuid4

import polars as pl
import pytest

from hub.errors import Code
from hub.store import runs, uploads
from hub.store.runs import Run
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, packed
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import Loaded, change

Members = Mapping[str, bytes]
MIB = 1 << 20


def members(frames: Frames | None = None) -> dict[str, bytes]:
    """The files of a package, to be spoilt."""
    with zipfile.ZipFile(io.BytesIO(packed(frames or change(), "1.2"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: Members) -> bytes:
    buffer = io.BytesIO()
    # Stored, because what packs well is a bomb to the hub.
    kind = zipfile.ZIP_STORED if max(map(len, files.values())) > 20 * MIB else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def spoilt(name: str, spoil: Callable[[bytes], bytes]) -> bytes:
    """The next package with one file spoilt."""
    files = members()
    return zipped(files | {name: spoil(files[name])})


def without_file(name: str) -> bytes:
    return zipped({other: data for other, data in members().items() if other != name})


def without_column(data: bytes) -> bytes:
    return pl.read_csv(data, infer_schema=False).drop("familyName").write_csv().encode()


def open_quote(data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    return b"\r\n".join([lines[0], b'"' + lines[1], *lines[2:]])


def huge_cell(data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    return b"\r\n".join([lines[0], lines[1] + b"x" * (50 * MIB), *lines[2:]])


def damaged() -> bytes:
    data = bytearray(zipped(members()))
    data[len(data) // 3] ^= 0xFF
    return bytes(data)


async def codes(district: District, run: Run) -> set[str]:
    async with district.db.district(district.district_id) as tx:
        return {issue["code"] for issue in await runs.issues(tx, run.run_id, limit=100_000)}


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"sourcedId,name\r\nthis is a table and no archive", "FILE-030"),
    "truncated": (lambda: zipped(members())[:-2000], "FILE-031"),
    "damaged": (damaged, "FILE-031"),
    "bomb": (lambda: zipped(members() | {"users.csv": b"0" * (15 * MIB)}), "FILE-033"),
    "nested": (lambda: zipped({"package.zip": zipped(members())}), "FILE-034"),
    "nested in disguise": (lambda: zipped(members() | {"users.csv": zipped(members())}), "FILE-034"),
    "path upwards": (lambda: zipped(members() | {"../users.csv": b""}), "FILE-036"),
    "absolute path": (lambda: zipped(members() | {"/etc/users.csv": b""}), "FILE-036"),
    "nothing of ours": (lambda: zipped({"readme.txt": b"hello"}), "FILE-043"),
    "announced and missing": (lambda: without_file("users.csv"), "FILE-005"),
    "required column missing": (lambda: spoilt("users.csv", without_column), "FILE-002"),
    "semicolons": (lambda: spoilt("users.csv", lambda data: data.replace(b",", b";")), "FILE-017"),
    "tabs": (lambda: spoilt("users.csv", lambda data: data.replace(b",", b"\t")), "FILE-017"),
    "no header": (lambda: spoilt("users.csv", lambda data: data.partition(b"\r\n")[2]), "FILE-002"),
    "most rows broken": (
        lambda: spoilt("enrollments.csv", lambda data: data.replace(b",student,", b",student,,,,,,,,,,")), "FILE-006",
    ),
}  # fmt: skip


@pytest.mark.threat("F7", "T38", "T39", "T40")
@pytest.mark.parametrize("case", REFUSED)
async def test_a_package_that_cannot_be_trusted_is_refused_whole(second: District, loaded: Loaded, case: str) -> None:
    make, code = REFUSED[case]
    run = await second.sync(await asyncio.to_thread(make))
    assert (run.state, run.error_code) == ("failed", Code.PACKAGE_REFUSED)
    assert code in await codes(second, run)
    assert code in {rule["code"] for rule in run.report["rules"]}
    assert await snapshot(second) == loaded.before


@pytest.mark.threat("F7")
async def test_after_a_refused_package_the_next_one_is_taken(second: District, loaded: Loaded) -> None:
    assert (await second.sync(b"this is no archive")).state == "failed"
    assert (await second.sync(change())).state == "applied"
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F7", "T42")
async def test_an_upload_that_was_cut_short_is_no_package(second: District, loaded: Loaded) -> None:
    upload_id, run_id = uuid4(), uuid4()
    data = await asyncio.to_thread(lambda: zipped(members())[:-10])
    async with second.db.district(second.district_id) as tx:
        await uploads.begin(tx, upload_id, source_id=second.source_id, filename="package.zip")
        await tx.execute("INSERT INTO upload_parts VALUES ($1, $2, 0, $3)", second.district_id, upload_id, data)
        await runs.request(
            tx, run_id, source_id=second.source_id, upload_id=upload_id, dry_run=False, requested_by="test"
        )
    assert await work_once(second.db, second.clock)
    run = await second.run(run_id)
    assert (run.state, run.error_code) == ("failed", Code.UPLOAD_INCOMPLETE)
    assert await snapshot(second) == loaded.before


@pytest.mark.threat("F7", "F11")
@pytest.mark.parametrize(
    ("file", "state"), [("enrollments", "held"), ("demographics", "held"), ("users", "failed"), ("orgs", "failed")]
)
async def test_a_file_of_headers_only_deletes_nothing(second: District, loaded: Loaded, file: str, state: str) -> None:
    header_only = await asyncio.to_thread(spoilt, f"{file}.csv", lambda data: data.partition(b"\r\n")[0] + b"\r\n")
    run = await second.sync(header_only)
    assert run.state == state
    assert "FILE-003" in await codes(second, run)
    if state == "held":
        assert ("file_empty", file) in {(reason["code"], reason["subject"]) for reason in run.guard}
    else:  # nothing of the other files can be right without it
        assert "FILE-028" in await codes(second, run)
    assert await snapshot(second) == loaded.before


@pytest.mark.threat("F25", "T40")
@pytest.mark.parametrize("spoil", [open_quote, huge_cell])
async def test_a_row_that_cannot_be_read_is_kept_out_alone(
    second: District, loaded: Loaded, spoil: Callable[[bytes], bytes]
) -> None:
    run = await second.sync(await asyncio.to_thread(spoilt, "demographics.csv", spoil))
    assert run.state == "applied", (run.error_message, run.guard)
    assert "FILE-004" in await codes(second, run)
    shown = await snapshot(second)
    assert shown.records.keys() >= loaded.before.records.keys()
    ended = {key for key, (active, _) in shown.records.items() if not active}
    assert ended == {key for key, (active, _) in loaded.after.records.items() if not active}


@pytest.mark.threat("F25")
async def test_different_rows_with_one_sourced_id_leave_the_older_version(second: District, loaded: Loaded) -> None:
    frames = change()
    key = frames["users"]["sourcedId"][3]
    other = changed(frames, "users", key, familyName="Doppelganger")["users"].filter(pl.col("sourcedId") == key)
    run = await second.sync(dict(frames) | {"users": pl.concat([frames["users"], other])})
    assert run.state == "applied"
    assert run.counts["users"]["quarantined"] == 1
    assert "ID-003" in await codes(second, run)
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F25")
async def test_orgs_in_a_circle_are_cut_open_and_said(second: District) -> None:
    frames = change()
    top = frames["orgs"].filter(pl.col("type") == "district")["sourcedId"][0]
    school = frames["orgs"].filter(pl.col("parentSourcedId") == top)["sourcedId"][0]
    run = await second.sync(changed(frames, "orgs", top, parentSourcedId=school))
    assert run.state == "applied"
    assert "ORG-002" in await codes(second, run)
    shown = await snapshot(second)
    assert all(active for (entity, _), (active, _) in shown.records.items() if entity == "orgs")


@pytest.mark.threat("F25")
async def test_references_to_nowhere_keep_older_versions_and_bring_nothing_new(
    second: District, loaded: Loaded
) -> None:
    frames = change()
    known = frames["enrollments"]["sourcedId"][0]
    lost = changed(frames, "enrollments", known, classSourcedId="no-such-class")["enrollments"]
    stray = lost.head(1).with_columns(sourcedId=pl.lit("stray"), userSourcedId=pl.lit("nobody"))
    run = await second.sync(dict(frames) | {"enrollments": pl.concat([lost, stray])})
    assert run.state == "applied"
    assert run.counts["enrollments"]["quarantined"] == 2
    assert any(code.startswith("REF-") for code in await codes(second, run))
    shown = await snapshot(second)
    assert ("enrollments", "stray") not in shown.records
    # The row that would have come back stays as it was: ended.
    assert shown.records["enrollments", known] == loaded.before.records["enrollments", known]
    assert shown.records["enrollments", known][0] is False
    assert await leftovers(second) == {}


@pytest.mark.threat("F25")
async def test_nothing_may_refer_to_a_record_that_ended_and_is_kept_out(second: District) -> None:
    frames = change()
    user = frames["enrollments"]["userSourcedId"][-1]
    gone = {name: frame.filter(pl.col(column) != user) for name, column, frame in _of_users(frames)}
    run = await second.sync(dict(frames) | gone)
    assert run.state == "applied", run.guard
    ended = await snapshot(second)
    run = await second.sync(changed(frames, "users", user, givenName=None, familyName=None))
    assert run.counts["users"]["quarantined"] == 1
    assert run.counts["enrollments"]["quarantined"] >= 1
    assert (await snapshot(second)).records == ended.records


def _of_users(frames: Frames) -> list[tuple[str, str, pl.DataFrame]]:
    columns = {
        "users": "sourcedId",
        "roles": "userSourcedId",
        "demographics": "sourcedId",
        "enrollments": "userSourcedId",
    }
    return [(name, column, frames[name]) for name, column in columns.items()]


def nul(data: bytes) -> bytes:
    """The row of the second role has a byte that is no text."""
    return data.replace(b"\r\nsecond-role,", b"\r\nsecond-role\0,")


def nowhere(data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    cells = [line.split(b",") if line.startswith(b"second-role,") else None for line in lines]
    return b"\r\n".join(
        b",".join([*c[:8], b"nowhere", *c[9:]]) if c else line for c, line in zip(cells, lines, strict=True)
    )


@pytest.mark.threat("F25")
@pytest.mark.parametrize("spoil", [nul, nowhere])
async def test_a_role_that_cannot_be_read_is_not_taken_for_gone(
    second: District, spoil: Callable[[bytes], bytes]
) -> None:
    frames = change()
    roles = frames["roles"]
    user = roles.filter(pl.col("role") == "teacher")["userSourcedId"][0]
    top = frames["orgs"].filter(pl.col("type") == "district")["sourcedId"][0]
    extra = roles.filter(pl.col("userSourcedId") == user).head(1).with_columns(
        sourcedId=pl.lit("second-role"), roleType=pl.lit("secondary"), orgSourcedId=pl.lit(top)
    )  # fmt: skip
    both = dict(frames) | {"roles": pl.concat([roles, extra])}
    assert (await second.sync(both)).state == "applied"
    before = await snapshot(second)
    assert before.records["users", user][1].count('"roleType"') == 2

    files = await asyncio.to_thread(members, changed(both, "users", user, middleName="Quincy"))
    run = await second.sync(zipped(files | {"roles.csv": spoil(files["roles.csv"])}))
    assert run.state in {"applied", "unchanged"}, run.error_message
    assert run.counts["users"]["quarantined"] == 1
    assert (await snapshot(second)).records == before.records

    run = await second.sync(changed(frames, "users", user, middleName="Quincy"))
    after = (await snapshot(second)).records["users", user][1]
    assert after.count('"roleType"') == 1
    assert '"middleName":"Quincy"' in after
