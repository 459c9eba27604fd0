"""The closed lists of OneRoster 1.1 and 1.2, each stated once.

Source: OneRoster 1.2 Rostering information model and CSV binding 1.2.1; OneRoster 1.1 tables (corrected 1.1.1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A list of tokens. ``only_12`` and ``only_11`` are the tokens that just one version knows.

    ``extensible`` says whether OneRoster 1.2 allows ``ext:`` tokens here; 1.1 has no extension rule.
    """

    name: str
    both: tuple[str, ...]
    only_12: tuple[str, ...] = ()
    only_11: tuple[str, ...] = ()
    extensible: bool = False

    def tokens(self, version: str) -> tuple[str, ...]:
        """All tokens of one version, ``"1.1"`` or ``"1.2"``."""
        return self.both + (self.only_11 if version == "1.1" else self.only_12)


STATUS = Vocabulary("status", ("active", "tobedeleted"))
ORG_TYPE = Vocabulary("orgType", ("department", "school", "district", "local", "state", "national"), extensible=True)
SESSION_TYPE = Vocabulary("sessionType", ("gradingPeriod", "semester", "schoolYear", "term"), extensible=True)
CLASS_TYPE = Vocabulary("classType", ("homeroom", "scheduled"), extensible=True)
USER_ROLE = Vocabulary(
    "userRole",
    ("aide", "guardian", "parent", "proctor", "relative", "student", "teacher"),
    only_12=(
        "counselor",
        "districtAdministrator",
        "principal",
        "siteAdministrator",
        "systemAdministrator",
    ),
    only_11=("administrator",),
    extensible=True,
)
ROLE_TYPE = Vocabulary("roleType", ("primary", "secondary"))
ENROLLMENT_ROLE = Vocabulary("enrollmentRole", ("administrator", "proctor", "student", "teacher"), extensible=True)
SEX = Vocabulary("sex", ("male", "female"), only_12=("unspecified", "other"), extensible=True)
BOOLEAN = Vocabulary("boolean", ("true", "false"))
# OneRoster leaves grades to local agreement; the hub normalises to the CEDS codes.
GRADES = Vocabulary(
    "grades",
    (
        "IT", "PR", "PK", "TK", "KG", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10",
        "11", "12", "13", "PS", "UG", "Other",
    ),
)  # fmt: skip
IMPORTANCE = Vocabulary("importance", ("primary", "secondary"))
# The role names of 1.1: those that 1.2 gave to users do not occur here.
RESOURCE_ROLE = Vocabulary(
    "resourceRole",
    ("administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher"),
    extensible=True,
)
SCORE_STATUS = Vocabulary(
    "scoreStatus", ("exempt", "fully graded", "not submitted", "partially graded", "submitted"), extensible=True
)
OBJECTIVE_SOURCE = Vocabulary("objectiveSource", ("case", "unknown"), extensible=True)
