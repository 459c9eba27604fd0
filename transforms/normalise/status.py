"""The base columns ``status`` and ``dateLastModified``: what they mean in bulk and in delta files."""

from __future__ import annotations

import polars as pl

from transforms import issues
from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import absent, certain, empty, one_of
from transforms.normalise.vocabulary import VOC_001, VOC_003, token_reader, translate
from transforms.sheet import Sheet, file_of

STA_001 = declare(
    "STA-001", Severity.INFO, Action.REPORT, "status or dateLastModified filled in a bulk file",
    "Leave both columns blank in bulk files. The hub reads the status only to leave out rows marked as deleted.",
    fields=("status",), phase=Phase.FILE,
)  # fmt: skip
STA_002 = declare(
    "STA-002", Severity.BLOCK_RECORD, Action.QUARANTINE, "A row of a delta file without a status",
    "Write active or tobedeleted in each row of a delta file.",
    fields=("status",),
)  # fmt: skip


def deleted(sheet: Sheet, *, delta: bool) -> pl.Series:
    """Which rows say that their object is deleted; the base columns leave the sheet.

    In bulk mode a row marked as deleted counts as if it were not there, as its source asks.
    """
    field = sheet.entity["status"]
    if field.vocabulary is None:
        raise ValueError("the base field status has no vocabulary")
    filled = min(sheet["status"].null_count(), sheet["dateLastModified"].null_count()) < sheet.frame.height
    if filled and not delta:
        sheet.findings.append(issues.one(STA_001, entity=sheet.entity.name, file=file_of(sheet.entity), field="status"))
    if not empty(sheet["status"]):
        right = one_of(sheet["status"], field.vocabulary.both)
        reader = token_reader(field.vocabulary)
        translate(sheet, "status", right, reader, fixed=VOC_001, bad=VOC_003)
    if delta:
        sheet.report(STA_002, absent(sheet["status"]) & ~sheet.out, "status")
    gone = certain(sheet["status"] == "tobedeleted") & ~absent(sheet["key"])
    sheet.frame = sheet.frame[[name for name in sheet.frame.columns if name not in ("status", "dateLastModified")]]
    return gone
