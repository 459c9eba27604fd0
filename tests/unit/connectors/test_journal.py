"""A pull that is cut off at any page goes on there; what is kept of it opens for nobody else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from yarl import URL

from connectors.answer import Answer
from connectors.journal import LONGEST, Journal
from connectors.protocol import ConnectorError
from tests.fakes.oneroster_server import Quirks, Server, running
from tests.unit.connectors.test_rest_faults import SPEC, USERS, context, person

KEY = bytes(range(32))
PAGE = URL("https://sis.example/users?offset=10")


def answer(text: bytes = b"{}") -> Answer:
    return Answer(200, {"Date": "Mon, 02 Mar 2026 06:00:00 GMT", "Set-Cookie": "a=b"}, text, URL("https://x.example/n"))


def opened(path: Path, key: bytes = KEY, now: float = 0.0) -> Journal:
    return Journal(path, key, now or time.time())


@pytest.mark.threat("F8")
def test_a_pull_goes_on_at_the_page_at_which_it_was_cut_off(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    school = {"sourcedId": "s1", "name": "S", "type": "school", "status": "active", "dateLastModified": "2026-01-01"}
    server = Server("1.2", {"orgs": {"s1": school}, "users": {person(n)["sourcedId"]: person(n) for n in range(USERS)}})
    with running(server):
        whole = context(server, folder, [], page_rows=5, at_once=1)
        clean = asyncio.run(SPEC.open(whole).pull(None)).package
        pages = server.count("users")
        for cut in range(pages):
            server.asked.clear()
            server.fault = lambda one, cut=cut: "reset" if one.entity == "users" and one.number >= cut else None
            first = opened(tmp_path / "journal")
            with pytest.raises(ConnectorError):
                asyncio.run(SPEC.open(replace(whole, journal=first)).pull(None))
            first.close()
            server.asked.clear()
            server.fault = lambda _: None
            second = opened(tmp_path / "journal")
            pulled = asyncio.run(SPEC.open(replace(whole, journal=second)).pull(None))
            assert pulled.package.digest == clean.digest
            # Where pages of both attempts meet, the last one of the first is asked for again: it has to be the same.
            assert (server.count("orgs"), server.count("users")) == (0, pages - cut + (cut > 0))
            pulled.package.close()
            second.remove()
    assert not (tmp_path / "journal").exists()


def test_pages_behind_one_that_was_not_read_are_asked_for_again_and_no_others(tmp_path: Path) -> None:
    """Side by side, a page may be there when the one before it fails."""
    folder = tmp_path / "work"
    folder.mkdir()
    server = Server("1.2", {"users": {person(n)["sourcedId"]: person(n) for n in range(USERS)}})
    with running(server):
        whole = context(server, folder, [], page_rows=5, at_once=4, entities=["users"])
        clean = asyncio.run(SPEC.open(whole).pull(None)).package
        pages = server.count("users")
        server.fault = lambda one: "status:500" if one.query.get("offset") == "10" else None
        first = opened(tmp_path / "journal")
        with pytest.raises(ConnectorError):
            asyncio.run(SPEC.open(replace(whole, journal=first)).pull(None))
        first.close()
        server.asked.clear()
        server.fault = lambda _: None
        second = opened(tmp_path / "journal")
        pulled = asyncio.run(SPEC.open(replace(whole, journal=second)).pull(None))
        assert pulled.package.digest == clean.digest
        # The lost one and all behind it, and the one before it, which has to be the same still.
        assert server.count("users") == pages - 2 + 1
        pulled.package.close()
        second.remove()


def test_answers_come_back_once_each_and_open_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = opened(path)
    for text in (b"first", b"second"):
        journal.keep("GET", PAGE, {}, None, answer(text))
    journal.keep("POST", PAGE, {}, b"{1}", answer(b"posted"))
    with pytest.raises(BlockingIOError):
        opened(path)
    journal.close()
    assert (path.stat().st_mode & 0o777) == 0o600
    assert not [word for word in (b"first", b"posted", b"offset", b"sis") if word in path.read_bytes()]

    other = opened(path, bytes(32))
    assert other.answered("GET", PAGE, {}, None) is None
    other.close()
    journal = opened(path)
    found = [journal.answered("GET", PAGE, {}, None) for _ in range(3)]
    assert [one and one.body for one in found] == [b"first", b"second", None]
    assert found[0] is not None
    assert found[0].at == answer().at
    assert found[0].following == URL("https://x.example/n")
    assert "set-cookie" not in found[0].headers
    assert journal.answered("POST", PAGE, {}, b"{2}") is None
    posted = journal.answered("POST", PAGE, {}, b"{1}")
    assert posted is not None
    assert posted.body == b"posted"
    journal.close()


def test_what_is_old_half_written_or_somebody_elses_is_not_used(tmp_path: Path) -> None:
    path, at = tmp_path / "journal", time.time()
    journal = opened(path, now=at)
    journal.keep("GET", PAGE, {}, None, answer(b"first"))
    journal.keep("GET", PAGE, {}, None, answer(b"second"))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    cut = opened(path, now=at + 5)
    assert cut.answered("GET", PAGE, {}, None) is not None
    assert cut.answered("GET", PAGE, {}, None) is None
    cut.keep("GET", PAGE, {}, None, answer(b"third"))  # over what was half written
    cut.close()
    again = opened(path, now=at + 5)
    bodies = [again.answered("GET", PAGE, {}, None) for _ in range(3)]
    assert [one and one.body for one in bodies] == [b"first", b"third", None]
    again.close()
    old = opened(path, now=at + LONGEST.total_seconds() + 1)
    assert old.answered("GET", PAGE, {}, None) is None
    old.close()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        opened(path)
    path.unlink()
    path.write_bytes(whole)
    path.chmod(0o644)
    with pytest.raises(PermissionError):
        opened(path)


@pytest.mark.threat("F8")
@pytest.mark.parametrize("links", ["none", "absolute"])
@pytest.mark.parametrize("gone", ["u001", "u012"])
def test_what_went_and_came_between_two_attempts_costs_no_row(tmp_path: Path, gone: str, links: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    school = {"sourcedId": "s1", "name": "S", "type": "school", "status": "active", "dateLastModified": "2026-01-01"}
    users = {person(n)["sourcedId"]: person(n) for n in range(USERS)}
    server = Server("1.2", {"orgs": {"s1": school}, "users": users}, quirks=Quirks(tombstones=False, links=links))
    with running(server):
        whole = context(server, folder, [], page_rows=5)
        server.fault = lambda one: "reset" if one.entity == "users" and one.number >= 2 else None
        first = opened(tmp_path / "journal")
        with pytest.raises(ConnectorError):
            asyncio.run(SPEC.open(replace(whole, journal=first)).pull(None))
        first.close()
        server.fault = lambda _: None
        server.end("users", gone)
        server.put(
            "users", "u099", **{n: v for n, v in person(99).items() if n not in {"sourcedId", "dateLastModified"}}
        )
        second = opened(tmp_path / "journal")
        pulled = asyncio.run(SPEC.open(replace(whole, journal=second)).pull(None))
        assert sorted(pulled.package.keys("users")) == sorted(server.objects["users"])
        pulled.package.close()
        second.remove()


def test_answers_that_other_headers_asked_for_are_none(tmp_path: Path) -> None:
    journal = opened(tmp_path / "journal")
    journal.keep("GET", PAGE, {"Use-Snapshot": "true"}, None, answer())
    journal.close()
    journal = opened(tmp_path / "journal")
    assert journal.answered("GET", PAGE, {}, None) is None
    found = journal.answered("GET", PAGE, {"Use-Snapshot": "true"}, None)
    assert found is not None
    assert found.kept
    journal.close()
