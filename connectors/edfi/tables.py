"""From the rows of a resource to flat columns. Source: Ed-Fi data standard 4 to 6, the resources of its API.

Each function takes a page and gives String columns, one row each, or several for what is a list; ``None`` is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from connectors.edfi import keys
from connectors.edfi.descriptors import Descriptors, code_of
from connectors.members import Objects, member, objects_of, text

_Row = Mapping[str, str | None]
_UNSAFE = str.maketrans(dict.fromkeys("{},", " "))
_SECRET_SYSTEMS = frozenset({"ssn", "social security number"})


def columns(rows: Sequence[_Row], *header: str) -> pl.DataFrame:
    """Rows as a frame."""
    return pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in header})


def _of(objects: Objects, **paths: tuple[str, ...]) -> pl.DataFrame:
    """Members by path, one column each."""
    made = {name: pl.Series([text(member(one, *path)) for one in objects], dtype=pl.String)
            for name, path in paths.items()}  # fmt: skip
    return pl.DataFrame(made)


def is_true(value: Any) -> bool:
    """A boolean, however a system writes it."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def names(objects: Objects, kind: str) -> pl.DataFrame:
    """What students, staffs and contacts have in common. ``kind``: student, staff or contact (or parent)."""
    return _of(
        objects, unique=(f"{kind}UniqueId",), givenName=("firstName",), familyName=("lastSurname",),
        middleName=("middleName",), preferredGivenName=("preferredFirstName",), login=("loginId",),
        preferredFamilyName=("preferredLastSurname",),
    )  # fmt: skip


def with_contact_details(objects: Objects, frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    """``frame`` with the e-mail address, telephone numbers and other ids that the objects themselves have."""
    emails = [email(one, school=kind != "contact") for one in objects]
    phones = [_phones(one) for one in objects]
    return frame.with_columns(
        pl.Series("email", emails, dtype=pl.String),
        pl.Series("phone", [phone for phone, _ in phones], dtype=pl.String),
        pl.Series("sms", [sms for _, sms in phones], dtype=pl.String),
        pl.Series("ids", [other_ids(one.get("identificationCodes"), "staff") for one in objects], dtype=pl.String),
    )


def email(one: Mapping[str, Any], *, school: bool) -> str | None:
    """The e-mail address to show: none that must not be published; the primary one, else the organization's.

    ``school``: an address of the school goes before one of home.
    """
    usual = ("organization", "work") if school else ("home/personal",)
    found = [
        (not is_true(mail.get("primaryEmailAddressIndicator")), kind.lower() not in usual, kind, address)
        for mail in objects_of(one.get("electronicMails"))
        if not is_true(mail.get("doNotPublishIndicator")) and (address := text(mail.get("electronicMailAddress")))
        for kind in (code_of(text(mail.get("electronicMailTypeDescriptor"))) or "",)
    ]  # fmt: skip
    return min(found)[3] if found else None


def _phones(one: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """A telephone number and a mobile one, of those that may be published."""
    found: dict[bool, str] = {}
    for phone in objects_of(one.get("telephones")):
        number = text(phone.get("telephoneNumber"))
        mobile = (code_of(text(phone.get("telephoneNumberTypeDescriptor"))) or "").lower() in {"mobile", "cell"}
        if number and not is_true(phone.get("doNotPublishIndicator")):
            found[mobile] = min(found.get(mobile, number), number)
    return found.get(False), found.get(True)


def other_ids(codes: Any, whose: str) -> str | None:
    """Identification codes as ``userIds`` has them; social security numbers are left out."""
    pairs: set[str] = set()
    for one in objects_of(codes):
        kind = code_of(text(one.get(f"{whose}IdentificationSystemDescriptor")))
        code = text(one.get("identificationCode"))
        if kind and code and kind.lower() not in _SECRET_SYSTEMS:
            left = kind.translate(_UNSAFE).replace(":", " ").strip()
            pairs.add(f"{{{left}:{code.translate(_UNSAFE).strip()}}}")
    return ",".join(sorted(pairs)) or None


def student_schools(objects: Objects, descriptors: Descriptors) -> pl.DataFrame:
    """Who goes to which school: unique, school, begin, end (the first day after), primary, grade."""
    frame = _of(
        objects, unique=("studentReference", "studentUniqueId"), school=("schoolReference", "schoolId"),
        begin=("entryDate",), end=("exitWithdrawDate",), grade=("entryGradeLevelDescriptor",),
    )  # fmt: skip
    return frame.with_columns(
        pl.col("begin", "end").str.slice(0, 10),
        pl.Series("grade", [descriptors.meaning("GradeLevelDescriptor", uri) for uri in frame["grade"]],
                  dtype=pl.String),
        pl.Series("primary", ["1" if is_true(one.get("primarySchool")) else "0" for one in objects], dtype=pl.String),
    )  # fmt: skip


def student_orgs(objects: Objects, descriptors: Descriptors, *, private: bool) -> pl.DataFrame:
    """What organizations say of students: unique, org, contact details, ids; ``private``: races and sex as well."""
    frame = _of(
        objects, unique=("studentReference", "studentUniqueId"), login=("loginId",),
        org=("educationOrganizationReference", "educationOrganizationId"),
    )  # fmt: skip
    phones = [_phones(one) for one in objects]
    made = {
        "email": [email(one, school=True) for one in objects],
        "phone": [phone for phone, _ in phones], "sms": [sms for _, sms in phones],
        "ids": [other_ids(one.get("studentIdentificationCodes"), "student") for one in objects],
    }  # fmt: skip
    if private:
        made["races"] = [
            ",".join(sorted({race for item in objects_of(one.get("races"))
                             if (race := descriptors.meaning("RaceDescriptor", text(item.get("raceDescriptor"))))}))
            for one in objects
        ]  # fmt: skip
        made["hispanic"] = [
            None if one.get("hispanicLatinoEthnicity") is None else str(is_true(one["hispanicLatinoEthnicity"])).lower()
            for one in objects
        ]
        made["sex"] = [descriptors.meaning("SexDescriptor", text(one.get("sexDescriptor"))) for one in objects]
    return frame.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in made.items())


def births(objects: Objects, descriptors: Descriptors) -> pl.DataFrame:
    """When, where and as what students were born."""
    frame = _of(objects, unique=("studentUniqueId",), birthDate=("birthDate",), cityOfBirth=("birthCity",))
    return frame.with_columns(
        pl.col("birthDate").str.slice(0, 10),
        pl.Series("birthSex", [descriptors.meaning("SexDescriptor", text(one.get("birthSexDescriptor")))
                               for one in objects], dtype=pl.String),
        pl.Series("stateOfBirthAbbreviation", [code_of(text(one.get("birthStateAbbreviationDescriptor")))
                                               for one in objects], dtype=pl.String),
        pl.Series("countryOfBirthCode", [code_of(text(one.get("birthCountryDescriptor"))) for one in objects],
                  dtype=pl.String),
    )  # fmt: skip


def student_contacts(objects: Objects, descriptors: Descriptors, kind: str) -> pl.DataFrame:
    """Whose contact somebody is: unique (the contact's), student, role. ``kind``: contact or parent."""
    frame = _of(
        objects, unique=(f"{kind}Reference", f"{kind}UniqueId"), student=("studentReference", "studentUniqueId"),
        role=("relationDescriptor",),
    )  # fmt: skip
    roles = [
        "guardian" if is_true(one.get("legalGuardian")) and meant != "parent" else meant or "relative"
        for one, meant in zip(
            objects, (descriptors.meaning("RelationDescriptor", uri) for uri in frame["role"]), strict=True
        )
    ]
    return frame.with_columns(pl.Series("role", roles, dtype=pl.String))


def assignments(objects: Objects, descriptors: Descriptors) -> pl.DataFrame:
    """Where staff is assigned: unique, org, role (by the classification), begin, end (the last day)."""
    frame = _of(
        objects, unique=("staffReference", "staffUniqueId"), role=("staffClassificationDescriptor",),
        org=("educationOrganizationReference", "educationOrganizationId"), begin=("beginDate",), end=("endDate",),
    )  # fmt: skip
    meant = [descriptors.meaning("StaffClassificationDescriptor", uri) for uri in frame["role"]]
    return frame.with_columns(pl.col("begin", "end").str.slice(0, 10), pl.Series("role", meant, dtype=pl.String))


def staff_schools(objects: Objects) -> pl.DataFrame:
    """At which schools staff is: unique, org."""
    return _of(objects, unique=("staffReference", "staffUniqueId"), org=("schoolReference", "schoolId"))


def enrollments(objects: Objects, kind: str, descriptors: Descriptors) -> pl.DataFrame:
    """Enrollments of students or staff, and beside them unique, school and year to choose by."""
    person = "student" if kind == keys.STUDENT else "staff"
    frame = _of(
        objects, unique=(f"{person}Reference", f"{person}UniqueId"), beginDate=("beginDate",), last=("endDate",),
        school=("sectionReference", "schoolId"), year=("sectionReference", "schoolYear"),
    )  # fmt: skip
    sections = [one.get("sectionReference") for one in objects]
    begins = [one.get("beginDate") for one in objects]
    primary: list[str | None] = [None] * len(objects)
    if kind == keys.STAFF:
        uris = (text(one.get("classroomPositionDescriptor")) for one in objects)
        primary = [descriptors.meaning("ClassroomPositionDescriptor", uri) or "false" for uri in uris]
    made: dict[str, list[str | None]] = {
        "sourcedId": [keys.of_enrollment(kind, unique, section, begin)
                      for unique, section, begin in zip(frame["unique"], sections, begins, strict=True)],
        "classSourcedId": [keys.of_class(section) for section in sections],
        "userSourcedId": [keys.key(kind, unique) for unique in frame["unique"]],
        "role": ["student" if kind == keys.STUDENT else "teacher"] * len(objects), "primary": primary,
    }  # fmt: skip
    return frame.with_columns(
        pl.col("beginDate").str.slice(0, 10), day_after("last").alias("endDate"),
        pl.col("school").alias("schoolSourcedId"),
        *(pl.Series(name, values, dtype=pl.String) for name, values in made.items()),
    )  # fmt: skip


def day_after(column: str) -> pl.Expr:
    """The day after a last day, as text: OneRoster's ends are exclusive."""
    day = pl.col(column).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)
    return day.dt.offset_by("1d").dt.strftime("%Y-%m-%d")


Read = Callable[[Objects], pl.DataFrame]
