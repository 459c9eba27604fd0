"""Transforms over HTTP: versions, refusals with places, previews, and who sees values."""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import FormData

from tests.api.admin.conftest import UPLOAD_LIMIT
from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox

FRAMES = sandbox(students=100, seed=3).frames
UPPER = {"files": {"users": {"set": {"givenName": "UPPER(givenName)"}, "where": "givenName IS NOT NULL"}}}


@pytest.fixture(scope="module")
def package() -> bytes:
    return packed(FRAMES, "1.2")


def path(hub: AdminHub, rest: str = "") -> str:
    return f"/districts/{hub.district}/sources/{hub.source}/transform{rest}"


async def test_every_version_is_kept_and_can_act_again(hub: AdminHub) -> None:
    nothing = await hub.made("GET", path(hub))
    assert (nothing["version"], nothing["definition"]) == (0, {})

    first = await hub.made("PUT", path(hub), role="district", json={"definition": UPPER, "note": "capitals"})
    assert (first["version"], first["active"], first["definition"]) == (1, True, UPPER)
    second = await hub.made("PUT", path(hub), role="district", json={"definition": {}})
    assert (second["version"], second["definition"]) == (2, {})

    listed = (await hub.made("GET", path(hub, "/versions")))["items"]
    assert [(v["version"], v["active"], v["note"]) for v in listed] == [(2, True, ""), (1, False, "capitals")]
    assert all(v["created_by"] for v in listed)
    assert (await hub.made("GET", path(hub) + "?version=1"))["definition"] == UPPER

    back = await hub.made("POST", path(hub, "/revert"), json={"version": 1})
    assert (back["version"], back["active"]) == (1, True)
    assert (await hub.made("GET", path(hub)))["version"] == 1
    assert (await hub.call("POST", path(hub, "/revert"), json={"version": 9})).status == 404
    acts = [(row["action"], row["object"]) for row in await hub.audit_rows() if row["action"].startswith("transform")]
    assert [action for action, _ in acts] == ["transform.put", "transform.put", "transform.revert"]
    assert {place for _, place in acts} == {f"source/{hub.source}"}


@pytest.mark.parametrize(
    ("definition", "field", "words"),
    [
        (
            {"files": {"users": {"set": {"email": "LOWER(emial)"}}}},
            "definition.files.users.set.email",
            "line 1, column 7",
        ),
        ({"files": {"users": {"wehre": "TRUE"}}}, "definition.files.users.wehre", "not permitted"),
        ({"files": {"pupils": {}}}, "definition.files.pupils", "no data file"),
        ({"mapping": {"base": "sds-1"}}, "definition.mapping", "table_csv"),
    ],
)
async def test_what_is_broken_is_refused_when_saved(hub: AdminHub, definition: Any, field: str, words: str) -> None:
    for method, rest in (("PUT", ""), ("POST", "/preview")):
        answer = await hub.call(method, path(hub, rest), role="district", json={"definition": definition})
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert words in {e["field"]: e["message"] for e in answer.json["errors"]}[field]
    assert (await hub.made("GET", path(hub, "/versions")))["items"] == []


async def test_a_preview_says_what_becomes_of_rows_and_cells(hub: AdminHub, package: bytes) -> None:
    assert (await hub.call("POST", path(hub, "/preview"), role="district", json={"definition": UPPER})).status == 409
    await hub.upload(package)
    found = await hub.made("POST", path(hub, "/preview"), role="district", json={"definition": UPPER})
    users = found["files"]["users"]
    assert (users["before"], users["after"], users["whole"]) == (FRAMES["users"].height,) * 2 + (True,)
    assert list(users["columns"]) == ["givenName"]
    assert users["columns"]["givenName"]["changed"] == FRAMES["users"].height
    assert not found["refused"]
    samples = users["columns"]["givenName"]["samples"]
    assert samples
    assert all(one["after"] == one["before"].upper() for one in samples)


async def test_a_preview_looks_at_a_package_that_comes_with_it_and_keeps_nothing(hub: AdminHub, package: bytes) -> None:
    def form(file: bytes, body: Any, *, first: str = "body") -> FormData:
        made = FormData()
        made.add_field(first, json.dumps(body), content_type="application/json")
        made.add_field("file", io.BytesIO(file), filename="p.zip", content_type="application/zip")
        return made

    async def tried(data: Any, role: str = "district", **headers: str) -> Any:
        return await hub.call("POST", path(hub, "/preview"), role=role, data=data, headers=headers)

    shown = await tried(form(package, {"definition": UPPER}))
    assert (shown.status, shown.json["upload_id"]) == (200, None)
    users = shown.json["files"]["users"]
    assert (users["before"], users["columns"]["givenName"]["changed"]) == (FRAMES["users"].height,) * 2
    found = await tried(form(b"no zip at all", {"definition": {}}))
    assert found.json["findings"] == {"FILE-030": {"before": 1, "after": 1}}
    async with hub.pool.district(hub.district) as tx:
        assert await tx.fetchval("SELECT count(*) FROM uploads") == 0
    assert not any(row["action"].startswith("upload") for row in await hub.audit_rows())

    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="body"\r\n\r\n{"definition": {}}\r\n'
    cut = part + b'--x\r\nContent-Disposition: form-data; name="file"; filename="p.zip"\r\n\r\nPK'
    assert (await tried(cut, **boundary)).json["code"] == "upload_incomplete"
    assert (await tried(form(package, {"definition": UPPER}), role="operator")).json["code"] == "forbidden"
    large = form(b"\0" * (UPLOAD_LIMIT + 1), {"definition": UPPER})
    assert (await tried(large)).json["code"] == "too_large"
    other = await tried(package, **{"Content-Type": "application/zip"})
    assert other.json["code"] == "unsupported_media_type"
    for data in (
        form(b"", {"definition": UPPER}),
        form(package, {"definition": UPPER, "upload_id": str(uuid4())}),
        form(package, {"definition": UPPER}, first="b"),
        form(package, {"definition": {"files": {"users": {"where": "("}}}}),
    ):
        assert (await tried(data)).json["code"] == "invalid_request"


@pytest.mark.threat("T55")
async def test_operators_learn_nothing_of_a_roster_by_trying_expressions(hub: AdminHub, package: bytes) -> None:
    upload = await hub.upload(package)
    for method, rest in (("PUT", ""), ("POST", "/preview")):
        assert (await hub.call(method, path(hub, rest), json={"definition": UPPER})).status == 403
    body = {"upload_id": upload["upload_id"], "dry_run": True, "transform": UPPER}
    assert (await hub.call("POST", f"/districts/{hub.district}/runs", json=body)).status == 403


async def test_a_preview_compares_with_what_acts_or_with_rows_as_they_come(hub: AdminHub, package: bytes) -> None:
    upload = await hub.upload(package)
    await hub.made("PUT", path(hub), role="district", json={"definition": UPPER})
    body = {"definition": UPPER, "upload_id": upload["upload_id"]}
    same = await hub.made("POST", path(hub, "/preview"), role="district", json=body)
    assert same["files"]["users"]["columns"] == {}
    raw = await hub.made("POST", path(hub, "/preview"), role="district", json=body | {"against": "none"})
    assert list(raw["files"]["users"]["columns"]) == ["givenName"]
    gone = await hub.call("POST", path(hub, "/preview"), role="district", json=body | {"upload_id": str(uuid4())})
    assert gone.status == 404


async def test_a_preview_of_what_is_no_package_is_refused_with_findings(hub: AdminHub) -> None:
    await hub.upload(b"no zip at all")
    found = await hub.made("POST", path(hub, "/preview"), role="district", json={"definition": {}})
    assert found["refused"]
    assert found["findings"] == {"FILE-030": {"before": 1, "after": 1}}


async def test_what_moves_to_where_more_apps_see_it_is_warned_of(hub: AdminHub, package: bytes) -> None:
    definition = {
        "files": {
            "users": {"set": {"identifier": "email", "phone": "sms", "middleName": "UPPER(middleName)"}},
            "demographics": {"set": {"metadata.born": "birthDate"}},
        }
    }
    saved = await hub.made("PUT", path(hub), role="district", json={"definition": definition})
    warned = [{"file": "users", "column": "identifier", "source": "email", "privacy": "contact"}]
    assert saved["warnings"] == warned
    await hub.upload(package)
    tried = await hub.made("POST", path(hub, "/preview"), role="district", json={"definition": definition})
    assert tried["warnings"] == warned


async def test_a_source_of_tables_takes_a_mapping_and_refuses_a_broken_one(hub: AdminHub) -> None:
    sources = f"/districts/{hub.district}/sources"
    part = {"table": "School", "columns": {"sourcedId": "SIS ID"}, "set": {"name": "Name", "type": "'school'"}}
    mapping = {"base": "sds-1", "files": {"orgs": {"from": [part]}}}
    made = await hub.made("POST", sources, json={"name": "SDS", "kind": "table_csv", "config": {"mapping": mapping}})
    assert made["config"]["mapping"]["files"]["orgs"]["from"][0]["table"] == "School"
    again = await hub.made("PATCH", f"{sources}/{made['source_id']}", json={"config": made["config"]})
    assert again["config"] == made["config"]

    part["set"] = {"name": "UPER(Name)", "type": "'school'"}
    broken = {"name": "SDS", "kind": "table_csv", "config": {"mapping": mapping}}
    answer = await hub.call("POST", sources, json=broken)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == "config.mapping"
    assert (
        "files.orgs.from[0].set.name: line 1, column 1: There is no function UPER. Is it UPPER?" in answer.body.decode()
    )
    plain = await hub.made("POST", sources, json={"name": "SDS", "kind": "table_csv"})
    address = f"{sources}/{plain['source_id']}/transform"
    saved = await hub.made("PUT", address, role="district", json={"definition": {"mapping": {"base": "sds-2.1"}}})
    assert saved["definition"] == {"mapping": {"base": "sds-2.1"}}


async def test_a_candidate_goes_with_a_dry_run_only(hub: AdminHub) -> None:
    upload = await hub.upload()
    runs = f"/districts/{hub.district}/runs"
    body = {"upload_id": upload["upload_id"], "transform": UPPER}
    answer = await hub.call("POST", runs, role="district", json=body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "transform")
    broken = body | {"dry_run": True, "transform": {"files": {"users": {"where": "("}}}}
    answer = await hub.call("POST", runs, role="district", json=broken)
    assert answer.json["errors"][0]["field"] == "transform.files.users.where"
    run = await hub.made("POST", runs, role="district", json=body | {"dry_run": True})
    assert run["task"] == {"transform": UPPER}
