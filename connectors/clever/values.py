"""Single values of Clever's objects as OneRoster has them. Source: Clever Data API 3.1 (lists of values)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connectors.members import text

#: Clever's words for grades beside the numbers, to CEDS codes.
_GRADES = {
    "InfantToddler": "IT", "Preschool": "PR", "PreKindergarten": "PK", "TransitionalKindergarten": "TK",
    "Kindergarten": "KG", "PostGraduate": "PS", "Ungraded": "UG", "Other": "Other",
}  # fmt: skip
#: The eleven subjects, as people write them.
_SUBJECTS = {
    "english/language arts": "English/Language Arts", "math": "Math", "science": "Science",
    "social studies": "Social Studies", "language": "Language", "homeroom/advisory": "Homeroom/Advisory",
    "interventions/online learning": "Interventions/Online Learning",
    "technology and engineering": "Technology and Engineering", "PE and health": "PE and Health",
    "arts and music": "Arts and Music", "other": "Other",
}  # fmt: skip
SEXES = {"M": "male", "F": "female", "X": "other"}
#: Clever names one race; each to the field of OneRoster that is true of it.
RACES = {
    "Caucasian": "white", "Asian": "asian", "Black or African American": "blackOrAfricanAmerican",
    "American Indian": "americanIndianOrAlaskaNative",
    "Hawaiian or Other Pacific Islander": "nativeHawaiianOrOtherPacificIslander",
    "Two or More Races": "demographicRaceTwoOrMoreRaces",
}  # fmt: skip
#: What is in the title of somebody of the staff, in the order in which it is looked for.
_TITLES = (
    ("counselor", re.compile(r"\bcounsell?or", re.IGNORECASE)),
    ("siteAdministrator", re.compile(r"\b(?:assistant|asst\.?|vice|deputy) +principal\b", re.IGNORECASE)),
    ("principal", re.compile(r"\bprincipal\b", re.IGNORECASE)),
    ("aide", re.compile(r"\b(?:aide|para(?:professional|educator)?)\b", re.IGNORECASE)),
)  # fmt: skip
_DAY = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)


def ids(value: Any) -> list[str]:
    """The ids in a list, each once, in its order."""
    given = value if isinstance(value, list) else []
    return list(dict.fromkeys(one for one in given if isinstance(one, str) and one))


def grade(value: Any) -> str | None:
    """A grade's CEDS code; a word that nobody knows stays, for the hub to tell."""
    word = text(value)
    if word is None:
        return None
    return _GRADES.get(word) or (word.zfill(2) if word.isascii() and word.isdigit() else word)


def subject(value: Any) -> str | None:
    """A subject's name; one that is none of the eleven stays."""
    word = text(value)
    return word if word is None else _SUBJECTS.get(word, word)


def staff_role(title: Any, usual: str) -> str:
    """The role of somebody of the staff, by what their title says."""
    words = text(title) or ""
    return next((role for role, said in _TITLES if said.search(words)), usual)


def contact_role(relationships: list[Mapping[str, Any]]) -> str:
    """The role of a contact: who is there for emergencies alone is no guardian."""
    if any(one.get("relationship") == "Parent" for one in relationships):
        return "parent"
    if relationships and all(one.get("type") == "Emergency" for one in relationships):
        return "relative"
    return "guardian"


def names(whole: str) -> tuple[str | None, str]:
    """Given and family name in a whole name."""
    family, comma, given = whole.partition(",")
    if comma:
        return given.strip() or None, family.strip() or whole
    given, _, family = whole.rpartition(" ")
    return given.strip() or None, family


def birth_date(value: Any) -> str | None:
    """A birthday, which Clever writes as month/day/year; what is no such date stays, for the hub to tell."""
    given = text(value)
    found = _DAY.fullmatch(given or "")
    return given if found is None else f"{found[3]}-{int(found[1]):02d}-{int(found[2]):02d}"
