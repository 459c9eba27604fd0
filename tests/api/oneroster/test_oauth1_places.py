"""Parameters of OAuth 1 in the query and in a form (RFC 5849 §3.5): understood in one place, refused in several."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from oauthlib.oauth1 import SIGNATURE_TYPE_BODY, SIGNATURE_TYPE_QUERY, Client
from requests_oauthlib import OAuth1, OAuth1Session

from hub.api.oneroster.scopes import READING
from tests.api.oneroster.gradebooks import Book, Shelf, open_book
from tests.api.oneroster.rosters import Answer, Prepared, answer, encoded, minor
from tests.api.oneroster.signing import METHODS, Signing, give_secret, signing
from tests.services import Database

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PLACES = (SIGNATURE_TYPE_QUERY, SIGNATURE_TYPE_BODY)


@pytest.fixture
async def signs(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Signing]:
    async with signing(roster_database, rostered[1]) as found:
        yield found


async def send(
    signs: Signing, url: str, data: bytes | str = b"", method: str = "GET", **headers: str
) -> Answer:  # fmt: skip
    """One request as it stands, with a form where there is one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = io.BytesIO(data if isinstance(data, bytes) else data.encode()) if data else None
    kind = FORM if data else {}
    async with signs.hub.session.request(method, encoded(url), headers={**kind, **named}, data=sent) as response:
        return await answer(response)


@pytest.mark.parametrize("method", METHODS)
async def test_what_requests_oauthlib_signs_in_the_query_or_a_form_is_understood(signs: Signing, method: str) -> None:
    filters = {"filter": "familyName='de la Cruz' AND status='active'", "fields": "sourcedId,é"}
    form = {"data": {"a": "0 0", "ü": "+&=", "realm": "x"}, "headers": FORM}
    json: dict[str, Any] = {"json": {"lineItem": {"title": "Ü"}}}
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        *((SIGNATURE_TYPE_QUERY, verb, "", {}) for verb in ("GET", "HEAD", "DELETE", "POST")),
        *((SIGNATURE_TYPE_BODY, verb, "?a=1", {}) for verb in ("DELETE", "POST")),  # oauthlib sends none with a GET
        *((place, "POST", "?a=1&a=1&realm=r&b=%2B+%20", form) for place in PLACES),
        (SIGNATURE_TYPE_QUERY, "GET", "/a%2Fb%40c/%E2%82%AC~.-_", {"params": filters}),
        (SIGNATURE_TYPE_QUERY, "GET", "?filter=familyName%3D%27de%20la%20Cruz%27&filter=b%2Bc&empty=&bare", {}),
        (SIGNATURE_TYPE_QUERY, "PUT", "?x", json),
    ]
    for place, verb, tail, options in cases:
        sent = {"headers": FORM, **options} if place == SIGNATURE_TYPE_BODY else options
        auth = OAuth1(signs.key, client_secret=signs.secret, signature_method=method, signature_type=place)
        found = await asyncio.to_thread(requests.request, verb, signs.base + tail, auth=auth, timeout=30, **sent)
        assert "Authorization" not in found.request.headers
        assert found.status_code == 200, (place, verb, tail, found.text)


@pytest.mark.threat("T22", "T23")
async def test_a_request_counts_once_wherever_its_parameters_stand(signs: Signing) -> None:
    url, body = _in_query(signs, signs.base + "?limit=1"), _in_form(signs, signs.base, "a=b")
    for changed in (
        send(signs, url + "&limit=2"), send(signs, url, method="DELETE"), send(signs, url, "a=b"),
        send(signs, signs.base, body.replace("a=b", "a=c"), "POST"), send(signs, signs.base + "?a=b", body, "POST"),
    ):  # fmt: skip
        status, found, _ = await changed
        assert (status, "sent before" in found["imsx_description"]) == (401, False)
    for _ in range(2):
        answers = [await send(signs, url), await send(signs, signs.base, body, "POST")]
        told = [(status, minor(found) if status == 401 else "") for status, found, _ in answers]
        assert told in ([(200, "")] * 2, [(401, "unauthorisedrequest")] * 2)
    assert all("sent before" in found["imsx_description"] for _, found, _ in answers)


def _in_query(signs: Signing, url: str, **options: Any) -> str:
    signer = Client(signs.key, client_secret=signs.secret, signature_type=SIGNATURE_TYPE_QUERY, **options)
    return str(signer.sign(url)[0])


def _in_form(signs: Signing, url: str, body: str = "", method: str = "POST", **options: Any) -> str:
    signer = Client(signs.key, client_secret=signs.secret, signature_type=SIGNATURE_TYPE_BODY, **options)
    return str(signer.sign(url, method, body, FORM)[2])


def _by_hand(signs: Signing, method: str) -> str:
    """A form that signs a GET or a HEAD, for which oauthlib makes none. Its parts are in their order already."""
    parameters = (
        f"oauth_consumer_key={signs.key}&oauth_nonce={method}&oauth_signature_method=HMAC-SHA256"
        f"&oauth_timestamp={signs.now()}"
    )
    base = f"{method}&{quote(signs.base, safe='')}&{quote(parameters, safe='')}"
    made = hmac.digest(f"{signs.secret}&".encode(), base.encode(), "sha256")
    return f"{parameters}&oauth_signature={quote(base64.b64encode(made).decode(), safe='')}"


@pytest.mark.threat("T22")
async def test_parameters_in_two_places_or_malformed_ones_are_refused_in_words(signs: Signing) -> None:
    base, header = signs.base, signs.signed(signs.base)
    good = urlsplit(_in_query(signs, base)).query
    parts = good.split("&")
    bad = [
        *("&".join(part for part in parts if part is not gone) for gone in parts if "oauth_version" not in gone),
        *("&".join(part if part is not blank else part.partition("=")[0] for part in parts)
          for blank in parts if "oauth_version" not in blank),
        *(f"{good}&{part}" for part in parts), f"{good}&oauth_token=x", f"{good}&oauth_token=&oauth_token=",
        f"{good}&%6fauth_nonce=x", "oauth_=", "oauth_consumer_key", "oauth_%FF=%00",
        "&".join(["oauth_nonce"] * 101), "&".join([good] + ["a"] * 101),
        good.replace("HMAC-SHA1", "PLAINTEXT"), good.replace("HMAC-SHA1", "RSA-SHA1"),
    ]  # fmt: skip
    asked = [(f"{base}?{query}", b"", {}) for query in bad] + [(base, query.encode(), {}) for query in bad]
    asked += [
        (f"{base}?{good}", good.encode(), {}), (f"{base}?{good}", b"oauth_token=", {}),
        (f"{base}?{good}", b"", header), (base, good.encode(), header), (f"{base}?oauth_verifier=1", b"", header),
        (f"{base}?{good}", b"", {"Authorization": "OAuth"}), (f"{base}?{good}", b"", {"Authorization": "Basic eDp5"}),
        (f"{base}?{good}", b"", {"Authorization": "Bearer x"}),
    ]  # fmt: skip
    for url, data, headers in asked:
        status, body, answered = await send(signs, url, data, "POST" if data else "GET", **headers)
        assert (status, minor(body)) == (401, "unauthorisedrequest"), (url, data)
        assert 'realm="oneroster"' in answered["WWW-Authenticate"]
        assert signs.secret not in str(body)
    assert (await send(signs, f"{base}?{good}"))[0] == 200
    token = f"Bearer {signs.hub.prepared.tokens['lms']}"
    assert (await send(signs, f"{base}?{good}", Authorization=token))[0] == 200  # a token in the header counts alone
    assert (await send(signs, f"{base}?bearer&{good}"))[0] == 401  # where signatures are not taken


@pytest.mark.threat("T22", "T47")
async def test_bodies_that_are_no_such_form(signs: Signing) -> None:
    good = _in_form(signs, signs.base)
    for verb in ("GET", "HEAD"):
        assert (await send(signs, signs.base, _by_hand(signs, verb), verb))[0] == 200
    for data, headers, status in (
        (good.encode(), {"Content-Type": "application/json"}, 401),  # nothing is looked for in another body
        (good.encode(), {"Content-Type": "multipart/form-data; boundary=x"}, 401),
        (b"a" * 4_097, {}, 413), (gzip.compress(b"a" * 100_000), {"Content-Encoding": "gzip"}, 413),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400), (b"no zstd", {"Content-Encoding": "zstd"}, 400),
        (good.encode(), {"Content-Type": "application/x-www-form-urlencoded; charset=none"}, 200),
        (gzip.compress(_in_form(signs, signs.base).encode()), {"Content-Encoding": "gzip"}, 200),
    ):  # fmt: skip
        found, body, _ = await send(signs, signs.base, data, "POST", **headers)
        assert found == status, (data[:20], headers, body)


async def test_a_walk_that_is_signed_in_the_query_is_led_on_by_links_without_a_signature(signs: Signing) -> None:
    async with signs.hub.db.shared() as tx:
        await tx.execute("UPDATE clients SET scopes = $2 WHERE client_id = $1", signs.key, list(READING))
    users = f"{signs.hub.settings.public_url}/d/{signs.hub.prepared.here}/ims/oneroster/v1p1/users"

    def walk() -> tuple[list[str], int, list[int]]:
        with OAuth1Session(signs.key, signs.secret, signature_type=SIGNATURE_TYPE_QUERY) as session:
            page = session.get(users, params={"limit": "100", "filter": "status='active'"})
            seen, total = [user["sourcedId"] for user in page.json()["users"]], int(page.headers["X-Total-Count"])
            while "next" in page.links:
                assert "oauth" not in page.headers["Link"]
                page = session.get(page.links["next"]["url"])
                seen += [user["sourcedId"] for user in page.json()["users"]]
            first = session.get(users, params={"limit": "1"})
            known = {"If-None-Match": first.headers["ETag"]}
            again = [session.get(users, params={"limit": n}, headers=known).status_code for n in "12"]
            return seen, total, again

    seen, total, again = await asyncio.to_thread(walk)
    assert len(set(seen)) == len(seen) == total > 100
    assert again == [304, 200]  # each with a signature of its own


@dataclass
class _Writer:
    book: Book
    signs: Signing

    def url(self, path: str) -> str:
        return self.signs.hub.settings.public_url + self.book.address(path, "1.1")

    async def put(self, key: str, body: dict[str, Any], **options: Any) -> requests.Response:
        auth = OAuth1(self.signs.key, client_secret=self.signs.secret, force_include_body=True, **options)
        return await asyncio.to_thread(
            requests.put, self.url(f"/categories/{key}"), json={"category": body}, auth=auth, timeout=30
        )


@pytest.fixture
async def writer(book_database: Database, shelved: tuple[str, Shelf], free_port: int) -> AsyncIterator[_Writer]:
    """An app that writes with signed requests."""
    async with open_book(book_database, shelved[1], port=free_port, base_url=f"http://127.0.0.1:{free_port}") as book:
        signs = Signing(book.hub, book.hub.prepared.clients["lms"][0], "rh_o1_secret")
        await give_secret(signs, signs.secret, was_on=False)
        yield _Writer(book, signs)


async def test_a_write_is_signed_with_its_body(writer: _Writer) -> None:
    """oauth_body_hash is read of the same bytes that are parsed afterwards."""
    for key, place in (("a", "AUTH_HEADER"), ("b", SIGNATURE_TYPE_QUERY)):
        found = await writer.put(key, {"sourcedId": key, "title": "Ü"}, signature_type=place)
        assert "oauth_body_hash" in f"{found.request.headers.get('Authorization')} {found.request.url}"
        assert found.status_code == 201, found.text
        status, body, _ = await writer.book.get(f"/categories/{key}", version="1.1")
        assert (status, body["category"]["title"]) == (200, "Ü")
    large = await writer.put("c", {"sourcedId": "c", "title": "T", "unknown": "x" * 1_500_000})
    assert large.status_code == 201, large.text
    too_large = await writer.put("d", {"sourcedId": "d", "title": "x" * 4_200_000})
    assert too_large.status_code == 413
    signer = Client(writer.signs.key, client_secret=writer.signs.secret)
    json = {"Content-Type": "application/json"}
    _, headers, _ = signer.sign(writer.url("/categories/a"), "PUT", '{"category": {"title": "T"}}', json)
    changed = await asyncio.to_thread(
        requests.put, writer.url("/categories/a"), data=b'{"category": {"title": "X"}}', headers=headers, timeout=30
    )
    assert changed.status_code == 401
    assert (await writer.book.get("/categories/a", version="1.1"))[1]["category"]["title"] == "Ü"
