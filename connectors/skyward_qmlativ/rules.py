"""The findings about what Qmlativ answers (codes ``QML-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

NO_FIELD = declare(
    "QML-001", Severity.WARN, Action.REPORT, "A field that Qmlativ does not have, or does not show to this access",
    "Permit the field to the Integration Access if the district uses it; the hub goes on without it.",
    phase=Phase.FILE,
)  # fmt: skip
NO_TERM = declare(
    "QML-002", Severity.INFO, Action.FIX, "A class whose term Qmlativ does not say, or does not show",
    "Permit Section Length to the Integration Access. Until then such classes belong to the school year.",
    phase=Phase.FILE,
)  # fmt: skip
UNDATED = declare(
    "QML-003", Severity.INFO, Action.FIX, "A school year or term without its first or last day",
    "Nothing needs doing where years go from July to July, which the hub takes them to do.",
    phase=Phase.FILE,
)  # fmt: skip
NO_NAME = declare(
    "QML-004", Severity.WARN, Action.REPORT, "A student, guardian or member of staff without a name record",
    "Permit Demographics / Name to the Integration Access for all people. Until then these are no users.",
    phase=Phase.FILE,
)  # fmt: skip
NO_USERNAME = declare(
    "QML-005", Severity.INFO, Action.FIX, "A user without a username",
    "Permit Security / User to the Integration Access. Until then the e-mail address stands in, else Qmlativ's id.",
    phase=Phase.FILE,
)  # fmt: skip
