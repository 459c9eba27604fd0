"""All 19 reads of the Gradebook service of OneRoster 1.2, assessment results included.

Source: the official OpenAPI document of the Gradebook service (paths, operationIds, scopes, envelopes).
"""

from __future__ import annotations

from hub.api.oneroster.operations import SCHOOL, STUDENT, Hop, Operation, Own, Parent, Through, both, nested

IN_CLASS = Parent("classSourcedId", "classes")
AT_SCHOOL = Parent("schoolSourcedId", "orgs", SCHOOL)
_line_item_of_class = Parent("lineItemSourcedId", "lineItems", within="class")
_student = Parent("studentSourcedId", "users", STUDENT)

GRADEBOOK: tuple[Operation, ...] = (
    *both("getAllCategories", "getCategory", "/categories", "categories"),
    *both("getAllLineItems", "getLineItem", "/lineItems", "lineItems"),
    *both("getAllResults", "getResult", "/results", "results"),
    *both("getAllScoreScales", "getScoreScale", "/scoreScales", "scoreScales"),
    # A category names no class: those that no line item uses yet may be used by any.
    nested("/classes/{classSourcedId}/categories", "getCategoriesForClass", "categories", (IN_CLASS,),
           (0, Through("lineItems", "class", "category", free=True))),
    nested("/classes/{classSourcedId}/lineItems", "getLineItemsForClass", "lineItems", (IN_CLASS,), (0, Own("class"))),
    nested("/classes/{classSourcedId}/results", "getResultsForClass", "results", (IN_CLASS,),
           (0, Hop("lineItem", "class"))),
    nested("/classes/{classSourcedId}/scoreScales", "getScoreScalesForClass", "scoreScales", (IN_CLASS,),
           (0, Own("class"))),
    nested("/classes/{classSourcedId}/lineItems/{lineItemSourcedId}/results", "getResultsForLineItemForClass",
           "results", (IN_CLASS, _line_item_of_class), (1, Own("lineItem"))),
    nested("/classes/{classSourcedId}/students/{studentSourcedId}/results", "getResultsForStudentForClass", "results",
           (IN_CLASS, _student), (0, Hop("lineItem", "class")), (1, Own("student"))),
    nested("/schools/{schoolSourcedId}/scoreScales", "getScoreScalesForSchool", "scoreScales", (AT_SCHOOL,),
           (0, Hop("class", "school"))),
    *both("getAllAssessmentLineItems", "getAssessmentLineItem", "/assessmentLineItems", "assessmentLineItems"),
    *both("getAllAssessmentResults", "getAssessmentResult", "/assessmentResults", "assessmentResults"),
)  # fmt: skip
