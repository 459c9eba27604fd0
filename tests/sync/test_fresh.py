"""A first load makes views of what it has just staged: the same as of what it wrote, and never of less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hub.scope.columns import Columns, Pairs, RoleEdges
from hub.store import districts
from hub.store.database import Transaction
from hub.sync import apply, views
from hub.sync.columns import load_columns
from hub.sync.prepared import Prepared
from tests.districts import District, sandbox
from tests.sync.conftest import first
from transforms.catalogue import Version


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Columns | None, Columns]]:
    """Of each refresh of views: the columns that it was given, and those of what the tables hold at that moment."""
    found: list[tuple[Columns | None, Columns]] = []

    async def refresh(tx: Transaction, *values: Any, columns: Columns | None = None, **names: Any) -> Any:
        found.append((columns, await load_columns(tx)))
        return await views.refresh(tx, *values, columns=columns, **names)

    class Watched:
        pass

    watched = Watched()
    watched.refresh = refresh  # type: ignore[attr-defined]
    monkeypatch.setattr(apply, "views", watched)
    return found


def plain(columns: Columns) -> dict[str, Any]:
    """Everything that columns say, in a form that compares."""
    return {
        "active": {name: list(rids) for name, rids in columns.active.items()},
        "single": arrays(columns.single),
        "coded": arrays(columns.coded),
        "many": {key: pairs(value) for key, value in columns.many.items()},
        "coded_many": {key: pairs(value) for key, value in columns.coded_many.items()},
        "roles": edges(columns.roles),
        "codes": dict(columns.codes),
    }


def arrays(found: Mapping[Any, Any]) -> dict[Any, list[int]]:
    return {key: np.asarray(values).tolist() for key, values in found.items()}


def pairs(found: Pairs) -> list[tuple[int, int]]:
    return list(zip(found.source.tolist(), found.target.tolist(), strict=True))


def edges(found: RoleEdges) -> list[list[Any]]:
    return [part.tolist() for part in (found.user, found.org, found.role, found.primary)]


@pytest.mark.parametrize("version", ["1.1", "1.2"])
async def test_what_was_staged_gives_the_columns_that_the_tables_give(
    district: District, given: list[tuple[Columns | None, Columns]], version: Version
) -> None:
    district.version = version
    await district.grant()
    assert (await district.sync(sandbox(150, 3, version, gradebook=True).frames)).state == "applied"
    [(columns, stored)] = given
    assert columns is not None
    assert plain(columns) == plain(stored)
    assert sum(len(rids) for rids in columns.active.values()) > 1_000


async def test_a_district_that_has_records_is_read_anew(
    district: District, given: list[tuple[Columns | None, Columns]]
) -> None:
    await district.grant()
    await district.sync(first(), dry_run=True)
    await district.sync(first())
    await district.sync(sandbox(students=100, seed=11).frames)
    assert [columns is None for columns, _ in given] == [False, False, True]
    assert plain(given[0][0] or given[0][1]) == plain(given[1][1])


@pytest.mark.threat("F12")
async def test_what_an_app_wrote_meanwhile_is_not_forgotten(district: District) -> None:
    prepared = Prepared(reserved=[("results", 0, 2), ("results", 2, 3)])
    async with district.db.district(district.district_id) as tx:
        assert await districts.reserve_rids(tx, "results", 5) == 0
        assert await apply.alone(tx, prepared)
        await districts.reserve_rids(tx, "categories", 1)
        assert not await apply.alone(tx, prepared)
