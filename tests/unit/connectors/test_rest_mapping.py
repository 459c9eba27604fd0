"""What a OneRoster server says and what a CSV package says come to the same canonical rows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.oneroster_rest import SPEC, nested
from connectors.oneroster_rest.mapping import Odd, rows
from connectors.protocol import Package, Pull
from tests.contract.test_oneroster_rest import context
from tests.fakes import rosters
from tests.fakes.oneroster_server import Quirks, filled, running
from transforms.catalogue import CATALOGUE, Version

#: Over REST they have no rows of their own, or are read from JSON in another form than a cell's.
ROSTER = ("orgs", "academicSessions", "resources", "courses", "classes", "users", "enrollments", "demographics",
          "categories", "lineItems", "results")  # fmt: skip


def frames(package: Package) -> rosters.Frames:
    return {
        file: pl.concat([b.frame for b in package.batches(file)], how="diagonal")
        for file in package.mode
    }  # fmt: skip


def files_of(version: Version) -> dict[str, list[dict[str, str | None]]]:
    nested = {"lineItemScoreScales", "resultScoreScales", "scoreScales", "lineItemLearningObjectiveIds",
              "resultLearningObjectiveIds"}  # fmt: skip
    return {file: found for file, found in rosters.clean(version).items() if file not in nested}


async def pulled(server: Any, folder: Path) -> Pull:
    return await SPEC.open(context(server, folder)).pull(None)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("quirks", [Quirks(), Quirks(booleans="json", status=False, envelope="bare")])
def test_the_same_roster_gives_the_same_records(version: Version, quirks: Quirks, tmp_path: Path) -> None:
    given = files_of(version)
    by_csv = rosters.run(version, rosters.frames(version, given))
    with running(filled(version, given, quirks)) as server:
        package = asyncio.run(pulled(server, tmp_path)).package
    by_rest = rosters.run(version, frames(package))
    package.close()

    for entity in ROSTER:
        # The hash knows the ids of rows of roles and the like, which are the connector's own.
        left, right = (r.frames[entity].sort("key").drop("hash") for r in (by_csv, by_rest))
        assert left.equals(right), entity
    assert set(by_rest.issues["code"]) == set(by_csv.issues["code"])


def test_values_of_other_kinds_are_read_or_counted() -> None:
    odd = Odd()
    given = [
        {"sourcedId": 17, "enabledUser": True, "grade": "05", "orgs": {"sourcedId": "s1"}, "givenName": ["A"],
         "userIds": [{"type": "L", "identifier": "a,b"}, "x"], "Username": "u", "metadata": {"a.b": {"c": 1}}},
        {"sourcedId": "b", "orgs": ["s1", {"sourcedId": "s2"}], "grade": ["01", 2], "enabledUser": "FALSE"},
    ]  # fmt: skip
    found = rows(CATALOGUE["users"], "1.1", given, odd)
    assert found.select("sourcedId", "enabledUser", "orgSourcedIds", "grades", "username", "userIds").rows() == [
        ("17", "true", "s1", "05", "u", "{L:a b}"), ("b", "FALSE", "s1,s2", "01,2", None, None),
    ]  # fmt: skip
    assert found["metadata.a.b"].to_list() == ['{"c":1}', None]
    assert odd.counts == {("users", "givenName"): 1, ("users", "userIds"): 1}


def test_profiles_of_other_systems_are_told_apart_and_named_by_their_roles() -> None:
    """Two people may have the same profileId elsewhere; a profile without an account is counted."""
    one = {"profileId": "https://sis/p", "profileType": "lms", "vendorId": "v",
           "credentials": [{"type": "a", "username": "x"}, {"type": "b", "username": "y"}]}  # fmt: skip
    role = {"role": "student", "roleType": "primary", "org": {"sourcedId": "s1"}, "userProfile": "https://sis/p"}
    given = [{"sourcedId": key, "userProfiles": [one, {"profileId": "n"}], "roles": [role, role]} for key in "ab"]
    odd, users = Odd(), CATALOGUE["users"]
    profiles = nested.rows("userProfiles", users["userProfiles"], "1.2", given, odd)
    roles = nested.rows("roles", users["roles"], "1.2", given, odd)
    keys, named = profiles["sourcedId"].to_list(), roles["userProfileSourcedId"].to_list()
    assert len(set(keys)) == 4
    assert named == [keys[0], keys[0], keys[2], keys[2]]
    assert roles["sourcedId"].n_unique() == 4
    assert (odd.profiles, odd.counts) == (2, {})
