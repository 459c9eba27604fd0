"""What can be wrong with an object that an app writes: stable codes, each with the way to mend it.

Other than the findings of ``transforms.issues``, which a district's staff read and mend in its system, these go back
to the app in the answer to its request. A fault names a place and never repeats a value. docs/gradebook.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FaultCode(StrEnum):
    """Stable codes. A code is never used again for another meaning."""

    # Of one value
    MISSING = "missing"
    NOT_AN_OBJECT = "not_an_object"
    NOT_A_LIST = "not_a_list"
    NOT_TEXT = "not_text"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_BOOLEAN = "not_a_boolean"
    NOT_A_DATE = "not_a_date"
    NOT_A_DATE_TIME = "not_a_date_time"
    NOT_A_YEAR = "not_a_year"
    NOT_A_REFERENCE = "not_a_reference"
    NOT_A_UUID = "not_a_uuid"
    BAD_IDENTIFIER = "bad_identifier"
    CONTROL_CHARACTER = "control_character"
    TOO_LONG = "too_long"
    TOO_DEEP = "too_deep"
    UNKNOWN_WORD = "unknown_word"
    UNKNOWN_MEMBER = "unknown_member"
    # Between values, and between objects
    DIFFERS_FROM_PATH = "differs_from_path"
    DUPLICATE = "duplicate"
    UNKNOWN_REFERENCE = "unknown_reference"
    MIN_ABOVE_MAX = "min_above_max"
    OTHER_CLASS = "other_class"
    OTHER_SCHOOL = "other_school"
    OTHER_SESSION = "other_session"
    NOT_ENROLLED = "not_enrolled"
    NOT_ON_SCALE = "not_on_scale"
    CYCLE = "cycle"
    CLASS_IN_USE = "class_in_use"


HOWTO: dict[FaultCode, str] = {
    FaultCode.MISSING: "send it: OneRoster requires it",
    FaultCode.NOT_AN_OBJECT: "send a JSON object",
    FaultCode.NOT_A_LIST: "send a JSON array",
    FaultCode.NOT_TEXT: "send a JSON string",
    FaultCode.NOT_A_NUMBER: "send a finite JSON number",
    FaultCode.NOT_A_BOOLEAN: 'send "true" or "false"',
    FaultCode.NOT_A_DATE: "send a day between 1900 and 2199 as YYYY-MM-DD",
    FaultCode.NOT_A_DATE_TIME: "send a time between 1900 and 2199 as YYYY-MM-DDTHH:MM:SS.sssZ",
    FaultCode.NOT_A_YEAR: "send a year between 1900 and 2199 as YYYY, of a school year that in which it ends",
    FaultCode.NOT_A_REFERENCE: 'send an object with the sourcedId, like {"sourcedId": "…"}',
    FaultCode.NOT_A_UUID: "identifiers of the source case are UUIDs",
    FaultCode.BAD_IDENTIFIER: "send 1 to 255 printable characters without spaces at the ends",
    FaultCode.CONTROL_CHARACTER: "take out control characters other than tab and line break",
    FaultCode.TOO_LONG: "texts have 4,000 characters at most, lists 1,000 items, metadata 64 KiB",
    FaultCode.TOO_DEEP: "metadata may be nested 32 levels deep",
    FaultCode.UNKNOWN_WORD: "use one of OneRoster's words, or ext: and a word where it allows that",
    FaultCode.UNKNOWN_MEMBER: "take it out, or put it into metadata",
    FaultCode.DIFFERS_FROM_PATH: "the path names another object",
    FaultCode.DUPLICATE: "give each object of a request a sourcedId of its own",
    FaultCode.UNKNOWN_REFERENCE: "there is no such object, or this app may not see it",
    FaultCode.MIN_ABOVE_MAX: "resultValueMin must not be above resultValueMax",
    FaultCode.OTHER_CLASS: "the line item belongs to another class",
    FaultCode.OTHER_SCHOOL: "the class belongs to another school",
    FaultCode.OTHER_SESSION: "the line item belongs to another academic session",
    FaultCode.NOT_ENROLLED: "the student is not enrolled in the class of the line item",
    FaultCode.NOT_ON_SCALE: "use a value of the score scale",
    FaultCode.CYCLE: "an assessment line item cannot lie below itself",
    FaultCode.CLASS_IN_USE: "other objects use this one in its class: delete them first, or leave the class",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and its place, written as the app would reach it: ``lineItems[3].class``."""

    path: str
    code: FaultCode

    def __str__(self) -> str:
        return f"{self.path} ({self.code.value}): {HOWTO[self.code]}"


def described(faults: Iterable[Fault], *, most: int = 5) -> str:
    """The first faults in one sentence each, and how many there are beside them."""
    found = list(faults)
    text = "; ".join(str(fault) for fault in found[:most])
    return text if len(found) <= most else f"{text}; and {len(found) - most} more"
