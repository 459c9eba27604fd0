"""The sourcedIds, made of Ed-Fi's natural keys, in lower case: references may write them otherwise than their objects.

An org is its educationOrganizationId; a school year ``<district>-<year>``; a session ``<school>-<year>-<sessionName>``;
a course ``<educationOrganizationId>-<courseCode>``; a class ``<localCourseCode>-<school>-<year>-<sectionIdentifier>-
<sessionName>``; a user ``stu-``, ``sta-`` or ``con-`` and the unique id; an enrollment ``<user>-<class>-<beginDate>``.
What is longer than 255 characters is replaced by a hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from connectors.members import member, text

STUDENT, STAFF, CONTACT = "stu", "sta", "con"
_LONGEST = 255


def key(*parts: str | None) -> str | None:
    """A sourcedId of parts; None where one of them is missing."""
    if None in parts:
        return None
    found = "-".join(part for part in parts if part is not None).lower()
    return found if len(found) <= _LONGEST else "h-" + blake2b(found.encode(), digest_size=20).hexdigest()


def of_session(reference: Any) -> str | None:
    """The session that a reference names."""
    return key(*(text(member(reference, name)) for name in ("schoolId", "schoolYear", "sessionName")))


def of_offering(reference: Any) -> str | None:
    """What tells one course offering from another; nobody sees it."""
    names = ("localCourseCode", "schoolId", "schoolYear", "sessionName")
    return key(*(text(member(reference, name)) for name in names))


def of_class(reference: Any) -> str | None:
    """The class that a reference to a section names."""
    names = ("localCourseCode", "schoolId", "schoolYear", "sectionIdentifier", "sessionName")
    return key(*(text(member(reference, name)) for name in names))


def of_enrollment(kind: str, unique_id: str | None, section: Any, begin: Any) -> str | None:
    """An enrollment: who comes back to a class has another one."""
    return key(kind, unique_id, of_class(section), (text(begin) or "")[:10] or None)


def of_values(kind: str, values: Mapping[str, Any]) -> str | None:
    """The enrollment that the key values of a deletion or of a changed key name."""
    unique = text(values.get("studentUniqueId" if kind == STUDENT else "staffUniqueId"))
    return of_enrollment(kind, unique, values, values.get("beginDate"))
