"""Hostile and broken archives: everything is refused with a code, quickly, and nothing leaves the private folder."""

from __future__ import annotations

import io
import random
import stat
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from connectors.limits import MIB, Limits
from connectors.oneroster_csv import open_package
from connectors.oneroster_csv.archive import _FolderEntry
from connectors.protocol import ConnectorError, Intent
from tests.unit.connectors.packages import USER_HEADER, USERS, codes, files, loose, opened, text, user, zipped


def refusal(path: Path, limits: Limits | None = None) -> list[str]:
    with opened(path, limits or Limits()) as package:
        assert package.refused
        assert package.mode == {}
        return package.issues["code"].to_list()


def archive_with(
    path: Path, name: str, data: bytes = b"x", change: Callable[[zipfile.ZipInfo], None] | None = None
) -> Path:
    zipped(path, files())
    info = zipfile.ZipInfo("placeholder.csv")
    info.filename = name
    if change:
        change(info)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, data)
    return path


def patched(path: Path, signature: bytes, offset: int, value: bytes, *, last: bool = True) -> Path:
    data = bytearray(path.read_bytes())
    at = data.rindex(signature) if last else data.index(signature)
    data[at + offset : at + offset + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.threat("T38")
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_usual_archive_is_read(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files().items():
            archive.writestr(name, data)
    with opened(path) as package:
        assert codes(package) == []
        assert package.rows("users") == 5


@pytest.mark.threat("T38")
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files() | {"enrollments.csv": b"0" * (80 * MIB)})
    started = time.perf_counter()
    tracemalloc.start()
    try:
        assert refusal(path) == ["FILE-033"]
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 2


@pytest.mark.threat("T38")
def test_short_repetitive_files_are_no_bomb(tmp_path: Path) -> None:
    users = text(USER_HEADER, *(user(f"u{n}") for n in range(40_000)))
    with opened(zipped(tmp_path / "p.zip", files(users)), Limits(ratio=2)) as package:
        assert package.rows("users") == 40_000


@pytest.mark.threat("T38")
def test_more_than_the_allowed_bytes_are_refused(tmp_path: Path) -> None:
    assert refusal(zipped(tmp_path / "p.zip", files()), Limits(unpacked=300)) == ["FILE-033"]


@pytest.mark.threat("T38")
@pytest.mark.parametrize("claimed", [1, 40])
def test_the_size_that_a_header_claims_is_not_believed(tmp_path: Path, claimed: int) -> None:
    path = zipped(tmp_path / "p.zip", {"users.csv": USERS})
    patched(path, b"PK\x01\x02", 24, struct.pack("<L", claimed))
    assert refusal(path) == ["FILE-031"]


@pytest.mark.threat("T38")
def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", {f"f{n}.csv": "" for n in range(65)})
    assert refusal(path) == ["FILE-032"]


@pytest.mark.threat("T38")
@pytest.mark.parametrize("count", [300, 400_000])
def test_the_number_of_entries_that_a_header_claims_is_not_believed(tmp_path: Path, count: int) -> None:
    one = zipped(tmp_path / "p.zip", {"users.csv": ""}).read_bytes()
    start, end = one.index(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    directory = one[start:end] * count
    (tmp_path / "p.zip").write_bytes(
        one[:start] + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, len(directory), start, 0)
    )
    tracemalloc.start()
    try:
        assert refusal(tmp_path / "p.zip") == ["FILE-032"]
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.threat("T38")
def test_a_zip64_directory_is_measured_too(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files())
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", data, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1_000_000, 1_000_000, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    path.write_bytes(data[:end] + record + locator + data[end:])
    assert refusal(path) == ["FILE-032"]


@pytest.mark.threat("T38")
def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files())
    patched(path, b"PK\x01\x02", 42, struct.pack("<L", 0))
    assert refusal(path) == ["FILE-031"]


@pytest.mark.threat("T38")
@pytest.mark.parametrize("name", ["more.zip", "users.csv.gz", "a/b.7z"])
def test_an_archive_in_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(archive_with(tmp_path / "p.zip", name)) == ["FILE-034"]


@pytest.mark.threat("T38")
def test_an_archive_under_the_name_of_a_table_is_refused(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", files()).read_bytes()
    assert refusal(zipped(tmp_path / "p.zip", files(users=inner))) == ["FILE-034"]


@pytest.mark.threat("T39")
@pytest.mark.parametrize(
    "name",
    ["../users.csv", "a/../../users.csv", "/etc/users.csv", "C:/users.csv", "C:users.csv", "a\\users.csv",
     "\\\\host\\share\\users.csv", "con.csv", "AUX", "x/lpt1.csv", "./users.csv", "a//users.csv", "users.csv\x00.txt",
     "users\u202e.csv", "\u200busers.csv", "x" * 2000],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    assert refusal(archive_with(tmp_path / "p.zip", name)) == ["FILE-036"]
    assert list(tmp_path.iterdir()) == [tmp_path / "p.zip"]


@pytest.mark.threat("T39")
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    def make(info: zipfile.ZipInfo) -> None:
        info.external_attr = (kind | 0o777) << 16

    assert refusal(archive_with(tmp_path / "p.zip", "classes.csv", b"/etc/passwd", make)) == ["FILE-036"]


@pytest.mark.threat("T39")
@pytest.mark.parametrize("name", ["Users.csv", "users.CSV", "USERS.csv"])
def test_names_that_clash_are_refused(tmp_path: Path, name: str) -> None:
    assert refusal(archive_with(tmp_path / "p.zip", name)) == ["FILE-037"]


@pytest.mark.threat("T39")
def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("users.csv", USERS)
    assert refusal(path) == ["FILE-037"]


@pytest.mark.threat("T39")
def test_bytes_go_to_generated_names_in_a_private_folder(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    package = open_package(zipped(tmp_path / "p.zip", files()), work_folder=work)
    made = list(work.rglob("*"))
    assert stat.S_IMODE(package.folder.stat().st_mode) == 0o700
    assert all(p.name.strip("0123456789") in {"", ".csv"} or p == package.folder for p in made)
    package.close()
    assert list(work.iterdir()) == []


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files())
    patched(path, b"PK\x01\x02", 8, struct.pack("<H", 1))
    assert refusal(path) == ["FILE-035"]


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("users.csv", USERS)
    assert refusal(path) == ["FILE-038"]


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "FILE-030"), (b"sourcedId,name\r\n", "FILE-030"), (b"PK\x03\x04junk", "FILE-031")]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(data)
    assert refusal(path) == [code]


@pytest.mark.threat("F7", "T42")
def test_an_upload_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "p.zip", files()).read_bytes()
    cut = tmp_path / "cut.zip"
    for percent in range(100):
        cut.write_bytes(whole[: len(whole) * percent // 100])
        assert refusal(cut) in (["FILE-030"], ["FILE-031"]), percent


@pytest.mark.threat("T38", "F7")
def test_a_damaged_archive_is_refused_or_read_but_never_raises(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "p.zip", files()).read_bytes()
    chance = random.Random(7)
    path = tmp_path / "damaged.zip"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with opened(path) as package:
            assert package.refused or package.mode or package.issues.height


@pytest.mark.threat("F7", "T42")
def test_a_folder_that_is_still_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = loose(tmp_path / "drop", files())
    real = _FolderEntry.open

    def written_to(entry: _FolderEntry) -> IO[bytes]:
        """A row arrives after the file was opened to be read."""
        stream = real(entry)
        if entry.name == "users.csv":
            with (folder / "users.csv").open("a") as late:
                late.write(user("late") + "\r\n")
        return stream

    monkeypatch.setattr(_FolderEntry, "open", written_to)
    assert refusal(folder) == ["FILE-031"]


@pytest.mark.threat("T39")
def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = loose(tmp_path / "drop", files())
    (folder / "courses.csv").symlink_to("/etc/passwd")
    assert refusal(folder) == ["FILE-036"]


def test_what_else_lies_in_a_folder_does_not_matter(tmp_path: Path) -> None:
    folder = loose(tmp_path / "drop", files() | {"readme.txt": "x"})
    (folder / "old").mkdir()
    (folder / "note.lnk").symlink_to("/nowhere")
    with opened(folder) as package:
        assert codes(package) == []


def test_the_archive_and_its_loose_files_are_the_same_content(tmp_path: Path) -> None:
    with opened(zipped(tmp_path / "p.zip", files())) as one, opened(loose(tmp_path / "drop", files())) as other:
        assert one.digest == other.digest
    with opened(zipped(tmp_path / "q.zip", files(USERS.replace("Ana", "Ane", 1)))) as changed:
        assert changed.digest != one.digest


def test_a_top_folder_and_what_systems_leave_behind_are_no_harm(tmp_path: Path) -> None:
    content = {f"Export 2026/{name}": data for name, data in files().items()}
    junk = {"__MACOSX/Export 2026/._users.csv": "x", "Export 2026/.DS_Store": "x", "Export 2026/Thumbs.db": "x"}
    with opened(zipped(tmp_path / "p.zip", content | junk)) as package:
        assert codes(package) == ["FILE-040"]
        assert package.rows("users") == 5


def test_names_in_another_case_and_other_files_are_reported(tmp_path: Path) -> None:
    content = {name.upper(): data for name, data in files().items()} | {"Ana Silva.txt": "x", "sub/users.csv": "x"}
    with opened(zipped(tmp_path / "p.zip", content)) as package:
        assert codes(package) == ["FILE-041", "FILE-042"]
        assert package.issues.filter(code="FILE-042").height == 1
        assert "Silva" not in str(package.issues.to_dicts())


def test_an_archive_without_a_file_of_the_standard_is_refused(tmp_path: Path) -> None:
    assert refusal(zipped(tmp_path / "p.zip", {"notes.txt": "x"})) == ["FILE-042", "FILE-043"]


def test_a_package_that_is_not_there_is_a_failure_to_try_again(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError) as caught:
        open_package(tmp_path / "nothing.zip", work_folder=tmp_path)
    assert caught.value.intent is Intent.RETRY
    assert str(tmp_path) not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_archive_behind_other_bytes_is_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", files())
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    with opened(path) as package:
        assert package.rows("users") == 5


def test_an_end_inside_the_comment_hides_nothing(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n in range(200):
            archive.writestr(f"f{n}.csv", "")
        archive.comment = b"PK\x05\x06" + bytes(18)
    path = tmp_path / "p.zip"
    path.write_bytes(buffer.getvalue())
    assert refusal(path) == ["FILE-043"]  # zipfile goes by the last end, and so do we
