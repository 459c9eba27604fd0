"""Changes of a sandbox district's package, as a district makes them in the middle of a year."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random

import polars as pl

from tests.districts import Frames, changed, without

Package = dict[str, pl.DataFrame]
NAMES = ("Zoë", "abel", "Abel", "ØYSTEIN", "O'Neil", "de la Cruz", "李")
#: Columns that point to a user, by file.
USERS = {"roles": "userSourcedId", "enrollments": "userSourcedId", "demographics": "sourcedId",
         "userProfiles": "userSourcedId", "results": "studentSourcedId", "userResources": "userSourcedId"}  # fmt: skip


Keys = Mapping[str, Collection[str]]


def some(rnd: Random, frames: Frames, file: str, among: Keys | None = None) -> str:
    """The key of any row; of one of ``among``, where the file is named there."""
    keys = frames[file]["sourcedId"].to_list()
    if among is not None and file in among:
        keys = [key for key in keys if key in among[file]]
    return str(rnd.choice(keys))


def lose_user(frames: Frames, key: str) -> Package:
    """The package without a user and all that is theirs."""
    out = without(frames, "users", [key])
    for file, column in USERS.items():
        if file in out:
            out[file] = out[file].filter(pl.col(column) != key)
    agents = pl.col("agentSourcedIds")
    names = pl.when(agents.str.contains(key, literal=True)).then(None).otherwise(agents)
    out["users"] = out["users"].with_columns(agentSourcedIds=names)
    return out


def added(frames: Frames, file: str, row: Mapping[str, str]) -> Package:
    """One more row of a file."""
    whole = {name: row.get(name) for name in frames[file].columns}
    return dict(frames) | {file: pl.concat([frames[file], pl.DataFrame([whole], schema=frames[file].schema)])}


def with_role(frames: Frames, key: str, user: str, role: str, org: str) -> Package:
    """One more role of a user, if they are there and the role is not."""
    known = frames["roles"]["sourcedId"].to_list()
    if key in known or user not in frames["users"]["sourcedId"].to_list():
        return dict(frames)
    row = {"sourcedId": key, "userSourcedId": user, "roleType": "secondary", "role": role, "orgSourcedId": org}
    return added(frames, "roles", row)


def bring_back(frames: Frames, before: Frames, key: str) -> Package:
    """The package with a user of an earlier one, as they were."""
    out = dict(frames)
    for file, column in (("users", "sourcedId"), *USERS.items()):
        if file not in out:
            continue
        kept = out[file].filter(pl.col(column) != key)
        out[file] = pl.concat([kept, before[file].filter(pl.col(column) == key)])
    return out


def move(frames: Frames, key: str, school: str) -> Package:
    """The package in which a user belongs to a school; their enrollments elsewhere end."""
    out = dict(frames)
    theirs = pl.col("userSourcedId") == key
    out["roles"] = out["roles"].with_columns(
        orgSourcedId=pl.when(theirs).then(pl.lit(school)).otherwise(pl.col("orgSourcedId"))
    )
    out["enrollments"] = out["enrollments"].filter(~theirs | (pl.col("schoolSourcedId") == school))
    return changed(out, "users", key, primaryOrgSourcedId=school)


def edited(frames: Frames, before: Frames, rnd: Random, times: int, among: Keys | None = None) -> Package:
    """The package after some random changes of every kind, none of which makes a record that never was.

    ``before`` holds what can come back; ``among`` limits which rows of a file take part.
    """
    out = dict(frames)
    schools = out["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()
    terms = out["academicSessions"].filter(pl.col("type") == "term")["sourcedId"].to_list()

    def key(file: str) -> str:
        return some(rnd, out, file, among)

    def one(file: str, **values: str | None) -> Package:
        return changed(out, file, key(file), **values)

    def student() -> str:
        return key("demographics")

    def back() -> Package:
        gone = sorted(set(before["users"]["sourcedId"]) - set(out["users"]["sourcedId"]))
        return bring_back(out, before, rnd.choice(gone)) if gone else out

    kinds: tuple[Callable[[], Mapping[str, pl.DataFrame]], ...] = (
        lambda: one("users", familyName=rnd.choice(NAMES)),
        lambda: one("users", givenName=rnd.choice(NAMES), middleName=rnd.choice([None, *NAMES])),
        lambda: one("users", email=f"{rnd.randrange(99)}@School.example", enabledUser=rnd.choice(["true", "false"])),
        lambda: one("users", grades=rnd.choice([None, "03", "03,04"]), identifier=str(rnd.randrange(9))),
        lambda: lose_user(out, student()),
        lambda: lose_user(out, student()),
        back,
        lambda: move(out, student(), rnd.choice(schools)),
        lambda: move(out, student(), rnd.choice(schools)),
        lambda: one("classes", title=rnd.choice(NAMES), periods=rnd.choice(["1", "1,3", None])),
        lambda: one("classes", termSourcedIds=",".join(rnd.sample(terms, 2))),
        lambda: one("classes", courseSourcedId=key("courses"), grades=rnd.choice(["09,10", "KG"])),
        lambda: without(out, "enrollments", [key("enrollments")]),
        lambda: one("enrollments", role=rnd.choice(["student", "teacher"]), beginDate="2026-09-01"),
        lambda: one("enrollments", userSourcedId=student(), endDate=None),
        lambda: one("courses", title=rnd.choice(NAMES), orgSourcedId=rnd.choice(schools)),
        lambda: one("orgs", name=rnd.choice(NAMES)),
        lambda: one("academicSessions", title=rnd.choice(NAMES), schoolYear=rnd.choice(["2026", "2027"])),
        lambda: one("demographics", birthDate="2012-02-29", cityOfBirth=rnd.choice(NAMES)),
        lambda: one("roles", role=rnd.choice(["student", "teacher", "aide"])),
        lambda: with_role(
            out, f"role-{rnd.randrange(999)}", key("users"), rnd.choice(["aide", "parent"]), rnd.choice(schools)
        ),
    )
    graded: tuple[Callable[[], Mapping[str, pl.DataFrame]], ...] = (
        lambda: one(
            "lineItems", title=rnd.choice(NAMES), dueDate="2027-01-09", resultValueMax=rnd.choice(["9", "9.5"])
        ),
        lambda: one("lineItems", categorySourcedId=key("categories"), description=rnd.choice([None, *NAMES])),
        lambda: one("results", score=rnd.choice(["0", "7", "10", "61.25", None]), late=rnd.choice(["true", None])),
        lambda: one("results", scoreStatus=rnd.choice(["submitted", "exempt"]), scoreDate="2026-10-01", comment="x"),
        lambda: without(out, "results", [key("results")]),
        lambda: one("categories", weight=rnd.choice(["5", "12.5", None])),
        lambda: one("scoreScales", title=rnd.choice(NAMES), scoreScaleValue="{0-50:F},{51-100:A}"),
        lambda: one("resources", title=rnd.choice(NAMES), roles=rnd.choice(["student", "teacher,student", None])),
    )
    for _ in range(times):
        out = dict(rnd.choice(kinds + graded if "results" in out else kinds)())
    return out
