"""Findings about what a source may not say, or says of somebody whom nobody else knows."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

SRC_001 = declare(
    "SRC-001", Severity.INFO, Action.REPORT, "A file of objects that this source does not speak for",
    "Nothing was read from the file. Leave it out, or let the source speak for its objects (its setting speaks_for).",
    phase=Phase.FILE,
)  # fmt: skip
SRC_002 = declare(
    "SRC-002", Severity.BLOCK_RECORD, Action.QUARANTINE, "An object that only this source knows, and may not make",
    "The source speaks for some fields only, so it adds to records of other sources. Look whether the object's key, or "
    "the fields that it is recognised by (its setting links), are those of the other source.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip
SRC_003 = declare(
    "SRC-003", Severity.WARN, Action.REPORT, "Recognised by a value that several objects have",
    "The object was not joined with any record of another source. Give each object a value of its own in this field.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip
SNAP_003 = declare(
    "SNAP-003", Severity.INFO, Action.REPORT, "A value that goes back and forth between sources",
    "Two sources say different things of this field, and now one, now the other goes first. Let one of them decide "
    "(the district's rules of survivorship), or mend the one that is wrong.",
    phase=Phase.CROSS_SNAPSHOT,
)  # fmt: skip
