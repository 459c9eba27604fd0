"""References between files. A required one that points nowhere keeps the row out, an optional one is dropped.

Each finding names its root cause: the object that is missing, or whatever kept that object out itself. So one missing
school explains its classes and their enrollments, and is one line in the report.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import CATALOGUE, Field
from transforms.issues import Action, Phase, Severity, declare
from transforms.lookup import lookup
from transforms.marks import absent, among, as_list, blank, certain, empty, few, one_of, present, rows_of, without
from transforms.normalise.lists import LST_001, ORDERED, items, listed, single, untidy
from transforms.normalise.text import NAME_001
from transforms.sheet import Sheet, is_owner, required, spread
from transforms.validate.identifiers import trimmed, unstorable
from transforms.validate.known import Known

REF_001 = declare(
    "REF-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "A required reference points to an object that is not there",
    "Mend the object named as the cause first: it is missing from its file or was kept out itself. Rows that point "
    "to it come in by themselves with the next sync.",
    phase=Phase.CROSS_ENTITY,
)  # fmt: skip
REF_002 = declare(
    "REF-002", Severity.WARN, Action.DROP_VALUE, "An optional reference points to an object that is not there",
    "Mend the object named as the cause, or empty the field in the student system.",
    phase=Phase.CROSS_ENTITY,
)  # fmt: skip
REF_003 = declare(
    "REF-003", Severity.WARN, Action.REPORT,
    "A reference points to an object of another type than the standard asks for",
    "Point schools to orgs of type school, school years to sessions of type schoolYear, line items to a term, semester "
    "or grading period. The hub keeps the reference.",
    phase=Phase.CROSS_ENTITY,
)  # fmt: skip
ORG_001 = declare(
    "ORG-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "A user, or a role of a user, in an org that is not there",
    "Mend the org named as the cause, or give the user an org in the student system.",
    phase=Phase.CROSS_ENTITY,
)  # fmt: skip


def _among(values: pl.Series, keys: pl.Series) -> pl.Series:
    """Where a value is one of ``keys``, and where there is none."""
    if keys.len() <= values.len() or few(values, keys):
        return among(values, keys)
    return present(lookup(keys).places(values)) | absent(values)


def check_references(sheet: Sheet, known: Known, *, own: bool = False) -> None:
    """Resolves the references to other entities, or (``own``) those to rows of the same file."""
    for field in sheet.fields:
        target = field.target
        if target is None or field.derived or target not in CATALOGUE or is_owner(field):
            continue
        if CATALOGUE[target].component_of is not None or (target == sheet.entity.name) is not own:
            continue
        if field.many:
            _check_many(sheet, field, target, known.keys(target), known)
        else:
            _check_one(sheet, field, target, known.keys(target), known)
        _check_type(sheet, field, target, known)


def check_owner(sheet: Sheet, known: Known) -> None:
    """Demographics share the user's sourcedId: without the user the row is kept out."""
    target = sheet.entity.rid_of
    if target is not None:
        missing = ~_among(sheet["key"], known.keys(target))
        if missing.any():
            sheet.report(REF_001, missing, "sourcedId", _causes(sheet["key"], missing, target, known))


def _check_one(sheet: Sheet, field: Field, target: str, keys: pl.Series, known: Known) -> None:
    values = sheet[field.name]
    if empty(values):
        return
    missing = ~_among(values, keys)
    if not missing.any():
        return
    unknown = values.filter(missing)
    again = trimmed(unknown)
    if again is not unknown:
        there = _among(again, keys)
        values = spread(values, missing, again)
        sheet.report(NAME_001, spread(missing, missing, there & ~absent(again)), field.name)
        missing = spread(missing, missing, ~there)
    if missing.any():
        lost = ORG_001 if sheet.entity.name == "roles" and target == "orgs" else REF_001
        rule = lost if required(field, sheet.version) else REF_002
        sheet.report(rule, missing, field.name, _causes(values, missing, target, known))
    sheet.put(field.name, without(values, missing))


def _check_many(sheet: Sheet, field: Field, target: str, keys: pl.Series, known: Known) -> None:
    cells = sheet[field.name]
    if empty(cells):
        sheet.put(field.name, cells.cast(pl.List(pl.String)))
        return
    if single(cells) and _among(cells, keys).all():
        sheet.put(field.name, cells.reshape((-1, 1)).arr.to_list() if cells.null_count() == 0 else _wrapped(cells))
        return
    table = items(cells, identifiers=True)
    sheet.report(LST_001, untidy(cells, table), field.name)
    there = _among(table["item"], keys)
    lists = listed(cells, table.filter(there), ordered=field.name in ORDERED)
    lost = table.filter(~there)
    if lost.height:
        _report_lost(sheet, field, known, target=target, cells=cells, lists=lists, lost=lost)
    sheet.put(field.name, lists)


def _report_lost(
    sheet: Sheet, field: Field, known: Known, *, target: str, cells: pl.Series, lists: pl.Series, lost: pl.DataFrame,
) -> None:  # fmt: skip
    reason = known.cause(target, _shown(lost["item"]))
    first = lost.with_columns(cause=reason).group_by("cell", maintain_order=True).agg(pl.col("cause").sort().first())
    cause = cells.alias("cell").to_frame().join(first, on="cell", how="left", maintain_order="left")["cause"]
    some = present(cause)
    nothing = absent(lists) & some
    if required(field, sheet.version):
        sheet.report(ORG_001 if sheet.entity.name == "users" else REF_001, nothing, field.name, cause)
        sheet.report(REF_002, some & ~nothing, field.name, cause)
    else:
        sheet.report(REF_002, some, field.name, cause)


def _check_type(sheet: Sheet, field: Field, target: str, known: Known) -> None:
    if not field.target_type or field.many:
        return
    rows = known.rows(target)
    others = rows_of(rows, ~one_of(rows["type"], field.target_type))
    wrong = others["key"].filter(~others["type"].str.starts_with("ext:")) if others.height else others["key"]
    if wrong.len():
        sheet.report(REF_003, sheet[field.name].is_in(as_list(wrong)), field.name)


def _causes(values: pl.Series, missing: pl.Series, target: str, known: Known) -> pl.Series:
    nothing = blank(values.len(), pl.String)
    return spread(nothing, missing, known.cause(target, _shown(values.filter(missing))))


def _shown(keys: pl.Series) -> pl.Series:
    """Keys as a finding may show them: what could not be stored is not shown."""
    refused = certain(unstorable(keys))
    return spread(keys, refused, pl.Series(["?"]).new_from_index(0, int(refused.sum()))) if refused.any() else keys


def _wrapped(cells: pl.Series) -> pl.Series:
    return cells.to_frame("item").select(pl.when(pl.col("item").is_not_null()).then(pl.concat_list("item"))).to_series()
