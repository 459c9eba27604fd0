"""The Rostering service of OneRoster 1.1 and 1.2, demographics included.

Source: OneRoster 1.2 Rostering information model (JSON names, cardinality), CSV binding 1.2.1 (columns and their order)
and the 1.1 tables. The order of fields is the order of CSV columns; a version's header is this order without its
ABSENT fields.
"""

from __future__ import annotations

from functools import partial

from transforms.catalogue import vocabularies as voc
from transforms.catalogue.fields import ABSENT, BASE, METADATA, NEW_IN_12, R, ref, resources, text
from transforms.catalogue.model import Entity, Field, Kind, Privacy

ORGS = Entity(
    "orgs",
    "org",
    (
        *BASE,
        text("name", R),
        text("type", R, kind=Kind.ENUM, vocabulary=voc.ORG_TYPE),
        text("identifier", rest12=R, note="JSON 1.2 requires it: the sourcedId where the source has none"),
        ref("parent", csv_name="parentSourcedId", target="orgs"),
        ref("children", target="orgs", many=True, derived=True),
        METADATA,
    ),
    "orgs",
    code="a",
)

ACADEMIC_SESSIONS = Entity(
    "academicSessions",
    "academicSession",
    (
        *BASE,
        text("title", R),
        text("type", R, kind=Kind.ENUM, vocabulary=voc.SESSION_TYPE),
        text("startDate", R, kind=Kind.DATE, note="inclusive"),
        text("endDate", R, kind=Kind.DATE, note="exclusive"),
        ref("parent", csv_name="parentSourcedId", target="academicSessions"),
        ref("children", target="academicSessions", many=True, derived=True),
        text("schoolYear", R, kind=Kind.YEAR, note="the year in which the school year ends"),
        METADATA,
    ),
    "academicSessions",
    code="b",
)

COURSES = Entity(
    "courses",
    "course",
    (
        *BASE,
        ref("schoolYear", csv_name="schoolYearSourcedId", target="academicSessions", target_type=("schoolYear",)),
        text("title", R),
        text("courseCode", rest12=R, rest11=R, note="JSON requires it: the sourcedId where the source has none"),
        text("grades", many=True, vocabulary=voc.GRADES),
        ref("org", csv_name="orgSourcedId", csv12=R, csv11=R, target="orgs"),
        text("subjects", many=True),
        text("subjectCodes", many=True),
        resources("courseResources"),
        METADATA,
    ),
    "courses",
    code="c",
)

CLASSES = Entity(
    "classes",
    "class",
    (
        *BASE,
        text("title", R),
        text("grades", many=True, vocabulary=voc.GRADES),
        ref("course", rest12=R, rest11=R, csv_name="courseSourcedId", csv12=R, csv11=R, target="courses"),
        text("classCode"),
        text("classType", kind=Kind.ENUM, csv12=R, csv11=R, vocabulary=voc.CLASS_TYPE),
        text("location"),
        ref("school", rest12=R, rest11=R, csv_name="schoolSourcedId", csv12=R, csv11=R, target="orgs",
            target_type=("school",)),
        ref("terms", many=True, rest12=R, rest11=R, csv_name="termSourcedIds", csv12=R, csv11=R,
            target="academicSessions"),
        text("subjects", many=True),
        text("subjectCodes", many=True),
        text("periods", many=True),
        resources("classResources"),
        METADATA,
    ),
    "classes",
    code="d",
)  # fmt: skip

contact = partial(text, privacy=Privacy.CONTACT)

USERS = Entity(
    "users",
    "user",
    (
        *BASE,
        text("enabledUser", R, kind=Kind.BOOLEAN),
        ref("orgs", many=True, rest12=ABSENT, rest11=R, csv_name="orgSourcedIds", csv12=ABSENT, csv11=R, target="orgs"),
        text("role", R, kind=Kind.ENUM, rest12=ABSENT, csv12=ABSENT, vocabulary=voc.USER_ROLE),
        Field("roles", Kind.COMPONENT, many=True, rest12=R, rest11=ABSENT, component="roles"),
        text("username", csv12=R, csv11=R, rest11=R),
        text("userIds", kind=Kind.USER_ID, many=True),
        text("givenName", R),
        text("familyName", R),
        text("middleName"),
        text("identifier"),
        contact("email"),
        contact("sms"),
        contact("phone"),
        ref("agents", many=True, csv_name="agentSourcedIds", target="users", privacy=Privacy.CONTACT),
        text("grades", many=True, vocabulary=voc.GRADES),
        text("password", privacy=Privacy.CREDENTIAL, stored=False, note="read past, never kept or served"),
        text("userMasterIdentifier", **NEW_IN_12),
        text("preferredFirstName", csv="preferredGivenName", **NEW_IN_12),
        text("preferredMiddleName", **NEW_IN_12),
        text("preferredLastName", csv="preferredFamilyName", **NEW_IN_12),
        ref("primaryOrg", csv_name="primaryOrgSourcedId", target="orgs", **NEW_IN_12),
        text("pronouns", privacy=Privacy.DEMOGRAPHIC, **NEW_IN_12),
        Field("userProfiles", Kind.COMPONENT, many=True, rest11=ABSENT, privacy=Privacy.CREDENTIAL,
              component="userProfiles"),
        resources("userResources", rest11=ABSENT),
        METADATA,
    ),
    "users",
    code="e",
)  # fmt: skip

ROLES = Entity(
    "roles",
    "role",
    (
        *BASE,
        ref("user", csv_name="userSourcedId", rest12=ABSENT, rest11=ABSENT, csv12=R, target="users"),
        text("roleType", R, kind=Kind.ENUM, vocabulary=voc.ROLE_TYPE),
        text("role", R, kind=Kind.ENUM, vocabulary=voc.USER_ROLE),
        text("beginDate", kind=Kind.DATE, note="inclusive"),
        text("endDate", kind=Kind.DATE, note="exclusive"),
        ref("org", rest12=R, csv_name="orgSourcedId", csv12=R, target="orgs"),
        ref("userProfile", csv_name="userProfileSourcedId", target="userProfiles",
            note="in JSON the profileId, a URI"),
    ),
    "roles",
    component_of="users",
    versions=("1.2",),
)  # fmt: skip

USER_PROFILES = Entity(
    "userProfiles",
    "userProfile",
    (
        *BASE,
        ref("user", csv_name="userSourcedId", rest12=ABSENT, rest11=ABSENT, csv12=R, target="users"),
        Field("profileId", Kind.URI, rest12=R, derived=True, note="a URI made from the row's sourcedId"),
        text("profileType", R),
        text("vendorId", R),
        text("applicationId"),
        text("description"),
        text("credentialType", R, rest12=ABSENT, note="in JSON credentials[].type"),
        text("username", R, rest12=ABSENT, note="in JSON credentials[].username"),
        text("password", privacy=Privacy.CREDENTIAL, stored=False, rest12=ABSENT, note="never kept"),
    ),
    "userProfiles",
    component_of="users",
    versions=("1.2",),
)

ENROLLMENTS = Entity(
    "enrollments",
    "enrollment",
    (
        *BASE,
        ref("class", rest12=R, rest11=R, csv_name="classSourcedId", csv12=R, csv11=R, target="classes"),
        ref("school", rest12=R, rest11=R, csv_name="schoolSourcedId", csv12=R, csv11=R, target="orgs",
            target_type=("school",)),
        ref("user", rest12=R, rest11=R, csv_name="userSourcedId", csv12=R, csv11=R, target="users"),
        text("role", R, kind=Kind.ENUM, vocabulary=voc.ENROLLMENT_ROLE),
        text("primary", kind=Kind.BOOLEAN, note="teachers only"),
        text("beginDate", kind=Kind.DATE, note="inclusive"),
        text("endDate", kind=Kind.DATE, note="exclusive"),
        METADATA,
    ),
    "enrollments",
    compact=True,
    code="f",
)  # fmt: skip

demographic = partial(text, privacy=Privacy.DEMOGRAPHIC)
race = partial(demographic, kind=Kind.BOOLEAN)

DEMOGRAPHICS = Entity(
    "demographics",
    "demographics",
    (
        *BASE,
        demographic("birthDate", kind=Kind.DATE),
        demographic("sex", kind=Kind.ENUM, vocabulary=voc.SEX),
        race("americanIndianOrAlaskaNative"),
        race("asian"),
        race("blackOrAfricanAmerican"),
        race("nativeHawaiianOrOtherPacificIslander"),
        race("white"),
        race("demographicRaceTwoOrMoreRaces"),
        race("hispanicOrLatinoEthnicity"),
        demographic("countryOfBirthCode"),
        demographic("stateOfBirthAbbreviation"),
        demographic("cityOfBirth"),
        demographic("publicSchoolResidenceStatus"),
        Field("metadata", Kind.METADATA, privacy=Privacy.DEMOGRAPHIC),
    ),
    "demographics",
    rid_of="users",
    code="g",
)
