"""Orgs, sessions, courses and classes of an Ed-Fi ODS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from connectors.edfi import keys
from connectors.edfi.descriptors import Descriptors, code_of
from connectors.edfi.tables import columns
from connectors.members import Objects, after, day, member, objects_of, text

_NCES, _STATE = frozenset({"nces", "federal"}), frozenset({"sea", "state"})
_DISTRICT = "localEducationAgencyReference"
_ORG = ("sourcedId", "name", "type", "identifier", "parentSourcedId")


@dataclass(frozen=True, slots=True)
class Place:
    """A school: its district, if it has one that is here."""

    school: str
    district: str | None


@dataclass
class Places:
    """The schools and districts that there are. ``only``: of this district alone."""

    only: str | None = None
    schools: dict[str, Place] = field(default_factory=dict)
    districts: set[str] = field(default_factory=set)
    rows: list[dict[str, str | None]] = field(default_factory=list)

    def take_districts(self, objects: Objects) -> None:
        """Districts (localEducationAgencies)."""
        for one in objects:
            key = text(one.get("localEducationAgencyId"))
            if key is None or self.only not in {None, key}:
                continue
            self.districts.add(key)
            above = text(member(one, "parentLocalEducationAgencyReference", "localEducationAgencyId"))
            self.rows.append({"sourcedId": key, "name": text(one.get("nameOfInstitution")), "type": "district",
                              "identifier": _identifier(one), "parentSourcedId": above})  # fmt: skip

    def take_schools(self, objects: Objects) -> None:
        """Schools; the districts were taken before."""
        for one in objects:
            key, above = text(one.get("schoolId")), text(member(one, _DISTRICT, "localEducationAgencyId"))
            if key is None or self.only not in {None, above}:
                continue
            district = above if above in self.districts else None
            self.schools[key] = Place(key, district)
            self.rows.append({"sourcedId": key, "name": text(one.get("nameOfInstitution")), "type": "school",
                              "identifier": _identifier(one), "parentSourcedId": district})  # fmt: skip

    def orgs(self) -> pl.DataFrame:
        """All of them, in the order of their ids; who is above must be here."""
        for row in self.rows:
            if row["parentSourcedId"] not in self.districts:
                row["parentSourcedId"] = None
        return columns(sorted(self.rows, key=lambda row: str(row["sourcedId"])), *_ORG)

    def year_of(self, school: str) -> str:
        """The org by which a school's years are called: its district, or the school itself."""
        place = self.schools.get(school)
        return place.district if place is not None and place.district is not None else school


def _identifier(one: Mapping[str, Any]) -> str | None:
    """The number by which others know an org: the federal one, else the state's, else any."""
    found: dict[str, str] = {}
    for item in objects_of(one.get("identificationCodes")):
        system = code_of(text(item.get("educationOrganizationIdentificationSystemDescriptor"))) or ""
        if code := text(item.get("identificationCode")):
            found[system.lower()] = code
    for systems in (_NCES, _STATE, frozenset(found)):
        for system in sorted(systems & found.keys()):
            return found[system]
    return None


@dataclass
class Years:
    """The first and last instructional day of each school, by its calendars."""

    year: str
    descriptors: Descriptors
    days: dict[str, tuple[str, str]] = field(default_factory=dict)

    def take(self, objects: Objects) -> None:
        """Days of calendars (calendarDates)."""
        for one in objects:
            calendar, at = one.get("calendarReference"), (text(one.get("date")) or "")[:10]
            school = text(member(calendar, "schoolId"))
            if school is None or not at or text(member(calendar, "schoolYear")) != self.year:
                continue
            events = (text(event.get("calendarEventDescriptor")) for event in objects_of(one.get("calendarEvents")))
            if any(self.descriptors.meaning("CalendarEventDescriptor", uri) == "true" for uri in events):
                first, last = self.days.get(school, (at, at))
                self.days[school] = (min(first, at), max(last, at))


def sessions(objects: Objects, year: str, places: Places, years: Years) -> tuple[pl.DataFrame, int]:
    """The sessions of a school year and the years around them; of how many years no calendar tells.

    A school year begins and ends where most schools of its district do; without calendars with its sessions.
    """
    rows: list[dict[str, str | None]] = []
    spans: dict[str, list[tuple[str, str]]] = {}
    for one in objects:
        school = text(member(one, "schoolReference", "schoolId"))
        first, last = day(one.get("beginDate")), day(one.get("endDate"))
        known = school in places.schools and text(member(one, "schoolYearTypeReference", "schoolYear")) == year
        name = text(one.get("sessionName"))
        if school is None or not known or name is None or first is None or last is None:
            continue
        org, end = places.year_of(school), after(last)
        spans.setdefault(org, []).append((first.isoformat(), end.isoformat()))
        meant = years.descriptors.meaning("TermDescriptor", text(one.get("termDescriptor")))
        rows.append({"sourcedId": keys.key(school, year, name), "title": name, "type": meant or "term",
                     "startDate": first.isoformat(), "endDate": end.isoformat(),
                     "parentSourcedId": keys.key(org, year), "schoolYear": year})  # fmt: skip
    told: dict[str, list[tuple[str, str]]] = {}
    for school, (first_day, last_day) in years.days.items():
        if school in places.schools:
            stop = after(date.fromisoformat(last_day)).isoformat()
            told.setdefault(places.year_of(school), []).append((first_day, stop))
    for org in sorted(spans.keys() | told.keys()):
        begin, stop = _modal(told[org]) if org in told else _whole(spans[org])
        rows.append({"sourcedId": keys.key(org, year), "title": f"{int(year) - 1}-{year}", "type": "schoolYear",
                     "startDate": begin, "endDate": stop, "schoolYear": year})  # fmt: skip
    header = ("sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear")
    return columns(sorted(rows, key=lambda row: str(row["sourcedId"])), *header), len(spans.keys() - told.keys())


def _modal(days: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first and the last day that most schools have; of several the widest."""
    first, last = Counter(one for one, _ in days), Counter(one for _, one in days)
    begin = min(first, key=lambda one: (-first[one], one))
    return begin, max(last, key=lambda one: (last[one], one))


def _whole(days: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return min(one for one, _ in days), max(one for _, one in days)


def courses(objects: Objects, orgs: frozenset[str], descriptors: Descriptors) -> pl.DataFrame:
    """The courses of some orgs; beside them the column ``subjects``."""
    rows = [
        {"sourcedId": keys.key(org, text(one.get("courseCode"))), "title": text(one.get("courseTitle")),
         "courseCode": text(one.get("courseCode")), "orgSourcedId": org, "subjects": _subjects(one),
         "grades": grades(one, descriptors)}
        for one in objects
        if (org := text(member(one, "educationOrganizationReference", "educationOrganizationId"))) in orgs
    ]  # fmt: skip
    return columns(rows, "sourcedId", "title", "courseCode", "orgSourcedId", "subjects", "grades")


def _subjects(one: Mapping[str, Any]) -> str | None:
    """The subjects of a course: one before data standard 4, several since."""
    given = [text(item.get("academicSubjectDescriptor")) for item in objects_of(one.get("academicSubjects"))]
    found = {code.replace(",", " ") for uri in (*given, text(one.get("academicSubjectDescriptor")))
             if (code := code_of(uri))}  # fmt: skip
    return ",".join(sorted(found)) or None


def grades(one: Mapping[str, Any], descriptors: Descriptors) -> str | None:
    """The grades that something is offered for."""
    uris = (text(item.get("gradeLevelDescriptor")) for item in objects_of(one.get("offeredGradeLevels")))
    found = {meant for uri in uris if (meant := descriptors.meaning("GradeLevelDescriptor", uri))}
    return ",".join(sorted(found)) or None


def offerings(objects: Objects, year: str, descriptors: Descriptors) -> pl.DataFrame:
    """The course offerings of a year: offering, course, localTitle, offered (grades)."""
    rows = [
        {"offering": keys.of_offering({**one["sessionReference"], "localCourseCode": one.get("localCourseCode")}),
         "course": keys.key(text(member(one, "courseReference", "educationOrganizationId")),
                            text(member(one, "courseReference", "courseCode"))),
         "localTitle": text(one.get("localCourseTitle")), "offered": grades(one, descriptors)}
        for one in objects if text(member(one, "sessionReference", "schoolYear")) == year
    ]  # fmt: skip
    return columns(rows, "offering", "course", "localTitle", "offered")


def sections(objects: Objects, year: str, places: Places, descriptors: Descriptors) -> pl.DataFrame:
    """The sections of a year as classes, but for what their offering and course say; beside them ``offering``."""
    rows: list[dict[str, str | None]] = []
    for one in objects:
        offered = one.get("courseOfferingReference")
        school = text(member(offered, "schoolId"))
        if school not in places.schools or text(member(offered, "schoolYear")) != year:
            continue
        section = text(one.get("sectionIdentifier"))
        periods = (text(member(item, "classPeriodReference", "classPeriodName")) for item in
                   objects_of(one.get("classPeriods")))  # fmt: skip
        environment = (code_of(text(one.get("educationalEnvironmentDescriptor"))) or "").lower()
        rows.append({
            "sourcedId": keys.of_class({**(offered or {}), "sectionIdentifier": section}),
            "offering": keys.of_offering(offered), "title": text(one.get("sectionName")),
            "grades": grades(one, descriptors), "classCode": text(member(offered, "localCourseCode")),
            "classType": "homeroom" if environment == "homeroom" else "scheduled",
            "location": text(member(one, "locationReference", "classroomIdentificationCode")),
            "schoolSourcedId": school, "termSourcedIds": keys.of_session(offered),
            "periods": ",".join(sorted({name.replace(",", " ") for name in periods if name})) or None,
            "metadata.edfi.sectionIdentifier": section,
        })  # fmt: skip
    return columns(
        rows, "sourcedId", "offering", "title", "grades", "classCode", "classType", "location", "schoolSourcedId",
        "termSourcedIds", "periods", "metadata.edfi.sectionIdentifier",
    )  # fmt: skip


def classes(sections_: pl.DataFrame, offered: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Classes with the title, the grades and the subjects of their offering and course."""
    by_course = known.select(course="sourcedId", courseTitle="title", subjects="subjects").unique("course")
    offered = offered.unique("offering", maintain_order=True)
    found = sections_.join(offered, on="offering", how="left", maintain_order="left")
    found = found.join(by_course, on="course", how="left", maintain_order="left")
    return found.with_columns(
        title=pl.coalesce("title", "localTitle", "courseTitle", "classCode"),
        grades=pl.coalesce("grades", "offered"),
        courseSourcedId="course",
    ).drop("offering", "course", "localTitle", "offered", "courseTitle")
