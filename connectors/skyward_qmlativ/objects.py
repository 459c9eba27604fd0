"""Qmlativ's objects and fields that the hub reads: the one place to look at when a district's are called otherwise.

Sources: two public clients of the API (Tools4ever's HelloID connectors for Qmlativ; rqmlativ and pyqmlativ, made from
the API's own lists of fields). What is marked ``?`` is not in either. Each object's fields are listed first, and only
those that it has are asked for; what is missing of ``needed`` stops a pull, what is missing of ``useful`` is told.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Not fields, though they stand among them in a list of fields.
NO_FIELDS = frozenset({"ValidationRules", "Relationships"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of objects. ``needed`` begins with its key. ``only``: a flag that is set on the objects to ask for.

    ``yearly``: whether the school year is stated, which limits the objects to it.
    """

    module: str
    name: str
    needed: tuple[str, ...]
    useful: tuple[str, ...] = ()
    only: str | None = None
    yearly: bool = False

    @property
    def key(self) -> str:
        """The field with the object's id."""
        return self.needed[0]

    @property
    def path(self) -> str:
        """What people and addresses call it."""
        return f"{self.module}/{self.name}"


ENTITIES = Kind("District", "Entity", ("EntityID", "Name"), ("Code", "DistrictID", "IsDistrictWide", "IsSystemWide"))
# ?: StartDate and EndDate; without them a year lasts from July to July
YEARS = Kind("District", "SchoolYear", ("SchoolYearID", "NumericYear"),
             ("Description", "IsCurrentYearForProvidedEntity", "StartDate", "EndDate"))  # fmt: skip
TERMS = Kind("Scheduling", "SectionLength", ("SectionLengthID",), ("Code", "Description", "StartDate", "EndDate"),
             yearly=True)  # fmt: skip
COURSES = Kind("Scheduling", "Course", ("CourseID", "CourseCode", "Description"), ("EntityID", "IsActive"), yearly=True)
# ?: SectionLengthID; without it classes belong to the school year
SECTIONS = Kind("Scheduling", "Section", ("SectionID", "CourseID", "EntityID"),
                ("Code", "IsActive", "SectionLengthID", "HomeroomID"), yearly=True)  # fmt: skip
SEATS = Kind("Scheduling", "StudentSection", ("StudentSectionID", "StudentID", "SectionID"), ("StartDate", "EndDate"),
             only="IsForCurrentSchoolYear", yearly=True)  # fmt: skip
TEACHING = Kind("Scheduling", "StaffMeet", ("StaffMeetID", "SectionID", "StaffID"), ("IsPrimary",), yearly=True)
STUDENTS = Kind("Student", "Student", ("StudentID", "NameID"), ("StudentNumber", "Grade", "CalculatedStudentStateID"),
                only="HasStudentEntityYearForCurrentSchoolYear", yearly=True)  # fmt: skip
STUDENT_YEARS = Kind("Enrollment", "StudentEntityYear",
                     ("StudentEntityYearID", "StudentID", "EntityID", "SchoolYearID", "IsActive"),
                     ("IsDefaultEntity",), yearly=True)  # fmt: skip
STAFF = Kind("Staff", "Staff", ("StaffID", "NameID"), ("StaffNumber", "IsActiveForDistrict"), yearly=True)
STAFF_YEARS = Kind("Staff", "StaffEntityYear",
                   ("StaffEntityYearID", "StaffID", "EntityID", "SchoolYearID", "IsTeacher"), ("IsActive",),
                   yearly=True)  # fmt: skip
NAMES = Kind("Demographics", "Name", ("NameID", "FirstName", "LastName"), ("MiddleName", "BirthDate", "GenderCode"))
EMAILS = Kind("Demographics", "NameEmail", ("NameEmailID", "NameID", "EmailAddress", "Rank"))
LOGINS = Kind("Security", "User", ("UserID", "NameID", "Username"), ("IsActive",))
GUARDIANS = Kind("Family", "StudentGuardian", ("StudentGuardianID", "StudentID", "NameIDGuardian"))
