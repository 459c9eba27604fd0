"""Checks of enrollments against their class, its terms, and the roles of the user. None of them keeps a row out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.catalogue import CATALOGUE
from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import as_list, certain, either, filled, nowhere, present, rows_of
from transforms.sheet import Sheet, findings
from transforms.validate.known import Known
from transforms.validate.people import STUDENT

ENR_004 = declare(
    "ENR-004", Severity.WARN, Action.REPORT, "An enrollment that goes on after the user has left the school",
    "End the enrollment with the user's role in the school, or correct the role's endDate. The hub keeps both.",
    entity="enrollments", fields=("endDate",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
ENR_005 = declare(
    "ENR-005", Severity.WARN, Action.REPORT, "Enrollments outside of the terms of their class",
    "Correct beginDate and endDate of the class's enrollments, or the terms of the class. One enrollment of each such "
    "class is shown; the hub keeps all of them as they are.",
    entity="enrollments", fields=("beginDate",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
ENR_006 = declare(
    "ENR-006", Severity.WARN, Action.REPORT, "An enrollment in a role that the user does not have",
    "Correct the role of the enrollment. If both are right (a student who also teaches), give the user a second role.",
    entity="enrollments", fields=("role",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
ENR_008 = declare(
    "ENR-008", Severity.INFO, Action.REPORT, "A student without any class two weeks after classes of the school began",
    "Enroll the student, or end the student's role in the school. Nothing needs doing for who takes no classes.",
    entity="users", phase=Phase.CROSS_ENTITY,
)  # fmt: skip

#: Systems disagree whether the last day of a term counts.
_DAY = timedelta(days=1)
#: Until then schools move students about, and at the end of a year not everything ends on one day.
_SETTLED = timedelta(days=14)


@dataclass
class Enrolled:
    """What one run's enrollments are checked with. ``today`` is the day on which students should have classes.

    Without it nobody is missed. ``whole``: the package has all enrollments.
    """

    known: Known
    today: date | None
    whole: bool
    outside: list[pl.DataFrame] = field(default_factory=list)
    _seen: npt.NDArray[np.bool_] | None = None

    def check(self, sheet: Sheet, classes: pl.DataFrame) -> None:
        """Checks one sheet of enrollments. ``classes``: the row of ``Known.classes`` for each of its rows."""
        users, (marks, people) = sheet["user"].hash(0), self.known.people.users()
        at = marks.places(users)
        student = sheet["role"] == STUDENT
        if self.whole and self.today is not None:
            if self._seen is None:
                self._seen = np.zeros(people.height, dtype=np.bool_)
            self._seen[filled(at.filter(student)).to_numpy()] = True
        odd = student & people["stranger"][at]
        odd |= (sheet["role"] == "teacher") & people["pupil"][at]
        sheet.report(ENR_006, odd & ~sheet.out, "role")
        self._check_terms(sheet, classes)
        self._check_left(sheet, users, classes["ends"])

    def close(self) -> list[pl.DataFrame]:
        """What only shows when all enrollments are read."""
        found = []
        if self.outside:
            # By key, not by line: it must not depend on how the file was cut into batches.
            rows = pl.concat(self.outside).sort("key").unique("class", keep="first", maintain_order=True)
            cause = pl.lit("classes:") + pl.col("class")
            found.append(
                findings(ENR_005, CATALOGUE["enrollments"], rows.select("key", "line", cause=cause), "beginDate")
            )
        missed = self._missed()
        if missed is not None and missed.height:
            found.append(findings(ENR_008, CATALOGUE["users"], missed))
        return found

    def _check_terms(self, sheet: Sheet, spans: pl.DataFrame) -> None:
        begin, end = sheet["beginDate"], sheet["endDate"]
        first, last = spans["begins"] - _DAY, spans["ends"] + _DAY
        odd = certain((begin < first) | (begin > last)) | certain((end < first) | (end > last))
        odd &= ~sheet.out & ~certain(end < begin)  # DAT-001 says that
        if odd.any():
            rows = rows_of(sheet.frame[["class", "key", "line"]], odd)
            self.outside.append(rows.sort("key").unique("class", keep="first"))

    def _check_left(self, sheet: Sheet, users: pl.Series, term_ends: pl.Series) -> None:
        left = self.known.people.left()
        if not left.height:
            return
        until = sheet.frame.select(users.alias("user"), "school").join(
            left, on=["user", "school"], how="left", maintain_order="left"
        )["until"]  # fmt: skip
        ends = either(present(sheet["endDate"]), sheet["endDate"], term_ends)
        ends = ends.fill_null(date.max) if ends.null_count() else ends
        sheet.report(ENR_004, (ends > until + _SETTLED) & ~sheet.out, "endDate")

    def _missed(self) -> pl.DataFrame | None:
        """The students without an enrollment, be it one that is kept out, in schools whose classes have settled."""
        if not self.whole or self.today is None:
            return None
        today = pl.lit(self.today)
        running = (pl.col("begins") + _SETTLED <= today) & (pl.col("ends") > today)
        schools = self.known.classes().filter(running)["of_class"].unique()
        come = (pl.col("begins") + _SETTLED <= today).fill_null(value=True)
        stays = (pl.col("ends") > today).fill_null(value=True)
        students = self.known.people.students().filter(pl.col("school").is_in(as_list(schools)) & come & stays)
        marks, people = self.known.people.users()
        at = marks.places(students["key"].hash(0))
        seen = nowhere(people.height) if self._seen is None else pl.Series(self._seen)
        absent = students.filter(~certain(seen[at]))
        missed = absent.sort("key", "school").unique("key", keep="first", maintain_order=True)
        return missed.select("key", "line", cause=pl.lit("orgs:") + pl.col("school"))
