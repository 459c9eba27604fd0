"""Agreements over the admin API and at the command line: both ends' words, and what either is shown."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from hub.api.context import CONTEXT
from hub.crypto import load_key
from hub.store.database import Database as Pool
from hub.sync.tokenising import tokenise_once
from tests.api.admin.commands import command
from tests.api.admin.service import AdminHub
from tests.districts import District
from tests.sync.agreeing import OURS, PUPILS, THEIRS, joined
from tests.sync.test_several_sources import member


async def partner(hub: AdminHub) -> None:
    """Has a token of the other district at hand, as the role "partner"."""
    asked = {"name": "Theirs", "role": "district", "district_id": str(hub.foreign_district)}
    hub.tokens["partner"] = (await hub.made("POST", "/tokens", json=asked))["token"]


async def agreed(hub: AdminHub) -> str:
    """The id of an agreement of our district with the other one."""
    await partner(hub)
    body = {"partner": str(hub.foreign_district)}
    made = await hub.made("POST", f"/districts/{hub.district}/agreements", role="district", json=body)
    there = f"/districts/{hub.foreign_district}/agreements/{made['agreement_id']}"
    await hub.made("POST", f"{there}/accept", role="partner", json={})
    return str(made["agreement_id"])


async def said(hub: AdminHub, *words: str, role: str = "district", code: int = 0) -> str:
    """What a command says about the district of a role's token."""
    ended, text = await command(hub, "agreements", *words, role=role)
    assert ended == code, text
    return text


async def moved(hub: AdminHub, count: int) -> str:
    """Both districts have synced: some of theirs came to us; our sourcedId of the first of them."""
    worker = await Pool.open(hub.worker_url, name="tests as a worker that makes tokens")
    theirs = District(worker, district_id=hub.foreign_district, source_id=hub.foreign_source)
    ours = District(worker, district_id=hub.district, source_id=hub.source)
    assert (await theirs.sync(OURS)).state == "applied"
    assert (await ours.sync(joined(THEIRS, PUPILS[:count]))).state == "applied"
    keys = await asyncio.to_thread(load_key, hub.server.app[CONTEXT].settings)
    while await tokenise_once(worker, keys):
        pass
    rid = (await member(ours, f"new-{PUPILS[0]}"))["rid"]
    async with worker.district(hub.district) as tx:
        found = await tx.fetchval("SELECT sourced_id FROM users WHERE rid = $1", rid)
    await worker.close()
    return str(found)


@pytest.mark.threat("T1", "T55")
async def test_both_ends_agree_and_the_new_district_is_told_that_a_record_exists(hub: AdminHub) -> None:
    await partner(hub)
    assert await said(hub, "list") == "no agreement\n"
    proposed = await said(hub, "propose", str(hub.foreign_district), "--until", "2099-07-01", "--most-share", "40")
    which = proposed.split()[0]
    assert "proposed" in proposed
    assert "Theirs" not in proposed  # whose id it is, is told by who accepts
    here, there = (f"/districts/{one}/agreements/{which}" for one in (hub.district, hub.foreign_district))
    asked = await hub.made("GET", f"/districts/{hub.foreign_district}/agreements", role="partner")
    (seen,) = asked["items"]
    assert (seen["partner_name"], seen["proposed_by_us"], seen["most_share"]) == ("Ours", False, 40)
    assert "The other district has to accept" in await said(hub, "accept", which, code=2)
    answer = await hub.call("PUT", f"{there}/schools", role="partner", json={"schools": None})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    await hub.made("POST", f"{there}/accept", role="partner", json={"schools": None})
    assert "active" in await said(hub, "list")

    pupil = await moved(hub, 11)
    listed = json.loads(await said(hub, "transfers", "--json"))
    assert len(listed) == 11
    assert pupil in {one["sourced_id"] for one in listed}
    assert {tuple(sorted(one)) for one in listed} == {
        ("agreement_id", "asked_at", "asked_by", "found_at", "partner_id", "partner_name", "sourced_id")
    }
    text = await said(hub, "transfers", "--limit", "1")
    assert "a record exists in Theirs" in text
    assert "there are more" in text
    query: dict[str, Any] = {"limit": "6"}
    page = await hub.made("GET", f"/districts/{hub.district}/transfers", role="district", params=query)
    query["after"] = page["next"]
    rest = await hub.made("GET", f"/districts/{hub.district}/transfers", role="district", params=query)
    assert (len(rest["items"]), rest["next"]) == (5, None)
    assert await said(hub, "asked", which, pupil) == "noted\n"
    assert "asked by token:" in await said(hub, "transfers", "--asked")
    await hub.made("DELETE", f"{here}/transfers/{pupil}/asked", role="district")
    answer = await hub.call("PUT", f"{here}/transfers/{uuid4()}/asked", role="district")
    assert answer.status == 404

    # The old district hears that it was asked, in tens, and of nobody.
    assert (await hub.made("GET", there, role="partner"))["told"] == 10
    assert (await hub.made("GET", f"/districts/{hub.foreign_district}/transfers", role="partner"))["items"] == []
    assert (await hub.made("GET", here, role="district"))["told"] == 0
    await hub.made("POST", f"{there}/rotate", role="partner")
    assert await said(hub, "transfers") == "nobody\n"
    ended = await said(hub, "end", which)
    assert "ended by us" in ended
    assert (await hub.made("GET", there, role="partner"))["ended_by"] == "partner"

    rows = [(row["district_id"], row["action"]) for row in await hub.audit_rows() if "agreement" in row["action"]]
    for act in ("propose", "accept", "rotate", "end"):
        for district in (hub.district, hub.foreign_district):
            assert rows.count((district, f"agreement.{act}")) == 1, (act, district)
    assert rows.count((hub.district, "agreement.transfers")) == 6
    shown = str([row for row in await hub.audit_rows() if row["district_id"] == hub.foreign_district])
    assert pupil not in shown
    assert str(hub.tokens) not in shown


async def test_what_cannot_be_agreed_is_refused_with_its_reason(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/agreements"

    async def refused(status: int, code: str, **more: object) -> None:
        body = {"partner": str(hub.foreign_district)} | more
        answer = await hub.call("POST", path, role="district", json=body)
        assert (answer.status, answer.json["code"]) == (status, code), answer.body

    await refused(404, "not_found", partner=str(uuid4()))
    await refused(409, "conflict", partner=str(hub.district))
    await refused(404, "not_found", schools=[str(uuid4())])
    await refused(400, "invalid_request", until=(datetime.now(UTC) - timedelta(days=1)).isoformat())
    await refused(400, "invalid_request", roles=["guardian"])
    await refused(400, "invalid_request", most_share=0)
    which = await agreed(hub)
    await refused(409, "conflict")
    other = {"partner": str(hub.district)}
    answer = await hub.call("POST", f"/districts/{hub.foreign_district}/agreements", role="partner", json=other)
    assert answer.status == 409
    assert (await hub.call("POST", f"{path}/{which}/accept", role="district", json={})).status == 409
    assert (await hub.call("POST", f"{path}/{uuid4()}/accept", role="district", json={})).status == 404
    assert (await hub.call("GET", f"/districts/{hub.foreign_district}/agreements", role="district")).status == 404
    assert (await hub.made("PUT", f"{path}/{which}/schools", role="district", json={"schools": []}))["schools"] == []
    await hub.made("POST", f"{path}/{which}/end", role="district")
    for act in ("end", "rotate"):
        assert (await hub.call("POST", f"{path}/{which}/{act}", role="district")).status == 409
    answer = await hub.call("GET", f"/districts/{hub.district}/transfers", role="district", params={"after": "eA"})
    assert answer.status == 400
