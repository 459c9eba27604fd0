"""Nothing is sent to a receiver that has not repeated the word that it was sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from hub.webhooks.sign import verify
from tests.api.admin.service import AdminHub
from tests.fakes.receiver import Behaviour, endless, hang, receiver, status


def said(form: str) -> Behaviour:
    """Answers a challenge in a form in which ``{}`` stands for the word."""

    async def behave(request: web.Request) -> web.Response:
        word = json.loads(await request.read())["data"]["challenge"]
        return web.Response(text=form.replace("{}", word))

    return behave


async def subscribe(hub: AdminHub, url: str, **more: object) -> Any:
    body = {"grant_id": str(hub.grant), "url": url} | more
    return await hub.made("POST", f"/districts/{hub.district}/subscriptions", role="app", json=body)


async def attempts(hub: AdminHub) -> int:
    async with hub.pool.district(hub.district) as tx:
        return await tx.fetchval("SELECT count(*) FROM subscriptions WHERE state = 'active'")


@pytest.mark.threat("T31")
async def test_a_receiver_proves_itself_when_it_is_subscribed(hub: AdminHub) -> None:
    made = await subscribe(hub, hub.there.url, signatures=["v1", "v1a"])
    (got,) = hub.there.challenges
    assert (made["state"], made["last_error"], got.method) == ("active", None, "POST")
    event = json.loads(got.body)
    assert (event["type"], event["data"]["subscription"]) == ("subscriptions.challenge", made["subscription_id"])
    assert len(event["data"]["challenge"]) >= 40
    assert not got.id.count(".")
    at = int(got.headers["webhook-timestamp"])
    got.verify(made["secret"])
    assert verify(made["public_keys"][0]["key"], got.headers, got.body, now=at)
    await subscribe(hub, hub.there.url)
    assert json.loads(hub.there.challenges[1].body)["data"]["challenge"] != event["data"]["challenge"]


@pytest.mark.threat("T31")
async def test_without_the_word_it_stays_unproven_and_the_class_alone_says_why(hub: AdminHub) -> None:
    """Private pages and services answer 2xx too: what they say is compared, and never shown."""
    wrong = {
        "challenge": [said("no"), said("x{}"), said('{"challenge": "no"}'), said('["{}"]'), said('{"challenge": 1}'),
                      said('{"challenge": ["{}"]}'), said('{"data": {"challenge": "{}"}}'), status(204),
                      endless(1 << 20)],
        "status": [status(500), status(302, location="/"), status(404)],
    }  # fmt: skip
    async with receiver() as there:
        there.mute = True
        for error, behaviours in wrong.items():
            for behave in behaviours:
                there.behave = behave
                made = await subscribe(hub, there.url)
                assert (made["state"], made["last_error"]) == ("unproven", error)
                assert (made["attempt"], made["failing_since"]) == (0, None)
    refused = await subscribe(hub, there.url)
    assert (refused["state"], refused["last_error"], refused["last_status"]) == ("unproven", "connect", None)
    assert await attempts(hub) == 0


async def test_raw_and_json_answers_count_and_proving_can_be_tried_again(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    async with receiver(status(204)) as there:
        there.mute = True
        for form in ("{}", " {}\r\n", '{"challenge": "{}", "more": 1}'):
            there.behave = status(204)
            made = await subscribe(hub, there.url)
            one = f"{base}/{made['subscription_id']}"
            for act in ("pause", "resume"):
                answer = await hub.call("POST", f"{one}/{act}", role="app")
                assert (answer.status, answer.json["code"]) == (409, "conflict")
            again = await hub.made("POST", f"{one}/prove", role="app")
            assert (again["state"], again["last_error"], again["last_status"]) == ("unproven", "challenge", 204)
            there.behave = said(form)
            proven = await hub.made("POST", f"{one}/prove", role="app")
            assert (proven["state"], proven["last_error"]) == ("active", None)
            asked = len(there.challenges)
            assert (await hub.made("POST", f"{one}/prove", role="app"))["state"] == "active"
            assert len(there.challenges) == asked  # who is proven is not asked again
    assert ("deliver", hub.district) in hub.rung


async def test_another_url_has_to_be_proven_too(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    made = await subscribe(hub, hub.there.url)
    one = f"{base}/{made['subscription_id']}"
    same = await hub.made("PATCH", one, role="app", json={"url": hub.there.url})
    assert (same["state"], len(hub.there.challenges)) == ("active", 1)
    async with receiver(status(200)) as there:
        there.mute = True
        moved = await hub.made("PATCH", one, role="app", json={"url": there.url})
        assert (moved["url"], moved["state"], moved["last_error"]) == (there.url, "unproven", "challenge")
        back = await hub.made("PATCH", one, role="app", json={"url": hub.there.url, "signatures": ["v1a"]})
        assert (back["state"], back["last_error"]) == ("active", None)
        last = hub.there.challenges[-1]
        assert last.headers["webhook-signature"].startswith("v1a,")  # as it will be signed
        await hub.made("POST", f"{one}/pause", role="app")
        there.mute = False
        paused = await hub.made("PATCH", one, role="app", json={"url": there.url})
        assert (paused["state"], paused["url"]) == ("paused", there.url)
    refused = await hub.call("PATCH", one, role="app", json={"url": "https://10.0.0.1/"})
    assert (refused.status, (await hub.made("GET", one))["url"]) == (400, there.url)


async def test_while_a_receiver_is_asked_no_transaction_is_open(hub: AdminHub) -> None:
    async with receiver(hang) as there:
        there.mute = True
        task = asyncio.create_task(subscribe(hub, there.url))
        async with asyncio.timeout(5):
            while not there.challenges:
                await asyncio.sleep(0.01)
        async with hub.pool.district(hub.district) as tx:
            held = await tx.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' "
                "AND datname = current_database()"
            )
            assert held == 0
            assert await tx.fetchval("SELECT count(*) FROM subscriptions") == 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
