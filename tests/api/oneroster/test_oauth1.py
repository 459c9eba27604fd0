"""Requests that are signed with OAuth 1.0a: the ones that independent clients make, and none that was sent before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from aiohttp import ClientSession, TCPConnector
from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1, OAuth1Session

from hub.api.oauth import consumer, signature
from hub.api.oauth.consumer import new_secret
from hub.api.oneroster.scopes import READING
from hub.store import apps, replays
from hub.store.database import Database as Pool
from tests.api.oneroster.rosters import Answer, Prepared, answer, encoded, minor
from tests.api.oneroster.signing import METHODS, Signing, at_once, give_secret, signing
from tests.services import Database


@pytest.fixture
async def signs(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Signing]:
    async with signing(roster_database, rostered[1]) as found:
        yield found


@pytest.mark.parametrize("method", METHODS)
async def test_what_requests_oauthlib_signs_is_understood(signs: Signing, method: str) -> None:
    filters = {"filter": "familyName='de la Cruz' AND status='active'", "fields": "sourcedId,é"}
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("GET", "", {"params": filters}),  # spaces as +
        ("GET", "?filter=familyName%3D%27de%20la%20Cruz%27&filter=b%2Bc&a=2&a=1&empty=&bare", {}),
        ("GET", "/a%2Fb%40c/%E2%82%AC~.-_", {}),
        ("PUT", "", {"json": {"lineItem": {"title": "Ü"}}}),  # with oauth_body_hash
        ("POST", "?a=1", {"data": {"a": "0 0", "ü": "+&="}}),  # a form counts as parameters
        ("HEAD", "", {}),
        ("DELETE", "/x", {}),
    ]
    for verb, tail, options in cases:
        auth = OAuth1(signs.key, client_secret=signs.secret, signature_method=method)
        found = await asyncio.to_thread(requests.request, verb, signs.base + tail, auth=auth, timeout=30, **options)
        assert found.status_code == 200, (verb, tail, found.text)
        if verb != "HEAD":
            assert found.json()["app"] == str(signs.hub.prepared.apps["lms"])


async def test_what_was_changed_on_the_way_is_refused(signs: Signing) -> None:
    sent = signs.base + "?filter=a%20b&limit=1"
    for tail in ("?filter=a%20c&limit=1", "?filter=a%20b", "/x?filter=a%20b&limit=1"):
        url = signs.base + tail
        assert (await signs.get(url, signs.signed(sent)))[0] == 401
    async with signs.hub.session.put(encoded(sent), headers=signs.signed(sent)) as response:
        assert response.status == 401
    assert (await signs.get(signs.base + "?limit=1&filter=a+b", signs.signed(sent)))[0] == 200  # the same parameters
    json = {"Content-Type": "application/json"}
    _, hashed, _ = Client(signs.key, client_secret=signs.secret).sign(signs.base, "PUT", '{"score": 1}', json)
    assert "oauth_body_hash" in hashed["Authorization"]
    async with signs.hub.session.put(encoded(signs.base), data=b'{"score": 9}', headers=hashed) as response:
        assert response.status == 401


@pytest.mark.threat("T23")
async def test_of_a_thousand_parallel_sends_one_is_answered(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    """Two processes' worth of servers that know nothing of each other, and no Redis anywhere."""
    assert await _first_of_many(roster_database) == 1
    async with signing(roster_database, rostered[1]) as one:
        headers = one.signed(one.base)
        async with (
            signing(roster_database, rostered[1], on=False, base_url=one.hub.settings.public_url) as other,
            ClientSession(connector=TCPConnector(limit=100)) as http,
        ):
            here, there = one.base, f"http://127.0.0.1:{other.hub.port}/d/{one.hub.prepared.here}/signed"

            async def send(url: str, header: dict[str, str]) -> Answer:
                async with http.get(url, headers=header) as response:
                    return await answer(response)

            for url in (here, there):  # each knows the client before the rush
                assert (await send(url, one.signed(one.base)))[0] == 200
            statuses = await at_once(*(send(url, headers) for url in [here, there] * 500))
            assert len(statuses) == 1000
            assert statuses.count(200) == 1
            assert set(statuses) == {200, 401}
            assert (await one.send())[0] == 200
    async with signing(roster_database, rostered[1], on=False, base_url=one.hub.settings.public_url) as restarted:
        url = f"http://127.0.0.1:{restarted.hub.port}/d/{one.hub.prepared.here}/signed"
        status, body, _ = await restarted.get(url, headers)
        assert (status, minor(body)) == (401, "unauthorisedrequest")
        assert "sent before" in body["imsx_description"]


async def _first_of_many(database: Database) -> int:
    """How many of parallel transactions are the first with a nonce."""
    pool = await Pool.open(database.service, name="tests of nonces", largest=8)

    async def first() -> bool:
        async with pool.statement(wait_seconds=60) as tx:
            return await replays.first_nonce(tx, "client", datetime(2026, 9, 1, tzinfo=UTC), "nonce")

    firsts = await asyncio.gather(*(first() for _ in range(200)))
    await pool.close()
    return sum(firsts)


@pytest.mark.threat("T23")
async def test_the_window_has_two_sides(signs: Signing) -> None:
    for seconds, status in ((-540, 200), (240, 200), (-660, 401), (360, 401), (-(10**9), 401), (10**9, 401)):
        found, body, headers = await signs.send(timestamp=str(signs.now() + seconds), nonce=f"n{seconds}")
        assert found == status, seconds
        if status == 401:
            assert headers["WWW-Authenticate"] == 'OAuth realm="oneroster"'
            assert "clock" in body["imsx_description"]


async def test_a_nonce_counts_with_its_timestamp_and_client(signs: Signing) -> None:
    now = signs.now()
    sendings = [signs.send(nonce="same", timestamp=str(now + n)) for n in (0, 1, 0)]
    assert sorted(await at_once(*sendings)) == [200, 200, 401]


@pytest.mark.threat("T22")
async def test_what_is_no_such_signature_is_refused_in_words(signs: Signing) -> None:
    good = signs.signed(signs.base)["Authorization"]
    parameters = dict(part.split("=", 1) for part in good.removeprefix("OAuth ").split(", "))
    changes: list[dict[str, str | None]] = [
        *({name: None} for name in parameters if name != "oauth_version"),
        *({name: '""'} for name in parameters if name != "oauth_version"),
        {"oauth_version": '"2.0"'}, {"oauth_token": '"abc"'}, {"oauth_timestamp": '"now"'}, {"oauth_timestamp": '"-1"'},
        {"oauth_timestamp": '"99999999999999999999"'}, {"oauth_signature_method": '"PLAINTEXT"'},
        {"oauth_signature_method": '"RSA-SHA1"'}, {"oauth_signature_method": '"HMAC-MD5"'},
        {"oauth_nonce": f'"{"n" * 300}"'}, {"oauth_consumer_key": '"%00"'}, {"oauth_consumer_key": '"%FF"'},
        {"oauth_signature": '"%FF%00"'}, {"oauth_signature": '"é"'}, {"extra": '"1'}, {"=": "="},
    ]  # fmt: skip
    headers = ["OAuth", "OAuth x", f"{good}, {good.removeprefix('OAuth ')}", "OAuth " + "a=1," * 40]
    for change in changes:
        kept = {name: value for name, value in (parameters | change).items() if value is not None}
        headers.append("OAuth " + ", ".join(f"{name}={value}" for name, value in kept.items()))
    for header in headers:
        status, body, answered = await signs.get(signs.base, {"Authorization": header})
        assert (status, minor(body)) == (401, "unauthorisedrequest"), header
        assert answered["WWW-Authenticate"].endswith('OAuth realm="oneroster"')
        assert signs.secret not in str(body)
    plain = signs.signed(signs.base, signature_method="PLAINTEXT")
    assert (await signs.get(signs.base, plain))[0] == 401
    assert (await signs.get(signs.base, {"Authorization": good}))[0] == 200


async def test_signatures_open_only_what_takes_them_and_tokens_go_on(signs: Signing) -> None:
    url = signs.base + "?bearer"
    status, _, headers = await signs.get(url, signs.signed(url))
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="oneroster"')
    roster = f"{signs.hub.settings.public_url}/d/{signs.hub.prepared.here}/ims/oneroster/rostering/v1p2/users"
    assert (await signs.get(roster, signs.signed(roster)))[0] == 401
    token = {"Authorization": f"Bearer {signs.hub.prepared.tokens['lms']}"}
    assert (await signs.get(signs.base, token))[0] == 200
    status, _, headers = await signs.get(signs.base, {})
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="oneroster", OAuth realm="oneroster"')


async def test_the_district_and_the_scopes_count_as_with_a_token(signs: Signing) -> None:
    there = signs.base.replace(str(signs.hub.prepared.here), str(signs.hub.prepared.there))
    assert (await signs.get(there, signs.signed(there)))[0] == 404
    async with signs.hub.db.shared() as tx:
        await tx.execute("UPDATE clients SET scopes = '{other}' WHERE client_id = $1", signs.key)
    await asyncio.sleep(1.1)  # what was looked up is kept for a second
    assert (await signs.send())[0] == 403


@pytest.mark.threat("T18", "T22")
async def test_it_is_off_until_switched_on_and_ends_at_once(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with signing(roster_database, rostered[1], on=False) as signs:
        assert (await signs.send())[0] == 401
        await give_secret(signs, signs.secret, was_on=False)
        assert (await signs.send())[0] == 200
        other = new_secret()
        await give_secret(signs, other, was_on=True)
        assert (await signs.send())[0] == 401
        assert (await signs.send(secret=other))[0] == 200
        await give_secret(signs, None, was_on=True)
        assert (await signs.send(secret=other))[0] == 401
        await give_secret(signs, other, was_on=False)
        assert (await signs.send(secret=other))[0] == 200
        async with signs.hub.db.shared() as tx:
            await apps.revoke_client(tx, signs.key, signs.hub.first.clock.now())
        assert (await signs.send(secret=other))[0] == 401


@pytest.mark.threat("T18", "T22")
async def test_a_rotated_secret_signs_on_beside_the_new_one_until_its_time(signs: Signing) -> None:
    second, third, later = new_secret(), new_secret(), signs.hub.first.clock.now() + timedelta(hours=1)
    assert (await signs.send())[0] == 200
    await give_secret(signs, second, was_on=True, old_until=later)
    assert [(await signs.send(secret=one))[0] for one in (signs.secret, second, signs.secret)] == [200] * 3
    headers = signs.signed(signs.base)
    assert await at_once(*(signs.get(signs.base, headers) for _ in range(2))) in ([200, 401], [401, 200])
    await give_secret(signs, third, was_on=True, old_until=later)
    assert [(await signs.send(secret=one))[0] for one in (signs.secret, second, third)] == [401, 200, 200]
    async with signs.hub.db.shared() as tx:
        await tx.execute(
            "UPDATE clients SET oauth1_old_until = $2 WHERE client_id = $1", signs.key, later.replace(year=2000)
        )
    assert [(await signs.send(secret=one))[0] for one in (second, third)] == [401, 200]  # the very next request
    await give_secret(signs, second, was_on=True, old_until=later)
    await give_secret(signs, None, was_on=True)
    assert [(await signs.send(secret=one))[0] for one in (second, third)] == [401, 401]


@pytest.mark.threat("T26")
async def test_a_secret_that_was_copied_to_another_client_does_not_open(signs: Signing) -> None:
    other = signs.hub.prepared.clients["math"][0]
    async with signs.hub.db.shared() as tx:
        await tx.execute(
            "UPDATE clients SET oauth1_secret = (SELECT oauth1_secret FROM clients WHERE client_id = $1) "
            "WHERE client_id = $2", signs.key, other,
        )  # fmt: skip
    assert (await signs.send(key=other))[0] == 500


@pytest.mark.threat("T25")
async def test_unknown_and_wrong_are_the_same_work(signs: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[str] = []
    for owner, name in ((signature, "matches"), (apps, "find_client"), (consumer, "unseal")):
        monkeypatch.setattr(owner, name, _noted(work, name, getattr(owner, name)))
    done = []
    for options in ({"key": "rh_cl_nobody"}, {"key": signs.hub.prepared.clients["math"][0]}, {"secret": new_secret()}):
        work.clear()
        assert (await signs.send(**options))[0] == 401
        done.append(list(work))
    assert done == [["find_client", "unseal", "matches"]] * 3


@pytest.mark.threat("T23")
async def test_what_is_sent_again_asks_the_database_for_nothing(
    signs: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    headers = signs.signed(signs.base)
    assert (await signs.get(signs.base, headers))[0] == 200
    await asyncio.sleep(1.1)  # what was looked up is kept for a second
    work: list[str] = []
    for owner, name in ((apps, "find_client"), (replays, "first_nonce")):
        monkeypatch.setattr(owner, name, _noted(work, name, getattr(owner, name)))
    assert await at_once(*(signs.get(signs.base, headers) for _ in range(20))) == [401] * 20
    assert work == []
    assert (await signs.send())[0] == 200
    assert work == ["find_client", "first_nonce"]


def _noted(work: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def noting(*values: Any, **named: Any) -> Any:
        work.append(name)
        return function(*values, **named)

    return noting


@pytest.mark.threat("T25")
async def test_unknown_and_wrong_are_one_answer_and_guessing_is_held_up(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with signing(
        roster_database, rostered[1], wrong_credentials_burst=2, wrong_credentials_per_second=0.001
    ) as signs:
        assert (await signs.send())[0] == 200
        off = signs.hub.prepared.clients["math"][0]
        wrong: list[dict[str, str]] = [{"key": "rh_cl_" + "0" * 24}, {"key": off}] * 5 + [{"secret": new_secret()}] * 5
        answers = [await signs.send(**options) for options in wrong]
        bodies = {str(body) for status, body, _ in answers if status == 401}
        assert len(bodies) == 1
        tokens = [await signs.get(signs.base, {"Authorization": f"Bearer {apps.new_token()}"}) for _ in range(10)]
        assert {status for status, _, _ in tokens} == {429}
        assert int(tokens[0][2]["Retry-After"]) >= 1
        assert (await signs.send())[0] == 200
        known = {"Authorization": f"Bearer {signs.hub.prepared.tokens['lms']}"}
        assert (await signs.get(signs.base, known))[0] == 429  # this process has not seen it yet


@pytest.mark.parametrize("method", METHODS)
async def test_a_client_that_signs_walks_through_one_roster_1_1(signs: Signing, method: str) -> None:
    """The whole face: pages by the links that it is given, nested paths, filters with spaces, all districts at once."""
    async with signs.hub.db.shared() as tx:
        await tx.execute("UPDATE clients SET scopes = $2 WHERE client_id = $1", signs.key, list(READING))
    root = signs.hub.settings.public_url
    base = f"{root}/d/{signs.hub.prepared.here}/ims/oneroster/v1p1"

    def walk() -> dict[str, Any]:
        with OAuth1Session(signs.key, signs.secret, signature_method=method) as session:
            page = session.get(f"{base}/users", params={"limit": "100", "sort": "familyName"})
            seen, total = list(page.json()["users"]), page.headers["X-Total-Count"]
            while "next" in page.links:
                page = session.get(page.links["next"]["url"])
                seen += page.json()["users"]
            school = session.get(f"{base}/schools").json()["orgs"][0]
            users = session.get(f"{base}/schools/{school['sourcedId']}/students?filter=status%3D%27active%27%20AND%20"
                                f"familyName!%3D%27de%20la%20X%27").json()["users"]  # fmt: skip
            everywhere = session.get(f"{root}/ims/oneroster/v1p1/users", params={"filter": "role='student'"})
            newer = session.get(f"{root}/d/{signs.hub.prepared.here}/ims/oneroster/rostering/v1p2/users")
        return {"seen": len(seen), "total": int(total), "ids": len({user["sourcedId"] for user in seen}),
                "students": bool(users), "everywhere": everywhere.status_code, "newer": newer.status_code}  # fmt: skip

    found = await asyncio.to_thread(walk)
    assert found["seen"] == found["total"] == found["ids"] > 100
    assert (found["students"], found["everywhere"], found["newer"]) == (True, 200, 401)
