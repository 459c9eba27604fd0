"""From Clever's objects to OneRoster's rows, column by column. Source: Clever Data API 3.1; OneRoster 1.2 CSV binding.

The sourcedIds are Clever's ids. What Clever has no object for gets an id made of others: ``<district>.<year>`` a school
year, ``<section>.course`` the course of a section that has none, ``<section>.<user>.student`` or ``.teacher`` an
enrollment, ``<user>.<number>`` a role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from connectors.clever.values import grade, ids, subject
from connectors.members import Objects, after, day, school_year, text

Columns = dict[str, list[str | None]]


def columns(rows: Sequence[Mapping[str, str | None]], *header: str) -> Columns:
    """Rows as columns."""
    return {name: [row.get(name) for row in rows] for name in header}


def orgs(districts: Objects, schools: Objects) -> Columns:
    """The district and its schools."""
    rows = [
        {"sourcedId": text(one.get("id")), "name": text(one.get("name")), "type": "district",
         "identifier": text(one.get("nces_id"))} for one in districts
    ] + [
        {"sourcedId": text(one.get("id")), "name": text(one.get("name")), "type": "school",
         "identifier": next(filter(None, (text(one.get(n)) for n in ("nces_id", "state_id", "school_number"))), None),
         "parentSourcedId": text(one.get("district")), "metadata.clever.sisId": text(one.get("sis_id")),
         "metadata.clever.schoolNumber": text(one.get("school_number"))} for one in schools
    ]  # fmt: skip
    return columns(
        rows, "sourcedId", "name", "type", "identifier", "parentSourcedId", "metadata.clever.sisId",
        "metadata.clever.schoolNumber",
    )  # fmt: skip


def year_id(district: str, year: int) -> str:
    """The sourcedId of a school year."""
    return f"{district}.{year}"


def sessions(district: str, terms: Objects, made: int | None, today: date) -> tuple[Columns, int]:
    """The terms and the school years around them; how many terms had no days.

    ``made``: the school year to which sections without a term belong; None where there are none.
    """
    years: dict[int, list[tuple[date, date]]] = {} if made is None else {made: []}
    rows: list[dict[str, str | None]] = []
    undated: list[dict[str, str | None]] = []
    for one in terms:
        begin, last = day(one.get("start_date")), day(one.get("end_date"))
        year = school_year(begin or last or today)
        title = text(one.get("name")) or "Term"
        row = {"sourcedId": text(one.get("id")), "title": title, "parentSourcedId": year_id(district, year),
               "type": "semester" if "semester" in title.lower() else "term", "schoolYear": str(year)}  # fmt: skip
        rows.append(row)
        years.setdefault(year, [])
        if begin is not None and last is not None and begin <= last:
            years[year].append((begin, after(last)))
            row |= {"startDate": begin.isoformat(), "endDate": after(last).isoformat()}
        else:
            undated.append(row)
    spans: dict[int, tuple[date, date]] = {}
    for year, known in years.items():
        if year == made or not known:
            known.append((date(year - 1, 7, 1), date(year, 7, 1)))
        spans[year] = (min(begin for begin, _ in known), max(end for _, end in known))
    for row in undated:
        begin, end = spans[int(str(row["schoolYear"]))]
        row |= {"startDate": begin.isoformat(), "endDate": end.isoformat()}
    rows += [
        {"sourcedId": year_id(district, year), "title": f"{year - 1}-{year}", "type": "schoolYear",
         "schoolYear": str(year), "startDate": begin.isoformat(), "endDate": end.isoformat()}
        for year, (begin, end) in sorted(spans.items())
    ]  # fmt: skip
    found = columns(rows, "sourcedId", "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear")
    return found, len(undated)


def courses(objects: Objects, district: str) -> Columns:
    """The courses. Clever has them for the whole district."""
    return {
        "sourcedId": [text(one.get("id")) for one in objects],
        "title": [text(one.get("name")) or text(one.get("number")) or text(one.get("id")) for one in objects],
        "courseCode": [text(one.get("number")) for one in objects],
        "orgSourcedId": [text(one.get("district")) or district for one in objects],
    }


def course_id(section: str) -> str:
    """The sourcedId of the course of a section that has none."""
    return f"{section}.course"


@dataclass
class Sections:
    """What sections become. ``courses`` has the made ones alone; ``no_term`` counts those in the made school year."""

    classes: Columns
    courses: Columns
    enrollments: Columns
    no_term: int


def sections(objects: Objects, district: str, terms: frozenset[str], year: int) -> Sections:
    """Classes, enrollments and the courses that had to be made. ``terms``: those that there are."""
    keys = [text(one.get("id")) for one in objects]
    given = [text(one.get("term_id")) for one in objects]
    known = [term if term in terms else None for term in given]
    whole = year_id(district, year)
    course = [text(one.get("course")) for one in objects]
    bare = [one for one, has in zip(objects, course, strict=True) if not has]
    classes: Columns = {
        "sourcedId": keys,
        "title": [title_of(one) for one in objects],
        "grades": [grade(one.get("grade")) for one in objects],
        "courseSourcedId": [has or course_id(str(key)) for has, key in zip(course, keys, strict=True)],
        "classCode": [text(one.get("section_number")) for one in objects],
        "classType": ["homeroom" if one.get("subject") == "homeroom/advisory" else "scheduled" for one in objects],
        "schoolSourcedId": [text(one.get("school")) for one in objects],
        "termSourcedIds": [term or whole for term in known],
        "subjects": [subject(one.get("subject")) for one in objects],
        "periods": [text(one.get("period")) for one in objects],
        "metadata.clever.sisId": [text(one.get("sis_id")) for one in objects],
    }
    made: Columns = {
        "sourcedId": [course_id(str(one.get("id"))) for one in bare], "title": [title_of(one) for one in bare],
        "courseCode": [text(one.get("section_number")) for one in bare],
        "orgSourcedId": [text(one.get("school")) or district for one in bare],
    }  # fmt: skip
    return Sections(classes, made, enrollments(objects), known.count(None))


def title_of(section: Mapping[str, Any]) -> str | None:
    """What a section is called."""
    return text(section.get("name")) or text(section.get("section_number")) or text(section.get("id"))


def enrolled(section: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Who is in a section: sourcedId of the enrollment, user and role. The primary teacher comes first."""
    key, primary = str(section.get("id")), text(section.get("teacher"))
    teachers = dict.fromkeys([*([primary] if primary else []), *ids(section.get("teachers"))])
    found = [(f"{key}.{user}.teacher", user, "teacher") for user in teachers]
    return found + [(f"{key}.{user}.student", user, "student") for user in ids(section.get("students"))]


def enrollments(objects: Objects) -> Columns:
    """Those of some sections."""
    rows = [
        (key, text(one.get("id")), text(one.get("school")), user, role,
         None if role == "student" else "true" if user == text(one.get("teacher")) else "false")
        for one in objects for key, user, role in enrolled(one)
    ]  # fmt: skip
    header = ("sourcedId", "classSourcedId", "schoolSourcedId", "userSourcedId", "role", "primary")
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}
