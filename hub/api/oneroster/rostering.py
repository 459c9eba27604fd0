"""All 41 reads of Rostering.

Source: the official OpenAPI document of the Rostering service of OneRoster 1.2 (paths, operationIds, scopes,
envelopes); what the subset and nested collections hold is the information model's wording. 1.1 has the same reads.
"""

from __future__ import annotations

from hub.api.oneroster.operations import (
    PERIOD,
    SCHOOL,
    STUDENT,
    TEACHER,
    TERM,
    Operation,
    Own,
    Parent,
    Relation,
    RoleAt,
    Through,
    both,
    nested,
)

_at_school = Parent("schoolSourcedId", "orgs", SCHOOL)
_in_class = Parent("classSourcedId", "classes")
_class_at_school = Parent("classSourcedId", "classes", within="school")
_in_course = Parent("courseSourcedId", "courses")
_in_term = Parent("termSourcedId", "academicSessions", TERM)
_of_student = Parent("studentSourcedId", "users", STUDENT)
_of_teacher = Parent("teacherSourcedId", "users", TEACHER)
_of_user = Parent("userSourcedId", "users")


def _enrolled(role: str | None) -> Relation:
    return Through("enrollments", "class", "user", role)


def _classes_of(role: str | None) -> Relation:
    return Through("enrollments", "user", "class", role)


ROSTERING: tuple[Operation, ...] = (
    *both("getAllAcademicSessions", "getAcademicSession", "/academicSessions", "academicSessions"),
    *both("getAllClasses", "getClass", "/classes", "classes"),
    nested("/classes/{classSourcedId}/students", "getStudentsForClass", "users", (_in_class,),
            (0, _enrolled("student"))),
    nested("/classes/{classSourcedId}/teachers", "getTeachersForClass", "users", (_in_class,),
            (0, _enrolled("teacher"))),
    *both("getAllCourses", "getCourse", "/courses", "courses"),
    nested("/courses/{courseSourcedId}/classes", "getClassesForCourse", "classes", (_in_course,), (0, Own("course"))),
    *both("getAllDemographics", "getDemographics", "/demographics", "demographics"),
    *both("getAllEnrollments", "getEnrollment", "/enrollments", "enrollments"),
    *both("getAllGradingPeriods", "getGradingPeriod", "/gradingPeriods", "academicSessions", PERIOD),
    *both("getAllOrgs", "getOrg", "/orgs", "orgs"),
    *both("getAllSchools", "getSchool", "/schools", "orgs", SCHOOL),
    nested("/schools/{schoolSourcedId}/classes", "getClassesForSchool", "classes", (_at_school,), (0, Own("school"))),
    nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/enrollments", "getEnrollmentsForClassInSchool",
            "enrollments", (_at_school, _class_at_school), (0, Own("school")), (1, Own("class"))),
    nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/students", "getStudentsForClassInSchool", "users",
            (_at_school, _class_at_school), (1, _enrolled("student"))),
    nested("/schools/{schoolSourcedId}/classes/{classSourcedId}/teachers", "getTeachersForClassInSchool", "users",
            (_at_school, _class_at_school), (1, _enrolled("teacher"))),
    nested("/schools/{schoolSourcedId}/courses", "getCoursesForSchool", "courses", (_at_school,),
           (0, Own("org", also=Through("classes", "school", "course")))),
    nested("/schools/{schoolSourcedId}/enrollments", "getEnrollmentsForSchool", "enrollments", (_at_school,),
            (0, Own("school"))),
    nested("/schools/{schoolSourcedId}/students", "getStudentsForSchool", "users", (_at_school,),
            (0, RoleAt("student"))),
    nested("/schools/{schoolSourcedId}/teachers", "getTeachersForSchool", "users", (_at_school,),
            (0, RoleAt("teacher"))),
    nested("/schools/{schoolSourcedId}/terms", "getTermsForSchool", "academicSessions", (_at_school,),
            (0, Through("classes", "school", "terms")), subset=TERM),
    *both("getAllStudents", "getStudent", "/students", "users", STUDENT),
    nested("/students/{studentSourcedId}/classes", "getClassesForStudent", "classes", (_of_student,),
            (0, _classes_of("student"))),
    *both("getAllTeachers", "getTeacher", "/teachers", "users", TEACHER),
    nested("/teachers/{teacherSourcedId}/classes", "getClassesForTeacher", "classes", (_of_teacher,),
            (0, _classes_of("teacher"))),
    *both("getAllTerms", "getTerm", "/terms", "academicSessions", TERM),
    nested("/terms/{termSourcedId}/classes", "getClassesForTerm", "classes", (_in_term,), (0, Own("terms"))),
    nested("/terms/{termSourcedId}/gradingPeriods", "getGradingPeriodsForTerm", "academicSessions", (_in_term,),
            (0, Own("parent")), subset=PERIOD),
    *both("getAllUsers", "getUser", "/users", "users"),
    nested("/users/{userSourcedId}/classes", "getClassesForUser", "classes", (_of_user,), (0, _classes_of(None))),
)  # fmt: skip
