"""The findings about shaping (codes ``SHP-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

LEFT_OUT = declare(
    "SHP-001", Severity.INFO, Action.REPORT,
    "Rows were left out by the transform's filter; they count as not in the file",
    "Nothing to mend if that is wanted. The transform's `where` of this file says which rows stay.",
    phase=Phase.FILE,
)  # fmt: skip
TABLE_MISSING = declare(
    "SHP-002", Severity.BLOCK_SYNC, Action.REFUSE, "A table that the mapping reads is not there or has no rows",
    "Export the named table too, or mark it as optional in the mapping.",
    phase=Phase.FILE,
)  # fmt: skip
COLUMN_MISSING = declare(
    "SHP-003", Severity.BLOCK_SYNC, Action.REFUSE, "A column that the mapping reads is not in its table",
    "Export the named column again, or name its new name in the mapping. A column that may be missing is listed there.",
    phase=Phase.FILE,
)  # fmt: skip
SEVERAL_PARTNERS = declare(
    "SHP-004", Severity.WARN, Action.REPORT,
    "Several rows of a joined table fit one row and disagree; the smallest value was taken",
    "Join by columns that tell the rows apart, or take all values as a list (`many`: `list`).",
    phase=Phase.FILE,
)  # fmt: skip
PARTNER_UNREADABLE = declare(
    "SHP-005", Severity.BLOCK_RECORD, Action.QUARANTINE,
    "The row's partner in a joined table was not found, and that table has rows that cannot be read",
    "Mend the unreadable rows of the joined table. The record keeps its last good version.",
    phase=Phase.FILE,
)  # fmt: skip
NOT_RECOGNISED = declare(
    "SHP-006", Severity.BLOCK_SYNC, Action.REFUSE, "Nothing tells the format of the tables",
    "Ask `hub mapping suggest` for a mapping, look it over and save it with the source.",
    phase=Phase.FILE,
)  # fmt: skip
RECOGNISED = declare(
    "SHP-007", Severity.INFO, Action.REPORT, "The format was told by tables and columns; the built-in mapping reads it",
    "Nothing to mend. Name the mapping in the source's settings to be sure of it.",
    phase=Phase.FILE,
)  # fmt: skip
