"""From rows of Example SIS to rows of OneRoster's CSV files: RAW columns of text under the standard's headers.

A value that is missing is None: the hub reports what a record must have and lacks, and keeps the others. Never raise
for bad data. Ids are the system's own and must stay the same for ever, since the hub knows records by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.roster import Roster

Row = Mapping[str, Any]
#: File to the rows for it, each a cell by column.
Files = dict[str, list[dict[str, str | None]]]
_ROLES = {"pupil": "student", "teacher": "teacher"}


def text(row: Row, name: str) -> str | None:
    """A member as text; None for what is missing, or is no plain value."""
    value = row.get(name)
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def schools(row: Row) -> Files:
    """A school is an org."""
    return {"orgs": [{"sourcedId": text(row, "id"), "name": text(row, "name"), "type": "school"}]}


def terms(row: Row) -> Files:
    """A term is an academic session."""
    return {"academicSessions": [{
        "sourcedId": text(row, "id"), "title": text(row, "name"), "type": "term", "startDate": text(row, "begins"),
        "endDate": text(row, "ends"), "schoolYear": text(row, "year"),
    }]}  # fmt: skip


def sections(row: Row) -> Files:
    """A section is a class; many sections name one course, of which the last counts."""
    school, code = text(row, "school"), text(row, "course_code")
    course = f"{school}-{code}"
    return {
        "courses": [{"sourcedId": course, "title": text(row, "course"), "courseCode": code, "orgSourcedId": school}],
        "classes": [{
            "sourcedId": text(row, "id"), "title": text(row, "name"), "classType": "scheduled",
            "courseSourcedId": course, "schoolSourcedId": school, "termSourcedIds": text(row, "term"),
        }],
    }  # fmt: skip


def people(row: Row) -> Files:
    """A person is a user with one role."""
    key, role = text(row, "id"), _ROLES.get(str(row.get("kind")), "aide")
    return {
        "users": [{
            "sourcedId": key, "enabledUser": "true", "username": text(row, "login"), "givenName": text(row, "first"),
            "familyName": text(row, "last"), "email": text(row, "email"),
        }],
        "roles": [{
            "sourcedId": f"{key}-role", "userSourcedId": key, "roleType": "primary", "role": role,
            "orgSourcedId": text(row, "school"),
        }],
    }  # fmt: skip


def memberships(row: Row) -> Files:
    """A membership is an enrollment."""
    return {"enrollments": [{
        "sourcedId": text(row, "id"), "classSourcedId": text(row, "section"), "schoolSourcedId": text(row, "school"),
        "userSourcedId": text(row, "person"), "role": _ROLES.get(str(row.get("kind")), "aide"),
    }]}  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """One collection of the system: what becomes of a row, and the files that it fills."""

    name: str
    files: tuple[str, ...]
    mapped: Callable[[Row], Files] = field(repr=False)


#: What is referred to comes first.
COLLECTIONS = (
    Collection("schools", ("orgs",), schools),
    Collection("terms", ("academicSessions",), terms),
    Collection("sections", ("courses", "classes"), sections),
    Collection("people", ("users", "roles"), people),
    Collection("memberships", ("enrollments",), memberships),
)


@dataclass
class Rows:
    """Takes the pages of one collection and writes the rows of its files."""

    collection: Collection
    roster: Roster

    def begin_again(self) -> None:
        """Forgets everything."""
        for file in self.collection.files:
            self.roster.begin(file)

    def take(self, rows: Sequence[Row]) -> None:
        """The rows of one more page."""
        made = [self.collection.mapped(row) for row in rows]
        for file in self.collection.files:
            cells = [row for files in made for row in files[file]]
            if cells:
                self.roster.add(file, {column: [row[column] for row in cells] for column in cells[0]})

    def finish(self) -> None:
        """Ends the files."""
        for file in self.collection.files:
            self.roster.finish(file)
