"""The writes of the Gradebook: 16 of OneRoster 1.2 and six of 1.1. Routes, permissions, discovery and tests derive.

Source: the official OpenAPI document of the Gradebook service of 1.2 (paths, operationIds, scopes, success statuses);
the 1.1 tables of operations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from hub.api.oneroster.gradebook import AT_SCHOOL, IN_CLASS
from hub.api.oneroster.operations import Parent
from hub.api.oneroster.scopes import V1P1, V1P2
from hub.objects.bases import DISTRICT, PATHS
from transforms.catalogue import CATALOGUE, Entity, Version

Method = Literal["PUT", "DELETE", "POST"]
ONE = "/{sourcedId}"
_OF_LINE_ITEM = Parent("lineItemSourcedId", "lineItems")
_IN_SESSION = Parent("academicSessionSourcedId", "academicSessions")


@dataclass(frozen=True)
class Write:
    """One write. ``parents``: what the path of a POST names, each with the member of the written objects that it is.

    A member is "" where the objects do not say it themselves: the session of a result is that of its line item.
    """

    method: Method
    path: str
    name: str
    entity: Entity
    version: Version = "1.2"
    parents: tuple[tuple[str, Parent], ...] = ()

    @property
    def address(self) -> str:
        """Where it stands below the hub's address, with a place for the district."""
        return DISTRICT + PATHS[self.version]["gradebook"] + self.path

    @property
    def envelope(self) -> str:
        """The one member of the body."""
        return self.entity.name if self.method == "POST" else self.entity.singular

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which any one is enough. None gives another: who may put may not post or delete."""
        if self.version == "1.1":
            return (V1P1.GRADEBOOK_PUT if self.method == "PUT" else V1P1.GRADEBOOK_DELETE,)
        if self.entity.name.startswith("assessment"):
            return (V1P2.ASSESSMENT_PUT if self.method == "PUT" else V1P2.ASSESSMENT_DELETE,)
        return ({"PUT": V1P2.GRADEBOOK_PUT, "POST": V1P2.GRADEBOOK_POST, "DELETE": V1P2.GRADEBOOK_DELETE}[self.method],)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def _of_objects(version: Version) -> Iterator[Write]:
    for entity in CATALOGUE.of_service("gradebook"):
        if version in entity.versions:
            title = entity.singular[0].upper() + entity.singular[1:]
            yield Write("PUT", f"/{entity.name}{ONE}", f"put{title}", entity, version)
            yield Write("DELETE", f"/{entity.name}{ONE}", f"delete{title}", entity, version)


WRITES: tuple[Write, ...] = (
    *_of_objects("1.2"),
    Write("POST", "/classes/{classSourcedId}/lineItems", "postLineItemsForClass", CATALOGUE["lineItems"],
          parents=(("class", IN_CLASS),)),
    Write("POST", "/schools/{schoolSourcedId}/lineItems", "postLineItemsForSchool", CATALOGUE["lineItems"],
          parents=(("school", AT_SCHOOL),)),
    Write("POST", "/lineItems/{lineItemSourcedId}/results", "postResultsForLineItem", CATALOGUE["results"],
          parents=(("lineItem", _OF_LINE_ITEM),)),
    Write("POST", "/classes/{classSourcedId}/academicSessions/{academicSessionSourcedId}/results",
          "postResultsForAcademicSessionForClass", CATALOGUE["results"],
          parents=(("class", IN_CLASS), ("", _IN_SESSION))),
    *_of_objects("1.1"),
)  # fmt: skip
