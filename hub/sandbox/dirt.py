"""The dirt that real exports have, recipe by recipe, each with the finding a good importer makes of it.

``codes`` name the rules of ``transforms.issues.RULES`` of which one must report the defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hub.sandbox.bench import Bench, Dirty, Outcome, Spoil, Truth, finish
from hub.sandbox.dirty_grades import plant_grades
from hub.sandbox.dirty_rows import plant_rows
from hub.sandbox.package import FileForm
from hub.sandbox.plan import DistrictPlan
from hub.sandbox.population import Population
from transforms.catalogue import Version

_BOTH: tuple[Version, ...] = ("1.1", "1.2")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Spoils one cell per row: ``share`` of the dirty rows of ``file`` among the rows where ``eligible`` holds."""

    kind: str
    file: str
    column: str
    share: float
    eligible: pl.Expr
    spoil: Spoil
    codes: tuple[str, ...]
    outcome: Outcome
    versions: tuple[Version, ...] = _BOTH


def _one_of(*spellings: str) -> Spoil:
    """Replaces the value by one of ``spellings`` (``{}`` stands for the value)."""
    return lambda rng, values: [spellings[rng.integers(len(spellings))].format(v) for v in values]


def _grades(rng: np.random.Generator, values: list[str]) -> list[str]:
    """Grades as school offices write them."""
    found = []
    for value in values:
        number = int(value) if value.isdigit() else 0
        ending = {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
        ways = (
            ("K", "Kindergarten", "Kinder")
            if value == "KG"
            else (f"{number}{ending}", f"Grade {number}", f"Gr {number}")
        )
        found.append(ways[rng.integers(len(ways))])
    return found


def _emails(rng: np.random.Generator, values: list[str]) -> list[str]:
    """No @, two addresses in one cell, a space inside."""
    found = []
    for value in values:
        local, domain = value.split("@")
        ways = (f"{local}.{domain}", f"{value};{local}2@{domain}", f"{local} {domain}", f"{local}@")
        found.append(ways[rng.integers(len(ways))])
    return found


def _invisible(rng: np.random.Generator, values: list[str]) -> list[str]:
    """A zero-width space or a byte order mark inside the value."""
    return [v[:1] + "\u200b\ufeff"[rng.integers(2)] + v[1:] for v in values]


def _mojibake(_: np.random.Generator, values: list[str]) -> list[str]:
    """UTF-8 that somebody read as Windows-1252."""
    return [v.encode().decode("cp1252") for v in values]


def _phones(rng: np.random.Generator, values: list[str]) -> list[str]:
    ways = ("+1 ({0}) {1}-{2}", "+1-{0}-{1}-{2}", "+1.{0}.{1}.{2}")
    return [ways[rng.integers(3)].format(v[2:5], v[5:8], v[8:]) for v in values]


def _us_dates(_: np.random.Generator, values: list[str]) -> list[str]:
    """8/17/2026 for 2026-08-17."""
    return [f"{int(v[5:7])}/{int(v[8:])}/{v[:4]}" for v in values]


def _year_before(_: np.random.Generator, values: list[str]) -> list[str]:
    return [f"{int(v[:4]) - 2}{v[4:]}" for v in values]


def _blank(_: np.random.Generator, values: list[str]) -> Sequence[None]:
    return [None] * len(values)


_FILLED = pl.col("sourcedId").is_not_null()
_ACCENTED = pl.col("familyName").str.contains("[áéñóúü]") & ~pl.col("familyName").str.contains("[^A-Za-z áéñóúü-]")
_LONG_NAME = pl.col("familyName").str.len_chars() >= 3
#: Days above 12 cannot be months, so these dates have one reading however they are written.
_CLEAR_DAY = ".*-(1[3-9]|2[0-9]|3[01])$"

RECIPES = (
    Recipe("grade_spelling", "users", "grades", 0.12, pl.col("grades").is_not_null(), _grades, ("GRD-001",), "fixed"),
    Recipe(
        "grade_unknown",
        "users",
        "grades",
        0.08,
        pl.col("grades").is_not_null(),
        _one_of("99", "XX", "Z9"),
        ("GRD-002",),
        "dropped",
    ),
    Recipe("email_broken", "users", "email", 0.12, pl.col("email").is_not_null(), _emails, ("EML-002",), "dropped"),
    Recipe(
        "flag_spelling",
        "users",
        "enabledUser",
        0.08,
        pl.col("enabledUser") == "true",
        _one_of("TRUE", "True", "1", "Y"),
        ("USR-002",),
        "fixed",
    ),
    Recipe(
        "role_spelling",
        "users",
        "role",
        0.06,
        pl.col("role") == "student",
        _one_of("Student", "STUDENT"),
        ("VOC-001",),
        "fixed",
        ("1.1",),
    ),
    Recipe(
        "role_spelling",
        "roles",
        "role",
        0.06,
        pl.col("role") == "student",
        _one_of("Student", "STUDENT"),
        ("VOC-001",),
        "fixed",
        ("1.2",),
    ),
    Recipe(
        "stray_spaces",
        "users",
        "givenName",
        0.1,
        _FILLED,
        _one_of(" {}", "{} ", "  {} ", "{}\u00a0"),
        ("NAME-001",),
        "fixed",
    ),
    Recipe("zero_width", "users", "familyName", 0.06, _LONG_NAME, _invisible, ("NAME-001",), "fixed"),
    Recipe("mojibake", "users", "familyName", 0.08, _ACCENTED, _mojibake, ("NAME-003",), "fixed"),
    Recipe("phone_spelling", "users", "phone", 0.05, pl.col("phone").is_not_null(), _phones, ("PHN-001",), "fixed"),
    Recipe(
        "type_spelling",
        "classes",
        "classType",
        0.5,
        pl.col("classType") == "scheduled",
        _one_of("Scheduled", "SCHEDULED"),
        ("VOC-001",),
        "fixed",
    ),
    Recipe(
        "grade_spelling",
        "classes",
        "grades",
        0.5,
        pl.col("grades").str.contains("^[A-Z0-9]{2}$"),
        _grades,
        ("GRD-001",),
        "fixed",
    ),
    Recipe("stray_spaces", "classes", "title", 0.5, _FILLED, _one_of(" {}", "{}  "), ("NAME-001",), "fixed"),
    Recipe(
        "role_spelling",
        "enrollments",
        "role",
        0.15,
        pl.col("role") == "student",
        _one_of("Student", "STUDENT"),
        ("VOC-001",),
        "fixed",
    ),
    Recipe(
        "flag_spelling",
        "enrollments",
        "primary",
        0.005,
        pl.col("primary") == "true",
        _one_of("TRUE", "Yes", "1"),
        ("VOC-001",),
        "fixed",
    ),
    Recipe(
        "us_date",
        "enrollments",
        "beginDate",
        0.2,
        pl.col("beginDate").str.contains(_CLEAR_DAY),
        _us_dates,
        ("DAT-004",),
        "fixed",
    ),
    Recipe(
        "end_before_begin",
        "enrollments",
        "endDate",
        0.1,
        pl.col("role") == "student",
        _year_before,
        ("DAT-001",),
        "reported",
    ),
    Recipe(
        "missing_cell",
        "enrollments",
        "classSourcedId",
        0.1,
        pl.col("role") == "student",
        _blank,
        ("REQ-001",),
        "quarantined",
    ),
    Recipe(
        "sex_spelling",
        "demographics",
        "sex",
        0.2,
        _FILLED,
        lambda _, v: [x[0].upper() for x in v],
        ("DEM-003",),
        "fixed",
    ),
    Recipe(
        "us_date",
        "demographics",
        "birthDate",
        0.2,
        pl.col("birthDate").str.contains(_CLEAR_DAY),
        _us_dates,
        ("DAT-004",),
        "fixed",
    ),
    Recipe(
        "date_unreadable",
        "demographics",
        "birthDate",
        0.15,
        _FILLED,
        _one_of("unknown", "13/45/2012", "40512"),
        ("DOB-001",),
        "dropped",
    ),
    Recipe(
        "flag_spelling",
        "demographics",
        "white",
        0.2,
        pl.col("white") == "true",
        _one_of("TRUE", "Y", "1"),
        ("VOC-001",),
        "fixed",
    ),
)


#: The same for gradebooks and resources, where a district has them.
GRADE_RECIPES = (
    Recipe("score_spelling", "results", "score", 0.2, pl.col("score") != "0", _one_of("{} %", "{}%", " {}"),
           ("NUM-001",), "fixed"),
    Recipe("score_unreadable", "results", "score", 0.1, pl.col("score") != "0", _one_of("A-", "87,5", "n/a"),
           ("NUM-002",), "dropped"),
    Recipe("status_spelling", "results", "scoreStatus", 0.2, pl.col("scoreStatus") == "fully graded",
           _one_of("Fully Graded", "FULLY GRADED", "fully_graded"), ("VOC-001",), "fixed"),
    Recipe("status_unknown", "results", "scoreStatus", 0.1, _FILLED, _one_of("graded", "done"), ("VOC-003",),
           "quarantined"),
    Recipe("us_date", "results", "scoreDate", 0.2, pl.col("scoreDate").str.contains(_CLEAR_DAY), _us_dates,
           ("DAT-004",), "fixed"),
    Recipe("us_date", "lineItems", "dueDate", 1, pl.col("dueDate").str.contains(_CLEAR_DAY), _us_dates, ("DAT-004",),
           "fixed"),
    Recipe("weight_spelling", "categories", "weight", 1, _FILLED, _one_of("{}%", "{} %"), ("NUM-001",), "fixed",
           ("1.2",)),
    Recipe("scale_step", "scoreScales", "scoreScaleValue", 1, _FILLED, _one_of("{},F", "{},{{:0}}"), ("GRB-002",),
           "dropped", ("1.2",)),
    Recipe("role_spelling", "resources", "roles", 1, pl.col("roles").is_not_null(),
           lambda _, values: [v.title() for v in values], ("VOC-001",), "fixed"),
    Recipe("objective_unreadable", "lineItemLearningObjectiveIds", "learningObjectiveId", 1,
           pl.col("source") == "case", _one_of("urn:uuid:1", "MATH.4.NF"), ("GRB-001",), "quarantined", ("1.2",)),
)  # fmt: skip


def plant(plan: DistrictPlan, population: Population) -> Dirty:
    """Spoils the clean district of ``plan`` and tells the truth about it; ``plan.dirt`` 0 leaves it clean."""
    if plan.dirt == 0:
        return Dirty(population.frames, {}, Truth([], [], []), {file: set() for file in population.frames})
    bench = Bench(plan.version, plan.seed, np.random.default_rng([plan.seed, 200]), population.frames, plan.dirt)
    # Rows that fall with their user must carry no defect of their own: what becomes of them would not be clear.
    plant_rows(bench)
    for recipe in RECIPES:
        if plan.version in recipe.versions:
            _apply(bench, recipe)
    if plan.gradebook:
        plant_grades(bench)
        for recipe in GRADE_RECIPES:
            if plan.version in recipe.versions:
                _apply(bench, recipe)
    return finish(bench, _whole_files(bench))


def _apply(bench: Bench, recipe: Recipe) -> None:
    clean = bench.clean[recipe.file]
    rows = bench.take(recipe.file, recipe.share, clean.select(recipe.eligible.alias("eligible")).to_series())
    values = clean[recipe.column].gather(rows).to_list()
    spoilt = recipe.spoil(bench.rng, values)
    bench.spoil(recipe.file, recipe.column, rows, spoilt)
    more = {"original": values} if recipe.outcome == "fixed" else {}
    bench.note(recipe.kind, recipe.file, rows, recipe.column, codes=recipe.codes, outcome=recipe.outcome, **more)


def _whole_files(bench: Bench) -> list[dict[str, Any]]:
    """Faults of whole files: another encoding, a byte order mark, odd headers, filled status columns in bulk mode."""
    bench.forms["courses"] = FileForm(encoding="latin-1")
    bench.forms["users"] = FileForm(encoding="utf-8-sig")
    bench.forms["classes"] = FileForm(header={"classType": "classtype", "schoolSourcedId": "SchoolSourcedId"})
    bench.forms["academicSessions"] = FileForm(header={"title": "\u200btitle"})
    rows = np.arange(bench.clean["courses"].height)
    bench.spoil("courses", "status", rows, ["active"] * len(rows))
    bench.spoil("courses", "dateLastModified", rows, ["2026-08-01T06:30:00.000Z"] * len(rows))
    faults: tuple[tuple[str, str, str, tuple[str, ...], Outcome], ...] = (
        ("latin_1", "courses", "", ("FILE-001",), "fixed"),
        ("byte_order_mark", "users", "", ("FILE-001",), "fixed"),
        ("header_case", "classes", "classType", ("FILE-010",), "fixed"),
        ("header_invisible", "academicSessions", "title", ("FILE-010",), "fixed"),
        ("bulk_status_filled", "courses", "status", ("FILE-020", "STA-001"), "reported"),
    )
    return [
        {"kind": kind, "file": f"{file}.csv", "line": 1, "sourcedId": "", "column": column, "field": column,
         "codes": list(codes), "outcome": outcome}
        for kind, file, column, codes, outcome in faults
    ]  # fmt: skip
