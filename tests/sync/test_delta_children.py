"""Deltas of orgs and sessions: parents name the children that the whole package with the delta would give them."""

from __future__ import annotations

import re
from random import Random

import polars as pl
import pytest

from hub.sync import named
from tests.districts import District, Frames
from tests.snapshots import snapshot
from tests.sync.test_delta import changes_only, documents, done
from tests.sync.test_several_sources import second
from transforms.catalogue import CATALOGUE

Row = dict[str, str | None]
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ROWS: dict[str, Row] = {
    "orgs": {"sourcedId": None, "name": "Org", "type": "department", "parentSourcedId": None},
    "academicSessions": {
        "sourcedId": None, "title": "Term", "type": "term", "startDate": "2026-08-01", "endDate": "2027-06-30",
        "parentSourcedId": None, "schoolYear": "2027",
    },
}  # fmt: skip
NAMES = {"orgs": "name", "academicSessions": "title"}


def frame(file: str, *rows: Row) -> pl.DataFrame:
    return pl.DataFrame([ROWS[file] | row for row in rows], schema=dict.fromkeys([*ROWS[file], "status"], pl.String))


def orgs(**parents: str | None) -> Frames:
    """A package of orgs, each under its parent."""
    return {"orgs": frame("orgs", *({"sourcedId": k, "parentSourcedId": p} for k, p in parents.items())).drop("status")}


async def of_part(district: District) -> District:
    """The district, whose source may send packages without users."""
    async with district.db.district(district.district_id) as tx:
        await tx.execute("""UPDATE sources SET config = '{"partial": true}'""")
    return district


class Trees:
    """What a source has of both trees, and what it has changed since its last package.

    ``stands``: under which parent objects are, also those whose row is spoiled and that stay as before.
    """

    def __init__(self, rnd: Random) -> None:
        self.rnd = rnd
        self.rows: dict[str, dict[str, Row]] = {file: {} for file in ROWS}
        self.stands: dict[str, dict[str, str | None]] = {file: {} for file in ROWS}
        self.changed: dict[str, list[Row]] = {}
        for file in ROWS:
            for number in range(8):
                self.put(file, str(number))
        self.changed = {}

    def put(self, file: str, key: str, **values: str | None) -> None:
        """Sends a row under any parent that makes no circle."""
        stands = self.stands[file]
        parent = self.rnd.choice([None, *(k for k in sorted(stands) if key not in self.above(file, k))])
        self.send(file, key, parentSourcedId=parent, **values)
        if "type" not in values:
            stands[key] = parent

    def send(self, file: str, key: str, **values: str | None) -> None:
        before = self.rows[file].get(key) or ROWS[file]
        self.rows[file][key] = row = before | {"sourcedId": key, "type": ROWS[file]["type"]} | values
        self.changed.setdefault(file, []).append(row | {"status": "active"})

    def above(self, file: str, key: str) -> list[str]:
        """An object and all its ancestors."""
        found, at = list[str](), self.stands[file].get(key)
        while at is not None:
            found.append(at)
            at = self.stands[file][at]
        return [key, *found]

    def step(self) -> None:
        """One change of an object that this package has not changed yet."""
        file = self.rnd.choice(sorted(ROWS))
        stands = self.stands[file]
        free = sorted({str(n) for n in range(16)} - {str(row["sourcedId"]) for row in self.changed.get(file, [])})
        key = self.rnd.choice(free)
        kind = self.rnd.choice(["move", "move", "rename", "end", "spoil"])
        if kind == "move" or key not in stands:
            self.put(file, key)
        elif kind == "spoil":
            self.put(file, key, type=None)
        elif kind == "end" and key not in stands.values():
            del stands[key]
            self.changed.setdefault(file, []).append(self.rows[file].pop(key) | {"status": "tobedeleted"})
        else:
            renamed = {NAMES[file]: f"Renamed {self.rnd.random()}"}
            self.send(file, key, parentSourcedId=stands[key], **renamed)

    def whole(self) -> Frames:
        return {file: frame(file, *rows.values()).drop("status") for file, rows in self.rows.items()}

    async def delta(self) -> bytes:
        changed, self.changed = self.changed, {}
        return await changes_only({file: frame(file, *rows) for file, rows in changed.items()}, "1.2")


async def says(district: District) -> dict[tuple[str, ...], str]:
    """What the active records say, and what each source alone says of merged ones, in keys."""
    found: dict[tuple[str, ...], str] = {
        key: text for key, (active, text) in (await snapshot(district)).records.items() if active
    }
    async with district.db.district(district.district_id) as tx:
        keys = {}
        for entity in map(CATALOGUE.__getitem__, ROWS):
            keys |= {
                str(row["id"]): row["key"]
                for row in await tx.fetch(
                    f"SELECT t.sourced_id AS id, r.key FROM {entity.table} t JOIN source_records r "
                    "ON r.rid = t.rid AND r.entity = $1::text::entity_name", entity.name,
                )
            }  # fmt: skip
        said = await tx.fetch(
            "SELECT s.name, r.entity::text AS entity, r.key, w.doc FROM statements w JOIN sources s USING (source_id) "
            "JOIN source_records r USING (source_id, entity, rid)"
        )
    return found | {
        (row["name"], row["entity"], row["key"]): _ID.sub(lambda m: keys.get(m[0], "?"), row["doc"]) for row in said
    }


async def of_parents(district: District) -> int:
    """Asserts that children are those who name a parent; how many there are."""
    count = 0
    async with district.db.district(district.district_id) as tx:
        for entity in map(CATALOGUE.__getitem__, ROWS):
            rows = await tx.fetch(f"SELECT rid, parent_rid, children_rids FROM {entity.table} WHERE active")
            named_by = {row["rid"]: {r["rid"] for r in rows if r["parent_rid"] == row["rid"]} for row in rows}
            assert {row["rid"]: set(row["children_rids"] or ()) for row in rows} == named_by
            count += sum(map(len, named_by.values()))
    return count


@pytest.mark.parametrize("kind", ["small", "large", "several"])
async def test_deltas_of_trees_mean_what_whole_packages_with_them_mean(
    district: District, other_district: District, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "large":
        monkeypatch.setattr(named, "MOST_ROWS", 0)
    rnd, updated, children = Random(f"trees {kind}"), 0, 0
    speakers = [(Trees(rnd), await of_part(district), await of_part(other_district))]
    if kind == "several":
        speakers.append((Trees(rnd), await second(district), await second(other_district)))
    for trees, here, there in speakers:
        await done(here, trees.whole())
        await done(there, trees.whole())
    for number in range(4):
        for trees, here, there in speakers:
            for _ in range(5):
                trees.step()
            sent = sum(map(len, trees.changed.values()))
            run = await done(here, await trees.delta())
            updated += sum(counts["updated"] + counts["created"] for counts in run.counts.values()) > sent
            await done(there, trees.whole())
            found, wanted = await says(district), await says(other_district)
            assert {k: (v, wanted.get(k)) for k, v in found.items() if v != wanted.get(k)} == {}, number
            assert found.keys() == wanted.keys()
        if kind != "several":
            children += await of_parents(district)
    assert updated  # a delta has changed more than it brought
    assert children or kind == "several"
    for trees, here, _ in speakers:
        assert (await done(here, trees.whole())).state == "unchanged"


async def test_a_delta_of_a_child_reaches_its_parents(district: District) -> None:
    await done(await of_part(district), orgs(root=None, one="root", two="root", three="two"))

    moved = await done(
        district, await changes_only({"orgs": frame("orgs", {"sourcedId": "three", "parentSourcedId": "one"})}, "1.2")
    )
    again = await done(
        district, await changes_only({"orgs": frame("orgs", {"sourcedId": "one", "parentSourcedId": "root"})}, "1.2")
    )

    counts = moved.counts["orgs"]
    assert (counts["created"], counts["updated"], counts["deleted"]) == (0, 3, 0)
    assert again.state == "unchanged"  # its children did not come, and stay
    assert await of_parents(district) == 3
    ended = frame("orgs", {"sourcedId": "three", "status": "tobedeleted"})
    assert (await done(district, await changes_only({"orgs": ended}, "1.2"))).counts["orgs"]["updated"] == 1
    assert await of_parents(district) == 2


async def test_of_a_circle_that_a_delta_closes_its_own_links_are_dropped(district: District) -> None:
    before = orgs(a=None, b="a", c="b")
    await done(await of_part(district), before)
    first = await documents(district, "orgs")
    closing = {"orgs": frame("orgs", {"sourcedId": "a", "parentSourcedId": "c"})}

    run = await done(district, await changes_only(closing, "1.2"))

    assert [(rule["code"], rule["count"]) for rule in run.report["rules"]] == [("ORG-002", 1)]
    assert await documents(district, "orgs") == first
    whole = await done(district, orgs(a="c", b="a", c="b"))
    assert [(rule["code"], rule["count"]) for rule in whole.report["rules"]] == [("ORG-002", 3)]
    assert await of_parents(district) == 0
    assert (await done(district, before)).counts["orgs"]["updated"] == 3
    assert await documents(district, "orgs") == first


async def test_parents_keep_children_whose_rows_are_kept_out(district: District) -> None:
    await done(await of_part(district), orgs(a=None, b="a", c="b"))
    bad = {"sourcedId": "b", "type": None, "parentSourcedId": "c"}
    rows = [{"sourcedId": "a"}, bad, {"sourcedId": "c", "parentSourcedId": "a"}]

    run = await done(district, {"orgs": frame("orgs", *rows).drop("status")})

    assert run.counts["orgs"]["quarantined"] == 1
    assert await of_parents(district) == 2
    async with district.db.district(district.district_id) as tx:
        found = await tx.fetch("SELECT cardinality(children_rids) AS n FROM orgs ORDER BY n NULLS LAST")
    assert [row["n"] for row in found] == [2, None, None]
