"""The findings about what Aeries answers (codes ``AERIES-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

NO_TITLE = declare(
    "AERIES-001", Severity.INFO, Action.FIX, "An elementary class, which Aeries gives no title",
    "Nothing needs doing: the hub calls it by its teacher and grades.",
    phase=Phase.FILE,
)  # fmt: skip
NO_TERM = declare(
    "AERIES-002", Severity.INFO, Action.FIX, "A class in a term that its school does not have",
    "Look at the school's terms in Aeries. Until then such classes belong to the school's whole year.",
    phase=Phase.FILE,
)  # fmt: skip
UNDATED_TERM = declare(
    "AERIES-003", Severity.WARN, Action.FIX, "A term without its first or last day",
    "Enter the days of the school's terms in Aeries. Until then it lasts from July to July.",
    phase=Phase.FILE,
)  # fmt: skip
NO_USERNAME = declare(
    "AERIES-004", Severity.INFO, Action.FIX, "A user without a network login",
    "Enter the network logins in Aeries. Until then the e-mail address stands in, else the number in Aeries.",
    phase=Phase.FILE,
)  # fmt: skip
NO_CHANGES = declare(
    "AERIES-005", Severity.INFO, Action.REPORT, "Aeries does not say what changed",
    "Everything is pulled each time. hub source test says what has to be switched on or permitted.",
    phase=Phase.FILE,
)  # fmt: skip
NO_STAFF = declare(
    "AERIES-006", Severity.WARN, Action.REPORT, "A teacher of a class who is not among the staff, or has no staff id",
    "Enter the staff id in the teacher's record in Aeries. Until then the class has no such teacher.",
    phase=Phase.FILE,
)  # fmt: skip
MISSING_LIST = declare(
    "AERIES-007", Severity.WARN, Action.REPORT, "A school's list that Aeries does not find, taken as an empty one",
    "Nothing needs doing where the school has no such rows. If it has some, take missing_is_empty out of the source's "
    "settings.",
    phase=Phase.FILE,
)  # fmt: skip
MADE_DISTRICT = declare(
    "AERIES-008", Severity.INFO, Action.FIX, "The district is not among the schools that Aeries lists",
    "Nothing needs doing: the hub made an org for it. Its name is the setting district.",
    phase=Phase.FILE,
)  # fmt: skip
SPLIT_NAME = declare(
    "AERIES-009", Severity.INFO, Action.FIX, "A contact with a mailing name alone",
    "Enter first and last name of the contact in Aeries. Until then the last word is the family name.",
    phase=Phase.FILE,
)  # fmt: skip
