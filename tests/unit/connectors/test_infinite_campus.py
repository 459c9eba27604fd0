"""Infinite Campus: a record for each role in 1.1, one for the person in 1.2; a district that moves keeps its ids."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.oneroster_rest import SPEC
from connectors.oneroster_rest.earlier import Earlier
from connectors.protocol import Pull, SourceContext
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, running

DATE = "2026-01-01T00:00:00.000Z"


def made(key: str, **members: Any) -> dict[str, dict[str, Any]]:
    return {key: {"sourcedId": key, "status": "active", "dateLastModified": DATE} | members}


def leads(key: str) -> dict[str, str]:
    return {"sourcedId": key, "href": f"https://sis.example/{key}", "type": "x"}


def person(key: str, role: str, given: str, *orgs: str, **more: Any) -> dict[str, dict[str, Any]]:
    return made(
        key, enabledUser="true", username=f"login-{key}", givenName=given, familyName="Byron", role=role,
        orgs=[leads(org) for org in orgs], **more,
    )  # fmt: skip


@pytest.fixture
def campus() -> Iterator[Server]:
    """Ada (12) teaches at both schools and is the mother of Una (7); the parent of number 9 is somebody else."""
    server = Server("1.1", root="/rostering/v1p")
    server.objects = {
        "orgs": made("s1", name="S", type="school") | made("s2", name="T", type="school"),
        "users": person("t12", "teacher", "Ada", "s1", "s2", email="ada@example.org")
        | person("p12", "parent", "ada", "s1", phone="555-0100")
        | person("s7", "student", "Una", "s1", agents=[leads("p12"), leads("t12")], grades=["05"])
        | person("s9", "student", "Bo", "s1")
        | person("p9", "parent", "Eve", "s1"),
        "enrollments": made("e1", role="teacher", user=leads("t12"), school=leads("s1"), **{"class": leads("c1")})
        | made("e2", role="student", user=leads("s7"), school=leads("s1"), **{"class": leads("c1")}),
        "demographics": made("s7", birthDate="2015-01-01"),
    }
    with running(server):
        yield server


def pull(campus: Server, folder: Path, cursor: Any = None, **more: Any) -> Pull:
    login = {"kind": "oauth2", "token_url": campus.token_url, "client_id": CLIENT}
    entities = ["orgs", "users", "enrollments", "demographics"]
    config = {"url": campus.url, "version": campus.version, "login": login, "entities": entities, "page_rows": 2}
    context = SourceContext(
        SPEC.config_model.model_validate(config | {"profile": "infinite_campus"} | more), work_folder=folder,
        secrets={"client_secret": SECRET}, reachable=lambda *_: True, now=lambda: campus.now,
    )  # fmt: skip
    return asyncio.run(SPEC.open(context).pull(cursor))


def rows(pulled: Pull, file: str, *columns: str) -> list[tuple[Any, ...]]:
    frame = pl.concat([batch.frame for batch in pulled.package.batches(file)])
    return sorted(frame.select(columns).rows())


def test_records_of_one_person_become_one(campus: Server, tmp_path: Path) -> None:
    pulled = pull(campus, tmp_path)
    with closing(pulled.package):
        assert pulled.package.version == "1.2"
        assert rows(pulled, "users", "sourcedId", "givenName", "email", "phone", "agentSourcedIds") == [
            ("12", "Ada", "ada@example.org", "555-0100", None), ("7", "Una", None, None, "12"),
            ("9", "Bo", None, None, None), ("p9", "Eve", None, None, None),
        ]  # fmt: skip
        assert rows(pulled, "roles", "userSourcedId", "orgSourcedId", "roleType", "role") == [
            ("12", "s1", "primary", "teacher"), ("12", "s1", "secondary", "parent"),
            ("12", "s2", "secondary", "teacher"), ("7", "s1", "primary", "student"), ("9", "s1", "primary", "student"),
            ("p9", "s1", "primary", "parent"),
        ]  # fmt: skip
        assert rows(pulled, "enrollments", "sourcedId", "userSourcedId") == [("e1", "12"), ("e2", "7")]
        assert rows(pulled, "demographics", "sourcedId") == [("7",)]
        assert pulled.announced["users"] == 4
        assert pulled.package.issues.select("code", "cause").rows() == [("REST-005", "1 records")]


@pytest.fixture
def later(campus: Server) -> Server:
    """The same district in 1.2: ids of its own, and the numbers of 1.1 in the metadata, written in either way."""
    campus.version = "1.2"
    numbers = {"g-ada": "12", "g-una": "7", "g-bo": "9"}
    role = {"roleType": "primary", "role": "student", "org": leads("s1")}
    campus.objects["users"] = {}
    for at, (key, number) in enumerate(numbers.items()):
        metadata = [{"ic.legacysourceId": number}, {"ic": {"legacySourceId": int(number)}}][at % 2]
        campus.objects["users"] |= made(
            key, enabledUser="true", givenName="A", familyName="B", roles=[role], metadata=metadata
        )
    campus.objects["users"]["g-una"]["agents"] = [leads("g-ada"), leads("g-bo")]
    for one, key in zip(campus.objects["enrollments"].values(), ("g-ada", "g-una"), strict=True):
        one["user"] = leads(key)
    campus.objects["demographics"] = made("g-una", birthDate="2015-01-01")
    return campus


def test_ids_stay_when_the_district_goes_on_to_1_2(
    campus: Server, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    del campus.objects["users"]["p9"]
    old = pull(campus, tmp_path)
    request.getfixturevalue("later")
    new = pull(campus, tmp_path)
    for file in ("orgs", "users", "enrollments", "demographics"):
        assert sorted(old.package.keys(file)) == sorted(new.package.keys(file))
    assert rows(old, "enrollments", "sourcedId", "userSourcedId") == rows(
        new, "enrollments", "sourcedId", "userSourcedId"
    )
    assert rows(new, "users", "sourcedId", "agentSourcedIds") == [("12", None), ("7", "12,9"), ("9", None)]
    assert rows(new, "roles", "userSourcedId") == [("12",), ("7",), ("9",)]
    own = pull(campus, tmp_path, people="each_role")
    assert sorted(own.package.keys("users")) == ["g-ada", "g-bo", "g-una"]
    for pulled in (old, new, own):
        pulled.package.close()


def test_changes_of_1_2_are_called_by_the_numbers_too(later: Server, tmp_path: Path) -> None:
    later.objects["users"] |= made("g-new", enabledUser="true", givenName="N", familyName="N", roles=[])
    first = pull(later, tmp_path)
    assert first.cursor is not None
    assert first.cursor["without"] == ["g-new"]
    first.package.close()
    later.asked.clear()
    nothing = pull(later, tmp_path, cursor=first.cursor)
    assert (dict(nothing.package.mode), len(later.asked)) == ({}, 4)
    later.put("enrollments", "e2", primary="true")
    pulled = pull(later, tmp_path, cursor=first.cursor)  # users did not change: they are asked who they are
    assert rows(pulled, "enrollments", "sourcedId", "userSourcedId") == [("e2", "7")]
    assert "users" not in pulled.package.mode
    later.put("users", "g-new", metadata={"ic.legacysourceId": "31"})
    pulled = pull(later, tmp_path, cursor=first.cursor)  # what refers to them says another id now, unchanged
    assert {pulled.package.mode[file] for file in ("users", "enrollments", "demographics")} == {"bulk"}
    assert "31" in pulled.package.keys("users").to_list()
    later.put("users", "g-bo", metadata={"ic.legacysourceId": "31"})
    pulled = pull(later, tmp_path, cursor=pulled.cursor)  # a number of two people is nobody's
    assert sorted(pulled.package.keys("users")) == ["12", "7", "g-bo", "g-new"]
    swept = pull(later, tmp_path, cursor=first.cursor, sweep_hours=0)
    assert sorted(swept.package.keys("users")) == ["12", "7", "g-bo", "g-new"]


def test_a_number_that_becomes_two_peoples_is_left_by_all_that_refers_to_them(later: Server, tmp_path: Path) -> None:
    first = pull(later, tmp_path)
    later.put("users", "g-new", enabledUser="true", givenName="N", familyName="N", metadata={"ic.legacysourceId": "7"})
    doubled = pull(later, tmp_path, cursor=first.cursor)
    assert rows(doubled, "enrollments", "sourcedId", "userSourcedId") == [("e1", "12"), ("e2", "g-una")]
    assert doubled.cursor is not None
    assert doubled.cursor["without"] == ["g-new", "g-una"]
    later.quirks.tombstones = True
    later.end("users", "g-new")  # what is gone has no number, though its metadata says it still
    alone = pull(later, tmp_path, cursor=doubled.cursor)
    assert rows(alone, "enrollments", "sourcedId", "userSourcedId") == [("e1", "12"), ("e2", "7")]
    later.now += timedelta(hours=3)
    later.put("enrollments", "e2", primary="true")
    alone = pull(later, tmp_path, cursor=pull(later, tmp_path, cursor=alone.cursor).cursor)
    assert "users" not in alone.package.mode
    assert rows(alone, "enrollments", "sourcedId", "userSourcedId") == [("e2", "7")]


@pytest.mark.parametrize("seen", ["by the enrollments", "by the sweep"])
def test_numbers_that_come_without_a_date_take_along_what_refers_to_them(
    later: Server, tmp_path: Path, seen: str
) -> None:
    number = later.objects["users"]["g-una"].pop("metadata")
    first = pull(later, tmp_path)
    assert rows(first, "enrollments", "sourcedId", "userSourcedId") == [("e1", "12"), ("e2", "g-una")]
    later.objects["users"]["g-una"]["metadata"] = number
    if seen == "by the enrollments":
        later.put("enrollments", "e1", primary="true")
    pulled = pull(later, tmp_path, cursor=first.cursor, sweep_hours=24 if "enrollments" in seen else 0)
    assert sorted(pulled.package.keys("users")) == ["12", "7", "9"]
    assert rows(pulled, "enrollments", "sourcedId", "userSourcedId") == [("e1", "12"), ("e2", "7")]
    assert {pulled.package.mode[file] for file in ("users", "enrollments", "demographics")} == {"bulk"}
    assert not pulled.present


def test_nobody_is_called_by_the_id_of_somebody_else() -> None:
    earlier = Earlier()
    numbers = {"g-a": "5", "5": "7", "g-b": "7", "8": "9", "9": "8"}
    earlier.take([{"sourcedId": own, "metadata": {"ic.legacysourceId": one}} for own, one in numbers.items()])
    assert earlier.finish()
    called = earlier.nested(pl.DataFrame({"userSourcedId": list(numbers)}))["userSourcedId"].to_list()
    assert called == ["g-a", "5", "g-b", "9", "8"]  # 7 is two people's, so 5 stays what one of them is called


def test_changes_of_one_record_bring_the_person_whole(campus: Server, tmp_path: Path) -> None:
    first = pull(campus, tmp_path)
    first.package.close()
    nothing = pull(campus, tmp_path, cursor=first.cursor)
    assert dict(nothing.package.mode) == {}
    campus.put("users", "p12", phone="555-0101")
    campus.put("enrollments", "e2", primary="true")
    pulled = pull(campus, tmp_path, cursor=first.cursor)
    with closing(pulled.package):
        modes = {"users": "bulk", "roles": "bulk", "userProfiles": "bulk", "enrollments": "delta"}
        assert dict(pulled.package.mode) == modes
        assert rows(pulled, "users", "sourcedId", "phone")[0] == ("12", "555-0101")
        assert rows(pulled, "enrollments", "sourcedId", "userSourcedId") == [("e2", "7")]
    with closing(pull(campus, tmp_path, people="each_role").package) as apart:
        assert (apart.version, sorted(apart.keys("users"))) == ("1.1", ["p12", "p9", "s7", "s9", "t12"])


def test_records_that_become_one_person_take_what_refers_to_them_along(campus: Server, tmp_path: Path) -> None:
    campus.objects["users"] |= person("t9", "teacher", "Bob", "s1")
    campus.objects["enrollments"] |= made(
        "e3", role="teacher", user=leads("t9"), school=leads("s1"), **{"class": leads("c1")}
    )
    first = pull(campus, tmp_path)
    assert ("e3", "t9") in rows(first, "enrollments", "sourcedId", "userSourcedId")
    campus.put("users", "t9", givenName="Bo")
    second, whole = pull(campus, tmp_path, cursor=first.cursor), pull(campus, tmp_path)
    for pulled in (second, whole):
        assert dict(pulled.package.mode)["enrollments"] == "bulk"
        assert ("e3", "9") in rows(pulled, "enrollments", "sourcedId", "userSourcedId")
    assert second.cursor is not None
    assert "t9" not in second.cursor["apart"]


def test_demographics_of_two_records_of_one_person_are_one_row(campus: Server, tmp_path: Path) -> None:
    campus.objects["demographics"] = made("t12", birthDate="1980-01-01") | made("p12", birthDate="1980-01-02")
    pulled = pull(campus, tmp_path)
    assert rows(pulled, "demographics", "sourcedId", "birthDate") == [("12", "1980-01-02")]
    assert "demographics" not in pulled.announced


def test_a_record_that_vanishes_without_a_word_regroups_what_refers_to_the_others(
    campus: Server, tmp_path: Path
) -> None:
    campus.objects["users"] |= person("t9", "teacher", "Bob", "s1")
    campus.objects["enrollments"]["e1"]["user"] = leads("t9")
    first = pull(campus, tmp_path)
    assert rows(first, "enrollments", "sourcedId", "userSourcedId") == [("e1", "t9"), ("e2", "7")]
    del campus.objects["users"]["s9"]
    swept = pull(campus, tmp_path, cursor=first.cursor, sweep_hours=0)
    assert sorted(swept.package.keys("users")) == ["12", "7", "9", "p9"]
    assert rows(swept, "enrollments", "sourcedId", "userSourcedId") == [("e1", "9"), ("e2", "7")]
