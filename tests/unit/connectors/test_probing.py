"""What a try of a source says of the name, the connection, the certificate, the clock, permissions and the size."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors import probing, source
from connectors.http import Web
from connectors.limits import DEFAULT_TIMEOUTS, Timeouts
from connectors.oneroster_rest import SPEC, probe
from connectors.probing import Sample
from connectors.protocol import Found, SourceContext
from tests.fakes import rosters
from tests.fakes.certificates import certificate
from tests.fakes.oneroster_server import CLIENT, SECRET, Quirks, Server, filled, running


@contextlib.contextmanager
def system(folder: Path, *, days: int | None = None, name: str = "127.0.0.1") -> Iterator[Server]:
    """A server, with a certificate for ``name`` that ends in ``days``."""
    server = filled("1.2", rosters.clean("1.2"))
    server.now = datetime.now(UTC)
    with running(server, None if days is None else certificate(folder, name, days=days)):
        yield server


def trusting(folder: Path) -> type[Web]:
    """Connections that trust the certificate in the folder."""
    trust = ssl.create_default_context(cafile=str(folder / "certificate.pem"))

    class Trusting(Web):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named, trust=trust)

    return Trusting


def tried(sis: Server, *, url: str = "", timeouts: Timeouts = DEFAULT_TIMEOUTS, **more: Any) -> dict[str, Found]:
    root = url or sis.url
    login = {"kind": "oauth2", "token_url": root + "/token", "client_id": CLIENT}
    config = SPEC.config_model.model_validate({"url": root, "login": login} | more)
    secrets = {"client_secret": SECRET}
    context = SourceContext(
        config, secrets=secrets, timeouts=timeouts, reachable=lambda address, _: address in {"127.0.0.1", "::1"}
    )
    found = asyncio.run(SPEC.open(context).probe())  # type: ignore[attr-defined]
    assert SECRET not in repr(found)
    assert len({one.step for one in found}) == len(found)
    return {one.step: one for one in found}


def test_collections_of_1_1_at_another_place_are_found(tmp_path: Path) -> None:
    with system(tmp_path) as sis:
        sis.version, sis.root = "1.1", "/ims/oneroster/rostering/v1p1/"
        found = tried(sis, version="1.1")
        told = f"The system has them at another address: set url to {sis.url}/ims/oneroster/rostering/v1p1."
        assert (found["orgs"].outcome, found["address"].text) == ("bad", told)
        assert probing.works(tried(sis, version="1.1", url=f"{sis.url}/ims/oneroster/rostering/v1p1").values())


@pytest.mark.parametrize(
    ("days", "name", "outcome", "words"),
    [
        (200, "127.0.0.1", "good", "in 199 days"), (3, "127.0.0.1", "warning", "in 2 days. Whoever runs the system"),
        (-1, "127.0.0.1", "bad", "it has expired"), (9, "127.0.0.2", "bad", "it is for another address"),
    ],
)  # fmt: skip
def test_a_certificate_is_told_of_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, name: str, outcome: str, words: str
) -> None:
    with system(tmp_path, days=days, name=name) as sis:
        monkeypatch.setattr(source, "Web", trusting(tmp_path))
        found = tried(sis)
    assert (found["certificate"].outcome, words in found["certificate"].text) == (outcome, True), found["certificate"]
    assert ("login" in found) == (outcome != "bad")
    if outcome != "bad":
        assert found["connection"].text == "127.0.0.1 can be reached, encrypted."


def test_a_certificate_that_nobody_vouches_for_says_why(tmp_path: Path) -> None:
    with system(tmp_path, days=9) as sis:
        assert "it is signed by itself" in tried(sis)["certificate"].text


def test_names_and_connections_that_fail_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with system(tmp_path) as sis:
        named = sis.url.replace("127.0.0.1", "localhost")
        found = tried(sis, url=named)
        assert (found["name"].outcome, "localhost" in found["name"].text) == ("good", True)
        closed = tried(sis, url="http://127.0.0.1:9")
        assert [(one.step, one.outcome) for one in closed.values()] == [("connection", "bad")]
        assert "HUB_SOURCE_ALLOW" in tried(sis, url="https://10.0.0.7")["connection"].text

        def unknown(*_: Any, **__: Any) -> Any:
            raise socket.gaierror

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        assert tried(sis, url=named)["name"].outcome == "bad"


def test_logins_permissions_and_what_changed_are_told_by_what_the_system_gives(tmp_path: Path) -> None:
    with system(tmp_path) as sis:
        found = tried(sis)
        assert {one.outcome for step, one in found.items() if step != "connection"} == {"good"}
        assert "where to look" not in found
        rows = sum(len(sis.objects[name]) for name in SPEC.config_model.model_fields["entities"].default)
        assert f"brings about {rows} objects in 6 requests" in found["whole pull"].text
        for filters, words in (("refused", "refuses"), ("ignored", "ignores")):
            sis.quirks = Quirks(filters=filters)
            assert (tried(sis)["changes"].outcome, words in tried(sis)["changes"].text) == ("warning", True)
        sis.quirks = Quirks(totals="none")
        assert not {"changes", "whole pull"} & tried(sis).keys()
        sis.quirks = Quirks()
        for one in sis.objects["users"].values():
            del one["familyName"]
        assert "None of these has familyName" in tried(sis)["users"].text

        skyward = {"profile": "skyward"}
        sis.fault = lambda one: "status:403" if one.entity == "users" else None
        assert "Integration Access" in tried(sis, **skyward)["where to look"].text
        sis.fault = lambda _: "status:401"
        bearer = tried(sis, login={"kind": "bearer"})
        assert (bearer["login"].outcome, bearer["users"].outcome) == ("bad", "bad")
        sis.fault = lambda _: "status:500"
        assert tried(sis, login={"kind": "bearer"})["login"].outcome == "warning"


def test_a_slow_system_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with system(tmp_path) as sis:
        monkeypatch.setattr(probe, "PATIENCE_SECONDS", 0.0)
        assert "Not tried" in tried(sis)["users"].text
        monkeypatch.undo()
        sis.fault = lambda one: "hang:0.5" if one.entity == "courses" else None
        found = tried(sis, timeouts=Timeouts(idle=0.1, total=0.2))
        assert (found["courses"].outcome, "classes" in found) == ("bad", False)


def test_what_a_whole_pull_costs_is_told_by_two_pages() -> None:
    # A request takes 0.5 s, a row 1 ms and 400 bytes.
    told = probing.whole(500_000, 100, Sample(5, 2_000, 0.505), Sample(205, 82_000, 0.705))
    assert told.text == ("A whole pull brings about 500,000 objects in 100 requests: about 200 MB, in about 9 minutes.")
    # Where a large page is no slower than a small one, a row costs no more than its share of it, and not nothing.
    told = probing.whole(1_000_000, 100, Sample(5, 2_000, 0.05), Sample(200, 80_000, 0.04))
    assert told.text.endswith("in about 3 minutes.")
    assert "about 5 kB, in about 2 seconds" in probing.whole(13, 1, Sample(5, 2_000, 0.1), Sample(5, 2_000, 0.1)).text


@pytest.mark.parametrize(("count", "known"), [(5, 5), (6, 5), (11, 5), (3_407, 200), (2_800_001, 200), (1, 0)])
async def test_how_many_there_are_is_found_with_few_requests(count: int, known: int) -> None:
    asked = []

    async def there(number: int) -> bool:
        asked.append(number)
        return number <= count

    found = await probing.many(there, known)
    assert count - max(1, count // 8) <= found <= count
    assert len(asked) <= 20
    assert await probing.many(always, 1) > 1_000_000  # a system that has them all


async def always(_number: int) -> bool:
    return True


def test_a_clock_is_told_by_its_distance() -> None:
    now = datetime.now(UTC)
    ahead = probing.clock(now + timedelta(hours=24), now, "", "Mend it.")
    assert (ahead.outcome, ahead.text) == ("warning", "The system's clock is 1440 minutes ahead. Mend it.")
    assert probing.clock(now - timedelta(minutes=4), now, "", "").outcome == "good"
    assert "behind" in probing.clock(now - timedelta(minutes=6), now, "", "").text
    assert probing.clock(None, now, "", "").outcome == "warning"
