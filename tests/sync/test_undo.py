"""Undoing applied runs: what comes back, what stays, what the next packages do then, and what apps are told."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import orjson
import polars as pl
import pytest
from pyroaring import BitMap

from hub.store import districts, past, runs, staging
from hub.store.runs import Run
from hub.sync import ending
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, sandbox, without
from tests.sync.conftest import change, gradebooks
from transforms.catalogue import CATALOGUE

Rows = dict[tuple[str, int], str]


def base() -> Frames:
    return sandbox(students=100, seed=11).frames


async def rows(district: District) -> Rows:
    """Every record with all its columns but the time of its change, as text."""
    found: Rows = {}
    async with district.db.district(district.district_id, readonly=True) as tx:
        for entity in CATALOGUE.entities:
            for row in await tx.fetch(
                f"SELECT rid, (to_jsonb(t) - 'date_last_modified')::text AS row FROM {entity.table} t"
            ):
                found[entity.name, row["rid"]] = row["row"]
    return found


async def undo(district: District, run: Run, *, dry_run: bool = False) -> Run:
    undoing = uuid4()
    async with district.db.district(district.district_id) as tx:
        await runs.request(
            tx, undoing, source_id=None, upload_id=None, dry_run=dry_run, requested_by="test", kind="undo",
            task={"run": str(run.run_id)},
        )  # fmt: skip
        await past.approve(tx, undoing, "test")
    while await work_once(district.db, district.clock):
        pass
    return await district.run(undoing)


async def issues(district: District, run: Run) -> list[tuple[str, str, str]]:
    async with district.db.district(district.district_id) as tx:
        return [(i["code"], i["entity"], i["field"]) for i in await runs.issues(tx, run.run_id, limit=1000)]


async def record(district: District, entity: str, key: str) -> tuple[bool, dict[str, object]]:
    """A record by its source's key: whether it is active, and its columns."""
    async with district.db.district(district.district_id, readonly=True) as tx:
        row = await tx.fetchrow(
            f"SELECT t.active, to_jsonb(t) AS row FROM {CATALOGUE[entity].table} t JOIN source_records s "
            "ON s.rid = t.rid AND s.entity = $1::text::entity_name WHERE s.key = $2", entity, key,
        )  # fmt: skip
    assert row is not None
    return row["active"], row["row"]


async def closed(district: District, grant_id: UUID) -> None:
    """Nothing that the app sees refers to a class or a person that it does not see."""
    async with district.db.district(district.district_id, readonly=True) as tx:
        present = {
            r["entity"]: BitMap.deserialize(r["present"])
            for r in await tx.fetch("SELECT entity, present FROM views WHERE grant_id = $1", grant_id)
        }
        for row in await tx.fetch("SELECT rid, class_rid, user_rid FROM enrollments"):
            if row["rid"] in present["enrollments"]:
                assert row["class_rid"] in present["classes"]
                assert row["user_rid"] in present["users"]


async def test_all_is_as_before_and_undoing_the_undo_brings_all_back(second: District) -> None:
    before = await rows(second)
    run = await second.sync(change())
    after = await rows(second)
    assert len(after) > len(before)

    undone = await undo(second, run)
    assert (undone.state, undone.error_code) == ("applied", None)
    now = await rows(second)
    created = now.keys() - before.keys()
    assert {key: now[key] for key in before} == before
    assert all('"active": false' in now[key] for key in created)
    assert len(created) == 1
    assert await issues(second, undone) == []

    again = await undo(second, undone)
    assert again.state == "applied"
    assert await rows(second) == after


async def test_apps_are_told_of_the_inverse(second: District) -> None:
    run = await second.sync(change())
    undone = await undo(second, run)
    async with second.db.district(second.district_id, readonly=True) as tx:
        told = {}
        for at in (run.position, undone.position):
            found = await tx.fetch(
                "SELECT grant_id, entity, entered, updated, departed FROM feed WHERE position = $1", at
            )
            told[at] = {(r["grant_id"], r["entity"]): [set(BitMap.deserialize(s)) for s in tuple(r)[2:]] for r in found}
    there, back = told[run.position], told[undone.position]
    assert there
    assert back == {key: [left, updated, entered] for key, (entered, updated, left) in there.items()}


async def test_a_dry_run_says_the_same_and_writes_nothing(second: District) -> None:
    run = await second.sync(change())
    state = await second.state()
    shown = await undo(second, run, dry_run=True)
    assert shown.state == "previewed"
    assert await second.state() == state
    done = await undo(second, run)
    assert done.counts == shown.counts
    assert done.report["effects"] == shown.report["effects"]


async def test_what_was_undone_stays_undone_until_the_source_changes_it(second: District) -> None:
    run = await second.sync(change())
    await undo(second, run)
    state = await rows(second)
    for package in (
        change(),
        {name: frame.reverse() for name, frame in change().items()},
    ):  # other bytes, the same rows
        assert (await second.sync(package)).state == "unchanged"
        assert await rows(second) == state

    user = base()["demographics"]["sourcedId"][5]
    new = base()["demographics"]["sourcedId"][0]
    ended = base()["enrollments"]["sourcedId"][4]
    changes = changed(change(), "users", user, givenName="Yara")
    changes = changed(changes, "demographics", new, cityOfBirth="Elsewhere")
    back = base()["enrollments"].filter(pl.col("sourcedId") == ended)
    changes["enrollments"] = pl.concat([changes["enrollments"], back])
    assert (await record(second, "demographics", new))[0] is False
    assert (await record(second, "enrollments", ended))[0] is True
    assert (await second.sync(changes)).state == "applied"
    assert (await record(second, "users", user))[1]["given_name"] == "Yara"
    assert (await record(second, "demographics", new))[0] is True
    assert (await record(second, "enrollments", ended))[0] is True
    assert (await second.sync(without(changes, "enrollments", [ended]))).state == "applied"
    assert (await record(second, "enrollments", ended))[0] is False


async def test_fields_that_were_changed_since_stay_and_are_reported(second: District) -> None:
    user = base()["demographics"]["sourcedId"][5]
    _, was = await record(second, "users", user)
    run = await second.sync(change())
    later = changed(change(), "users", user, givenName="Xenia", sms="+15550001111")
    assert (await second.sync(later)).state == "applied"
    newest = await rows(second)

    undone = await undo(second, run)
    assert undone.state == "applied"
    assert ("UND-001", "users", "givenName") in await issues(second, undone)
    _, now = await record(second, "users", user)
    assert (now["given_name"], now["email"], now["sms"]) == ("Xenia", was["email"], "+15550001111")
    document = orjson.loads("{" + (str(now["doc"]) + str(now["doc_private"])).replace("\x01", "")[1:] + "}")
    assert (document["givenName"], document["email"], document["sms"]) == ("Xenia", was["email"], "+15550001111")

    assert (await undo(second, undone)).state == "applied"
    assert await rows(second) == newest


async def test_what_refers_to_an_ended_class_is_seen_by_nobody_and_comes_back_with_it(district: District) -> None:
    frames = base()
    class_ = frames["classes"]["sourcedId"][0]
    pupil = frames["enrollments"].filter(pl.col("classSourcedId") == class_)["sourcedId"]
    some = frames["enrollments"].filter(pl.col("classSourcedId") != class_)
    assert (await district.sync({**without(frames, "classes", [class_]), "enrollments": some})).state == "applied"
    grant = await district.grant()
    run = await district.sync({**frames, "enrollments": some})
    assert run.state == "applied"
    assert (await district.sync(frames)).state == "applied"

    undone = await undo(district, run)
    assert undone.state == "applied"
    assert [i for i in await issues(district, undone) if i[0] == "UND-002"] == [
        ("UND-002", "enrollments", "class")
    ] * pupil.len()
    assert (await record(district, "classes", class_))[0] is False
    await closed(district, grant.grant_id)
    again = changed(frames, "classes", class_, title="Renamed")
    assert (await district.sync(again)).state == "applied"
    async with district.db.district(district.district_id, readonly=True) as tx:
        present = await tx.fetchval(
            "SELECT present FROM views WHERE grant_id = $1 AND entity = 'enrollments'", grant.grant_id
        )
    assert len(BitMap.deserialize(present)) == frames["enrollments"].height


async def test_a_whole_district_can_be_undone_past_the_guard(district: District) -> None:
    run = await district.sync(base())
    await district.grant()
    undone = await undo(district, run)
    assert (undone.state, undone.approved) == ("applied", {"by": "test", "counts": {}, "waived": True})
    assert all(active == 0 for active, _ in (await district.counts()).values())
    assert (await undo(district, undone)).state == "applied"
    assert all(gone == 0 for _, gone in (await district.counts()).values())


async def test_what_has_ended_since_stays_as_it_ended(district: District) -> None:
    """An update is undone while its record has ended: no history would tell that the record said something else."""
    first = await district.sync(base())
    updated = await district.sync(change())
    ending = await undo(district, first)
    ended = {key: row for key, row in (await rows(district)).items() if not _active(row)}
    undone = await undo(district, updated)
    assert undone.state == "applied"  # what the run had ended is back
    still = {key: row for key, row in (await rows(district)).items() if not _active(row)}
    assert still.items() <= ended.items()
    assert (await undo(district, await undo(district, ending))).state == "applied"
    again = {key: row for key, row in (await rows(district)).items() if not _active(row)}
    assert len(again) > len(still) // 2
    assert again.items() <= ended.items()


def _active(row: str) -> bool:
    return bool(json.loads(row)["active"])


@pytest.mark.parametrize("state", ["unchanged", "previewed"])
async def test_what_was_not_applied_is_not_undone(second: District, state: str) -> None:
    first = await second.sync(change())
    run = await second.sync(change(), dry_run=state == "previewed")
    assert (first.state, run.state) == ("applied", state)
    undone = await undo(second, run)
    assert (undone.state, undone.error_code) == ("failed", "conflict")


async def test_undoing_twice_changes_nothing_more(second: District) -> None:
    run = await second.sync(change())
    await undo(second, run)
    state = await rows(second)
    assert (await undo(second, run)).state == "unchanged"
    assert await rows(second) == state


async def test_what_an_app_writes_while_an_undo_is_under_way_is_not_overwritten(
    graded: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = dict(gradebooks())
    item = frames["lineItems"]["sourcedId"][0]
    run = await graded.sync(changed(frames, "lineItems", item, title="Essay of the file", description="New"))
    assert run.state == "applied"
    async with graded.db.district(graded.district_id) as tx:
        rid = await tx.fetchval("SELECT rid FROM line_items WHERE title = 'Essay of the file'")
    apply, looked = ending._apply, []

    async def written_first(end: Any, applying: Any) -> Any:
        """The app writes between looking and applying."""
        if not looked:
            looked.append(True)
            await asyncio.create_task(_written(graded, rid))
        return await apply(end, applying)

    monkeypatch.setattr(ending, "_apply", written_first)
    undone = await undo(graded, run)
    while undone.state == "queued":  # it waits a moment before it is tried again
        async with graded.db.district(graded.district_id) as tx:
            await tx.execute("UPDATE runs SET lease_until = now() WHERE state = 'queued'")
        await work_once(graded.db, graded.clock)
        undone = await graded.run(undone.run_id)
    assert (undone.state, undone.attempt) == ("applied", 2)
    _, now = await record(graded, "lineItems", item)
    assert now["title"] == "Essay of the app"
    assert now["description"] != "New"
    assert ("UND-001", "lineItems", "title") in await issues(graded, undone)


async def _written(district: District, rid: int) -> None:
    """As when an app puts a line item."""
    entity = CATALOGUE["lineItems"]
    async with district.db.district(district.district_id) as tx:
        await districts.lock(tx)
        position = await districts.draw_position(tx)
        await staging.keep_history(tx, entity, [rid], position)
        await tx.execute(
            "UPDATE line_items SET title = 'Essay of the app', doc = replace(doc, 'of the file', 'of the app') "
            "WHERE rid = $1", rid,
        )  # fmt: skip
        nothing = BitMap().serialize()
        rows = [(entity.name, nothing, BitMap([rid]).serialize(), nothing)]
        await staging.keep_changes(tx, position, None, district.clock.now(), rows)


async def test_a_record_that_an_undo_ended_does_not_end_again_when_its_row_goes(second: District) -> None:
    run = await second.sync(change())
    await undo(second, run)
    new = base()["demographics"]["sourcedId"][0]
    assert (await record(second, "demographics", new))[0] is False
    state = await rows(second)
    gone = await second.sync(without(change(), "demographics", [new]))
    assert (gone.state, gone.counts["demographics"]["deleted"]) == ("unchanged", 0)
    assert await rows(second) == state
    assert (await second.sync(change())).state == "applied"  # it is in the file again
    assert (await record(second, "demographics", new))[0] is True
