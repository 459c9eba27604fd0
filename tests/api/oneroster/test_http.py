"""What HTTP asks of a server, over raw sockets: methods, media types, odd addresses, ids of requests."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from hub.api.connections import LONGEST_HEADER, LONGEST_LINE, MOST_HEADERS
from hub.api.oneroster.rostering import ROSTERING
from tests.api.oneroster.raw import ask, request, service
from tests.api.oneroster.rosters import Hub, minor

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def hub(read_hub: Hub) -> Hub:
    """Nothing here is written."""
    return read_hub


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_every_read_knows_head_and_options(hub: Hub) -> None:
    token, ids = hub.prepared.tokens["lms"], {}
    for operation in ROSTERING:
        if operation.single:
            ids[operation.entity.name] = (await hub.ids(operation.path.rpartition("/")[0]))[0]
    for operation in ROSTERING:
        if operation.parents:
            continue
        path = service(hub, operation.path.replace("{sourcedId}", ids[operation.entity.name]))
        if operation.single and operation.subset:
            path = service(hub, operation.path.rpartition("/")[0])
        got, again = await ask(hub, request("GET", path, token=token), request("GET", path, token=token))
        (headed,) = await ask(hub, request("HEAD", path, token=token), head=True)
        (options,) = await ask(hub, request("OPTIONS", path))
        assert (got.status, headed.status, options.status) == (200, 200, 204), path
        assert got.body == again.body
        same = ("content-type", "x-total-count", "link", "cache-control", "vary", "etag")
        assert [headed.headers.get(name) for name in same] == [got.headers.get(name) for name in same]
        assert headed.headers.get("content-length", str(len(got.body))) == str(len(got.body))
        assert (options.headers["allow"], options.body) == ("GET, HEAD, OPTIONS", b"")
        assert not [name for name in options.headers if name.startswith("access-control")]


async def test_options_and_other_methods_elsewhere(hub: Hub) -> None:
    path, token = service(hub, "/users"), hub.prepared.tokens["lms"]
    for at, allowed in (("/oauth/token", "OPTIONS, POST"), ("/admin/v1/apps", "GET, OPTIONS, POST"),
                        ("/healthz", "GET, HEAD, OPTIONS")):  # fmt: skip
        (options,) = await ask(hub, request("OPTIONS", at))
        assert (options.status, options.headers["allow"]) == (204, allowed)
    (nowhere,) = await ask(hub, request("OPTIONS", "/nowhere"))
    assert (nowhere.status, minor(nowhere.json)) == (404, "unknownobject")
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        (refused,) = await ask(hub, request(method, path, "Content-Length: 2", token=token, body=b"{}"))
        assert (refused.status, minor(refused.json)) == (405, "invaliddata")
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_get_with_a_body_is_answered_and_the_connection_goes_on(hub: Hub) -> None:
    path, token = service(hub, "/orgs"), hub.prepared.tokens["lms"]
    chunked = b"4\r\nabcd\r\n0\r\n\r\n"
    answers = await ask(
        hub,
        request("GET", path, "Content-Length: 5", "Content-Type: text/plain", token=token, body=b"hello"),
        request("GET", path, "Transfer-Encoding: chunked", token=token, body=chunked),
        request("GET", path, token=token),
    )
    assert [answer.status for answer in answers] == [200] * 3
    assert len({answer.body for answer in answers}) == 1


@pytest.mark.parametrize(
    ("accept", "status"),
    [(None, 200), ("", 200), ("*/*", 200), ("application/*", 200), ("application/json", 200),
     ("text/html,application/xhtml+xml,*/*;q=0.8", 200), ("Application/JSON; charset=utf-8", 200),
     ("application/json;q=0.5, text/plain", 200), ("text/html", 406), ("application/xml, text/*", 406),
     ("application/json;q=0", 406), ("*/*;q=0", 406), ("application/json;q=0, */*", 406),
     ("application/*;q=0, */*;q=1", 406), ("application/json;q=x", 406), (";;;,,=", 406), ("text/csv," * 800, 200)],
)  # fmt: skip
async def test_an_accept_that_rules_json_out_is_told(hub: Hub, accept: str | None, status: int) -> None:
    headers = [] if accept is None else [f"Accept: {accept}"]
    (answer,) = await ask(hub, request("GET", service(hub, "/orgs"), *headers, token=hub.prepared.tokens["lms"]))
    assert answer.status == status
    if status == 406:
        assert minor(answer.json) == "invaliddata"


async def test_ids_in_addresses_are_decoded_exactly_once(hub: Hub) -> None:
    token, school = hub.prepared.tokens["lms"], hub.prepared.school
    coded = "".join(f"%{ord(letter):02X}" for letter in school)
    twice = coded.replace("%", "%25")

    async def status(path: str) -> tuple[int, Any]:
        (answer,) = await ask(hub, request("GET", service(hub, path), token=token))
        return answer.status, next(iter(answer.json))

    assert await status(f"/orgs/{coded}") == (200, "org")
    assert await status(f"/schools/{coded.lower()}/classes") == (200, "classes")
    for path in (
        f"/orgs/{twice}", f"/schools/{school}%2Fclasses", f"/schools/{school}%2fclasses", f"/orgs/{school}%40x",
        f"/orgs/{school}%00", f"/orgs/%FF%FE{school}", "/orgs/%2F", "/orgs/%2e%2e%2fusers", "/orgs/%zz", "/orgs/%",
        f"/orgs/{school}//", f"//orgs/{school}", f"/orgs//{school}", "/orgs//", "/Orgs", "/orgs/..;/users", "/",
    ):  # fmt: skip
        assert await status(path) == (404, "imsx_codeMajor"), path


async def test_a_slash_behind_an_address_says_nothing(hub: Hub) -> None:
    """ClassLink's client asks for the courses so."""
    token, school = hub.prepared.tokens["lms"], hub.prepared.school
    everywhere = "/ims/oneroster/rostering/v1p2"
    for base, path in (
        (service(hub, ""), "/courses"), (service(hub, ""), f"/schools/{school}/classes"),
        (service(hub, ""), f"/schools/{school}"), (everywhere, "/courses"), (everywhere, f"/schools/{school}"),
    ):  # fmt: skip
        asked = [request("GET", f"{base}{path}{slash}?limit=2", token=token) for slash in ("", "/")]
        bare, slashed = await ask(hub, *asked)
        assert (bare.status, bare.body) == (200, slashed.body)
        assert bare.headers.get("link", "").replace("?", "/?") == slashed.headers.get("link", "")
    (options,) = await ask(hub, request("OPTIONS", service(hub, "/users/")))
    (put,) = await ask(hub, request("PUT", service(hub, "/users/"), token=token))
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (put.status, put.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    for path in ("/admin/v1/apps/", "/healthz/", "/oauth/token/", "/"):
        assert [a.status for a in await ask(hub, request("GET", path))] == [404], path


HOSTILE = [
    b"GET /" + b"a" * LONGEST_LINE + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * (LONGEST_HEADER + 1) + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: a\r\n" * (MOST_HEADERS + 1) + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n" + (b"X: " + b"a" * 8_000 + b"\r\n") * 20 + b"\r\n",
    b"GET /\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nExpect: a miracle\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET http://h:99999999/ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /%c0%ae%c0%ae/ HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /?filter=%FF%FE&%=%&&&==&limit=%00 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /" + b"a/" * 3_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
]  # fmt: skip
CODED = {0: 414, 1: 431, 2: 431, 3: 431, 15: 417}


@pytest.mark.threat("T48")
async def test_what_is_no_request_gets_a_coded_answer_and_no_word_of_it_is_logged(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as lines:
        for number, data in enumerate(HOSTILE):
            (answer,) = await ask(hub, data)
            assert 400 <= answer.status < 500, (number, answer)
            assert answer.status == CODED.get(number, answer.status), number
            assert minor(answer.json) in {"invaliddata", "unknownobject"}, number
            assert answer.headers["x-request-id"]
            assert answer.headers["server"] == "RosterHub"
    assert len(lines) == len(HOSTILE)
    assert {line["event"] for line in lines} == {"request"}
    assert "aaaa" not in str(lines)
    assert caplog.records == []


async def test_the_id_of_a_request_is_the_callers_where_it_is_random(hub: Hub) -> None:
    path, token = service(hub, "/orgs"), hub.prepared.tokens["lms"]
    uuid = "0198C0DE-0000-7000-8000-00000000000a"
    with structlog.testing.capture_logs() as lines:
        for given, taken in ((uuid, True), (TRACE, True), ("jones", False), ("12345678", False), (uuid + "0", False)):
            (answer,) = await ask(hub, request("GET", path, f"X-Request-ID: {given}", token=token))
            assert (answer.headers["x-request-id"] == given) is taken
        for given, taken in ((f"00-{TRACE}-00f067aa0ba902b7-01", True), ("00-jones-x-01", False)):
            (answer,) = await ask(hub, request("GET", path, f"traceparent: {given}", token=token))
            assert lines[-1].get("trace") == (TRACE if taken else None)
            assert lines[-1]["id"] == answer.headers["x-request-id"] != TRACE
    assert "jones" not in str(lines)
    assert [line["id"] for line in lines][:2] == [uuid, TRACE]
    assert len({line["id"] for line in lines}) == len(lines)


async def test_a_method_that_is_a_word_of_the_callers_is_not_logged(hub: Hub) -> None:
    with structlog.testing.capture_logs() as lines:
        await ask(hub, request("PROPFIND", "/healthz"), request("GET", "/healthz"))
    assert [line["method"] for line in lines] == ["?", "GET"]
