"""Which files at a place are a package, and when it is whole."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.oneroster_csv.names import known_file
from connectors.places.choosing import Candidate, candidates, whole
from connectors.places.place import SftpPlace
from connectors.places.store import Entry


def place(**values: Any) -> SftpPlace:
    return SftpPlace(kind="sftp", host="sftp.example", username="u", **values)


def entry(name: str, at: float = 100, size: int = 10) -> Entry:
    return Entry(name, size, str(at), at)


def names(found: list[Candidate]) -> list[list[str]]:
    return [[e.name for e in one.entries] for one in found]


def test_archives_come_newest_first_and_ties_go_by_name() -> None:
    there = [entry("a.zip", 5), entry("c.zip", 9), entry("b.zip", 9), entry("readme.txt", 99), entry("D.ZIP", 99)]
    assert names(candidates(there, place(), known_file)) == [["c.zip"], ["b.zip"], ["a.zip"]]
    assert names(candidates(there, place(pattern="?.zip"), known_file))[0] == ["c.zip"]
    assert names(candidates(there, place(pattern="readme*"), known_file)) == [["readme.txt"]]


@pytest.mark.threat("T39")
@pytest.mark.parametrize(
    "name", ["../x.zip", "/etc/x.zip", "..", ".hidden.zip", "a\\b.zip", "con.zip", "a\x00.zip", "x" * 300 + ".zip"]
)
def test_names_that_could_lead_elsewhere_are_no_packages(name: str) -> None:
    assert candidates([entry(name)], place(), known_file) == []
    assert candidates([entry(name)], place(package="folder"), lambda found: found) == []


def test_a_folder_is_one_package_of_the_files_that_are_known() -> None:
    there = [entry("users.csv", 3), entry("orgs.csv", 7), entry("notes.csv", 50), entry("old.zip", 90)]
    (one,) = candidates(there, place(package="folder"), known_file)
    assert [e.name for e in one.entries] == ["orgs.csv", "users.csv"]
    assert (one.at, one.size) == (7, 20)
    assert candidates([entry("notes.csv")], place(package="folder"), known_file) == []


@pytest.mark.threat("T42", "F7")
def test_without_a_marker_a_package_is_whole_that_two_looks_see_alike() -> None:
    old, young, grown = entry("a.zip", 5), entry("b.zip", 9), entry("b.zip", 10, size=20)
    before, grows = [candidates(there, place(), known_file) for there in ([old, young], [old, grown])]
    found = whole(before, before, place(), None)
    assert found is not None
    assert found.entries == (young,)
    found = whole(before, grows, place(), None)
    assert found is not None
    assert found.entries == (old,)
    assert whole(before, grows, place(), after=6) is None  # something newer was applied: nothing older comes after it
    assert whole([], grows, place(), None) is None


@pytest.mark.threat("T42", "F7")
def test_a_marker_must_be_there_and_not_older() -> None:
    wants = place(marker="{name}.done")
    package = entry("a.zip", 50)
    for marker, is_whole in ((None, False), (entry("a.zip.done", 49), False), (entry("a.zip.done", 50), True)):
        found = candidates([package, *([marker] if marker else [])], wants, known_file)
        assert (whole([], found, wants, None) is not None) is is_whole
    one_for_all = place(marker="done.txt", package="folder")
    parts = [entry("users.csv", 3), entry("orgs.csv", 7)]
    assert whole([], candidates([*parts, entry("done.txt", 6)], one_for_all, known_file), one_for_all, None) is None
    assert whole([], candidates([*parts, entry("done.txt", 7)], one_for_all, known_file), one_for_all, None) is not None


def test_a_package_is_known_by_names_sizes_and_times() -> None:
    (one,) = candidates([entry("a.zip")], place(), known_file)
    assert one.fits(one.cursor())
    assert not one.fits(None)
    for other in (entry("b.zip"), entry("a.zip", size=11), entry("a.zip", at=101)):
        assert not Candidate((other,), marked=True).fits(one.cursor())
