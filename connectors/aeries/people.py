"""From Aeries' students, contacts and staff to OneRoster's users.

A student is one user with a role at each school; Aeries has a record for each school. The sourcedIds are those of
Aeries' own OneRoster 1.1: the student's id, ``TCH_{staff}``. Contacts, of which the article says nothing, are
``CON_{student}_{number}``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from connectors.aeries.config import AeriesConfig
from connectors.aeries.fields import NAMES, RACES, Objects, positive, text, value
from connectors.aeries.mapping import DISTRICT, Columns, Row, columns, is_active, staff_id
from connectors.aeries.values import SEXES, after, day_text, grade, names, races

USER_COLUMNS = (
    "sourcedId", "enabledUser", "username", "userIds", "givenName", "familyName", "middleName", "identifier", "email",
    "sms", "phone", "agentSourcedIds", "grades", "preferredGivenName", "preferredMiddleName", "preferredFamilyName",
    "primaryOrgSourcedId",
)  # fmt: skip
ROLE_COLUMNS = ("sourcedId", "userSourcedId", "roleType", "role", "beginDate", "endDate", "orgSourcedId")
DEMOGRAPHIC_COLUMNS = (
    "sourcedId", "birthDate", "sex", "hispanicOrLatinoEthnicity", "americanIndianOrAlaskaNative", "asian",
    "blackOrAfricanAmerican", "nativeHawaiianOrOtherPacificIslander", "white",
)  # fmt: skip
#: What is kept of a contact until its student comes.
_OF_CONTACTS = tuple(
    called for name in ("sequence", "first", "last", "middle", "mailing_name", "relationship", "contact_email",
                        "contact_mobile", "home_phone") for called in NAMES[name]
)  # fmt: skip
_NOT_IN_PAIRS = re.compile(r"[{},]")


@dataclass
class People:
    """What some records become. ``unnamed``: users without a login; ``split``: names that were in one."""

    users: list[Row]
    roles: list[Row]
    demographics: list[Row]
    unnamed: int = 0
    split: int = 0

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The rows by file, in little memory."""
        return {file: pl.DataFrame(some, schema=dict.fromkeys(some, pl.String)) for file, some in self.files.items()}

    @property
    def files(self) -> Mapping[str, Columns]:
        """The columns by file."""
        return {"users": columns(self.users, *USER_COLUMNS), "roles": columns(self.roles, *ROLE_COLUMNS),
                "demographics": columns(self.demographics, *DEMOGRAPHIC_COLUMNS)}  # fmt: skip


def students(objects: Objects, school: int | None, contacts: Mapping[str, Objects], config: AeriesConfig) -> People:
    """Students by their active records. ``school``: whose records these are; None: each says so itself.

    ``contacts``: by student's id.
    """
    found = People([], [], [])
    for one in objects:
        key = text(one, "student")
        if key is None or not is_active(one):
            continue
        org = str(school if school is not None else positive(value(one, "school")) or DISTRICT)
        user, named = _student(one, key, org, config)
        user["agentSourcedIds"] = ",".join(_contact_key(key, c) for c in contacts.get(key, ())) or None
        found.users.append(user)
        found.unnamed += not named
        found.roles.append({
            "sourcedId": f"{key}.{org}", "userSourcedId": key, "roleType": "primary", "role": "student",
            "orgSourcedId": org, "beginDate": day_text(value(one, "entered")), "endDate": after(value(one, "left")),
        })  # fmt: skip
        if told := _demographics(one, key):
            found.demographics.append(told)
    return found


def _student(one: Mapping[str, Any], key: str, org: str, config: AeriesConfig) -> tuple[Row, bool]:
    login, email = text(one, "network_id"), text(one, "student_email")
    old = positive(value(one, "old_id"))
    ids = (("stateId", text(one, "state_id")), ("oldStudentId", None if old is None else str(old)))
    return {
        "sourcedId": key, "enabledUser": "true", "username": login or email or key, "userIds": _pairs(ids),
        "givenName": text(one, "first"), "familyName": text(one, "last"), "middleName": text(one, "middle"),
        "identifier": key, "email": email, "sms": text(one, "mobile"), "phone": text(one, "home_phone"),
        "grades": grade(value(one, "grade"), config.grades), "preferredGivenName": text(one, "first_alias"),
        "preferredMiddleName": text(one, "middle_alias"), "preferredFamilyName": text(one, "last_alias"),
        "primaryOrgSourcedId": org,
    }, login is not None  # fmt: skip


def _demographics(one: Mapping[str, Any], key: str) -> Row | None:
    told: Row = {
        "birthDate": day_text(value(one, "birth_date")), "sex": SEXES.get(text(one, "sex") or ""),
        "hispanicOrLatinoEthnicity": {"Y": "true", "N": "false"}.get(text(one, "hispanic") or ""),
        **races(one.get(name) for name in RACES),
    }  # fmt: skip
    return {"sourcedId": key, **told} if any(told.values()) else None


def contact_lists(objects: Objects) -> dict[str, list[Mapping[str, Any]]]:
    """Contacts by their student, in the order of their numbers."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in objects:
        student = text(one, "student")
        if student is not None and text(one, "sequence") is not None and _names(one) is not None:
            found.setdefault(student, []).append({name: one[name] for name in _OF_CONTACTS if name in one})
    for several in found.values():
        several.sort(key=lambda one: positive(value(one, "sequence")) or 0)
    return found


def contacts(given: Mapping[str, Objects], students_: Sequence[str], config: AeriesConfig) -> People:
    """The contacts of some students, as users who have these as their agents."""
    found = People([], [], [])
    for student in students_:
        for one in given.get(student, ()):
            key, who = _contact_key(student, one), _names(one)
            if who is None:
                continue
            first, last, split = who
            email = text(one, "contact_email")
            found.split += split
            found.users.append({
                "sourcedId": key, "enabledUser": "true", "username": email or key, "givenName": first,
                "familyName": last, "middleName": text(one, "middle"), "email": email,
                "sms": text(one, "contact_mobile"), "phone": text(one, "home_phone"), "agentSourcedIds": student,
                "primaryOrgSourcedId": str(DISTRICT),
            })  # fmt: skip
            role = config.relationships.get(text(one, "relationship") or "", config.contact_role)
            found.roles.append({"sourcedId": f"{key}.{DISTRICT}", "userSourcedId": key, "roleType": "primary",
                                "role": role, "orgSourcedId": str(DISTRICT)})  # fmt: skip
    return found


def _contact_key(student: str, one: Mapping[str, Any]) -> str:
    return f"CON_{student}_{text(one, 'sequence')}"


def _names(one: Mapping[str, Any]) -> tuple[str | None, str | None, bool] | None:
    """Given and family name of a contact, and whether they were in one; None without a name."""
    first, last, mailing = text(one, "first"), text(one, "last"), text(one, "mailing_name")
    if first or last:
        return first, last, False
    return None if mailing is None else (*names(mailing), True)


def staff(
    objects: Objects, teaching: Mapping[str, Collection[int]], pulled: Collection[int], config: AeriesConfig
) -> People:
    """The active staff. ``teaching``: by sourcedId the schools at which somebody teaches. ``pulled``: all schools."""
    found = People([], [], [])
    for one in sorted(objects, key=lambda each: positive(value(each, "staff")) or 0):
        key = staff_id(value(one, "staff"))
        if key is None or not is_active(one):
            continue
        email, login = text(one, "staff_email"), text(one, "network_id")
        home = positive(value(one, "home_school"))
        codes = sorted(teaching.get(key, ()))
        schools = [str(code) for code in (*(c for c in codes if c == home), *(c for c in codes if c != home))]
        where = str(home if home in pulled else DISTRICT)
        found.unnamed += login is None
        found.users.append({
            "sourcedId": key, "enabledUser": "true", "username": login or text(one, "user_name") or email or key,
            "userIds": _pairs((("stateId", text(one, "educator_id")), ("hrId", text(one, "hr_id")))),
            "givenName": text(one, "first"), "familyName": text(one, "last"), "middleName": text(one, "middle"),
            "identifier": text(one, "staff"), "email": email, "sms": text(one, "staff_mobile"),
            "primaryOrgSourcedId": schools[0] if schools else where,
        })  # fmt: skip
        held = [("teacher", school) for school in schools] or [(config.staff_role, where)]
        found.roles += [
            {"sourcedId": f"{key}.{org}", "userSourcedId": key, "roleType": "primary", "role": role,
             "orgSourcedId": org}
            for role, org in held
        ]  # fmt: skip
    return found


def _pairs(given: Sequence[tuple[str, str | None]]) -> str | None:
    """Ids of other systems, as OneRoster's CSV has them."""
    return ",".join(f"{{{kind}:{one}}}" for kind, one in given if one and not _NOT_IN_PAIRS.search(one)) or None
