"""Gradebooks and resources from a package to the records, and what later packages change of them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from pyroaring import BitMap

from hub.scope.grants import GrantDefinition
from hub.store import runs
from hub.sync.changes import members
from hub.sync.engine import work_once
from tests.districts import District, Frames, changed, sandbox, without
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Kind, Version

GRADES = [e.name for e in CATALOGUE.entities if e.service != "rostering" and e.csv_file]


def package(version: Version = "1.2") -> Frames:
    return sandbox(students=100, seed=4, version=version, gradebook=True).frames


def some(file: str, version: Version = "1.2") -> dict[str, str | None]:
    """A row in the middle of a file."""
    return package(version)[file].row(package(version)[file].height // 2, named=True)


async def records(district: District, entity: Entity) -> dict[str, dict[str, Any]]:
    """The JSON members of an entity's active records by the source's key, references as the source's keys."""
    async with district.db.district(district.district_id) as tx:
        ids = {}
        for e in CATALOGUE.entities:
            found = await tx.fetch(
                f"SELECT t.sourced_id::text AS id, s.key FROM {e.table} t "
                "JOIN source_records s ON s.rid = t.rid AND s.entity = $1", CATALOGUE[e.name].rid_of or e.name,
            )  # fmt: skip
            ids |= {row["id"]: row["key"] for row in found}
        rows = await tx.fetch(f"SELECT sourced_id::text AS id, doc, doc_private FROM {entity.table} WHERE active")
    return {ids[row["id"]]: _keyed(members(row["doc"], row["doc_private"]), ids) for row in rows}


def _keyed(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"href", "sourcedId", "type"}:
            assert value["href"].endswith(f"/{value['sourcedId']}")
            return ids[value["sourcedId"]]
        return {name: _keyed(one, ids) for name, one in value.items()}
    return [_keyed(one, ids) for one in value] if isinstance(value, list) else value


def expected(entity: Entity, version: Version) -> dict[str, dict[str, Any]]:
    """The members that a package's cells ask for, read without any transform."""
    out: dict[str, dict[str, Any]] = {}
    fields = [f for f in entity.csv_columns(version) if f in entity.body and f.name not in BASE_NAMES]
    for row in package(version)[entity.csv_file].iter_rows(named=True):
        cells = {f.name: _value(f.kind, f.name, row[f.csv_name or ""], many=f.many) for f in fields}
        out[row["sourcedId"]] = {name: value for name, value in cells.items() if value is not None}
    return out


def _value(kind: Kind, name: str, cell: str | None, *, many: bool) -> Any:
    if cell is None:
        return None
    match kind:
        case Kind.FLOAT:
            return float(cell)
        case Kind.DATETIME:
            return cell + ("T23:59:59.000Z" if name == "dueDate" else "T00:00:00.000Z")
        case Kind.SCALE_VALUE:
            steps = (step.strip("{}").split(":") for step in cell.split(","))
            return [{"itemValueLHS": left, "itemValueRHS": right} for left, right in steps]
        case _:
            return sorted(cell.split(",")) if many else cell


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_a_district_with_gradebooks_comes_in_whole_and_again_writes_nothing(
    district: District, version: Version
) -> None:
    district.version = version
    await district.grant()
    run = await district.sync(package(version))

    assert run.state == "applied", (run.error_message, run.guard)
    assert run.report["total"] == 0
    counts = await district.counts()
    files = CATALOGUE.files(version)
    assert {table: n for table, (n, _) in counts.items()} == {
        files[file].table: frame.height for file, frame in package(version).items() if not files[file].component_of
    }
    for name in GRADES:
        if version in CATALOGUE[name].versions:
            found, wanted = await records(district, CATALOGUE[name]), expected(CATALOGUE[name], version)
            assert found.keys() == wanted.keys()
            for key, record in wanted.items():
                assert {field: found[key].get(field) for field in record} == record
    before = await district.state()
    again = await district.sync({file: frame.reverse() for file, frame in package(version).items()})
    assert again.state == "unchanged"
    assert again.counts["results"]["unchanged"] == package(version)["results"].height
    assert await district.state() == before


async def test_links_objectives_and_what_one_version_derives_are_part_of_the_records(graded: District) -> None:
    frames = package()
    results, items = await records(graded, CATALOGUE["results"]), await records(graded, CATALOGUE["lineItems"])
    classes = await records(graded, CATALOGUE["classes"])
    for link in frames["classResources"].iter_rows(named=True):
        assert link["resourceSourcedId"] in classes[link["classSourcedId"]]["resources"]
    assert sum(len(c.get("resources", [])) for c in classes.values()) == frames["classResources"].height
    scaled = dict(frames["resultScoreScales"].select("resultSourcedId", "scoreScaleSourcedId").iter_rows())
    assert {key: r["scoreScale"] for key, r in results.items() if "scoreScale" in r} == scaled
    told = [
        (key, part["source"], one["learningObjectiveId"], one.get("score"), one.get("textScore"))
        for key, result in results.items()
        for part in result.get("learningObjectiveSet", ())
        for one in part["learningObjectiveResults"]
    ]
    rows = frames["resultLearningObjectiveIds"].select(
        "resultSourcedId", "source", pl.col("learningObjectiveId").str.strip_prefix("urn:uuid:"),
        pl.col("score").cast(pl.Float64), "textScore",
    )  # fmt: skip
    assert sorted(told, key=str) == sorted(rows.iter_rows(), key=str)
    assert all(item["gradingPeriod"] == item["academicSession"] for item in items.values())


async def test_columns_hold_what_documents_say(graded: District) -> None:
    async with graded.db.district(graded.district_id) as tx:
        rows = await tx.fetch("SELECT assign_date, due_date, result_value_max, doc FROM line_items")
        scores = await tx.fetch("SELECT score, score_date, missing, score_status, doc FROM results")
        scales = await tx.fetch("SELECT score_scale_value_lhs, score_scale_value_rhs, doc FROM score_scales")
        roles = await tx.fetch("SELECT roles, doc FROM resources")
    for row in rows:
        said = members(row["doc"], "")
        for column, name in (("assign_date", "assignDate"), ("due_date", "dueDate")):
            assert row[column].strftime("%Y-%m-%dT%H:%M:%S.000Z") == said[name]
        assert row["result_value_max"] == said.get("resultValueMax")
    for row in scores:
        said = members(row["doc"], "")
        assert (row["score"], row["score_status"]) == (said.get("score"), said["scoreStatus"])
        assert row["score_date"].isoformat() == said["scoreDate"]
        assert row["missing"] == {"true": True, "false": False}.get(str(said.get("missing")))
    for row in scales:
        steps = zip(row["score_scale_value_lhs"], row["score_scale_value_rhs"], strict=True)
        expected_steps = [{"itemValueLHS": left, "itemValueRHS": right} for left, right in steps]
        assert members(row["doc"], "")["scoreScaleValue"] == expected_steps
    assert all((row["roles"] or None) == members(row["doc"], "").get("roles") for row in roles)


async def feed(district: District) -> dict[str, tuple[int, int, int]]:
    """The counts of the newest position's entries."""
    async with district.db.district(district.district_id) as tx:
        rows = await tx.fetch("SELECT * FROM feed WHERE position = (SELECT max(position) FROM feed)")
    return {r["entity"]: tuple(len(BitMap.deserialize(r[n])) for n in ("entered", "updated", "departed")) for r in rows}  # type: ignore[misc]


async def test_a_new_score_is_one_update_with_its_history(graded: District) -> None:
    result = some("results")
    run = await graded.sync(changed(package(), "results", result["sourcedId"] or "", score="1.25", late="true"))

    assert run.state == "applied"
    assert await feed(graded) == {"results": (0, 1, 0)}
    async with graded.db.district(graded.district_id) as tx:
        row = await tx.fetchrow(
            "SELECT r.score, h.doc FROM history h JOIN results r USING (rid) WHERE h.entity = 'results'"
        )
    assert row is not None
    assert row["score"] == 1.25
    before = members(row["doc"], "").get("score")
    assert before == (float(result["score"]) if result["score"] else None)


@pytest.mark.parametrize(
    ("file", "touched"),
    [
        ("classResources", "classes"), ("courseResources", "courses"), ("userResources", "users"),
        ("lineItemScoreScales", "lineItems"), ("lineItemLearningObjectiveIds", "lineItems"),
        ("resultScoreScales", "results"), ("resultLearningObjectiveIds", "results"),
    ],
)  # fmt: skip
async def test_a_link_that_goes_is_an_update_of_what_it_was_part_of(graded: District, file: str, touched: str) -> None:
    run = await graded.sync(without(package(), file, [some(file)["sourcedId"] or ""]))

    assert run.state == "applied", run.guard
    assert await feed(graded) == {touched: (0, 1, 0)}


async def test_a_link_file_that_stops_coming_is_asked_about(graded: District) -> None:
    frames = {file: frame for file, frame in package().items() if file != "classResources"}
    run = await graded.sync(frames)

    assert run.state == "held"
    assert "file_missing" in [reason["code"] for reason in run.guard]


async def test_a_result_that_would_lose_an_objective_to_a_bad_row_stays_and_any_other_goes_on(graded: District) -> None:
    one = some("resultLearningObjectiveIds")
    result, key = one["resultSourcedId"] or "", one["sourcedId"] or ""
    bad = {"sourcedId": "bad", "resultSourcedId": result, "source": "case", "learningObjectiveId": "none"}
    frames = changed(package(), "results", result, score="0.5")
    frames = changed(frames, "resultLearningObjectiveIds", key, score="0.25", textScore=None)
    more = pl.concat([frames["resultLearningObjectiveIds"], pl.DataFrame([bad])], how="diagonal")
    run = await graded.sync(frames | {"resultLearningObjectiveIds": more})

    assert run.state == "applied"
    taken = (await records(graded, CATALOGUE["results"]))[result]
    assert taken["score"] == 0.5
    assert [o["score"] for part in taken["learningObjectiveSet"] for o in part["learningObjectiveResults"]] == [0.25]
    frames = changed(frames, "results", result, score="0.75")
    run = await graded.sync(changed(frames, "resultLearningObjectiveIds", key, source="case", learningObjectiveId="no"))
    assert run.state == "unchanged"
    assert run.counts["results"]["quarantined"] == 1
    assert (await records(graded, CATALOGUE["results"]))[result] == taken


async def test_a_resource_that_goes_leaves_the_classes_that_link_to_it(graded: District) -> None:
    link = some("classResources")
    resource = link["resourceSourcedId"] or ""
    sharing = package()["classResources"].filter(resourceSourcedId=resource)["classSourcedId"].n_unique()
    run = await graded.sync(without(package(), "resources", [resource]))

    assert run.state == "applied"
    assert run.report["actions"]["drop_value"] >= sharing
    told = await feed(graded)
    assert told["resources"] == (0, 0, 1)
    assert told["classes"] == (0, sharing, 0)


async def test_an_app_without_the_gradebook_hears_nothing_of_it(graded: District) -> None:
    grant = await graded.grant(GrantDefinition())
    await graded.sync(changed(package(), "results", some("results")["sourcedId"] or "", score="1.25"))

    async with graded.db.district(graded.district_id) as tx:
        heard = await tx.fetch("SELECT DISTINCT entity FROM feed WHERE grant_id = $1", grant.grant_id)
        assert await tx.fetchval("SELECT count(*) FROM feed WHERE grant_id = $1", grant.grant_id) == len(heard)
    assert {row["entity"] for row in heard} == set(GrantDefinition().entities)


async def test_a_class_that_goes_takes_its_gradebook_along(graded: District) -> None:
    item = some("lineItems")
    gone = item["classSourcedId"] or ""
    frames = without(package(), "classes", [gone])
    run = await graded.sync(frames)
    if run.state == "held":
        async with graded.db.district(graded.district_id) as tx:
            await runs.decide(tx, run.run_id, approve=True, actor="test")
        assert await work_once(graded.db, graded.clock)
        run = await graded.run(run.run_id)

    assert run.state == "applied"
    items = package()["lineItems"].filter(classSourcedId=gone)["sourcedId"]
    told = await feed(graded)
    assert told["lineItems"] == (0, 0, items.len())
    results = package()["results"].filter(pl.col("lineItemSourcedId").is_in(items.implode())).height
    assert told["results"] == (0, 0, results)
    assert run.report["causes"][0]["cause"] == f"classes:{gone}"
