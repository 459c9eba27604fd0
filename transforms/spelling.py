"""The objects of many records of a compact entity at once, in columns: a third of what they cost one by one."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from transforms.render import SHORT, spelled

#: Begins each record in a text for ``objects``. No JSON text has it.
MARK = "\x1e"
_FIRST = 3  # the place of the first short reference in a record's pieces, behind mark, sourcedId and document's begin


def objects(
    text: str, count: int, around: tuple[str, str, str, str], dates: pl.Series | str, addresses: Mapping[str, str]
) -> pl.Series:
    """The JSON objects of records, with the references of their documents in full.

    ``text``: of each of the ``count`` records ``MARK``, sourcedId and document, all with ``SHORT`` between.
    ``around``: the texts before an object's sourcedId, its date and its document, and behind that.
    ``dates``: one for each record, or for all of them. ``addresses`` take the places of the services' marks.
    """
    pieces = pl.select(piece=pl.lit(text).str.split(SHORT).explode())
    width, rest = divmod(pieces.height, count)
    if rest or width < _FIRST:
        return _one_by_one(text, around, dates, addresses)
    # Every call of the column engine costs as much as a hundred records: there are as few as can be.
    columns = pieces.select(pl.col("piece").gather_every(width, place).alias(str(place)) for place in range(width))
    codes = {place: columns.item(0, place)[:1] for place in range(_FIRST, width, 2)}
    alike = [pl.col("0") == MARK, *(pl.col(str(place)).str.starts_with(code) for place, code in codes.items())]
    if not columns.select(pl.all_horizontal(alike).all()).item():
        return _one_by_one(text, around, dates, addresses)
    before_id, before_date, before_document, end = around
    parts = [pl.lit(before_id), pl.col("1"), pl.lit(before_date), pl.lit(dates), pl.lit(before_document), pl.col("2")]
    for place, code in codes.items():
        before, between, after = _addressed(code, addresses)
        target = pl.col(str(place)).str.slice(1)
        parts += [pl.lit(before), target, pl.lit(between), target, pl.lit(after), pl.col(str(place + 1))]
    return columns.select(object=pl.concat_str(*parts, pl.lit(end))).to_series()


def _addressed(reference: str, addresses: Mapping[str, str]) -> tuple[str, str, str]:
    before, between, after = spelled(reference)
    for mark, address in addresses.items():
        before = before.replace(mark, address)
    return before, between, after


def _one_by_one(
    text: str, around: tuple[str, str, str, str], dates: pl.Series | str, addresses: Mapping[str, str]
) -> pl.Series:
    """Like ``objects``, where documents have different references: some lack one that is optional."""
    before_id, before_date, before_document, end = around
    records = text[len(MARK + SHORT) :].split(f"{SHORT}{MARK}{SHORT}")
    made = []
    for record, date in zip(records, [dates] * len(records) if isinstance(dates, str) else dates, strict=True):
        sourced_id, document, *references = record.split(SHORT)
        for reference, following in zip(references[::2], references[1::2], strict=True):
            before, between, after = _addressed(reference, addresses)
            document += f"{before}{reference[1:]}{between}{reference[1:]}{after}{following}"
        made.append(f"{before_id}{sourced_id}{before_date}{date}{before_document}{document}{end}")
    return pl.Series(made, dtype=pl.String)
