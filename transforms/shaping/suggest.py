"""A suggested mapping for tables that nobody has described: the plain dump's, with the names that are there.

Names are compared with those that people use, letters and digits only; likeness fills the rest. Every choice comes with
its score, and what was not found is said: a person looks it over before it is saved.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping as Lookup
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from transforms.shaping.definition import Join, MappedFile, Mapping, Part, as_json
from transforms.shaping.detect import PATTERN, Tables, detected, likely, scores
from transforms.shaping.mapping import is_secret
from transforms.shaping.mappings import built_in
from transforms.shaping.tokens import words

_LIKE = 0.8
#: What tables and columns of the pattern are called elsewhere.
_TABLES: Lookup[str, tuple[str, ...]] = {
    "schools": ("school", "campuses", "buildings", "sites", "schulen", "ecoles", "locations", "organizations"),
    "terms": ("term", "sessions", "semesters", "academicterms", "schoolterms", "periods", "halbjahre"),
    "courses": ("course", "coursecatalog", "subjects", "classcatalog", "kurse", "faecher"),
    "sections": ("section", "classes", "class", "groups", "courseSections", "mastersschedule", "klassen", "cc"),
    "students": ("student", "pupils", "pupil", "learners", "schueler", "eleves"),
    "teachers": ("teacher", "staff", "employees", "instructors", "faculty", "lehrer", "lehrkraefte", "enseignants"),
    "enrollments": ("enrollment", "enrolments", "studentsections", "sectionstudents", "studentclasses", "rosters",
                    "studentschedule", "studentcourses", "roster"),
}  # fmt: skip
_COLUMNS: Lookup[str, tuple[str, ...]] = {
    "id": ("nr", "key", "pk", "recordid", "dcid", "number", "code", "sisid", "uid", "guid"),
    "name": ("title", "description", "label", "longname", "bezeichnung", "nom", "sectionname", "coursename"),
    "start_date": ("begin", "begindate", "startdate", "datestart", "firstday", "from", "validfrom"),
    "end_date": ("end", "enddate", "dateend", "lastday", "to", "until", "validto"),
    "school_year": ("year", "schoolyear", "yearid", "academicyear"),
    "school_id": ("school", "schoolid", "schoolcode", "campusid", "buildingid", "siteid", "schoolnumber", "homeschool"),
    "course_id": ("course", "courseid", "coursecode", "coursenumber", "subjectid"),
    "section_id": ("section", "sectionid", "classid", "groupid", "class", "klasseid"),
    "term_id": ("term", "termid", "sessionid", "semesterid"),
    "student_id": ("student", "studentid", "pupilid", "learnerid", "studentnumber", "personid"),
    "teacher_id": ("teacher", "teacherid", "staffid", "instructorid", "employeeid", "lehrerid"),
    "first_name": ("firstname", "givenname", "forename", "vorname", "fname", "prenom"),
    "last_name": ("lastname", "familyname", "surname", "nachname", "lname", "nom"),
    "middle_name": ("middlename", "secondname", "mname"),
    "email": ("emailaddress", "mail", "email1", "contactemail"),
    "username": ("login", "loginid", "user", "account", "userprincipalname"),
    "number": ("studentnumber", "localid", "studentcode", "stateid", "employeenumber", "externalid"),
    "grade": ("gradelevel", "grades", "yearlevel", "klassenstufe", "currentgrade", "form", "year"),
    "code": ("coursecode", "coursenumber", "shortname", "kuerzel"),
    "subject": ("department", "subjectarea", "fach", "credittype"),
    "period": ("periods", "hour", "block", "stunde"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """What stands for a name of the pattern. ``column`` empty: the table itself."""

    table: str
    column: str
    chosen: str
    score: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """``mapping`` as JSON. ``missing``: what was not found and is needed, with the files that lack for it."""

    mapping: dict[str, Any]
    base: str | None = None
    score: float = 1.0
    choices: list[Choice] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def suggest(tables: Tables) -> Suggestion:
    """The mapping that fits the tables best."""
    name = detected(tables)
    if name is not None:
        return Suggestion(as_json(Mapping(base=name)), name)
    found = likely(tables)
    if found is None:
        return _filled(tables)
    name, missing = found
    return Suggestion(as_json(Mapping(base=name)), name, scores(tables)[name], missing=missing)


def _filled(tables: Tables) -> Suggestion:
    pattern = built_in(PATTERN)
    chosen, choices = _tables(tables)
    columns: dict[str, dict[str, str]] = {}
    wanted = _wanted(pattern)
    for table, actual in chosen.items():
        columns[table], found = _columns(table, actual, wanted[table], tables[actual])
        choices += found
    files: dict[str, Any] = {}
    missing: list[str] = []
    for file, mapped in pattern.files.items():
        parts = []
        for part in mapped.parts:
            lacking = _lacking(part, columns)
            if lacking:
                missing.append(f"{file}.csv from {part.table}: {', '.join(lacking)}")
            else:
                parts.append(_renamed(part, chosen, columns))
        if parts:
            files[file] = MappedFile(parts=parts)
    score = sum(c.score for c in choices) / max(1, sum(1 + len(v) for v in wanted.values()))
    mapping = as_json(Mapping(version=pattern.version, files=files))
    return Suggestion(mapping, None, round(score, 3), sorted(choices, key=lambda c: (c.table, c.column)), missing)


def _wanted(pattern: Mapping) -> dict[str, dict[str, bool]]:
    """The columns of each table that the pattern has a use for, and whether some part cannot do without."""
    found: dict[str, dict[str, bool]] = {}
    for part in (p for file in pattern.files.values() for p in file.parts):
        for table, names in _names(part).items():
            known = found.setdefault(table, {})
            known |= {name: known.get(name, False) or name not in part.may_lack for name in names}
    return found


def _names(part: Part) -> dict[str, set[str]]:
    aliases = {j.name: j.table for j in part.join}
    found: dict[str, set[str]] = {part.table: set(), **{j.table: set() for j in part.join}}
    texts = [*part.set.values(), *([part.where] if part.where else [])]
    used = [w.value for t in texts for w in _identifiers(t)] + [*part.columns.values()]
    used += [own for j in part.join for own in j.on]
    for name in used:
        alias, _, column = name.partition(".")
        found[aliases.get(alias, part.table) if column else part.table].add(column or name)
    for join in part.join:
        found[join.table].update(join.on.values())
    return found


def _identifiers(sql: str) -> list[Any]:
    found = words(sql)
    return [
        w for w, after in pairwise(found)
        if w.kind == "quoted" or (w.kind == "name" and not after.is_mark("(") and w.value.islower())
    ]  # fmt: skip


def _lacking(part: Part, columns: Lookup[str, Lookup[str, str]]) -> list[str]:
    """What the part cannot do without and nobody found."""
    found = []
    for table, names in _names(part).items():
        if table not in columns:
            found.append(f"the table {table}")
        else:
            found += [f"{table}.{n}" for n in sorted(names - columns[table].keys() - set(part.may_lack))]
    if part.where is not None and any(n not in columns.get(part.table, {}) for n in _where_names(part)):
        found.append(f"{part.table}: {part.where}")
    return found


def _where_names(part: Part) -> list[str]:
    return [w.value for w in _identifiers(part.where or "")]


def _tables(tables: Tables) -> tuple[dict[str, str], list[Choice]]:
    chosen: dict[str, str] = {}
    choices: list[Choice] = []
    for score, wanted, actual in _ranked(_TABLES, {t: _folded(t) for t in tables}):
        if wanted not in chosen and actual not in chosen.values():
            chosen[wanted] = actual
            choices.append(Choice(wanted, "", actual, score))
    return chosen, choices


def _columns(
    table: str, called: str, wanted: Lookup[str, bool], actual: Sequence[str]
) -> tuple[dict[str, str], list[Choice]]:
    """Which actual column stands for which wanted one. A column may begin with its table's name.

    What cannot be done without (True in ``wanted``) chooses first.
    """
    own = {_folded(table), _folded(called), *map(_folded, _TABLES[table])}
    own |= {o.removesuffix("s") for o in own}
    names = {name: _folded(name) for name in actual if name and not is_secret(name)}
    bare = {name: next((f[len(o):] for o in sorted(own, key=len, reverse=True) if f.startswith(o) and f != o), f)
            for name, f in names.items()}  # fmt: skip
    known = {w: _COLUMNS.get(w, ()) for w in wanted}
    ranked = _ranked(known, names)
    ranked += [(round(s * 0.95, 3), w, a) for s, w, a in _ranked(known, bare) if bare[a] != names[a]]
    chosen: dict[str, str] = {}
    choices: list[Choice] = []
    for score, name, column in sorted(ranked, key=lambda r: (not wanted[r[1]], -r[0], r[1], r[2])):
        if name not in chosen and column not in chosen.values():
            chosen[name] = column
            choices.append(Choice(table, name, column, score))
    return chosen, choices


def _ranked(wanted: Lookup[str, tuple[str, ...]], actual: Lookup[str, str]) -> list[tuple[float, str, str]]:
    """All pairs that are alike, the most alike first."""
    found = []
    for name, others in wanted.items():
        for column, folded in actual.items():
            score = _likeness(folded, _folded(name), [_folded(o) for o in others])
            if score:
                found.append((score, name, column))
    return sorted(found, key=lambda r: (-r[0], r[1], r[2]))


def _likeness(actual: str, name: str, others: list[str]) -> float:
    if actual == name:
        return 1.0
    if actual in others:
        return round(0.95 - 0.01 * others.index(actual), 3)
    best = max((difflib.SequenceMatcher(None, actual, n).ratio() for n in (name, *others)), default=0.0)
    return round(best * 0.8, 3) if best >= _LIKE and len(actual) > 3 else 0.0


def _folded(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _renamed(part: Part, tables: Lookup[str, str], columns: Lookup[str, Lookup[str, str]]) -> Part:
    """The part with the names that are there."""
    aliases = {j.name: j.table for j in part.join}

    def name(old: str) -> str:
        alias, dot, column = old.partition(".")
        if dot and alias in aliases:
            return f"{alias}.{columns[aliases[alias]].get(column, column)}"
        return columns[part.table].get(old, old)

    def sql(text: str) -> str:
        made = text
        for word in reversed(_identifiers(text)):
            length = len(word.value) + 2 * (word.kind == "quoted")
            quoted = name(word.value).replace('"', '""')
            made = f'{made[: word.at]}"{quoted}"{made[word.at + length :]}'
        return made

    joins = [
        Join(table=tables[j.table], name=j.name, many=j.many, optional=j.optional,
             on={name(own): columns[j.table].get(theirs, theirs) for own, theirs in j.on.items()})
        for j in part.join
    ]  # fmt: skip
    return Part(
        table=tables[part.table], join=joins, where=None if part.where is None else sql(part.where),
        columns={t: name(s) for t, s in part.columns.items()}, set={t: sql(s) for t, s in part.set.items()},
        distinct=part.distinct, optional=part.optional, may_lack=[name(n) for n in part.may_lack],
    )  # fmt: skip
