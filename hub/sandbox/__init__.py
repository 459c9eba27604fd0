"""Districts that do not exist: deterministic OneRoster packages of 100 to 1,000,000 students.

They come with planted dirt, duplicate people and mid-year changes, and files that list every one of them. Same plan,
same bytes. Nothing here is anybody's data: names are drawn from word lists, addresses end in ``.example``, phone
numbers lie in the range reserved for fiction.
"""

from hub.sandbox.district import District, SandboxFiles, SandboxSummary, generate, write_sandbox
from hub.sandbox.plan import MAX_STUDENTS, MIN_STUDENTS, DistrictPlan
from hub.sandbox.schools import School

__all__ = [
    "MAX_STUDENTS",
    "MIN_STUDENTS",
    "District",
    "DistrictPlan",
    "SandboxFiles",
    "SandboxSummary",
    "School",
    "generate",
    "write_sandbox",
]
