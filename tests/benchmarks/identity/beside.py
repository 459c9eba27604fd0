"""Splink in the same process on the same data, with the settings of its own FEBRL example."""

from __future__ import annotations

from typing import Any

import polars as pl

#: The match probability at which Splink joins; the second is the best one that is known for FEBRL.
THRESHOLDS = (0.95, 0.5)
ROSTER = ("given_name", "middle_name", "surname", "sex", "address", "postcode", "date_of_birth")


def splink(raw: Any, *, identifier: bool, fields: str, link: bool = False) -> dict[float, pl.DataFrame]:
    """Clusters (rid, cluster) at each of ``THRESHOLDS``. ``fields``: "febrl", "roster", or "roster without home"."""
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    api = DuckDBAPI()
    comparisons, rules, training = _febrl(identifier) if fields == "febrl" else _roster(home=fields == "roster")
    settings = SettingsCreator(
        link_type="link_only" if link else "dedupe_only", unique_id_column_name="rid", comparisons=comparisons,
        blocking_rules_to_generate_predictions=[block_on(*rule) for rule in rules],
        retain_intermediate_calculation_columns=False,
    )  # fmt: skip
    tables = [part.drop(columns="source") for _, part in raw.groupby("source")] if link else raw.drop(columns="source")
    linker = Linker(_registered(api, tables), settings)
    linker.training.estimate_probability_two_random_records_match(
        [block_on(*rule) for rule in rules[:2]], recall=0.7
    )  # fmt: skip
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in training:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule))
    pairs = linker.inference.predict(threshold_match_probability=0.01)
    found = {}
    for threshold in THRESHOLDS:
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(pairs, threshold)
        frame = clusters.as_pandas_dataframe()
        found[threshold] = pl.DataFrame({"rid": frame["rid"].tolist(), "cluster": frame["cluster_id"].tolist()}).cast(
            {"rid": pl.UInt32}
        )
    return found


def _registered(api: Any, tables: Any) -> Any:
    if isinstance(tables, list):
        return [api.register(table, source_dataset_name=f"s{at}") for at, table in enumerate(tables)]
    return api.register(tables)


def _febrl(identifier: bool) -> tuple[list[Any], list[tuple[str, ...]], list[tuple[str, ...]]]:
    import splink.comparison_library as cl

    comparisons = [
        cl.NameComparison("given_name"),
        cl.NameComparison("surname"),
        cl.DateOfBirthComparison(
            "date_of_birth", input_is_string=True, datetime_format="%Y%m%d", invalid_dates_as_null=True
        ),
        cl.ExactMatch("street_number").configure(term_frequency_adjustments=True),
        cl.JaroWinklerAtThresholds("suburb").configure(term_frequency_adjustments=True),
        cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
    ]
    if identifier:
        comparisons.append(cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]))
    rules = [
        ("given_name", "surname"), ("date_of_birth", "given_name"), ("date_of_birth", "surname"),
        ("given_name", "street_number"),
        ("surname", "street_number"), ("postcode", "given_name"), ("postcode", "surname"),
        ("date_of_birth", "postcode"),
        ("state", "address_1"), ("street_number", "address_1"),
    ]  # fmt: skip
    if identifier:
        rules.insert(0, ("soc_sec_id",))
    return comparisons, rules, [("date_of_birth",), ("postcode", "street_number")]


def _roster(*, home: bool) -> tuple[list[Any], list[tuple[str, ...]], list[tuple[str, ...]]]:
    import splink.comparison_library as cl

    comparisons = [
        cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        cl.JaroWinklerAtThresholds("middle_name"),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        cl.DateOfBirthComparison("date_of_birth", input_is_string=True, datetime_format="%Y%m%d"),
        cl.ExactMatch("sex"),
    ]
    if home:
        comparisons += [cl.JaroWinklerAtThresholds("address"), cl.ExactMatch("postcode")]
    rules = [
        ("date_of_birth", "surname"), ("date_of_birth", "given_name"), ("given_name", "surname", "postcode"),
        ("given_name", "surname", "substr(date_of_birth, 1, 4)"),
        ("given_name", "surname", "substr(date_of_birth, 5, 4)"),
    ]  # fmt: skip
    return comparisons, rules, [("date_of_birth",), ("given_name", "surname")]


def of_people(people: pl.DataFrame) -> Any:
    """PERSON as the table that Splink compares, names in one case."""
    return people.select(
        "rid", "source",
        given_name=pl.col("given").str.to_lowercase(), middle_name=pl.col("middle").str.to_lowercase(),
        surname=pl.col("family").str.to_lowercase(), sex="sex", address=pl.col("street").str.to_lowercase(),
        postcode="postcode", date_of_birth=pl.col("birth_date").dt.strftime("%Y%m%d"),
    ).to_pandas()  # fmt: skip
