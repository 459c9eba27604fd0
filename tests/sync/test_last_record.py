"""The last record of an entity that refers to nothing leaves: no array knows its number any more."""

from __future__ import annotations

import polars as pl
import pytest

from tests.districts import District, sandbox, without


@pytest.mark.parametrize("file", ["resources", "categories", "scoreScales"])
async def test_a_sync_bears_that_the_last_record_of_an_entity_goes(district: District, file: str) -> None:
    frames = dict(sandbox(100, 5, gradebook=True).frames)
    extra = frames[file].head(1).with_columns(sourcedId=pl.lit("zzzzzz-last"))
    await district.grant()
    assert (await district.sync(frames | {file: pl.concat([frames[file], extra])})).state == "applied"
    left = await district.sync(without(frames, file, []))
    assert (left.state, left.error_code) == ("applied", None)
