"""Rules in runs: what they find against the past, what holds a run, what waits, and what a district has set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl
import pytest

from hub.scope.sets import unpack
from hub.store import grants, people, rules
from hub.store.runs import Run
from tests.beginnings import Beginning
from tests.districts import District, Frames, changed, sandbox
from tests.sync.guarding import approve, by_key, guarded, setting
from transforms.catalogue import CATALOGUE

FRAMES = sandbox(students=400, seed=8).frames
PUPILS = FRAMES["roles"].filter(pl.col("role") == "student")["userSourcedId"].to_list()
_MOMENT = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday in a term
_OWN = ("username", "identifier", "email", "userMasterIdentifier", "userIds")


async def whole(district: District) -> None:
    guarded(district).moment = _MOMENT
    assert (await district.sync(FRAMES)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return whole


def found(run: Run) -> dict[str, int]:
    """How often each rule found something."""
    counts: dict[str, int] = {}
    for rule in run.report["rules"]:
        counts[rule["code"]] = counts.get(rule["code"], 0) + rule["count"]
    return counts


async def heed(district: District, settings: dict[str, Any]) -> None:
    """Sets the district's rules."""
    async with district.db.district(district.district_id) as tx:
        await rules.set_of_district(tx, settings)


def somebody_else(key: str, *, birth: str | None = "2001-02-03") -> Frames:
    """The roster in which a sourcedId names another person."""
    values = {name: f"other{place}" for place, name in enumerate(_OWN) if name not in {"email", "userIds"}}
    values |= {"givenName": "Zebulon", "familyName": "Xanthos", "email": "z.x@school.org"}
    frames = changed(FRAMES, "users", key, userIds=None, **values)
    return frames if birth is None else changed(frames, "demographics", key, birthDate=birth)


@pytest.mark.threat("F11")
async def test_a_sourcedid_that_names_somebody_else_is_a_new_person_who_inherits_nothing(district: District) -> None:
    guarded(district).moment = _MOMENT
    grant = await district.grant()
    await district.sync(FRAMES)
    key = PUPILS[0]
    mine = FRAMES["enrollments"].filter(pl.col("userSourcedId") == key)["sourcedId"].to_list()
    (former,) = await records(district, "users", key)
    before = [
        row
        for name in ("demographics", "enrollments")
        for k in (key, *mine)
        for row in await records(district, name, k)
    ]
    other = somebody_else(key)
    gone = other["enrollments"].filter(pl.col("sourcedId") != mine[0])
    renamed = changed(other | {"enrollments": gone}, "users", PUPILS[1], givenName="Wilhelmina")

    run = await district.sync(renamed)

    assert (run.state, [(r["code"], r["number"], r["holds"]) for r in run.guard]) == (
        "applied", [("rebound_renewed", 1, False)]
    )  # fmt: skip
    assert found(run)["ID-005"] == 1
    assert (run.counts["users"]["created"], run.counts["users"]["deleted"]) == (1, 1)
    old, new = await records(district, "users", key)
    assert (old.sourced_id, old.active, old.doc) == (former.sourced_id, False, former.doc)
    assert (new.active, '"Xanthos"' in new.doc) == (True, True)
    assert ['"Wilhelmina"' in row.doc for row in await records(district, "users", PUPILS[1])] == [True]
    for record in before:
        assert not await active(district, record)
    for name, keys in (("demographics", [key]), ("enrollments", mine[1:])):
        for each in keys:
            assert [row.active for row in await records(district, name, each)] == [False, True]
    assert await seats_of(district, new.rid) == len(mine) - 1
    async with district.db.district(district.district_id) as tx:
        present = unpack((await grants.views(tx, grant.grant_id))["users"].present)
        assert (old.rid in present, new.rid in present) == (False, True)
    again = await district.sync(renamed)
    assert (again.state, (await records(district, "users", key))[1]) == ("unchanged", new)

    # Whoever had the id by mistake goes, and who had it before is there again, under the hub's id of before.
    mended = await district.sync(FRAMES)
    assert (mended.state, found(mended)["ID-005"]) == ("applied", 1)
    old, new = await records(district, "users", key)
    assert (old.sourced_id, old.active, old.doc, new.active) == (former.sourced_id, True, former.doc, False)
    assert await seats_of(district, old.rid) == len(mine)
    assert (await district.sync(FRAMES)).state == "unchanged"


class Record(NamedTuple):
    rid: int
    sourced_id: UUID
    active: bool
    doc: str
    table: str


async def records(district: District, entity: str, key: str) -> list[Record]:
    """The records that the source calls, or called, by a key, the oldest first."""
    table = CATALOGUE[entity].table
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch(
            "SELECT t.rid, t.sourced_id, t.active, t.doc FROM source_records s "
            f"JOIN {table} t USING (district_id, rid) WHERE s.entity = $1::text::entity_name AND s.key = $2 "
            "ORDER BY t.rid",
            entity, key,
        )  # fmt: skip
    return [Record(*row, table) for row in rows]


async def active(district: District, record: Record) -> bool:
    async with district.db.district(district.district_id) as tx:
        return bool(await tx.fetchval(f"SELECT active FROM {record.table} WHERE rid = $1", record.rid))


async def seats_of(district: District, rid: int) -> int:
    async with district.db.district(district.district_id) as tx:
        return await people.seats(tx, [rid])


@pytest.mark.threat("F11")
async def test_a_rule_that_is_off_or_a_birth_date_that_stays_lets_the_person_through(synced: District) -> None:
    guarded(synced).moment = _MOMENT
    same = await synced.sync(somebody_else(PUPILS[0], birth=None))
    assert "ID-005" not in found(same)
    assert '"Xanthos"' in (await by_key(synced))["users", PUPILS[0]][1]
    await heed(synced, {"ID-005": {"off": True}})

    await synced.sync(somebody_else(PUPILS[1]))

    assert '"Xanthos"' in (await by_key(synced))["users", PUPILS[1]][1]


async def test_what_changed_since_the_last_sync_is_compared_with_it(synced: District) -> None:
    guarded(synced).moment = _MOMENT
    one, two, three = PUPILS[:3]
    (name,) = FRAMES["users"].filter(pl.col("sourcedId") == one).select("givenName", "familyName").rows()
    frames = changed(FRAMES, "users", one, givenName=name[1], familyName=name[0])
    frames = changed(frames, "demographics", two, birthDate="1999-09-09")
    grade = FRAMES["users"].filter(pl.col("sourcedId") == three)["grades"][0]
    frames = changed(frames, "users", three, grades="12" if grade != "12" else "01")

    run = await synced.sync(frames)

    assert {code: n for code, n in found(run).items() if code in {"NAME-004", "DOB-006", "GRD-003"}} == {
        "NAME-004": 1, "DOB-006": 1, "GRD-003": 1,
    }  # fmt: skip
    keys = await issues_of(synced, run)
    assert {(code, key) for code, key in keys if code in {"NAME-004", "DOB-006", "GRD-003"}} == {
        ("NAME-004", one), ("DOB-006", two), ("GRD-003", three),
    }  # fmt: skip
    again = await synced.sync(changed(frames, "users", PUPILS[5], middleName="Quill"))
    assert {"NAME-004", "DOB-006", "GRD-003"}.isdisjoint(found(again))  # the findings have closed by themselves


async def issues_of(district: District, run: Run) -> list[tuple[str, str]]:
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch("SELECT code, key FROM run_issues WHERE run_id = $1", run.run_id)
    return [(row["code"], row["key"]) for row in rows]


@pytest.mark.threat("F11")
async def test_findings_hold_a_run_where_there_are_more_than_last_time_or_than_the_district_lets_pass(
    district: District,
) -> None:
    clock = guarded(district)
    clock.moment = _MOMENT
    await setting(district, {"limits": {"default": {"updated": None, "same_field": None}}})
    await district.sync(FRAMES)
    past = FRAMES["academicSessions"].with_columns(
        pl.col(name).str.replace("2027", "2025").str.replace("2026", "2024") for name in ("startDate", "endDate")
    )
    stale = dict(FRAMES) | {"academicSessions": past.with_columns(schoolYear=pl.lit("2025"))}

    run = await district.sync(stale)

    assert (run.state, [(r["code"], r["subject"], r["number"]) for r in run.guard if r["holds"]]) == (
        "held", [("rule_holds", "TRM-003", 1)]
    )  # fmt: skip
    assert (await approve(district, run.run_id)).state == "applied"
    twin = changed(stale, "users", PUPILS[0], username="somebody")
    twin = changed(twin, "users", PUPILS[1], username="Somebody")
    assert (await district.sync(twin)).state == "applied"  # TRM-003 was approved: it is not asked about again
    await heed(district, {"USR-006": {"hold": {"share": 0.0, "above": 1}}})
    held = await district.sync(twin)
    assert (held.state, [(r["subject"], r["number"]) for r in held.guard]) == ("held", [("USR-006", 2)])
    await heed(district, {"USR-006": {"off": True}, "TRM-003": {"hold": None}})
    free = await district.sync(twin)
    assert free.state in {"applied", "unchanged"}
    assert "USR-006" not in found(free)


async def test_what_the_guard_says_stands_among_the_findings(synced: District) -> None:
    guarded(synced).moment = _MOMENT
    moved = FRAMES["users"].with_columns(email=pl.col("email").str.replace("@.*", "@new.example"))
    fewer = FRAMES["enrollments"].gather_every(2)

    run = await synced.sync(dict(FRAMES) | {"users": moved, "enrollments": fewer})

    assert run.state == "held"
    assert {"SNAP-001", "SNAP-002"} <= set(found(run))
    school = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"][0]
    numbered = FRAMES["orgs"].with_columns(identifier="sourcedId")
    await synced.sync(dict(FRAMES) | {"orgs": numbered})
    again = {file: rows.with_columns(pl.col(pl.String).replace(school, "another")) for file, rows in FRAMES.items()}
    again["orgs"] = numbered.with_columns(sourcedId=pl.col("sourcedId").replace(school, "another"))
    other = await synced.sync(again)
    assert {"ORG-003", "ORG-004"} <= set(found(other))
