"""The OneRoster catalogue: every entity and field, stated once. See ``model`` for what derives from it."""

from transforms.catalogue import gradebook, resources, rostering
from transforms.catalogue.fields import BASE_NAMES
from transforms.catalogue.model import Catalogue, Entity, Field, Kind, Need, Privacy, Service, Version

#: What is referred to stands before what refers to it, and a component before what it nests in.
CATALOGUE = Catalogue(
    (
        rostering.ORGS,
        rostering.ACADEMIC_SESSIONS,
        resources.RESOURCES,
        resources.COURSE_RESOURCES,
        rostering.COURSES,
        resources.CLASS_RESOURCES,
        rostering.CLASSES,
        rostering.ROLES,
        rostering.USER_PROFILES,
        resources.USER_RESOURCES,
        rostering.USERS,
        rostering.ENROLLMENTS,
        rostering.DEMOGRAPHICS,
        gradebook.CATEGORIES,
        gradebook.SCORE_SCALES,
        gradebook.LINE_ITEM_SCORE_SCALES,
        gradebook.LINE_ITEM_OBJECTIVES,
        gradebook.LINE_ITEMS,
        gradebook.RESULT_SCORE_SCALES,
        gradebook.RESULT_OBJECTIVES,
        gradebook.RESULTS,
        gradebook.ASSESSMENT_LINE_ITEMS,
        gradebook.ASSESSMENT_RESULTS,
    )
)

__all__ = [
    "BASE_NAMES",
    "CATALOGUE",
    "Catalogue",
    "Entity",
    "Field",
    "Kind",
    "Need",
    "Privacy",
    "Service",
    "Version",
]
