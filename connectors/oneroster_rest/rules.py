"""The findings about answers of OneRoster servers (codes ``REST-…``), each declared once."""

from __future__ import annotations

from transforms.issues import Action, Phase, Severity, declare

ODD_VALUE = declare(
    "REST-001", Severity.WARN, Action.DROP_VALUE, "A member of an object has a value of another kind than OneRoster's",
    "Have the vendor of the system mend its OneRoster server; the hub went on without these values.",
    phase=Phase.FILE,
)  # fmt: skip
NO_ACCOUNT = declare(
    "REST-002", Severity.INFO, Action.DROP_VALUE, "A user's profile without credentials",
    "Nothing needs doing: a profile that names no account tells applications nothing.",
    phase=Phase.FILE,
)  # fmt: skip
REPEATED = declare(
    "REST-003", Severity.INFO, Action.FIX, "The server gave an object twice, on different pages",
    "Nothing needs doing: the hub kept what came last. Servers do so when data changes while it is read.",
    phase=Phase.FILE,
)  # fmt: skip
UNDATED = declare(
    "REST-004", Severity.INFO, Action.REPORT, "Objects without dateLastModified",
    "The hub pulls all of them each time, since it cannot ask for changes. Ask the vendor to fill dateLastModified.",
    phase=Phase.FILE,
)  # fmt: skip
APART = declare(
    "REST-005", Severity.WARN, Action.REPORT, "Records of one number and different names, which stay apart",
    "If they are one person, give them one name in the system. If they are not, nothing needs doing.",
    phase=Phase.FILE,
)  # fmt: skip
UNTITLED = declare(
    "REST-006", Severity.INFO, Action.FIX, "Classes without a title, which are called by their code or id",
    "Nothing needs doing. With titles in the system, teachers see these in their applications.",
    phase=Phase.FILE,
)  # fmt: skip
