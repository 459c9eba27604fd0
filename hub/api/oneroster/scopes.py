"""Every OAuth 2 scope of OneRoster that a client may be given, stated once.

A scope is opaque text and is compared exactly: none contains another (``gradebook.readonly`` gives no write,
``roster.readonly`` no demographics), and those of 1.1 and 1.2 are different scopes.

Sources: the 1.2 scopes are those of the official OpenAPI documents of the Rostering, Gradebook, Assessment Results and
Resources services; the 1.1 scopes those of the 1.1 tables of operations, which has neither ``gradebook-core``,
``createpost``, ``resource-core`` nor ``assessment.*``.
"""

from __future__ import annotations

from typing import Final

_PREFIX = "https://purl.imsglobal.org/spec/or"


class V1P2:
    """The scopes of OneRoster 1.2."""

    _scope = _PREFIX + "/v1p2/scope/"
    ROSTER_CORE: Final = _scope + "roster-core.readonly"
    ROSTER: Final = _scope + "roster.readonly"
    DEMOGRAPHICS: Final = _scope + "roster-demographics.readonly"
    GRADEBOOK_CORE: Final = _scope + "gradebook-core.readonly"
    GRADEBOOK: Final = _scope + "gradebook.readonly"
    GRADEBOOK_PUT: Final = _scope + "gradebook.createput"
    GRADEBOOK_POST: Final = _scope + "gradebook.createpost"
    GRADEBOOK_DELETE: Final = _scope + "gradebook.delete"
    ASSESSMENT: Final = _scope + "assessment.readonly"
    ASSESSMENT_PUT: Final = _scope + "assessment.createput"
    ASSESSMENT_DELETE: Final = _scope + "assessment.delete"
    RESOURCE_CORE: Final = _scope + "resource-core.readonly"
    RESOURCE: Final = _scope + "resource.readonly"


class V1P1:
    """The scopes of OneRoster 1.1: what a token has, or a client that signs with OAuth 1."""

    _scope = _PREFIX + "/v1p1/scope/"
    ROSTER_CORE: Final = _scope + "roster-core.readonly"
    ROSTER: Final = _scope + "roster.readonly"
    DEMOGRAPHICS: Final = _scope + "roster-demographics.readonly"
    RESOURCE: Final = _scope + "resource.readonly"
    GRADEBOOK: Final = _scope + "gradebook.readonly"
    GRADEBOOK_PUT: Final = _scope + "gradebook.createput"
    GRADEBOOK_DELETE: Final = _scope + "gradebook.delete"


#: Every scope with what it gives, in the order in which they are listed.
SCOPES: Final[dict[str, str]] = {
    V1P2.ROSTER_CORE: "All collections and single objects of Rostering but demographics",
    V1P2.ROSTER: "All reads of Rostering but demographics",
    V1P2.DEMOGRAPHICS: "Demographics",
    V1P2.GRADEBOOK_CORE: "All collections and single objects of categories, line items, results and score scales",
    V1P2.GRADEBOOK: "All reads of categories, line items, results and score scales",
    V1P2.GRADEBOOK_PUT: "Creating and replacing categories, line items, results and score scales by PUT",
    V1P2.GRADEBOOK_POST: "Creating line items and results by POST",
    V1P2.GRADEBOOK_DELETE: "Deleting categories, line items, results and score scales",
    V1P2.ASSESSMENT: "All reads of assessment line items and assessment results",
    V1P2.ASSESSMENT_PUT: "Creating and replacing assessment line items and assessment results by PUT",
    V1P2.ASSESSMENT_DELETE: "Deleting assessment line items and assessment results",
    V1P2.RESOURCE_CORE: "The collection of resources and single resources",
    V1P2.RESOURCE: "All reads of Resources",
    V1P1.ROSTER_CORE: "1.1: all collections and single objects of rostering but demographics",
    V1P1.ROSTER: "1.1: all reads of rostering but demographics",
    V1P1.DEMOGRAPHICS: "1.1: demographics",
    V1P1.RESOURCE: "1.1: all reads of resources",
    V1P1.GRADEBOOK: "1.1: all reads of the gradebook",
    V1P1.GRADEBOOK_PUT: "1.1: creating and replacing objects of the gradebook by PUT",
    V1P1.GRADEBOOK_DELETE: "1.1: deleting objects of the gradebook",
}
#: What a client may ask for when nobody says: everything that only reads.
READING: Final = tuple(scope for scope in SCOPES if scope.endswith(".readonly"))
