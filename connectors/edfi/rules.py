"""The findings about what an Ed-Fi ODS has (codes ``EDFI-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

UNKNOWN = declare(
    "EDFI-001", Severity.WARN, Action.DROP_VALUE, "A value of a descriptor that has no meaning here",
    "Say in the source's descriptors what the value means in OneRoster, or have the system send a value of the Ed-Fi "
    "standard. The hub went on without it.",
    phase=Phase.FILE,
)  # fmt: skip
NO_SCHOOL = declare(
    "EDFI-002", Severity.INFO, Action.REPORT, "Students without a school, who were left out",
    "Nothing needs doing for students of former years. Others need a studentSchoolAssociation with a school that the "
    "key may read.",
    phase=Phase.FILE,
)  # fmt: skip
NO_PLACE = declare(
    "EDFI-003", Severity.INFO, Action.REPORT, "Staff without an assignment, a school or a section, who were left out",
    "Nothing needs doing for former staff. Others need an assignment to a school or district that the key may read.",
    phase=Phase.FILE,
)  # fmt: skip
NO_STUDENT = declare(
    "EDFI-004", Severity.INFO, Action.REPORT, "Contacts of nobody who is here, who were left out",
    "Nothing needs doing for contacts of former students.",
    phase=Phase.FILE,
)  # fmt: skip
NO_USERNAME = declare(
    "EDFI-005", Severity.INFO, Action.FIX, "Users without a login",
    "Have the student system send loginId. Until then the e-mail address stands in, else the unique id.",
    phase=Phase.FILE,
)  # fmt: skip
NO_CALENDAR = declare(
    "EDFI-006", Severity.INFO, Action.FIX, "A school year without instructional days in calendars",
    "Nothing needs doing: the year lasts from the first to the last day of its sessions.",
    phase=Phase.FILE,
)  # fmt: skip
NO_CHANGES = declare(
    "EDFI-007", Severity.INFO, Action.REPORT, "The host tells of no changes",
    "Everything is pulled each time. Have the host switch change queries on.",
    phase=Phase.FILE,
)  # fmt: skip
NO_SNAPSHOT = declare(
    "EDFI-008", Severity.INFO, Action.REPORT, "The host has no snapshot",
    "The data was read while it may have changed. Have the host make snapshots, or take the setting back.",
    phase=Phase.FILE,
)  # fmt: skip
