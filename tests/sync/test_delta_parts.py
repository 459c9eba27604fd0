"""Deltas of what nests in other objects (roles, profiles, links): they mean what the whole package with them means."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import polars as pl
import pytest

from tests.districts import District, Frames, sandbox
from tests.snapshots import snapshot
from tests.sync.test_delta import changes_only, documents, done, gone, some
from tests.sync.test_several_sources import member, only, second

#: File to the file and the column of the rows in which its rows nest.
NESTED = {
    "roles": ("users", "userSourcedId"), "userProfiles": ("users", "userSourcedId"),
    "userResources": ("users", "userSourcedId"), "classResources": ("classes", "classSourcedId"),
    "courseResources": ("courses", "courseSourcedId"), "lineItemScoreScales": ("lineItems", "lineItemSourcedId"),
    "lineItemLearningObjectiveIds": ("lineItems", "lineItemSourcedId"),
    "resultScoreScales": ("results", "resultSourcedId"),
    "resultLearningObjectiveIds": ("results", "resultSourcedId"),
}  # fmt: skip
#: Columns of those files that refer to rows of others.
TARGETS = {
    "roles": ("orgSourcedId", "orgs"), "userResources": ("resourceSourcedId", "resources"),
    "classResources": ("resourceSourcedId", "resources"), "courseResources": ("resourceSourcedId", "resources"),
    "lineItemScoreScales": ("scoreScaleSourcedId", "scoreScales"),
    "resultScoreScales": ("scoreScaleSourcedId", "scoreScales"),
}  # fmt: skip
OTHERS = {
    "roles": {"role": ["teacher", "student", "aide", "administrator"], "roleType": ["primary", "secondary"],
              "beginDate": ["2026-08-01", None], "endDate": ["2027-07-01", None]},
    "userProfiles": {"username": ["one", "two"], "vendorId": ["v1", "v2"], "description": ["x", None]},
    "users": {"givenName": ["Yara", "Zebulon"], "email": ["y@x.example", None]},
    "classes": {"title": ["Renamed"]},
    "demographics": {"cityOfBirth": ["Elsewhere", None]},
    "lineItems": {"title": ["Renamed"]},
}  # fmt: skip
Row = dict[str, str | None]


class Source:
    """What a source has, and what it has changed since its last package."""

    def __init__(self, frames: Frames, rnd: Random) -> None:
        self.rnd = rnd
        self.schemas = {name: frame.columns for name, frame in frames.items()}
        self.rows: dict[str, dict[str, Row]] = {
            name: {row["sourcedId"]: row for row in frame.rows(named=True)} for name, frame in frames.items()
        }
        self.left: dict[str, list[Row]] = {}
        self.changed: dict[str, dict[str, Row]] = {}
        self._made = 0

    def put(self, file: str, row: Row) -> None:
        assert row["sourcedId"] is not None
        self.rows[file][row["sourcedId"]] = row
        self.changed.setdefault(file, {})[row["sourcedId"]] = row | {"status": "active"}

    def drop(self, file: str, key: str) -> None:
        row = self.rows[file].pop(key)
        self.left.setdefault(file, []).append(row)
        self.changed.setdefault(file, {})[key] = row | {"status": "tobedeleted"}

    def step(self) -> None:
        """One change, mostly of something that nests."""
        file = self.rnd.choice(
            [*NESTED, "roles", "roles", "userProfiles", "users", "classes", "lineItems", "demographics"]
        )
        rows = self.rows[file]
        if not rows:
            return
        key = self.rnd.choice(sorted(rows))
        kind = self.rnd.choice(["drop", "add", "change", "change", "back"])
        if kind == "drop":
            # What refers to nothing is kept out of a whole package; a delta does not look at what it does not name.
            if file in {"classes", "lineItems"} or self._needed(key):
                return
            self.drop(file, key)
        elif kind == "back" and self.left.get(file):
            self.put(file, self.left[file].pop())
        elif kind == "add" and file in NESTED:
            self._made += 1
            owners, column = NESTED[file]
            new = dict(rows[key]) | {
                "sourcedId": f"new {self._made}",
                column: self.rnd.choice(sorted(self.rows[owners])),
            }
            if "userProfileSourcedId" in new:
                new["userProfileSourcedId"] = None
            self.put(file, self.other(file, new))
        else:
            self.put(file, self.other(file, dict(rows[key])))

    def _needed(self, user: str) -> bool:
        places = (("results", "studentSourcedId"), ("enrollments", "userSourcedId"))
        return any(row[column] == user for file, column in places for row in self.rows[file].values())

    def other(self, file: str, row: Row) -> Row:
        """The row with another value."""
        if file in TARGETS and self.rnd.random() < 0.6:
            column, target = TARGETS[file]
            return row | {column: self.rnd.choice(sorted(self.rows[target]))}
        if file in OTHERS:
            column = self.rnd.choice(sorted(OTHERS[file]))
            return row | {column: self.rnd.choice(OTHERS[file][column])}
        return row

    def whole(self) -> Frames:
        return {name: self._frame(name, list(rows.values())) for name, rows in self.rows.items()}

    async def delta(self) -> bytes:
        changed, self.changed = self.changed, {}
        return await changes_only(
            {name: self._frame(name, list(rows.values())) for name, rows in changed.items()}, "1.2"
        )

    def _frame(self, file: str, rows: list[Row]) -> pl.DataFrame:
        names = dict.fromkeys([*self.schemas[file], "status"], pl.String)
        frame = pl.DataFrame(rows, schema=names, orient="row")
        return frame if frame["status"].null_count() < frame.height else frame.drop("status")


async def says(district: District) -> Mapping[tuple[str, str], str]:
    return {key: text for key, (active, text) in (await snapshot(district)).records.items() if active}


@pytest.mark.parametrize("seed", [1, 7])
async def test_deltas_mean_what_the_whole_packages_with_them_mean(
    district: District, other_district: District, seed: int
) -> None:
    frames = dict(sandbox(100, 5, gradebook=True).frames)
    frames["results"] = frames["results"][::12]
    for name in ("resultScoreScales", "resultLearningObjectiveIds"):
        frames[name] = frames[name].join(frames["results"].select(resultSourcedId="sourcedId"), on="resultSourcedId")
    source = Source(frames, Random(seed))
    for place in (district, other_district):
        await done(place, source.whole())
    changed = 0
    for number in range(3):
        for _ in range(16):
            source.step()
        run = await done(district, await source.delta())
        changed += sum(counts["updated"] for counts in run.counts.values())
        await done(other_district, source.whole())
        there = await says(other_district)
        here = await says(district)
        assert {k: (v, there.get(k)) for k, v in here.items() if v != there.get(k)} == {}, number
        assert here.keys() == there.keys()
    assert changed > 10
    run = await done(district, source.whole())
    assert run.state == "unchanged"


async def test_a_student_changes_school_by_a_delta_of_roles_alone(synced: District) -> None:
    frames = sandbox(100, 3).frames
    role = frames["roles"].filter(role="student").row(0, named=True)
    other = next(o for o in frames["orgs"].filter(type="school")["sourcedId"] if o != role["orgSourcedId"])
    before = (await documents(synced, "users"))[role["userSourcedId"]][1]
    assert role["orgSourcedId"] != other

    moved = some(frames, "roles", role["sourcedId"], orgSourcedId=other)
    run = await done(synced, await changes_only({"roles": moved}, "1.2"))

    assert (run.state, run.counts["users"]["updated"], run.report["total"]) == ("applied", 1, 0)
    after = (await documents(synced, "users"))[role["userSourcedId"]][1]
    assert before.count('"role":"student"') == after.count('"role":"student"') == 1
    assert after != before
    back = some(frames, "roles", role["sourcedId"])
    assert (await done(synced, await changes_only({"roles": back}, "1.2"))).state == "applied"
    assert (await documents(synced, "users"))[role["userSourcedId"]][1] == before
    assert (await synced.sync({name: frame.reverse() for name, frame in frames.items()})).state == "unchanged"


async def test_the_last_role_of_a_person_does_not_go_by_itself(synced: District) -> None:
    """As in a whole package: a user without any role is kept out, and stays as before."""
    frames = sandbox(100, 3).frames
    role = frames["roles"].filter(pl.len().over("userSourcedId") == 1)["sourcedId"][0]
    before = await documents(synced, "users")

    run = await done(synced, await changes_only({"roles": gone(frames, "roles", role)}, "1.2"))

    assert (run.counts["users"]["quarantined"], run.counts["users"]["deleted"]) == (1, 0)
    assert [rule["code"] for rule in run.report["rules"]] == ["USR-001"]
    assert await documents(synced, "users") == before


async def test_a_delta_of_roles_changes_what_its_own_source_says(synced: District) -> None:
    frames = sandbox(100, 3).frames
    other = await second(synced, priority=1)
    await done(other, only(frames, "users", "roles", "userProfiles"))
    role = frames["roles"].filter(role="teacher").row(0, named=True)

    aide = some(frames, "roles", role["sourcedId"], role="aide")
    run = await done(synced, await changes_only({"roles": aide}, "1.2"))
    assert run.state == "unchanged"  # the other goes first
    run = await done(other, await changes_only({"roles": aide}, "1.2"))
    assert run.counts["users"]["updated"] == 1
    user = await member(synced, role["userSourcedId"])
    assert "aide" in {one["role"] for one in user["roles"]}
    assert user["from"]["roles"] == str(other.source_id)


async def test_roles_wait_for_a_whole_package_where_none_were_kept(synced: District) -> None:
    """As of a source whose last whole package came before the hub kept such rows."""
    frames = sandbox(100, 3).frames
    async with synced.db.district(synced.district_id) as tx:
        await tx.execute("UPDATE sources SET parts = '{}'")
        await tx.execute("DELETE FROM source_parts")
    role = frames["roles"].filter(role="teacher")["sourcedId"][0]
    delta = {"roles": some(frames, "roles", role, role="aide")}
    before = await documents(synced, "users")
    assert (await done(synced, await changes_only(delta, "1.2"))).state == "unchanged"
    key = frames["users"]["sourcedId"][0]
    await done(synced, await changes_only({"users": some(frames, "users", key, givenName="Zebulon")}, "1.2"))
    after = await documents(synced, "users")
    assert {k for k in after if after[k] != before[k]} == {key}
    assert before[key][1].count('"role":') == after[key][1].count('"role":')
