"""The findings about what Clever has (codes ``CLEVER-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

SPLIT_NAME = declare(
    "CLEVER-001", Severity.INFO, Action.FIX, "A contact's whole name in the family name",
    "Nothing needs doing where Clever gets whole names: the hub took the last word for the family name, or what stands "
    "before a comma.",
    phase=Phase.FILE,
)  # fmt: skip
NO_COURSE = declare(
    "CLEVER-002", Severity.INFO, Action.FIX, "A section without a course, which OneRoster requires",
    "Share courses with the application in Clever. Until then each such section has a course of its own name.",
    phase=Phase.FILE,
)  # fmt: skip
NO_TERM = declare(
    "CLEVER-003", Severity.INFO, Action.FIX, "A section without a term, or with one that Clever does not show",
    "Send terms with the sections to Clever. Until then such sections belong to the whole school year.",
    phase=Phase.FILE,
)  # fmt: skip
UNDATED_TERM = declare(
    "CLEVER-004", Severity.WARN, Action.FIX, "A term without its first or last day",
    "Send the days of terms to Clever. Until then the term is as long as the school year.",
    phase=Phase.FILE,
)  # fmt: skip
NO_USERNAME = declare(
    "CLEVER-005", Severity.INFO, Action.FIX, "A user without a username",
    "Share the district's usernames with the application in Clever. Until then the e-mail address stands in, else the "
    "number in the student system, else Clever's id.",
    phase=Phase.FILE,
)  # fmt: skip
NO_EVENTS = declare(
    "CLEVER-006", Severity.INFO, Action.REPORT, "The application gets no events from Clever",
    "Everything is pulled each time. Switch events on for the application in Clever's dashboard.",
    phase=Phase.FILE,
)  # fmt: skip
