"""Rules in runs: what they find against the past, what holds a run, what waits, and what a district has set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from hub.store import rules
from hub.store.runs import Run
from tests.districts import District, Frames, changed, sandbox
from tests.sync.guarding import approve, by_key, guarded, setting

FRAMES = sandbox(students=400, seed=8).frames
PUPILS = FRAMES["roles"].filter(pl.col("role") == "student")["userSourcedId"].to_list()
_MOMENT = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday in a term
_OWN = ("username", "identifier", "email", "userMasterIdentifier", "userIds")


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
async def test_a_person_whose_sourcedid_names_somebody_else_waits_with_all_that_is_theirs(district: District) -> None:
    guarded(district).moment = _MOMENT
    await district.sync(FRAMES)
    before, key = await by_key(district), PUPILS[0]
    mine = FRAMES["enrollments"].filter(pl.col("userSourcedId") == key)
    other = somebody_else(key)
    gone = other["enrollments"].filter(pl.col("sourcedId") != mine["sourcedId"][0])
    renamed = changed(other | {"enrollments": gone}, "users", PUPILS[1], givenName="Wilhelmina")

    run = await district.sync(renamed)

    after = await by_key(district)
    assert (run.state, [(r["code"], r["number"], r["holds"]) for r in run.guard]) == (
        "applied", [("rebound_withheld", 1, False)]
    )  # fmt: skip
    assert after["users", key] == before["users", key]
    assert after["demographics", key] == before["demographics", key]
    assert '"Wilhelmina"' in after["users", PUPILS[1]][1]
    assert after["enrollments", mine["sourcedId"][0]][0]  # the enrollment that is gone was that of who waits
    assert found(run)["ID-005"] == 1
    again = await district.sync(renamed)
    assert (again.counts["users"]["withheld"], found(again)["ID-005"]) == (1, 1)
    mended = await district.sync(FRAMES)
    assert "ID-005" not in found(mended)


@pytest.mark.threat("F11")
async def test_a_rule_that_is_off_or_a_birth_date_that_stays_lets_the_person_through(district: District) -> None:
    guarded(district).moment = _MOMENT
    await district.sync(FRAMES)
    same = await district.sync(somebody_else(PUPILS[0], birth=None))
    assert "ID-005" not in found(same)
    assert '"Xanthos"' in (await by_key(district))["users", PUPILS[0]][1]
    await heed(district, {"ID-005": {"off": True}})

    await district.sync(somebody_else(PUPILS[1]))

    assert '"Xanthos"' in (await by_key(district))["users", PUPILS[1]][1]


async def test_what_changed_since_the_last_sync_is_compared_with_it(district: District) -> None:
    guarded(district).moment = _MOMENT
    await district.sync(FRAMES)
    one, two, three = PUPILS[:3]
    (name,) = FRAMES["users"].filter(pl.col("sourcedId") == one).select("givenName", "familyName").rows()
    frames = changed(FRAMES, "users", one, givenName=name[1], familyName=name[0])
    frames = changed(frames, "demographics", two, birthDate="1999-09-09")
    grade = FRAMES["users"].filter(pl.col("sourcedId") == three)["grades"][0]
    frames = changed(frames, "users", three, grades="12" if grade != "12" else "01")

    run = await district.sync(frames)

    assert {code: n for code, n in found(run).items() if code in {"NAME-004", "DOB-006", "GRD-003"}} == {
        "NAME-004": 1, "DOB-006": 1, "GRD-003": 1,
    }  # fmt: skip
    keys = await issues_of(district, run)
    assert {(code, key) for code, key in keys if code in {"NAME-004", "DOB-006", "GRD-003"}} == {
        ("NAME-004", one), ("DOB-006", two), ("GRD-003", three),
    }  # fmt: skip
    again = await district.sync(changed(frames, "users", PUPILS[5], middleName="Quill"))
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


async def test_what_the_guard_says_stands_among_the_findings(district: District) -> None:
    guarded(district).moment = _MOMENT
    await district.sync(FRAMES)
    moved = FRAMES["users"].with_columns(email=pl.col("email").str.replace("@.*", "@new.example"))
    fewer = FRAMES["enrollments"].gather_every(2)

    run = await district.sync(dict(FRAMES) | {"users": moved, "enrollments": fewer})

    assert run.state == "held"
    assert {"SNAP-001", "SNAP-002"} <= set(found(run))
    school = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"][0]
    numbered = FRAMES["orgs"].with_columns(identifier="sourcedId")
    await district.sync(dict(FRAMES) | {"orgs": numbered})
    again = {file: rows.with_columns(pl.col(pl.String).replace(school, "another")) for file, rows in FRAMES.items()}
    again["orgs"] = numbered.with_columns(sourcedId=pl.col("sourcedId").replace(school, "another"))
    other = await district.sync(again)
    assert {"ORG-003", "ORG-004"} <= set(found(other))
