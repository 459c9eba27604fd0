"""``hub people`` against a real server and worker: found, compared, merged, split, and told whom an id means."""

from __future__ import annotations

import json

import polars as pl
import pytest

from hub.store.database import Database as Pool
from hub.sync import deciding
from hub.sync.matching import match_once
from tests.api.admin.commands import command, working
from tests.api.admin.service import AdminHub
from tests.api.admin.test_cli_merging import sent
from tests.sync.test_people import FRAMES, told

KEY, OTHER = FRAMES["demographics"]["sourcedId"][1], FRAMES["demographics"]["sourcedId"][2]


async def two_records(hub: AdminHub) -> tuple[str, str]:
    """The sourcedIds of one person's records, of two sources, the older one first."""
    sources = f"/districts/{hub.district}/sources"
    await hub.made("PATCH", f"{sources}/{hub.source}", json={"key_space": "district"})
    more = {"config": {"partial": True}, "key_space": "district", "priority": 500}
    other = str((await hub.made("POST", sources, json={"name": "HR", "kind": "oneroster_csv"} | more))["source_id"])
    await sent(hub, str(hub.source), dict(FRAMES))
    await sent(hub, other, dict(told([KEY, OTHER], "hr")))
    return await known_as(hub, KEY), await known_as(hub, f"hr-{KEY}")


async def known_as(hub: AdminHub, key: str) -> str:
    (one,) = json.loads(await said(hub, "who", key, "--key", "--json"))
    return str(one["sourced_id"])


async def said(hub: AdminHub, *words: str, code: int = 0) -> str:
    ended, text = await command(hub, "people", *words)
    assert ended == code, text
    return text


async def test_people_are_found_merged_and_split(hub: AdminHub) -> None:
    async with working(hub):
        left, right = await two_records(hub)
        assert "no pair" in await said(hub, "matches")
        assert await said(hub, "matching") == "propose\n"
        worker = await Pool.open(hub.worker_url, name="tests as a worker that compares")
        while await match_once(worker):
            pass
        await worker.close()
        assert "E-mail: equal" in await said(hub, "matches")
        assert "decided before" not in await said(hub, "show", left, right)
        others = [await known_as(hub, key) for key in (OTHER, f"hr-{OTHER}")]
        assert "no record changes" in await said(hub, "decide", *others, "different")
        assert "decided before: 1 like this: 0 same, 1 different" in await said(hub, "show", left, right)
        assert "decided before: 1 like this" in await said(hub, "matches")
        assert "nobody" in await said(hub, "exempt", left)
        assert "again" in await said(hub, "exempt", left, "--end")
        assert await said(hub, "matching", "off") == "off\n"
        assert "previewed" in await said(hub, "decide", left, right, "same", "--dry-run")
        assert "noted; no record changes" in await said(hub, "decide", right, left, "unsure")
        shown = await said(hub, "show", left, right)
        assert '| "hr"\n' in shown
        assert "= birthDate: " in shown
        assert right in await said(hub, "matches", "--state", "unsure")

        assert "applied" in await said(hub, "decide", left, right, "same")
        known = await said(hub, "who", right)
        assert known.startswith(f"{left}\n  earlier {right}\n")
        assert f": hr-{KEY}" in known
        assert "told to be different" not in known
        await overrides_say_where_they_apply(hub, left, right)
        assert "applied" in await said(hub, "split", right)
        assert (await said(hub, "who", right)).startswith(f"{right}\n  source ")
        assert left in await said(hub, "matches", "--state", "different")
        assert "No other record" in await said(hub, "split", right, code=2)
        assert "nobody" in await said(hub, "who", "nobody's", "--key")


async def overrides_say_where_they_apply(hub: AdminHub, left: str, right: str) -> None:
    """Those of a record that ended in a merge, too."""
    who = ("--owner", "Ms Ito", "--reason", "asked by phone")
    for record, name in ((left, "Ola"), (right, "Yngve")):
        code, text = await command(hub, "overrides", "set", "users", record, "givenName", name, *who)
        assert (code, ": " in text) == (0, True), text
    code, text = await command(hub, "overrides", "list")
    mine, theirs = text.split(f"  users {right}  ")
    assert "merged into" not in mine
    assert f"merged into {left}: it applies there, but rests" in theirs
    code, text = await command(hub, "overrides", "end", mine.split()[0])
    code, text = await command(hub, "overrides", "list")
    assert text.splitlines()[-1] == f"  merged into {left}: it applies there"
    assert (await hub.made("GET", f"/districts/{hub.district}/overrides", role="district"))["items"][0][
        "rests"
    ] is False


@pytest.mark.threat("T48")
async def test_many_seats_need_two_words_and_the_audit_log_names_nobody(
    hub: AdminHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MOST_ALONE", 0)
    async with working(hub):
        left, right = await two_records(hub)
        assert "Somebody else has to say the same" in await said(hub, "decide", left, right, "same")
    row = (await hub.audit_rows())[-1]
    assert (row["action"], row["object"]) == ("match.decide", f"user/{left}")
    (name,) = FRAMES["users"].filter(pl.col("sourcedId") == KEY)["familyName"]
    assert name not in str(dict(row))
