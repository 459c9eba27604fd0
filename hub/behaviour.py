"""How the hub behaves towards one app where the standard leaves room or its wording could not be confirmed.

Every default is what the standard says, or the reading that most providers share. An app that expects another reading
gets it by one setting, changed through the admin API; docs/behaviour.md is made from this model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: The user roles of 1.1, and leaving the user out.
RoleOf11 = Literal[
    "administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher", "omit"
]  # fmt: skip


class Behaviour(BaseModel):
    """The settings of one app; what is not set has its default. Never changed, so that it may be part of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What collections hold
    semester_is_term: bool = Field(
        default=False,
        description="Whether `/terms`, and paths that name a term, take sessions of the type `semester` beside `term`.",
    )
    courses_of_classes: bool = Field(
        default=False,
        description="Whether `/schools/{id}/courses` also gives the courses of classes that are taught at the school.",
    )
    unknown_parent: Literal["not_found", "empty"] = Field(
        default="not_found",
        description="What a nested path answers whose object does not exist for the app: 404, or 200 with `[]`.",
    )

    # What objects look like
    booleans: Literal["string", "json"] = Field(
        default="string", description='How truth is written: `"true"`, or `true` as JSON has it.'
    )
    counselor_as: RoleOf11 = Field(
        default="aide",
        description="Which role of 1.1 stands for `counselor`, which 1.1 does not know. `omit` leaves the role out.",
    )
    extension_role_as: Literal[RoleOf11, "keep"] = Field(
        default="aide",
        description="Which role of 1.1 stands for roles of the form `ext:…`. `omit` leaves them out, `keep` leaves "
        "them as they are.",
    )
    reference_types: Literal["general", "specific"] = Field(
        default="general",
        description="The `type` of references of 1.1: what 1.2 has there, or `term` for the terms of classes, "
        "`gradingPeriod` for that of line items, `student` for that of results, and `student` or `teacher` for the "
        "user of an enrollment with that role.",
    )
    extra_fields_in_metadata: bool = Field(
        default=False,
        description="Whether 1.1 gives fields that it does not know (preferred names, pronouns, …) under `metadata`.",
    )

    # Filters
    filter_case: Literal["folded", "exact"] = Field(
        default="folded",
        description="Whether `=` and `!=` ignore the case of texts such as names and e-mail addresses. Ids, "
        "references and vocabularies are always compared exactly, and `~` never looks at case.",
    )
    absent_not_equal: bool = Field(
        default=False, description="Whether `!=` matches records that have no value in the field."
    )
    list_equal: Literal["holds", "same"] = Field(
        default="holds",
        description="When `=` matches a list such as `grades`: it holds all the values, or just these.",
    )
    same_entry: bool = Field(
        default=False,
        description="Whether two clauses joined by AND about `roles`, or about `userIds` or another list of objects, "
        "must match one and the same entry.",
    )
    more_clauses: bool = Field(
        default=False,
        description="Whether a filter may have up to 10 clauses, read from left to right, instead of two.",
    )

    # Order and selection
    dotted_sort: bool = Field(
        default=True, description="Whether `sort` takes a path such as `course.sourcedId`. If not, it is unknown."
    )
    unknown_sort: Literal["default_order", "refuse"] = Field(
        default="default_order",
        description="What an unknown field in `sort` does: records come in the usual order, or 400.",
    )
    bad_order_by: Literal["refuse", "ascending"] = Field(
        default="refuse",
        description="What an `orderBy` other than `asc` and `desc` does in 1.2: 400, or it counts as `asc`. "
        "1.1 always takes it for `asc`, with a warning.",
    )
    unknown_selection: Literal["all_fields", "refuse"] = Field(
        default="all_fields", description="What an unknown name in `fields` does: all fields come, or 400."
    )
    dotted_selection: Literal["unknown", "member"] = Field(
        default="unknown",
        description="What `roles.role` in `fields` is: an unknown name, or the whole member that it begins with.",
    )

    # Writes
    replaced_status: Literal[200, 201] = Field(
        default=201,
        description="The status of a PUT of 1.2 that replaced an object; one that created it gets 201. 1.1 gives 200.",
    )
    unknown_members: Literal["ignore", "refuse"] = Field(
        default="ignore", description="What an unknown member of an object that is written does: nothing, or 422."
    )
    deleted_gradebook: Literal["hidden", "listed"] = Field(
        default="hidden",
        description="Where deleted gradebook objects show as `tobedeleted`: only in collections whose filter names "
        "`status` or `dateLastModified`, or in all of them.",
    )
    refused_delete_status: Literal[400, 403, 409, 422] = Field(
        default=422, description="The status of a DELETE that is refused because the object is in use."
    )

    # Files
    csv_empty_files: bool = Field(
        default=False, description="Whether an exported package holds a file with its header alone for what is empty."
    )
    csv_manifest: bool = Field(default=True, description="Whether an exported package holds `manifest.csv`.")

    @cached_property
    def digest(self) -> str:
        """Equal for equal settings."""
        return blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Behaviour:
        """The settings that the database holds. What this release does not know, after a newer one, has no effect."""
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            unknown = {problem["loc"][0] for problem in error.errors()}
            return cls.model_validate({name: value for name, value in stored.items() if name not in unknown})


#: An app that set nothing.
DEFAULT = Behaviour()
