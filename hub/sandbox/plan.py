"""What is asked of the sandbox: size, seed, version, dirt, changes."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.catalogue import Version

MIN_STUDENTS = 100
MAX_STUDENTS = 1_000_000


@dataclass(frozen=True, slots=True)
class DistrictPlan:
    """Everything that decides what a sandbox district looks like; equal plans give equal bytes.

    ``dirt`` is about the share of rows of the large files that get a defect, 0 for a clean district. ``guardians`` is
    the share of households whose guardians have accounts. ``school_year`` is the year in which the school year ends.

    ``changes`` asks for a second, mid-year package: ``change_scale`` changes of each kind, or (``change_percent``)
    about that percentage of students and enrollments. ``focus`` names some schools by their place in
    ``District.schools``; students move out of them and into them, and the other changes happen there. The first two
    schools are an elementary and a middle school.

    ``gradebook`` asks for resources, and for line items and results of about a third of the classes.
    """

    students: int
    seed: int = 1
    version: Version = "1.2"
    name: str | None = None
    dirt: float = 0.01
    guardians: float = 0.05
    school_year: int = 2027
    changes: bool = False
    change_scale: int = 1
    change_percent: float | None = None
    focus: tuple[int, ...] = (0, 1)
    gradebook: bool = False

    def __post_init__(self) -> None:
        if not MIN_STUDENTS <= self.students <= MAX_STUDENTS:
            raise ValueError(f"a sandbox district has {MIN_STUDENTS} to {MAX_STUDENTS} students")
        if self.version not in ("1.1", "1.2"):
            raise ValueError("the version is 1.1 or 1.2")
        if self.seed < 0:
            raise ValueError("the seed is 0 or more")
        if not 0 <= self.dirt <= 0.2 or not 0 <= self.guardians <= 1:
            raise ValueError("dirt is 0 to 0.2, guardians 0 to 1")
        if self.change_scale < 1 or (self.change_percent is not None and not 0 < self.change_percent <= 20):
            raise ValueError("the change scale is at least 1, the change percentage above 0 and at most 20")
