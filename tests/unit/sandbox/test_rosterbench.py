"""Records of people with the truth about them, at the command line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from click.testing import CliRunner

from hub.cli import main
from hub.sandbox.rosterbench import CASES, RELEASE_SEEDS, TUNING_SEEDS, RosterPlan, rosterbench


def test_people_and_truth_are_written(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sandbox", str(tmp_path), "--people", "3000", "--seed", "4", "--identifiers"])
    made = rosterbench(RosterPlan(3000, 4, identifiers=True))

    assert result.exit_code == 0, result.output
    assert pl.read_parquet(tmp_path / "people.parquet").equals(made.people)
    assert pl.read_parquet(tmp_path / "truth.parquet").equals(made.truth)


def test_seeds_to_tune_with_and_to_report_on_are_apart() -> None:
    assert not set(TUNING_SEEDS) & set(RELEASE_SEEDS)


def test_households_are_as_they_are_said_to_be() -> None:
    made = rosterbench(RosterPlan(20_000, 4))
    real = made.truth.filter(pl.col("cases") & (1 << CASES.index("placeholder")) == 0)
    pupils = made.people.join(real, on="rid").filter(pl.col("kind") == "student")
    twins = pupils.filter(pl.col("twins") > 0)
    first = twins.unique("person", keep="first", maintain_order=True)

    assert 0.02 < twins["person"].n_unique() / pupils["person"].n_unique() < 0.045
    assert first.group_by("twins").agg(pl.col("given").n_unique() == pl.len())["given"].mean() > 0.9
    assert 0.07 < 1 - real["person"].n_unique() / real.height < 0.13
    assert abs(made.people.height / 20_000 - 1) < 0.05
