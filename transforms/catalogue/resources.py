"""The Resources service of OneRoster 1.1 and 1.2, and the files that link resources to courses, classes and users.

Source: OneRoster 1.2 Resources information model (JSON names, cardinality), CSV binding 1.2.1 and the 1.1 tables.
"""

from __future__ import annotations

from transforms.catalogue import vocabularies as voc
from transforms.catalogue.fields import ABSENT, BASE, METADATA, R, links, ref, text
from transforms.catalogue.model import Entity, Kind

RESOURCES = Entity(
    "resources",
    "resource",
    (
        *BASE,
        text("vendorResourceId", R, note="the vendor's id of the content"),
        text("title"),
        text("roles", many=True, kind=Kind.ENUM, vocabulary=voc.RESOURCE_ROLE, note="none: for everybody"),
        text("importance", kind=Kind.ENUM, vocabulary=voc.IMPORTANCE),
        text("vendorId"),
        text("applicationId"),
        METADATA,
    ),
    "resources",
    service="resources",
    code="h",
)

COURSE_RESOURCES = links(
    "courseResources", "courses", "course", "resources", "resource", service="resources", new_in_12=False
)
CLASS_RESOURCES = links(
    "classResources", "classes", "class", "resources", "resource", service="resources", new_in_12=False
)
# A link of a user may name an org and a class, for which JSON has no place: they are read past.
USER_RESOURCES = links(
    "userResources", "users", "user", "resources", "resource",
    ref("org", csv_name="orgSourcedId", target="orgs", rest12=ABSENT, rest11=ABSENT, csv11=ABSENT, stored=False),
    ref("class", csv_name="classSourcedId", target="classes", rest12=ABSENT, rest11=ABSENT, csv11=ABSENT, stored=False),
    service="resources",
)  # fmt: skip
