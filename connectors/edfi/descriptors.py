"""What Ed-Fi's descriptors mean in OneRoster. Sites have their own: the configuration adds meanings by value or URI.

Source: the values that the Ed-Fi data standard 4 to 6 ships with; OneRoster 1.2 vocabularies; CEDS grade codes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from transforms.catalogue.vocabularies import GRADES, SEX, USER_ROLE
from transforms.normalise.grades import grade

_LONGEST_SHOWN = 200

_TERMS = {
    **dict.fromkeys(("semester", "fall semester", "spring semester", "summer semester"), "semester"),
    **dict.fromkeys(("quarter", "first quarter", "second quarter", "third quarter", "fourth quarter", "trimester",
                     "first trimester", "second trimester", "third trimester", "miniterm", "year round", "other"),
                    "term"),
}  # fmt: skip
_GRADES = {
    "infant/toddler": "IT", "infant/toddlers": "IT", "early education": "PR", "preschool": "PR",
    "preschool/prekindergarten": "PK", "prekindergarten": "PK", "transitional kindergarten": "TK",
    "kindergarten": "KG", "adult education": "Other", "no grade level": "Other", "other": "Other", "grade 13": "13",
    "postsecondary": "PS", "ungraded": "UG",
}  # fmt: skip
_TEACHERS = ("teacher", "pre-kindergarten teacher", "kindergarten teacher", "elementary teacher", "secondary teacher",
             "ungraded teacher", "substitute teacher", "instructional coordinator", "high school teacher")  # fmt: skip
_STAFF = {
    **dict.fromkeys(_TEACHERS, "teacher"),
    **dict.fromkeys(("paraprofessional/instructional aide", "instructional aide", "library/media support staff"),
                    "aide"),
    **dict.fromkeys(("counselor", "school counselor", "elementary school counselor", "secondary school counselor"),
                    "counselor"),
    **dict.fromkeys(("lea administrator", "assistant superintendent", "superintendent", "lea system administrator"),
                    "districtAdministrator"),
    **dict.fromkeys(("school administrator", "school leader", "assistant principal"), "siteAdministrator"),
    "principal": "principal",
    # Supporting an office is no reason to see every child: the configuration may say otherwise.
    **dict.fromkeys(("lea administrative support staff", "school administrative support staff", "librarian",
                     "librarian/media specialist", "student support services staff", "support services staff",
                     "school psychologist", "psychologist", "nurse", "other", "all other support staff",
                     "school specialist", "lea specialist", "operational support", "state administrator"), "staff"),
}  # fmt: skip
_PARENTS = ("mother", "father", "parent", "mother, foster", "father, foster", "mother, step", "father, step",
            "stepmother", "stepfather", "adoptive parents", "foster parent", "step parent")  # fmt: skip
_RELATIONS = {
    **dict.fromkeys(_PARENTS, "parent"),
    **dict.fromkeys(("guardian", "legal guardian", "court appointed guardian", "father's significant other",
                     "mother's significant other", "primary caregiver"), "guardian"),
    **dict.fromkeys(("grandparent", "grandfather", "grandmother", "aunt", "uncle", "brother", "sister", "sibling",
                     "cousin", "other", "relative", "emergency contact", "friend", "neighbor"), "relative"),
}  # fmt: skip
_RACES = {
    "american indian or alaska native": "americanIndianOrAlaskaNative",
    "american indian - alaska native": "americanIndianOrAlaskaNative", "asian": "asian",
    "black or african american": "blackOrAfricanAmerican", "black - african american": "blackOrAfricanAmerican",
    "native hawaiian or pacific islander": "nativeHawaiianOrOtherPacificIslander",
    "native hawaiian or other pacific islander": "nativeHawaiianOrOtherPacificIslander",
    "native hawaiian - pacific islander": "nativeHawaiianOrOtherPacificIslander", "white": "white",
    **dict.fromkeys(("choose not to respond", "other", "unknown"), ""),
}  # fmt: skip
_SEXES = {"female": "female", "male": "male", "non-binary": "other", "not selected": "unspecified"}
_DAYS = {
    **dict.fromkeys(("instructional day", "make-up day", "student late arrival/early dismissal"), "true"),
    **dict.fromkeys(("emergency day", "holiday", "non-instructional day", "other", "strike", "teacher only day",
                     "weather day"), "false"),
}  # fmt: skip
_POSITIONS = {
    "teacher of record": "true",
    **dict.fromkeys(("assistant teacher", "substitute teacher", "support teacher", "facilitator"), "false"),
}
_TABLES: Mapping[str, Mapping[str, str]] = {
    "TermDescriptor": _TERMS, "GradeLevelDescriptor": _GRADES, "StaffClassificationDescriptor": _STAFF,
    "RelationDescriptor": _RELATIONS, "RaceDescriptor": _RACES, "SexDescriptor": _SEXES,
    "CalendarEventDescriptor": _DAYS, "ClassroomPositionDescriptor": _POSITIONS,
}  # fmt: skip
_BOOLEAN = frozenset({"true", "false"})
#: What values of a descriptor may mean.
MEANINGS: Mapping[str, frozenset[str]] = {
    "TermDescriptor": frozenset({"semester", "term", "gradingPeriod"}),
    "GradeLevelDescriptor": frozenset(GRADES.both),
    "StaffClassificationDescriptor": frozenset({*USER_ROLE.tokens("1.2"), "staff"}),
    "RelationDescriptor": frozenset({"parent", "guardian", "relative"}),
    "RaceDescriptor": frozenset({*_RACES.values(), "none"}) - {""},
    "SexDescriptor": frozenset(SEX.tokens("1.2")),
    "CalendarEventDescriptor": _BOOLEAN, "ClassroomPositionDescriptor": _BOOLEAN,
}  # fmt: skip


def code_of(uri: str | None) -> str | None:
    """The value of a descriptor: what stands behind its namespace."""
    return None if uri is None else uri.rpartition("#")[2].strip() or None


@dataclass
class Descriptors:
    """Reads descriptors. ``own``: meanings of the configuration. ``unknown``: how often each URI had none."""

    own: Mapping[str, Mapping[str, str]]
    unknown: Counter[tuple[str, str]] = field(default_factory=Counter)
    _known: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def meaning(self, name: str, uri: str | None) -> str | None:
        """What a value of a descriptor means; None where there is none, or nobody knows."""
        if uri is None:
            return None
        place = (name, uri)
        if place not in self._known:
            self._known[place] = self._look(name, uri)
        found = self._known[place]
        if found is None:
            self.unknown[name, uri[:_LONGEST_SHOWN]] += 1
        return found or None

    def _look(self, name: str, uri: str) -> str | None:
        code = code_of(uri) or ""
        folded = {key.lower(): value for key, value in self.own.get(name, {}).items()}
        for key in (uri.lower(), code.lower()):
            if key in folded:
                return "" if folded[key] == "none" else folded[key]
        found = _TABLES[name].get(code.lower())
        return grade(code) if found is None and name == "GradeLevelDescriptor" else found
