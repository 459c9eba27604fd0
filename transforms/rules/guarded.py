"""Rules about what a run does as a whole: the guard finds these when it looks at the difference (docs/guard.md)."""

from __future__ import annotations

from typing import Final

from transforms.issues import Action, Phase, Severity, declare
from transforms.rules.given import SINCE

ID_005: Final = declare(
    "ID-005", Severity.WARN, Action.HOLD, "A sourcedId that now names a different person",
    "Give the new person a sourcedId of their own in the student system; a sourcedId is never given to somebody else.",
    entity="users", fields=("sourcedId",), phase=Phase.CROSS_SNAPSHOT, since=SINCE,
)  # fmt: skip
ORG_003: Final = declare(
    "ORG-003", Severity.WARN, Action.HOLD, "A school comes under another sourcedId, with the same name and identifier",
    "If it is the same school, give it its old sourcedId back, in the source or by its transform.",
    entity="orgs", fields=("sourcedId",), phase=Phase.CROSS_SNAPSHOT, since=SINCE,
)  # fmt: skip
ORG_004: Final = declare(
    "ORG-004", Severity.WARN, Action.HOLD, "A school ends, or loses all its classes or all its people",
    "Look whether the export left the school out. If it has closed, approve the run.",
    entity="orgs", fields=("sourcedId",), phase=Phase.CROSS_SNAPSHOT, since=SINCE,
)  # fmt: skip
SNAP_001: Final = declare(
    "SNAP-001", Severity.WARN, Action.HOLD, "Too many records of an entity are deleted or changed at once",
    "Look at the difference of the run. Approve it if that is meant; else mend the export.",
    phase=Phase.CROSS_SNAPSHOT, since=SINCE,
)  # fmt: skip
SNAP_002: Final = declare(
    "SNAP-002", Severity.WARN, Action.HOLD, "One field changes in very many records at once",
    "If that is meant (a new domain of all addresses, say), approve the run: for some time the same field may change.",
    phase=Phase.CROSS_SNAPSHOT, since=SINCE,
)  # fmt: skip
