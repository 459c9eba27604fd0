"""Traces tell how a system answered, and nothing of what stood in the answers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from connectors import tracing
from connectors.http import Web
from connectors.oneroster_rest import SPEC
from connectors.protocol import ConnectorError, SourceContext
from connectors.shapes import plain
from connectors.tracing import Exchange, Trace
from tests.districts import sandbox
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, filled, running

NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
#: Words of the standard that stand in values too, and say nothing about anybody.
WORDS = {"true", "false", "active", "student", "teacher", "primary", "school", "district", "term", "scheduled", "org",
         "academicSession", "class", "course", "parent", "schoolYear", "user", "username"}  # fmt: skip
SHORTEST = 3


def values(held: Any) -> set[str]:
    """All texts among the values of some JSON."""
    if isinstance(held, Mapping):
        return set().union(*(values(value) for value in held.values()))
    if isinstance(held, list):
        return set().union(*map(values, held))
    return {held} if isinstance(held, str) else set()


def lines(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def told(trace: Trace, *exchanges: Exchange) -> list[dict[str, Any]]:
    async def note() -> None:
        for one in exchanges:
            await trace.note(one)

    asyncio.run(note())
    return lines(trace.ended("whole"))


def exchange(body: Any = b"", **more: Any) -> Exchange:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"method": "GET", "url": "https://sis.example.org/api/users", "sent": {}, "status": 200, "headers": {},
             "body": data, "seconds": 0.1}  # fmt: skip
    return Exchange(**(given | more))


@pytest.mark.threat("T48", "T29")
def test_a_pull_of_a_whole_district_leaves_nobody_in_its_trace(tmp_path: Path) -> None:
    frames = sandbox(100, 3).frames
    server = filled("1.2", {file: frame.drop("line", strict=False).to_dicts() for file, frame in frames.items()})
    for number, user in enumerate(list(server.objects["users"].values())):
        user["metadata"] = {f"Nickname{number}": "Canarissima", "house": "Bluebottle"}
    trace = Trace({"kind": "oneroster_rest"}, lambda: NOW)

    with running(server):
        pulled = asyncio.run(SPEC.open(context(server, tmp_path, trace)).pull(None))
        pulled.package.close()
    text = trace.ended("whole").decode()
    planted = values(server.objects) | {SECRET, CLIENT, *server.tokens} | {str(key) for key in server.objects["users"]}
    planted |= {base64.b64encode(f"hub+client:{SECRET}".encode()).decode(), "Canarissima", "Bluebottle", "Nickname1"}
    planted |= {value.split("@")[0] for value in planted if "@" in value}
    assert len(planted) > 500
    words = {word for value in json.loads(f"[{','.join(text.splitlines())}]") for word in strings(value)}
    assert {one for one in planted - WORDS if len(one) >= SHORTEST and one in words} == set()
    assert [one for one in planted - WORDS if len(one) > 8 and one in text] == []

    found = lines(text.encode())
    assert (found[0]["kind"], found[-1]) == (
        "oneroster_rest",
        {"ended": "whole", "exchanges": len(found) - 2, "left_out": 0},
    )
    token, first = found[1], next(one for one in found if one.get("path", "").endswith("/users"))
    assert (token["method"], token["path"], set(token["body"]["object"]["members"])) == (
        "POST", "/token", {"access_token", "token_type", "expires_in"},
    )  # fmt: skip
    assert first["path"] == "/ims/oneroster/rostering/v1p2/users"
    assert first["query"] == {"limit": "500", "offset": "0"}
    assert (first["status"], first["headers"]["X-Total-Count"]) == (200, len(server.objects["users"]))
    members = first["body"]["object"]["members"]["users"]["list"]["of"]["object"]["members"]
    assert {"sourcedId", "givenName", "roles", "metadata"} <= members.keys()
    assert members["dateLastModified"]["text"]["like"] == {"moment": 100}
    assert "house" in members["metadata"]["object"]["members"]  # all have it: it is of the schema


def strings(value: Any) -> set[str]:
    """All texts and keys in some JSON."""
    if isinstance(value, Mapping):
        return {*value, *set().union(*map(strings, value.values()))}
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()


def context(server: Server, folder: Path, trace: Trace) -> SourceContext:
    login = {"kind": "oauth2", "token_url": server.token_url, "client_id": CLIENT}
    entities = ["orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics"]
    config = SPEC.config_model.model_validate(
        {"url": server.url, "login": login, "page_rows": 500, "entities": entities}
    )
    return SourceContext(
        config, work_folder=folder, secrets={"client_secret": SECRET}, reachable=lambda *_: True, now=lambda: NOW,
        observer=trace.note,
    )  # fmt: skip


@pytest.mark.threat("T48")
@pytest.mark.parametrize(
    "planted",
    [
        exchange({"Ashgrove, Tilly": {"grade": 3}, "tilly@school.example": 1, "0012345": 2}),
        exchange([{"id": 1, "Ashgrove": "x"}, {"id": 2}, {"id": 3}, {"id": 4}]),
        exchange([{"name": "Ashgrove", "Ashgrove": 1}] * 4),
        exchange({"students": {"Ashgrove": ["Tilly"]}}),
        exchange(url="https://tilly:Ashgrove@sis.example.org/api/users/Ashgrove/0012345?filter=name='Tilly'&Ashgrove=1"),
        exchange(url="https://sis.example.org/api/users?page=Tilly&limit=0012345678"),
        exchange(headers={"X-Ashgrove": "Tilly", "Location": "/Ashgrove", "Set-Cookie": "Tilly=1", "Date": "Ashgrove"}),
        exchange(headers={"Content-Type": "text/Ashgrove; name=Tilly", "ETag": '"Tilly"'}),
        exchange(headers={"Link": '</Ashgrove>; rel="Tilly"'}),
        exchange(sent={"Authorization": "Bearer Ashgrove", "X-Tilly": "1"}),
        exchange(body="Ashgrove, Tilly 0012345"),
        exchange(b"<title>Ashgrove, Tilly</title>"),
        exchange(b'{"name": "Ashgrove'),
    ],
)  # fmt: skip
def test_nothing_that_was_planted_comes_through(planted: Exchange) -> None:
    trace = Trace({}, lambda: NOW)
    (_, line, last) = told(trace, planted)
    text = json.dumps(line).lower()
    assert not [word for word in ("ashgrove", "tilly", "0012345", "sis.example") if word in text], text
    assert (line["n"], "not_told" in line, last["left_out"]) == (1, False, 0)


def test_an_id_in_a_path_is_known_again_within_its_trace_alone() -> None:
    urls = [f"https://sis.example.org/api/v2.1/users/{key}/classes" for key in ("77001", "77002", "77001")]
    first, second = (told(Trace({}, lambda: NOW), *(exchange(url=url) for url in urls)) for _ in range(2))
    paths = [line["path"] for line in first[1:-1]]
    assert (paths[0], paths[0] == paths[1]) == (paths[2], False)
    assert paths[0].startswith("/api/v2.1/users/~")
    assert {line["path"] for line in second[1:-1]}.isdisjoint(paths)


def test_names_of_protocols_are_told() -> None:
    known = ("sourcedId", "imsx_codeMajor", "X-Total-Count", "access_token", "students", "@odata.nextLink", "pageSize",
             "dateLastModified", "address1")  # fmt: skip
    assert [name for name in known if not plain(name)] == []
    hidden = ("Smith", "o'neil", "a@b.example", "12345", "grade123", "", "Ünal", "student Tilly", "x" * 65)
    assert [name for name in hidden if plain(name)] == []


def test_a_trace_is_bounded_and_keeps_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("MOST_BYTES", 9_000), ("BRIEF_BYTES", 6_000), ("DETAILED_BYTES", 3_000)):
        monkeypatch.setattr(tracing, name, size)
    trace = Trace({}, lambda: NOW)
    page = exchange({"users": [{"sourcedId": "x", "givenName": "y"}] * 5})
    found = told(trace, *[page] * 60, replace(page, status=500), replace(page, status=0, error="timed_out"))
    kept = found[1:-1]
    assert sum(len(json.dumps(line)) for line in found[:-1]) < 11_000
    assert 0 < sum("body" in line for line in kept) < len(kept) < 62
    assert [line["status"] for line in kept[-2:]] == [500, 0]
    assert found[-1] == {"ended": "whole", "exchanges": 62, "left_out": 62 - len(kept)}
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    assert told(Trace({}, lambda: NOW), exchange(deep))[1]["body"]["list"]["count"] == 1


def test_what_has_no_answer_is_told_with_its_code() -> None:
    trace = Trace({}, lambda: NOW)

    async def ask() -> None:
        context = SourceContext(SPEC.config_model.model_construct(), reachable=lambda *_: True, observer=trace.note)
        async with Web.of(context) as web:
            await web.send("GET", URL("http://127.0.0.1:9/users"), headers={}, most_bytes=10)

    with pytest.raises(ConnectorError):
        asyncio.run(ask())
    assert lines(trace.ended("not_connected"))[1]["error"] == "not_connected"
