"""userIds: ``{type:identifier}`` items in one cell, to structs of type and identifier."""

from __future__ import annotations

import re

import polars as pl

from transforms.catalogue import Field
from transforms.issues import Action, Severity, declare
from transforms.marks import as_list, beside, blank, certain, empty, numbers, present, rows_of
from transforms.normalise.sensitive import ID_009
from transforms.sheet import Sheet

USR_013 = declare(
    "USR-013", Severity.WARN, Action.DROP_VALUE, "An item of userIds that is not {type:identifier}",
    "Write each identifier as {type:identifier}, several separated by commas, for example {LDAP:jdoe},{LTI:4711}.",
    entity="users", fields=("userIds",),
)  # fmt: skip

ITEM = pl.Struct({"type": pl.String, "identifier": pl.String})
_ITEM = r"\{[^{}]*\}"
_BESIDE = pl.col("").str.replace_all(_ITEM, "").str.contains(r"[^\s,]")
_SOCIAL_SECURITY = r"(?i)^\s*(?:ssn|social[ _-]?security.*)\s*$"


def is_social_security(type_: str) -> bool:
    """Whether identifiers of a type are social security numbers."""
    return re.fullmatch(_SOCIAL_SECURITY.removeprefix("(?i)"), type_, re.IGNORECASE) is not None


def read_user_ids(sheet: Sheet, field: Field) -> None:
    """Makes the column a List of {type, identifier}, sorted, without repeats; social security numbers never pass."""
    cells = sheet[field.name]
    if empty(cells):
        sheet.put(field.name, blank(cells.len(), pl.List(ITEM)))
        return
    item = pl.col("item").str.strip_chars("{} ")
    rows = numbers(cells.len())
    table = (
        rows_of(beside([rows.alias("row"), cells.str.extract_all(_ITEM).alias("item")]), present(cells))
        .explode("item")
        .select(
            "row",
            type=item.str.extract(r"^([^:]*):").str.strip_chars(),
            identifier=item.str.extract(r"^[^:]*:(.*)$").str.strip_chars(),
        )
    )
    whole = certain((table["type"] != "") & (table["identifier"] != ""))
    of_security = certain(table["type"].str.contains(_SOCIAL_SECURITY))
    secret, bad = table["row"].filter(of_security), table["row"].filter(~whole)
    good = rows_of(table, whole & ~of_security)
    outside = certain(cells.to_frame("").select_seq(_BESIDE).to_series())
    sheet.report(USR_013, outside | rows.is_in(as_list(bad)) if bad.len() else outside, field.name)
    if secret.len():
        sheet.report(ID_009, rows.is_in(as_list(secret)), field.name)
    lists = good.unique().sort("row", "type", "identifier").group_by("row", maintain_order=True).agg(
        items=pl.struct("type", "identifier")
    )  # fmt: skip
    sheet.put(
        field.name, rows.alias("row").to_frame().join(lists, on="row", how="left", maintain_order="left")["items"]
    )
