"""Releasing a part of a held run, on random changes: nothing dangles, and with the rest it is the whole."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping

import polars as pl
import pytest

from hub.store.database import Database as Pool
from tests.districts import District, Frames, sandbox
from tests.services import Database
from tests.sync.guarding import approve, by_key, dangling, release, rest, schools, setting

FIRST = sandbox(students=120, seed=21).frames
SCHOOLS = FIRST["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()
#: Whatever is deleted or updated holds a run; what is for apps is of no interest here.
STRICT = {"limits": {"default": {"deleted": {"most": 0}, "updated": {"most": 0}}}, "emptied_school": "allow"}
Dirty = dict[str, pl.DataFrame]


@pytest.fixture
async def db(database: Database) -> AsyncIterator[Pool]:
    pool = await Pool.open(database.worker, name="test worker", largest=4)
    yield pool
    await pool.close()


def mutated(frames: Frames, rng: random.Random) -> Dirty:
    """Some records of each file go, change, move, or come anew; what refers to what went goes too."""
    out = dict(frames)
    gone_users = set(_some(frames["users"]["sourcedId"].to_list(), rng, 0.05))
    gone_classes = set(_some(frames["classes"]["sourcedId"].to_list(), rng, 0.08))
    new_courses, new_users = _new_courses(frames, rng), _new_users(frames, rng)
    new_classes = _new_classes(frames, new_courses["sourcedId"].to_list(), rng)
    out["classes"] = pl.concat([frames["classes"].filter(~_in("sourcedId", gone_classes)), new_classes])
    out["users"] = pl.concat([_renamed(frames["users"], rng), new_users]).filter(~_in("sourcedId", gone_users))
    out["users"] = out["users"].with_columns(pl.lit(None, pl.String).alias("agentSourcedIds"))
    roles = _moved(frames["roles"], rng)
    for name in ("roles", "userProfiles"):
        rows = roles if name == "roles" else frames[name]
        out[name] = rows.filter(~_in("userSourcedId", gone_users))
    out["roles"] = pl.concat([out["roles"], _roles_of(frames, new_users, rng)])
    out["demographics"] = frames["demographics"].filter(~_in("sourcedId", gone_users))
    gone = set(_some(frames["enrollments"]["sourcedId"].to_list(), rng, 0.05))
    enrollments = pl.concat([frames["enrollments"], _new_enrollments(frames, new_classes, new_users, rng)])
    out["enrollments"] = enrollments.filter(
        ~_in("sourcedId", gone) & ~_in("userSourcedId", gone_users) & ~_in("classSourcedId", gone_classes)
    )
    gone_courses = set(_some(frames["courses"]["sourcedId"].to_list(), rng, 0.1))
    kept = frames["courses"].filter(~_in("sourcedId", gone_courses - set(out["classes"]["courseSourcedId"])))
    out["courses"] = pl.concat([kept, new_courses])
    return out


def _in(column: str, keys: set[str]) -> pl.Expr:
    return pl.col(column).is_in(list(keys))


def _some(keys: list[str], rng: random.Random, share: float) -> list[str]:
    return rng.sample(keys, int(len(keys) * rng.uniform(0, 2 * share)))


def _renamed(users: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    some = set(_some(users["sourcedId"].to_list(), rng, 0.05))
    name = pl.when(_in("sourcedId", some)).then(pl.lit("Renamed")).otherwise(pl.col("middleName"))
    return users.with_columns(name.alias("middleName"))


def _moved(roles: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    some = set(_some(roles["sourcedId"].to_list(), rng, 0.05))
    org = pl.when(_in("sourcedId", some)).then(pl.lit(rng.choice(SCHOOLS))).otherwise(pl.col("orgSourcedId"))
    return roles.with_columns(org.alias("orgSourcedId"))


def _new_courses(frames: Frames, rng: random.Random) -> pl.DataFrame:
    """Courses of one school each."""
    some = frames["courses"].filter(_in("sourcedId", set(_some(frames["courses"]["sourcedId"].to_list(), rng, 0.1))))
    orgs = pl.Series("orgSourcedId", [rng.choice(SCHOOLS) for _ in range(some.height)], dtype=pl.String)
    return some.with_columns(("new-" + pl.col("sourcedId")).alias("sourcedId"), orgs)


def _new_classes(frames: Frames, courses: list[str], rng: random.Random) -> pl.DataFrame:
    """Classes of any school, also of courses that are another school's."""
    some = frames["classes"].filter(_in("sourcedId", set(_some(frames["classes"]["sourcedId"].to_list(), rng, 0.1))))
    taught = [rng.choice([course, *courses]) for course in some["courseSourcedId"]]
    return some.with_columns(
        ("new-" + pl.col("sourcedId")).alias("sourcedId"), pl.Series("courseSourcedId", taught, dtype=pl.String)
    )


def _new_users(frames: Frames, rng: random.Random) -> pl.DataFrame:
    some = frames["users"].filter(_in("sourcedId", set(_some(frames["users"]["sourcedId"].to_list(), rng, 0.05))))
    return some.with_columns(
        ("new-" + pl.col("sourcedId")).alias("sourcedId"), ("new-" + pl.col("username")).alias("username")
    )


def _roles_of(frames: Frames, users: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    old = users["sourcedId"].str.strip_prefix("new-")
    rows = frames["roles"].filter(pl.col("userSourcedId").is_in(old.implode()))
    return rows.with_columns(
        ("new-" + pl.col("sourcedId")).alias("sourcedId"), ("new-" + pl.col("userSourcedId")).alias("userSourcedId"),
        pl.lit(rng.choice(SCHOOLS)).alias("orgSourcedId"), pl.lit(None, pl.String).alias("userProfileSourcedId"),
    )  # fmt: skip


def _new_enrollments(frames: Frames, classes: pl.DataFrame, users: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    """Old people in new classes, new people in old ones."""
    rows = frames["enrollments"]
    in_new = rows.filter(pl.col("classSourcedId").is_in(classes["sourcedId"].str.strip_prefix("new-").implode()))
    in_new = in_new.head(rng.randint(0, 20)).with_columns(
        ("c-" + pl.col("sourcedId")).alias("sourcedId"), ("new-" + pl.col("classSourcedId")).alias("classSourcedId")
    )
    of_new = rows.filter(pl.col("userSourcedId").is_in(users["sourcedId"].str.strip_prefix("new-").implode()))
    of_new = of_new.head(rng.randint(0, 20)).with_columns(
        ("u-" + pl.col("sourcedId")).alias("sourcedId"), ("new-" + pl.col("userSourcedId")).alias("userSourcedId")
    )
    return pl.concat([in_new, of_new])


def school_of(frames: Frames) -> Mapping[str, set[str]]:
    """The schools of each enrollment and of its user, by the enrollment's key."""
    roles: dict[str, set[str]] = {}
    for user, org in frames["roles"].select("userSourcedId", "orgSourcedId").iter_rows():
        roles.setdefault(user, set()).add(org)
    columns = ("sourcedId", "schoolSourcedId", "userSourcedId")
    return {
        key: {school, *roles.get(user, ())} for key, school, user in frames["enrollments"].select(columns).iter_rows()
    }


@pytest.mark.threat("F11")
@pytest.mark.parametrize("seed", range(5))
async def test_a_release_and_its_rest_are_the_whole_and_nothing_dangles(db: Pool, seed: int) -> None:
    rng = random.Random(seed)
    package = mutated(FIRST, rng)
    one, other = await District(db).create(), await District(db).create()
    for district in (one, other):
        assert (await district.sync(FIRST)).state == "applied"
        await setting(district, STRICT)
        assert await dangling(district) == []
    await one.grant()
    whole = await approve(other, (await other.sync(package)).run_id)
    assert whole.state == "applied", whole.error_message

    held = await one.sync(package)
    assert held.state == "held"
    before = await by_key(one)
    free = rng.sample(SCHOOLS, rng.randint(1, len(SCHOOLS) - 1))
    ids = await schools(one)
    released = await release(one, held.run_id, [ids[school] for school in free])
    assert released.state in {"applied", "unchanged"}, (released.error_message, released.guard)
    assert await dangling(one) == []
    between = await by_key(one)
    _untouched(before, between, school_of(FIRST) | school_of(package), set(free))

    if sum(counts["withheld"] for counts in released.counts.values()):
        left = await rest(one, held.run_id)
        assert left.state == "held"
        assert (await approve(one, left.run_id)).state == "applied"
    assert await dangling(one) == []
    assert await by_key(one) == await by_key(other)
    assert (await one.sync(package)).state == "unchanged"


def _untouched(
    before: Mapping[tuple[str, str], tuple[bool, str]], after: Mapping[tuple[str, str], tuple[bool, str]],
    where: Mapping[str, set[str]], free: set[str],
) -> None:  # fmt: skip
    """Enrollments of schools that were not released are as they were."""
    for key, schools_ in where.items():
        if not schools_ & free:
            assert before.get(("enrollments", key)) == after.get(("enrollments", key)), key
