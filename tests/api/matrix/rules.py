"""What every route of the hub asks of its callers, written by hand: against slips in the tables that the hub runs by.

A path is written without the names of its variables: ``*`` is an id. A word by itself, ``users``, is a collection and
the read of one of its objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tests.api.matrix.admin_rules import EXPECTED as ADMIN
from tests.api.matrix.admin_rules import HEADS, OPTIONS

#: Where the same service stands: in one district, and over all that grant an app something.
DISTRICT, EVERYWHERE = "/d/*/ims/oneroster", "/ims/oneroster"
_SCOPE = "https://purl.imsglobal.org/spec/or/{version}/scope/{name}"

#: Service, scopes of which any one is enough, and the reads that they open.
_READS = """
rostering/v1p2 | roster.readonly roster-core.readonly | academicSessions classes courses enrollments gradingPeriods orgs
    schools students teachers terms users
rostering/v1p2 | roster.readonly | classes/*/students classes/*/teachers courses/*/classes schools/*/classes
    schools/*/classes/*/enrollments schools/*/classes/*/students schools/*/classes/*/teachers schools/*/courses
    schools/*/enrollments schools/*/students schools/*/teachers schools/*/terms students/*/classes teachers/*/classes
    terms/*/classes terms/*/gradingPeriods users/*/classes
rostering/v1p2 | roster-demographics.readonly | demographics
gradebook/v1p2 | gradebook.readonly gradebook-core.readonly | categories lineItems results scoreScales
gradebook/v1p2 | gradebook.readonly | classes/*/categories classes/*/lineItems classes/*/results classes/*/scoreScales
    classes/*/lineItems/*/results classes/*/students/*/results schools/*/scoreScales
gradebook/v1p2 | assessment.readonly | assessmentLineItems assessmentResults
resources/v1p2 | resource.readonly resource-core.readonly | resources
resources/v1p2 | resource.readonly | classes/*/resources courses/*/resources users/*/resources
v1p1 | roster.readonly roster-core.readonly | academicSessions classes courses enrollments gradingPeriods orgs schools
    students teachers terms users
v1p1 | roster.readonly | classes/*/students classes/*/teachers courses/*/classes schools/*/classes
    schools/*/classes/*/enrollments schools/*/classes/*/students schools/*/classes/*/teachers schools/*/courses
    schools/*/enrollments schools/*/students schools/*/teachers schools/*/terms students/*/classes teachers/*/classes
    terms/*/classes terms/*/gradingPeriods users/*/classes
v1p1 | roster-demographics.readonly | demographics
v1p1 | gradebook.readonly | categories lineItems results classes/*/lineItems classes/*/results
    classes/*/lineItems/*/results classes/*/students/*/results
v1p1 | resource.readonly | resources classes/*/resources courses/*/resources
"""
#: Service, method, scope, paths. Writes are told to one district.
_WRITES = """
gradebook/v1p2 | PUT    | gradebook.createput   | categories/* scoreScales/* lineItems/* results/*
gradebook/v1p2 | DELETE | gradebook.delete      | categories/* scoreScales/* lineItems/* results/*
gradebook/v1p2 | POST   | gradebook.createpost  | classes/*/lineItems schools/*/lineItems lineItems/*/results
    classes/*/academicSessions/*/results
gradebook/v1p2 | PUT    | assessment.createput  | assessmentLineItems/* assessmentResults/*
gradebook/v1p2 | DELETE | assessment.delete     | assessmentLineItems/* assessmentResults/*
v1p1           | PUT    | gradebook.createput   | categories/* lineItems/* results/*
v1p1           | DELETE | gradebook.delete      | categories/* lineItems/* results/*
"""
_PUBLIC = """
/healthz /readyz /.well-known/oauth-authorization-server /asyncapi.json
"""
_CLIENT = "/oauth/token /oauth/revoke /oauth/introspect"
_DOCUMENTS = """
rostering/v1p2 | onerosterv1p2rostersservice_openapi3_v1p0.json imsorv1p2_rostering_openapi3_v1p0.json
gradebook/v1p2 | onerosterv1p2gradebookservice_openapi3_v1p0.json imsorv1p2_gradebook_openapi3_v1p0.json
resources/v1p2 | onerosterv1p2resourcesservice_openapi3_v1p0.json imsorv1p2_resources_openapi3_v1p0.json
"""
#: Scopes of which any one lets an app have some file of a package. Assessments are in no file.
_FILES = ("roster.readonly", "roster-core.readonly", "roster-demographics.readonly", "gradebook.readonly",
          "gradebook-core.readonly", "resource.readonly", "resource-core.readonly")  # fmt: skip
_OLD_FILES = tuple(name for name in _FILES if name not in {"gradebook-core.readonly", "resource-core.readonly"})
_EXPORTS = "/d/*/export/v1/"

#: Where changes are told. Whoever may read anything is told of that.
_CHANGES = ("/d/*/changes", "/changes")

Kind = Literal["public", "client", "read", "write", "page", "changes", "export", "hint", "admin"]


@dataclass(frozen=True)
class Access:
    """What a method of a path asks for. ``scopes``: any one is enough. ``roles``: the letters of the admin API's."""

    kind: Kind
    scopes: frozenset[str] = frozenset()
    roles: str = ""
    version: str = "1.2"

    @property
    def signed(self) -> bool:
        """Whether a signature of OAuth 1 does instead of a token: in 1.1, and where both versions have one address."""
        return self.version == "1.1" or self.kind in {"page", "changes"}


Table = Mapping[tuple[str, str], Access]


def plain(path: str) -> str:
    """A router's path as it is written here."""
    return re.sub(r"\{\w+\}", "*", path)


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of each row; a row that begins with a space goes on with the one before."""
    for line in re.sub(r"\n\s+", " ", text.strip()).split("\n"):
        yield [cell.strip() for cell in line.split("|")]


def _full(service: str, names: str) -> frozenset[str]:
    version = service.rpartition("/")[2]
    return frozenset(_SCOPE.format(version=version, name=name) for name in names.split())


def _reads() -> Iterator[tuple[str, Access]]:
    for service, scopes, paths in _rows(_READS):
        access = Access("read", _full(service, scopes), version="1.1" if service == "v1p1" else "1.2")
        for path in paths.split():
            for each in (path,) if "/" in path else (path, path + "/*"):
                for root in (DISTRICT, EVERYWHERE):
                    yield f"{root}/{service}/{each}", access


def _gets() -> Iterator[tuple[str, Access]]:
    yield from _reads()
    for path in _PUBLIC.split():
        yield path, Access("public")
    yield "/metrics", Access("machine")  # all callers of these tests are on this machine
    for service, names in _rows(_DOCUMENTS):
        for name in names.split():
            for root in (DISTRICT, EVERYWHERE):
                yield f"{root}/{service}/discovery/{name}", Access("public")
    yield EVERYWHERE, Access("page", frozenset(SCOPES))
    for path in _CHANGES:
        yield path, Access("changes", frozenset(scope for scope in SCOPES if scope.endswith(".readonly")))
    yield _EXPORTS + "oneroster.zip", Access("export", _files("v1p2", _FILES))
    for path in ("exports/*", "exports/*/file"):
        yield _EXPORTS + path, Access("export", EITHER_FILES)


def _others() -> Iterator[tuple[str, str, Access]]:
    for service, method, scope, paths in _rows(_WRITES):
        access = Access("write", _full(service, scope), version="1.1" if service == "v1p1" else "1.2")
        for path in paths.split():
            yield method, f"{DISTRICT}/{service}/{path}", access
    for path in _CLIENT.split():
        yield "POST", path, Access("client")
    yield "POST", "/d/*/hints/*/*", Access("hint")
    yield "POST", _EXPORTS + "exports", Access("export", _files("v1p2", _FILES))  # of 1.2, unless its body says 1.1
    yield "POST", _EXPORTS + "exports/*/acknowledge", Access("export", EITHER_FILES)


def _files(version: str, names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_SCOPE.format(version=version, name=name) for name in names)


#: Every scope that a client can be given: those that the rows name.
SCOPES: tuple[str, ...] = tuple(
    sorted({s for row in _rows(_READS) for s in _full(row[0], row[1])}
           | {s for row in _rows(_WRITES) for s in _full(row[0], row[2])})
)  # fmt: skip
EITHER_FILES = _files("v1p2", _FILES) | _files("v1p1", _OLD_FILES)
#: What the router has to hold, no more and no less.
TABLE: Table = {
    **{(method, path): access for path, access in _gets() for method in ("GET", "HEAD")},
    **{(method, path): access for method, path, access in _others()},
    **{(method, "/admin/v1" + plain(path)): Access("admin", roles=roles) for (method, path), roles in ADMIN.items()},
    **{("HEAD", "/admin/v1" + plain(path)): Access("admin", roles=ADMIN["GET", path]) for path in HEADS},
    **{("OPTIONS", "/admin/v1" + plain(path)): Access("admin", roles="-") for path in OPTIONS},
}
#: Where a second id of a path has to be inside the first, as its own reference says.
CONTAINED = ("schools/*/classes/*", "classes/*/lineItems/*")
#: Deleted objects of these are gone from ordinary reads (docs/gradebook.md).
GRADEBOOK = ("categories", "lineItems", "results", "scoreScales", "assessmentLineItems", "assessmentResults")
