"""The findings about rows of PowerSchool (codes ``PS-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

NO_VERSIONS = declare(
    "PS-001", Severity.INFO, Action.REPORT, "PowerSchool does not tell what changed",
    "Nothing needs doing: everything is pulled each time. With a data version subscription of the name in the "
    "source's data_version pulls bring changes alone.",
    phase=Phase.FILE,
)  # fmt: skip
NO_YEAR = declare(
    "PS-002", Severity.WARN, Action.REPORT, "No school year is under way",
    "The hub took the year that comes next, or else the last one. Check the terms of the district's schools.",
    phase=Phase.FILE,
)  # fmt: skip
NEVER_THERE = declare(
    "PS-003", Severity.INFO, Action.REPORT, "Students who left a class before they came",
    "Nothing needs doing: they never took part, so the hub has no enrollment of them.",
    phase=Phase.FILE,
)  # fmt: skip
REPEATED = declare(
    "PS-004", Severity.INFO, Action.FIX, "PowerSchool gave a row twice",
    "Nothing needs doing: the hub kept what came last. It happens when data changes while it is read.",
    phase=Phase.FILE,
)  # fmt: skip
