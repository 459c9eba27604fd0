"""Columns that a process keeps and patches are those that it would read, whatever changed and in whatever order."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns
from hub.store.kept import Kept
from hub.sync.columns import current_columns, load_columns
from tests.districts import District, Frames, changed, sandbox, without


def told(columns: Columns) -> dict[str, object]:
    """All that columns say, in a form that compares; codes are spelled."""
    found: dict[str, object] = {f"active {name}": set(rids) for name, rids in columns.active.items()}
    for key in SINGLE:
        found[f"single {key}"] = [int(v) for v in columns.single[key]][: max(columns.active[key[0]], default=-1) + 1]
    for key in CODED:
        names = (*columns.codes[key], None)
        members = columns.coded[key][: max(columns.active[key[0]], default=-1) + 1]
        found[f"coded {key}"] = [names[v] for v in members]
    for key in MANY:
        pairs = columns.many[key]
        assert (np.diff(pairs.source) >= 0).all()
        found[f"many {key}"] = list(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True))
    for key in CODED_MANY:
        pairs = columns.coded_many[key]
        tokens = [columns.codes[key][v] for v in pairs.target]
        found[f"coded many {key}"] = list(zip(pairs.source.tolist(), tokens, strict=True))
    roles = columns.roles
    names = [columns.codes[ROLES][v] for v in roles.role]
    found["roles"] = list(
        zip(roles.user.tolist(), roles.org.tolist(), names, roles.primary.tolist(), strict=True)
    )  # fmt: skip
    return found


def edited(frames: Frames, whole: Frames, rnd: random.Random) -> Frames:
    """Some enrollments gone or back, a class at another school, a user with other grades, a new role."""
    file = rnd.choice(["enrollments", "classes", "users", "roles", "enrollments"])
    keys = whole[file]["sourcedId"].to_list()
    match file:
        case "enrollments":
            return without(whole, file, rnd.sample(keys, rnd.randint(0, 5)))
        case "classes":
            other = rnd.choice(whole["orgs"].filter(type="school")["sourcedId"].to_list())
            return changed(frames, file, rnd.choice(keys), schoolSourcedId=other, grades=rnd.choice(["01,02", "12"]))
        case "users":
            return changed(frames, file, rnd.choice(keys), grades=rnd.choice(["01", "PK", "10,11", None]))
        case _:
            row = (
                whole[file]
                .filter(sourcedId=rnd.choice(keys))
                .with_columns(
                    sourcedId=pl.lit(f"r{rnd.random()}"), role=pl.lit("counselor"), roleType=pl.lit("secondary")
                )
            )
            return dict(frames) | {file: pl.concat([frames[file], row])}


@pytest.mark.parametrize(("seed", "few"), [(0, None), (1, None), (2, None), (3, 0)])
async def test_what_was_kept_and_patched_is_what_would_be_read(
    district: District, seed: int, few: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``few``: up to so many changed records are fetched row by row; more of them are copied column by column."""
    if few is not None:
        monkeypatch.setattr("hub.sync.columns._FEW", few)
    rnd = random.Random(seed)
    whole = frames = sandbox(100, 3).frames
    await district.sync(frames)
    await district.grant()
    for _ in range(6):
        frames = edited(frames, whole, rnd)
        assert (await district.sync(frames)).state in {"applied", "unchanged"}
        async with district.db.district(district.district_id, readonly=True) as tx:
            assert tx.kept.get(("columns", district.district_id)) is not None
            assert told(await current_columns(tx)) == told(await load_columns(tx))


async def test_what_a_transaction_saw_is_not_kept_when_it_is_rolled_back(synced: District) -> None:
    frames = sandbox(100, 3).frames
    await synced.grant()
    key = ("columns", synced.district_id)
    async with synced.db.district(synced.district_id, readonly=True) as tx:
        await current_columns(tx)
    before = (synced.db._kept.get(key))[0]

    run = await synced.sync(
        without(frames, "enrollments", frames["enrollments"]["sourcedId"][:3].to_list()), dry_run=True
    )

    assert run.state == "previewed"
    assert synced.db._kept.get(key)[0] == before
    async with synced.db.district(synced.district_id, readonly=True) as tx:
        assert told(await current_columns(tx)) == told(await load_columns(tx))


def test_what_was_used_longest_ago_goes_first() -> None:
    kept = Kept(most_bytes=10)
    kept.put("a", 1, 4)
    kept.put("b", 2, 4)
    assert kept.get("a") == 1

    kept.put("c", 3, 4)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.put("c", 4, 11)
    assert [kept.get(key) for key in "abc"] == [1, None, None]
    kept.put("a", 5, 10)
    assert kept.get("a") == 5
