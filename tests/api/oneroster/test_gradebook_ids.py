"""An app knows what it wrote by its own ids, everywhere; every other app by the hub's."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

import pytest

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.identifiers import is_canonical
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from tests.api.oneroster.gradebooks import Book, ref
from tests.fakes.receiver import receiver
from tests.services import MASTER_KEY

#: Ids that need care in JSON, in addresses and in filters.
ODD = ("a/b@c", "x", 'say "hi"', "100% [sure]", "ünïcode+plus", "o'clock\\now", "urn:x:1?q=2&r#f")


def references(value: Any) -> list[tuple[str, str]]:
    """(address, id) of all references in an answer."""
    if isinstance(value, dict):
        own = [(value["href"], value["sourcedId"])] if "href" in value else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


async def test_ids_of_an_app_come_back_as_they_were_sent(book: Book) -> None:
    for key in ODD:
        await book.make("categories", key)
        await book.make("lineItems", key, {"category": ref(key)})
        await book.make("results", key, {"lineItem": ref(key)})
    base = book.hub.settings.public_url + book.address("")
    for key in ODD:
        for entity in ("categories", "lineItems", "results"):
            assert (await book.one(entity, key))["sourcedId"] == key
        result = await book.one("results", key)
        assert result["lineItem"] == {
            "href": f"{base}/lineItems/{quote(key, safe='')}", "sourcedId": key, "type": "lineItem",
        }  # fmt: skip
        nested = f"/classes/{book.ids.here}/lineItems/{quote(key, safe='')}/results"
        assert await book.keys(nested) == [key]
        quoted = key.replace("'", "''")
        assert await book.keys("/results", filter=f"sourcedId='{quoted}'") == [key]
        assert await book.keys("/results", filter=f"lineItem.sourcedId='{quoted}'") == [key]
        assert await book.keys("/lineItems", filter=f"category.sourcedId='{quoted}'") == [key]
    (page,) = (await book.get("/results", limit="100"))[1].values()
    assert {r["sourcedId"] for r in page} == {*ODD, book.ids.sis["R1"], book.ids.sis["R2"]}
    for address, sourced_id in references(page):
        assert unquote(address.rpartition("/")[2]) == sourced_id
    assert [r["sourcedId"] for r in (await book.get("/results", fields="sourcedId"))[1]["results"]][2:] == list(ODD)


async def test_filters_and_orders_go_by_the_ids_that_an_app_sees(book: Book) -> None:
    for key in ("b", "a", "c"):
        await book.make("categories", key)
    shown = await book.keys("/categories")
    for operator, holds in ((">", "b".__lt__), ("!=", "b".__ne__), ("<=", "b".__ge__)):
        assert await book.keys("/categories", filter=f"sourcedId{operator}'b'") == [k for k in shown if holds(k)]
    assert await book.keys("/categories", filter="sourcedId~'A'") == [k for k in shown if "a" in k]
    assert await book.keys("/categories", sort="sourcedId", orderBy="desc") == sorted(shown, reverse=True)
    for other in ("quiz", "math"):
        assert await book.keys("/categories", app=other, filter="sourcedId='b'") == []
        assert len(await book.keys("/categories", app=other, filter="title='Quizzes'")) == 3


@pytest.mark.threat("T12")
async def test_two_apps_use_the_same_ids_without_meeting(book: Book) -> None:
    for app, title in (("lms", "one"), ("quiz", "two")):
        await book.make("lineItems", "li", {"title": title}, app=app)
        await book.make("results", "r", {"lineItem": ref("li"), "comment": title}, app=app)
    for app, title in (("lms", "one"), ("quiz", "two")):
        assert (await book.one("lineItems", "li", app=app))["title"] == title
        own = await book.one("results", "r", app=app)
        assert (own["comment"], own["lineItem"]["sourcedId"]) == (title, "li")
        (others,) = [
            r for r in (await book.get("/results", app=app))[1]["results"] if r.get("comment") not in (None, title)
        ]
        assert is_canonical(others["sourcedId"])
        assert is_canonical(others["lineItem"]["sourcedId"])
        read = await book.one("results", others["sourcedId"], app=app)
        assert read == others
        assert await book.one("lineItems", others["lineItem"]["sourcedId"], app=app)
    await book.send("DELETE", "/lineItems/li", app="quiz")
    assert (await book.one("results", "r"))["sourcedId"] == "r"
    assert (await book.get("/results/r", app="quiz"))[0] == 404


async def test_what_cannot_be_an_id_is_unknown(book: Book) -> None:
    await book.make("categories", "k")
    for odd in ("%00", "%FF", "%ED%A0%80", "a%0Ab", "x" * 300, "%20"):
        for method in ("GET", "DELETE"):
            assert (await book.send(method, f"/categories/{odd}"))[0] in {400, 404}, odd
        answer = await book.send("PUT", f"/categories/{odd}", body={"category": {"title": "x"}})
        assert answer[0] in {400, 404, 422}, odd
    assert await book.keys("/categories", filter="sourcedId='\u0001'") == []


async def test_an_app_without_ids_of_its_own_asks_for_none(book: Book) -> None:
    """What it reads is the same as what its first own object leaves of the rest."""
    before = (await book.get("/lineItems"))[1]["lineItems"]
    await book.make("categories", "k")
    assert (await book.get("/lineItems"))[1]["lineItems"] == before
    assert (await book.one("categories", "k"))["sourcedId"] == "k"


async def test_tombstones_have_the_ids_of_the_app_too(book: Book) -> None:
    await book.make("lineItems", "li")
    await book.make("results", "r", {"lineItem": ref("li")})
    await book.send("DELETE", "/lineItems/li")
    for entity, key in (("lineItems", "li"), ("results", "r")):
        assert await book.keys(f"/{entity}", filter="status='tobedeleted'") == [key]
        (canonical,) = await book.keys(f"/{entity}", app="quiz", filter="status='tobedeleted'")
        assert is_canonical(canonical)


async def test_parallel_puts_of_one_id_make_one_object(book: Book) -> None:
    answers = await asyncio.gather(*(book.put("results", "r", {"score": n}) for n in range(8)))
    assert [status for status, _, _ in answers] == [201] * 8
    assert sum("Location" in headers for _, _, headers in answers) == 1
    assert (await book.keys("/results")).count("r") == 1
    async with book.service.district(book.district_id) as tx:
        (row,) = await tx.fetch("SELECT rid FROM gradebook_objects WHERE key = 'r'")
        puts = await tx.fetch(
            "SELECT operation FROM gradebook_writes WHERE rid = $1 AND entity = 'results'", row["rid"]
        )
    assert 1 <= len(puts) <= 8


async def test_webhooks_tell_each_app_its_own_ids(book: Book) -> None:
    key, network = column_key(MASTER_KEY), (ipaddress.ip_network("127.0.0.0/8"),)
    grants = book.hub.prepared.grants
    async with receiver() as own, receiver() as other:
        for there, app in ((own, "lms"), (other, "quiz")):
            async with book.service.district(book.district_id) as tx:
                await subscriptions.create(tx, grant_id=grants[app], url=there.url, key=key, allow=network)
        await book.make("categories", "a/b")
        await book.make("lineItems", "li", {"category": ref("a/b")})
        await book.send("DELETE", "/lineItems/li")
        stop = asyncio.Event()
        async with Egress(allow=network, timeout=5) as egress:
            courier = Courier(book.hub.db, egress, SystemClock(), key, "https://hub.example", 20)
            running = asyncio.create_task(Dispatcher(courier, limits=Limits()).run(stop))
            for there in (own, other):
                await there.until(lambda got: bool(got) and got[-1].data["to"] >= 3, 20)
            stop.set()
            await running
    (change,) = [c for got in own.received for c in got.data["changes"] if c["type"].startswith("categories.")]
    assert (change["type"], change["sourcedId"]) == ("categories.created", "a/b")
    assert change["href"].endswith("/ims/oneroster/gradebook/v1p2/categories/a%2Fb")
    (change,) = [c for got in other.received for c in got.data["changes"] if c["type"].startswith("categories.")]
    assert is_canonical(change["sourcedId"])
    assert change["href"].endswith(change["sourcedId"])


async def test_what_was_written_is_told_in_order(book: Book) -> None:
    """What the pass-back to the SIS reads: every accepted write, in the order in which it is to be done."""
    await book.make("lineItems", "li", {"resultValueMax": 10})
    for key, score in (("r1", 5), ("r2", 12)):
        await book.make("results", key, {"lineItem": ref("li"), "score": score})
    await book.make("results", "r1", {"lineItem": ref("li"), "score": 5})  # nothing new
    await book.put("results", "r1", {"scoreStatus": "no word"})
    await book.send("DELETE", "/lineItems/li")
    async with book.service.district(book.district_id) as tx:
        rows = await tx.fetch(
            "SELECT w.entity, o.key, w.operation, w.notes, w.app_id, w.position FROM gradebook_writes w "
            "JOIN gradebook_objects o USING (district_id, entity, rid) ORDER BY position, place"
        )
    assert [(r["entity"], r["key"], r["operation"], r["notes"]) for r in rows] == [
        ("lineItems", "li", "put", []), ("results", "r1", "put", []),
        ("results", "r2", "put", ["above_max", "second_result"]),
        ("results", "r1", "delete", []), ("results", "r2", "delete", []), ("lineItems", "li", "delete", []),
    ]  # fmt: skip
    assert {r["app_id"] for r in rows} == {UUID(str(book.hub.prepared.apps["lms"]))}
    assert len({r["position"] for r in rows}) == 4
