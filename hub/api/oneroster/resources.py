"""All five reads of the Resources service of OneRoster 1.2.

Source: the official OpenAPI document of the Resources service (paths, operationIds, scopes, envelopes).
"""

from __future__ import annotations

from hub.api.oneroster.operations import ListedBy, Operation, Parent, both, nested

RESOURCES: tuple[Operation, ...] = (
    *both("getAllResources", "getResource", "/resources", "resources"),
    nested("/classes/{classSourcedId}/resources", "getResourcesForClass", "resources",
           (Parent("classSourcedId", "classes"),), (0, ListedBy("classes", "resources"))),
    nested("/courses/{courseSourcedId}/resources", "getResourcesForCourse", "resources",
           (Parent("courseSourcedId", "courses"),), (0, ListedBy("courses", "resources"))),
    nested("/users/{userSourcedId}/resources", "getResourcesForUser", "resources",
           (Parent("userSourcedId", "users"),), (0, ListedBy("users", "resources"))),
)  # fmt: skip
